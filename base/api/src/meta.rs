//! What every object carries, and the rules by which the typed structs read and write JSON.
//!
//! A struct here is a projection: it lists the fields our own components read, ignores all others, and takes `null` for
//! absent, as Go does. It is never the way to store or to update an object (DESIGN.md, "apiserver-lite"): writes are patches.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub type Labels = BTreeMap<String, String>;

/// Declares a struct of the API: camelCase names, every field optional on input, empty fields left out on output. Fields
/// after `always` are written even when empty, where the API declares them without `omitempty`.
macro_rules! api_struct {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$fmeta:meta])* $field:ident: $ty:ty,)*
    } $(always { $($(#[$ameta:meta])* $afield:ident: $aty:ty,)* })?) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $($(
                $(#[$ameta])*
                #[serde(deserialize_with = "crate::meta::null_as_default")]
                pub $afield: $aty,
            )*)?
            $(
                $(#[$fmeta])*
                #[serde(deserialize_with = "crate::meta::null_as_default", skip_serializing_if = "crate::meta::is_default")]
                pub $field: $ty,
            )*
        }
    };
    // Several structs in one go.
    ($($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* } $(always { $($abody:tt)* })?)+) => {
        $(api_struct! { $(#[$meta])* pub struct $name { $($body)* } $(always { $($abody)* })? })+
    };
}
pub(crate) use api_struct;

pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

api_struct! {
    pub struct ObjectMeta {
        name: String,
        generate_name: String,
        namespace: String,
        uid: String,
        resource_version: String,
        generation: i64,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        deletion_grace_period_seconds: Option<i64>,
        labels: Labels,
        annotations: Labels,
        owner_references: Vec<OwnerReference>,
        finalizers: Vec<String>,
    }

    pub struct OwnerReference {
        controller: Option<bool>,
        block_owner_deletion: Option<bool>,
    } always {
        api_version: String,
        kind: String,
        name: String,
        uid: String,
    }

    /// The `conditions` of Pod and Node.
    pub struct Condition {
        reason: String,
        message: String,
        observed_generation: i64,
        last_heartbeat_time: Option<Time>,
        last_probe_time: Option<Time>,
        last_transition_time: Option<Time>,
    } always {
        r#type: String,
        status: String,
    }

    pub struct LocalObjectReference {
        name: String,
    }

    pub struct LabelSelector {
        match_labels: Labels,
        match_expressions: Vec<LabelSelectorRequirement>,
    }

    pub struct LabelSelectorRequirement {
        values: Vec<String>,
    } always {
        key: String,
        operator: String,
    }
}

/// Everything that has metadata.
pub trait Object {
    fn meta(&self) -> &ObjectMeta;
}

macro_rules! objects {
    ($($kind:ty),*) => {
        $(impl Object for $kind {
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
        })*
    };
}

objects!(crate::Pod, crate::Node, crate::Service, crate::EndpointSlice);

impl ObjectMeta {
    /// The owner that controls this object, if one does.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller == Some(true))
    }
}

impl Condition {
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// A `metav1.Time`: whole seconds since the Unix epoch, RFC 3339 in UTC on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// Reads RFC 3339, with a fraction (dropped) and any offset.
    pub fn parse(text: &str) -> Option<Time> {
        let digits = |range: std::ops::Range<usize>| -> Option<i64> {
            let part = text.get(range)?;
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators
            .iter()
            .any(|&(at, byte)| text.as_bytes().get(at).map(u8::to_ascii_uppercase) != Some(byte))
        {
            return None;
        }
        let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
        let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
        let rest = text.get(19..)?;
        let rest = match rest.strip_prefix('.') {
            Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
            None => rest,
        };
        let offset_s = match rest.as_bytes() {
            [b'Z' | b'z'] => 0,
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
                if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) =>
            {
                let two = |a: &u8, b: &u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
                (two(h1, h2) * 3600 + two(m1, m2) * 60) * if *sign == b'-' { -1 } else { 1 }
            }
            _ => return None,
        };
        let in_range =
            (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
        in_range.then(|| {
            Time(days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_s)
        })
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar, counting years from March so that the leap day is last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + days.div_euclid(146_097) * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(86_400));
        let second = self.0.rem_euclid(86_400);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            second / 3600,
            second % 3600 / 60,
            second % 60
        )
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        Time::parse(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is not an RFC 3339 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-11-25T00:23:55Z", 1_795_566_235),
            ("1969-12-31T23:59:59Z", -1),
        ] {
            assert_eq!(Time::parse(text), Some(Time(seconds)), "{text}");
            assert_eq!(Time(seconds).to_string(), text);
        }
        assert_eq!(Time::parse("1970-01-01T02:00:00.123456+02:00"), Some(Time(0)));
        for bad in
            ["", "1970-01-01", "1970-01-01T00:00:00", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00+0200", "x"]
        {
            assert_eq!(Time::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn null_is_absent_and_unknown_fields_are_ignored() {
        let meta: ObjectMeta = serde_json::from_str(
            r#"{"name":"a","labels":null,"creationTimestamp":null,"managedFields":[{"manager":"x"}]}"#,
        )
        .unwrap();
        assert_eq!(meta, ObjectMeta { name: "a".into(), ..ObjectMeta::default() });
        assert_eq!(serde_json::to_string(&meta).unwrap(), r#"{"name":"a"}"#);
    }
}
