//! Words that many columns share.

use kedge_api::{Selector, Time};
use serde_json::Value;

/// One object to be shown at a time.
pub struct Row<'a> {
    pub object: &'a Value,
    pub now: Time,
}

impl Row<'_> {
    /// The value at a path such as `spec/replicas`; null where nothing is.
    pub fn at(&self, path: &str) -> &Value {
        at(self.object, path)
    }

    pub fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    pub fn number(&self, path: &str) -> i64 {
        self.at(path).as_i64().unwrap_or(0)
    }

    pub fn list(&self, path: &str) -> &[Value] {
        self.at(path).as_array().map_or(&[], Vec::as_slice)
    }

    pub fn name(&self) -> Value {
        self.text("metadata/name").into()
    }

    pub fn age(&self) -> Value {
        self.since("metadata/creationTimestamp").into()
    }

    /// How long ago a time was.
    pub fn since(&self, path: &str) -> String {
        self.since_value(self.at(path))
    }

    pub fn since_value(&self, time: &Value) -> String {
        match time.as_str().and_then(Time::parse) {
            Some(time) => human(self.now.0 - time.0),
            None => "<unknown>".to_owned(),
        }
    }

    pub fn is_deleted(&self) -> bool {
        !self.at("metadata/deletionTimestamp").is_null()
    }

    /// Names and images of containers.
    pub fn containers(&self, path: &str) -> [Value; 2] {
        let containers = self.list(path);
        ["name", "image"].map(|key| join(containers.iter().filter_map(|c| c[key].as_str()), ",").into())
    }

    /// A label selector object; empty is `<none>`.
    pub fn selector(&self, path: &str) -> Value {
        match Selector::from_object(self.at(path)) {
            Ok(selector) => or(&selector.to_string(), "<none>").into(),
            Err(_) => "<error>".into(),
        }
    }
}

pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('/').fold(value, |at, key| &at[key])
}

/// A map of labels; empty is `<none>`.
pub fn labels(map: &Value) -> String {
    let pairs = map.as_object().into_iter().flatten();
    let text = join(pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())), ",");
    or(&text, "<none>").to_owned()
}

pub fn or<'a>(text: &'a str, empty: &'a str) -> &'a str {
    if text.is_empty() { empty } else { text }
}

pub fn join<T: AsRef<str>>(words: impl Iterator<Item = T>, separator: &str) -> String {
    let words: Vec<T> = words.collect();
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    words.join(separator)
}

/// The first few words, and how many there are beyond them.
pub fn some(words: &[String], max: usize, separator: &str) -> String {
    match words.len() > max {
        true => format!("{} + {} more...", words[..max].join(separator), words.len() - max),
        false => words.join(separator),
    }
}

/// The scalar as it stands in JSON, strings without quotes; `empty` for null.
pub fn scalar(value: &Value, empty: &str) -> String {
    match value {
        Value::Null => empty.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A duration in the two largest units that matter.
pub fn human(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let two = |big: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(hours / 24, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{}d", hours / 24),
        63_072_000..252_288_000 => two(hours / 24 / 365, 'y', hours / 24 % 365, 'd'),
        _ => format!("{}y", hours / 24 / 365),
    }
}
