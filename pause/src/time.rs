//! The clock, and its text in CRI logs.

use std::time::{SystemTime, UNIX_EPOCH};

const NANOS: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;

pub fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

/// Writes `now_ns` in RFC 3339 with nine digits, in UTC, without any allocation but `out`'s own.
pub fn put_rfc3339(now_ns: i64, out: &mut Vec<u8>) {
    let seconds = now_ns.div_euclid(NANOS);
    let (year, month, day) = civil(seconds.div_euclid(DAY_S));
    let second_of_day = seconds.rem_euclid(DAY_S);
    put_digits(year, 4, out);
    for (mark, value) in [(b'-', month), (b'-', day)] {
        out.push(mark);
        put_digits(value, 2, out);
    }
    let clock = [(b'T', second_of_day / 3600), (b':', second_of_day / 60 % 60), (b':', second_of_day % 60)];
    for (mark, value) in clock {
        out.push(mark);
        put_digits(value, 2, out);
    }
    out.push(b'.');
    put_digits(now_ns.rem_euclid(NANOS), 9, out);
    out.push(b'Z');
}

fn put_digits(mut value: i64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for slot in out[start..].iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of a day number since 1970-01-01, by eras of 400 years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(now_ns: i64, text: &str) {
        let mut out = Vec::new();
        put_rfc3339(now_ns, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn writes_utc_with_nine_digits() {
        check(0, "1970-01-01T00:00:00.000000000Z");
        check(951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z");
        check(1_475_713_029_669_794_202, "2016-10-06T00:17:09.669794202Z");
        check(1_767_225_599_999_999_999, "2025-12-31T23:59:59.999999999Z");
    }
}
