//! One configuration file: a flat YAML map whose keys are names of flags.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::path::{Path, PathBuf};

/// A person writes it; more is a mistake.
const BYTES_MAX: u64 = 1 << 20;

/// A key with its values, as the command line would have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub values: Vec<String>,
    pub file: PathBuf,
    pub line: usize,
}

/// Where and what, in one sentence.
fn at(file: &Path, line: usize, what: impl fmt::Display) -> String {
    format!("{}, line {line}: {what}", file.display())
}

impl Entry {
    pub fn refuse(&self, what: impl fmt::Display) -> String {
        at(&self.file, self.line, what)
    }
}

/// None: there is no such file.
pub fn read(file: &Path) -> Result<Option<Vec<Entry>>, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", file.display());
    match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if metadata.len() > BYTES_MAX => {
            return Err(format!(
                "{} is larger than {} MiB: it is no configuration",
                file.display(),
                BYTES_MAX >> 20
            ));
        }
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    parse(&text, file).map(Some)
}

pub fn parse(text: &str, file: &Path) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let parsed = Document(&mut entries).deserialize(serde_yaml_ng::Deserializer::from_str(text));
    if let Err(error) = parsed {
        let line = error.location().map_or(1, |location| location.line());
        return Err(at(file, line, bare(&error)));
    }
    let mut lines = KeyLines::new(text);
    let entry = |(key, values): (String, Vec<String>)| {
        let line = lines.of(&key);
        Entry { key, values, file: file.to_owned(), line }
    };
    Ok(entries.into_iter().map(entry).collect())
}

/// The place stands in front already.
fn bare(error: &serde_yaml_ng::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// The parser tells places only with errors. Keys stand at the start of their lines, in the order in which it gave them.
struct KeyLines<'a> {
    rest: std::iter::Enumerate<std::str::Lines<'a>>,
}

impl<'a> KeyLines<'a> {
    fn new(text: &'a str) -> KeyLines<'a> {
        KeyLines { rest: text.lines().enumerate() }
    }

    fn of(&mut self, key: &str) -> usize {
        let is_key = |line: &str| {
            let line = line.trim_start_matches(['"', '\'', '{', ' ']);
            line.strip_prefix(key)
                .is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
        };
        self.rest.find(|(_, line)| is_key(line)).map_or(1, |(number, _)| number + 1)
    }
}

struct Document<'a>(&'a mut Vec<(String, Vec<String>)>);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of flags to their values")
    }

    /// An empty file.
    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    /// A file of comments.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if self.0.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format!("{key} is there twice")));
            }
            let mut values = Vec::new();
            map.next_value_seed(Values(&mut values))?;
            self.0.push((key, values));
        }
        Ok(())
    }
}

/// A scalar, or a list of scalars, as text.
struct Values<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.0.push(value.to_owned());
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.push(value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.push(value.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.push(value.to_string());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Values(self.0))?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Vec<(String, String, usize)>, String> {
        let entries = parse(text, Path::new("c.yaml"))?;
        Ok(entries.into_iter().map(|entry| (entry.key, entry.values.join(" "), entry.line)).collect())
    }

    fn entry(key: &str, values: &str, line: usize) -> (String, String, usize) {
        (key.to_owned(), values.to_owned(), line)
    }

    #[test]
    fn values_are_text() {
        assert_eq!(check(""), Ok(vec![]));
        assert_eq!(check("# nothing\n"), Ok(vec![]));
        assert_eq!(
            check("a: 1\n\n# a comment\nb-c: [x, 2]\n\"d\":\n- true\n- y\ne: 10.0.0.0/8\n"),
            Ok(vec![
                entry("a", "1", 1),
                entry("b-c", "x 2", 4),
                entry("d", "true y", 5),
                entry("e", "10.0.0.0/8", 8)
            ])
        );
    }

    #[test]
    fn what_is_no_map_of_values_is_refused_with_its_line() {
        for (text, wanted) in [
            ("- a\n", "c.yaml, line 1: invalid type: sequence, expected a map of flags to their values"),
            (
                "a: 1\nb: {c: d}\n",
                "c.yaml, line 2: b: invalid type: map, expected a value or a list of values",
            ),
            ("a: 1\na: 2\n", "a is there twice"),
            ("a: [1\n", "c.yaml, line "),
            (
                "a:\nb: 1\n",
                "c.yaml, line 1: a: invalid type: unit value, expected a value or a list of values",
            ),
        ] {
            let said = check(text).unwrap_err();
            assert!(said.contains(wanted), "{text:?}: {said}");
        }
    }
}
