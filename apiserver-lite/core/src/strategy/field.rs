//! Paths to fields, and findings about them in the words of `field.Error`.

use crate::status::{Finding, FindingKind, Findings};
use serde_json::Value;
use std::fmt;

/// `spec.containers[0].name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    pub fn root() -> Path {
        Path::default()
    }

    pub fn new(name: &str) -> Path {
        Path(name.to_owned())
    }

    /// The path of an inner field; dots in the name go further down.
    pub fn child(&self, name: &str) -> Path {
        if self.0.is_empty() { Path::new(name) } else { Path(format!("{}.{name}", self.0)) }
    }

    pub fn index(&self, index: usize) -> Path {
        Path(format!("{}[{index}]", self.0))
    }

    pub fn key(&self, key: &str) -> Path {
        Path(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

fn finding(kind: FindingKind, path: &Path, head: String, detail: &str) -> Finding {
    let message = if detail.is_empty() { head } else { format!("{head}: {detail}") };
    Finding { kind, field: path.to_string(), message }
}

fn about(kind: FindingKind, title: &str, path: &Path, value: &Value, detail: &str) -> Finding {
    finding(kind, path, format!("{title}: {}", shown(value)), detail)
}

/// A value as a message shows it: strings quoted, numbers bare, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => go_quoted(text),
        other => other.to_string().replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e"),
    }
}

/// Go's `%q`.
pub fn go_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\u{b}' => quoted.push_str("\\v"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

pub fn required(path: &Path, detail: &str) -> Finding {
    finding(FindingKind::Required, path, "Required value".to_owned(), detail)
}

pub fn invalid(path: &Path, value: impl Into<Value>, detail: &str) -> Finding {
    about(FindingKind::Invalid, "Invalid value", path, &value.into(), detail)
}

/// As [`invalid`], about a struct of upstream's own: its message names the struct's fields, in the struct's order.
pub fn invalid_struct(path: &Path, fields: &[(&str, Value)], detail: &str) -> Finding {
    finding(FindingKind::Invalid, path, format!("Invalid value: {}", go_struct(fields)), detail)
}

/// As [`duplicate`], with a reason, about a struct.
pub fn duplicate_struct(path: &Path, fields: &[(&str, Value)], detail: &str) -> Finding {
    finding(FindingKind::Duplicate, path, format!("Duplicate value: {}", go_struct(fields)), detail)
}

fn go_struct(fields: &[(&str, Value)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

pub fn duplicate(path: &Path, value: impl Into<Value>) -> Finding {
    about(FindingKind::Duplicate, "Duplicate value", path, &value.into(), "")
}

pub fn not_found(path: &Path, value: impl Into<Value>) -> Finding {
    about(FindingKind::NotFound, "Not found", path, &value.into(), "")
}

pub fn forbidden(path: &Path, detail: &str) -> Finding {
    finding(FindingKind::Forbidden, path, "Forbidden".to_owned(), detail)
}

pub fn too_long(path: &Path, bytes_max: usize) -> Finding {
    finding(
        FindingKind::TooLong,
        path,
        "Too long".to_owned(),
        &format!("may not be more than {bytes_max} bytes"),
    )
}

pub fn too_many(path: &Path, count: usize, items_max: usize) -> Finding {
    let items = if items_max == 1 { "item" } else { "items" };
    let detail = format!("must have at most {items_max} {items}");
    about(FindingKind::TooMany, "Too many", path, &count.into(), &detail)
}

pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: &str) -> Finding {
    about(FindingKind::TypeInvalid, "Invalid value", path, &value.into(), detail)
}

/// `supported` is listed as given; callers sort where upstream's list comes from a set.
pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Finding {
    let quoted: Vec<String> = supported.iter().map(|value| go_quoted(value)).collect();
    let detail =
        if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
    about(FindingKind::NotSupported, "Unsupported value", path, &value.into(), &detail)
}

/// One finding for each text of a form's check.
pub fn ill_formed(path: &Path, value: &str, wrong: Vec<String>) -> Findings {
    wrong.iter().map(|text| invalid(path, value, text)).collect()
}

/// A member of a closed set. An empty value is asked for, as upstream does.
pub fn one_of(path: &Path, value: &str, supported: &[&str]) -> Findings {
    match value {
        "" => vec![required(path, "")],
        _ if supported.contains(&value) => Findings::new(),
        _ => vec![not_supported(path, value, supported)],
    }
}

pub const IMMUTABLE: &str = "field is immutable";

/// The field may not change. The finding shows the new value.
pub fn immutable(path: &Path, new: &Value, old: &Value) -> Findings {
    if new == old { Findings::new() } else { vec![invalid(path, new.clone(), IMMUTABLE)] }
}

pub fn not_negative(path: &Path, value: i64) -> Findings {
    if value >= 0 {
        Findings::new()
    } else {
        vec![invalid(path, value, "must be greater than or equal to 0")]
    }
}

pub fn positive(path: &Path, value: i64) -> Findings {
    if value > 0 { Findings::new() } else { vec![invalid(path, value, "must be greater than 0")] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts() {
        let path = Path::new("spec").child("a").index(1).key("k");
        assert_eq!(path.to_string(), "spec.a[1][k]");
        for (finding, message) in [
            (required(&path, ""), "Required value"),
            (invalid(&path, "A\n", "no"), "Invalid value: \"A\\n\": no"),
            (invalid(&path, 5, "no"), "Invalid value: 5: no"),
            (invalid(&path, json!({"a": "<"}), "no"), "Invalid value: {\"a\":\"\\u003c\"}: no"),
            (
                not_supported(&path, "X", &["A", "B"]),
                "Unsupported value: \"X\": supported values: \"A\", \"B\"",
            ),
            (duplicate(&path, "X"), "Duplicate value: \"X\""),
            (too_many(&path, 3, 2), "Too many: 3: must have at most 2 items"),
            (too_long(&path, 2), "Too long: may not be more than 2 bytes"),
        ] {
            assert_eq!(finding.message, message);
        }
    }
}
