//! A set of field paths, and `metav1.FieldsV1`, its JSON.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// `f:NAME`: a field, or a key of a map.
    Field(String),
    /// `k:{…}`: the item of a list with these keys; JSON with sorted names.
    Keys(String),
    /// `v:…`: the item of a set; JSON.
    Value(String),
}

impl Step {
    fn parse(word: &str) -> Option<Step> {
        match word.split_once(':')? {
            ("f", name) => Some(Step::Field(name.to_owned())),
            ("k", keys) => Some(Step::Keys(canonical(keys)?)),
            ("v", value) => Some(Step::Value(canonical(value)?)),
            _ => None,
        }
    }

    fn word(&self) -> String {
        match self {
            Step::Field(name) => format!("f:{name}"),
            Step::Keys(keys) => format!("k:{keys}"),
            Step::Value(value) => format!("v:{value}"),
        }
    }
}

fn canonical(json: &str) -> Option<String> {
    serde_json::from_str::<BTreeMap<String, Value>>(json)
        .ok()
        .and_then(|keys| serde_json::to_string(&keys).ok())
        .or_else(|| serde_json::from_str::<Value>(json).ok().map(|value| value.to_string()))
}

/// A tree of steps. A node may be in the set or only lead to others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    member: bool,
    below: BTreeMap<Step, Set>,
}

impl Set {
    pub fn is_empty(&self) -> bool {
        !self.member && self.below.values().all(Set::is_empty)
    }

    pub fn insert(&mut self, path: &[Step]) {
        match path {
            [] => self.member = true,
            // Most steps of most paths are there: only new ones are copied.
            [step, rest @ ..] => match self.below.get_mut(step) {
                Some(set) => set.insert(rest),
                None => self.below.entry(step.clone()).or_default().insert(rest),
            },
        }
    }

    /// Takes out one path; what lies below it stays.
    pub fn remove(&mut self, path: &[Step]) {
        match path {
            [] => self.member = false,
            [step, rest @ ..] => {
                if let Some(set) = self.below.get_mut(step) {
                    set.remove(rest);
                }
            }
        }
    }

    /// Takes out a path and all below it.
    pub fn remove_below(&mut self, path: &[Step]) {
        match path {
            [] => *self = Set::default(),
            [step, rest @ ..] => {
                if let Some(set) = self.below.get_mut(step) {
                    set.remove_below(rest);
                }
            }
        }
    }

    pub fn union(&mut self, other: &Set) {
        self.member |= other.member;
        for (step, set) in &other.below {
            match self.below.get_mut(step) {
                Some(own) => own.union(set),
                None => drop(self.below.insert(step.clone(), set.clone())),
            }
        }
    }

    pub fn difference(&mut self, other: &Set) {
        self.member &= !other.member;
        for (step, set) in &other.below {
            if let Some(own) = self.below.get_mut(step) {
                own.difference(set);
            }
        }
    }

    /// None: no `FieldsV1`.
    pub fn parse(fields: &Value) -> Option<Set> {
        let map = fields.as_object()?;
        let mut set = Set { member: map.is_empty(), below: BTreeMap::new() };
        for (word, below) in map {
            if word == "." {
                set.member = true;
            } else {
                set.below.insert(Step::parse(word)?, Set::parse(below)?);
            }
        }
        Some(set)
    }

    /// A whole set; its root is never a member.
    pub fn parse_root(fields: &Value) -> Option<Set> {
        Set::parse(fields).map(|set| Set { member: false, ..set })
    }

    pub fn to_fields(&self) -> Value {
        let mut map = Map::new();
        for (step, set) in self.below.iter().filter(|(_, set)| !set.is_empty()) {
            map.insert(step.word(), set.to_fields());
        }
        if self.member && !map.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(fields: Value) -> Set {
        Set::parse_root(&fields).expect("FieldsV1")
    }

    #[test]
    fn json_and_back() {
        let fields =
            json!({"f:data": {".": {}, "f:a": {}}, "f:l": {"k:{\"a\":1,\"b\":\"x\"}": {}, "v:\"q\"": {}}});
        assert_eq!(set(fields.clone()).to_fields(), fields);
        assert_eq!(
            set(json!({"f:l": {"k:{\"b\":\"x\",\"a\":1}": {}}})).to_fields(),
            json!({"f:l": {"k:{\"a\":1,\"b\":\"x\"}": {}}})
        );
        for broken in [json!([]), json!({"x": {}}), json!({"q:a": {}}), json!({"k:{": {}})] {
            assert_eq!(Set::parse_root(&broken), None, "{broken}");
        }
    }

    #[test]
    fn arithmetic() {
        let mut one = set(json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
        one.difference(&set(json!({"f:a": {}, "f:c": {}})));
        assert_eq!(one.to_fields(), json!({"f:a": {"f:b": {}}}));
        one.union(&set(json!({"f:a": {}, "f:d": {}})));
        assert_eq!(one.to_fields(), json!({"f:a": {".": {}, "f:b": {}}, "f:d": {}}));
        one.remove_below(&[Step::Field("a".to_owned())]);
        one.remove(&[Step::Field("d".to_owned())]);
        assert!(one.is_empty());
    }
}
