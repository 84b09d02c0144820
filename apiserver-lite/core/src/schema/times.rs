//! Times as the API writes them.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
const MICRO_LAYOUT: &str = "2006-01-02T15:04:05.000000Z07:00";

/// `metav1.Time`: whole seconds, UTC. The error is Go's.
pub fn seconds(text: &str) -> Result<String, String> {
    parse(text, LAYOUT).map(format_seconds)
}

/// `metav1.MicroTime`: six digits after the point, UTC.
pub fn micros(text: &str) -> Result<String, String> {
    parse(text, MICRO_LAYOUT).map(format_micros)
}

/// From protobuf's seconds since 1970; None for what has no four-digit year.
pub fn from_unix(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds).ok().map(format_seconds)
}

/// From protobuf's seconds and nanoseconds.
pub fn micros_from_unix(seconds: i64, nanos: i32) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    Some(format_micros(time + time::Duration::nanoseconds(nanos.into())))
}

/// Seconds since 1970 and nanoseconds of a time that [`seconds`] or [`micros`] accept.
pub fn to_unix(text: &str) -> Option<(i64, i32)> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some((time.unix_timestamp(), time.nanosecond() as i32))
}

fn parse(text: &str, layout: &str) -> Result<OffsetDateTime, String> {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => Ok(time.to_offset(UtcOffset::UTC)),
        Err(_) => Err(format!("parsing time {text:?} as {layout:?}: {}", complaint(text))),
    }
}

/// Go names the first part of the layout that the text does not match.
fn complaint(text: &str) -> String {
    const PARTS: &[(&str, usize, &str)] = &[
        ("2006", 4, ""),
        ("-", 1, "-"),
        ("01", 2, ""),
        ("-", 1, "-"),
        ("02", 2, ""),
        ("T", 1, "T"),
        ("15", 2, ""),
        (":", 1, ":"),
        ("04", 2, ""),
        (":", 1, ":"),
        ("05", 2, ""),
    ];
    let mut rest = text;
    for (part, width, literal) in PARTS {
        let fits = match rest.get(..*width) {
            Some(word) if literal.is_empty() => word.bytes().all(|b| b.is_ascii_digit()),
            Some(word) => word == *literal,
            None => false,
        };
        if !fits {
            return format!("cannot parse {rest:?} as {part:?}");
        }
        rest = &rest[*width..];
    }
    format!("cannot parse {rest:?} as \"Z07:00\"")
}

fn format_seconds(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time.format(&format).expect("every part exists in a date with a time")
}

fn format_micros(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    time.format(&format).expect("every part exists in a date with a time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        assert_eq!(seconds("2020-01-02T03:04:05+01:00").as_deref(), Ok("2020-01-02T02:04:05Z"));
        assert_eq!(seconds("2020-01-02T03:04:05.9Z").as_deref(), Ok("2020-01-02T03:04:05Z"));
        assert_eq!(micros("2020-01-02T03:04:05.9Z").as_deref(), Ok("2020-01-02T03:04:05.900000Z"));
        assert_eq!(from_unix(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(to_unix("1970-01-01T00:00:01Z"), Some((1, 0)));
    }

    #[test]
    fn errors_are_gos() {
        let error = seconds("x").expect_err("no time");
        assert_eq!(
            error,
            "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""
        );
        let error = seconds("2020-01-02").expect_err("no time");
        assert!(error.ends_with("cannot parse \"\" as \"T\""), "{error}");
    }
}
