//! Reading and filling JSON objects the way typed code reads structs: what is absent, null or of another type is empty.
//! The schema has refused wrong types before a strategy sees an object.

use kedge_api::quantity;
use serde_json::{Map, Value};

/// Reads of one object.
pub trait Read {
    /// Neither absent nor null.
    fn has(&self, key: &str) -> bool;
    fn text(&self, key: &str) -> &str;
    fn number(&self, key: &str) -> Option<i64>;
    fn flag(&self, key: &str) -> bool;
    fn list(&self, key: &str) -> &[Value];
    fn texts(&self, key: &str) -> impl Iterator<Item = &str>;
    fn entries(&self, key: &str) -> impl Iterator<Item = (&str, &Value)>;
    /// No entries in the map or list at this key.
    fn lacks(&self, key: &str) -> bool;
}

impl Read for Value {
    fn has(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(Value::as_i64)
    }

    fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    fn list(&self, key: &str) -> &[Value] {
        self.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn texts(&self, key: &str) -> impl Iterator<Item = &str> {
        self.list(key).iter().map(|value| value.as_str().unwrap_or_default())
    }

    fn entries(&self, key: &str) -> impl Iterator<Item = (&str, &Value)> {
        let map = self.get(key).and_then(Value::as_object);
        map.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }

    fn lacks(&self, key: &str) -> bool {
        match self.get(key) {
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            _ => true,
        }
    }
}

/// Fills of one object.
pub trait Fill {
    /// Where the field is absent or null. Pointers in upstream's types.
    fn fill(&mut self, key: &str, value: impl Into<Value>);
    /// Where the field is absent, null or the empty text. Plain strings in upstream's types.
    fn fill_text(&mut self, key: &str, value: &str);
    /// Where the field is absent, null or zero. Plain numbers in upstream's types.
    fn fill_number(&mut self, key: &str, value: i64);
    /// The object at this key, made where there is none.
    fn child(&mut self, key: &str) -> &mut Value;
    /// Acts on the object at this key, where there is one.
    fn with(&mut self, key: &str, act: impl FnOnce(&mut Value));
    /// Acts on every element of the list at this key.
    fn each(&mut self, key: &str, act: impl FnMut(&mut Value));
    fn drop_field(&mut self, key: &str);
    /// Takes the field over from another object, its absence too.
    fn take_from(&mut self, other: &Value, key: &str);
    /// Writes the quantities of a resource list in canonical form, rounded up to thousandths.
    fn canonical_resources(&mut self, key: &str);
    /// Writes one quantity in canonical form.
    fn canonical_quantity(&mut self, key: &str);
}

impl Fill for Value {
    fn fill(&mut self, key: &str, value: impl Into<Value>) {
        if !self.has(key) {
            object(self).insert(key.to_owned(), value.into());
        }
    }

    fn fill_text(&mut self, key: &str, value: &str) {
        if self.text(key).is_empty() {
            object(self).insert(key.to_owned(), value.into());
        }
    }

    fn fill_number(&mut self, key: &str, value: i64) {
        if self.number(key).unwrap_or_default() == 0 {
            object(self).insert(key.to_owned(), value.into());
        }
    }

    fn child(&mut self, key: &str) -> &mut Value {
        let child = object(self).entry(key).or_insert(Value::Null);
        object(child);
        child
    }

    fn with(&mut self, key: &str, act: impl FnOnce(&mut Value)) {
        if let Some(child) = self.get_mut(key).filter(|child| child.is_object()) {
            act(child);
        }
    }

    fn each(&mut self, key: &str, act: impl FnMut(&mut Value)) {
        if let Some(list) = self.get_mut(key).and_then(Value::as_array_mut) {
            list.iter_mut().for_each(act);
        }
    }

    fn drop_field(&mut self, key: &str) {
        if let Some(map) = self.as_object_mut() {
            map.remove(key);
        }
    }

    fn take_from(&mut self, other: &Value, key: &str) {
        match other.get(key) {
            Some(value) => {
                object(self).insert(key.to_owned(), value.clone());
            }
            None => self.drop_field(key),
        }
    }

    fn canonical_resources(&mut self, key: &str) {
        let Some(map) = self.get_mut(key).and_then(Value::as_object_mut) else {
            return;
        };
        for amount in map.values_mut() {
            canonical(amount, true);
        }
    }

    fn canonical_quantity(&mut self, key: &str) {
        if let Some(amount) = self.get_mut(key) {
            canonical(amount, false);
        }
    }
}

fn canonical(amount: &mut Value, to_milli: bool) {
    let text = match amount {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return,
    };
    let Ok(quantity) = text.parse::<kedge_api::Quantity>() else {
        return;
    };
    let stored = if to_milli && !quantity.is_whole_milli() {
        kedge_api::Quantity::from_milli(quantity.milli_value()).to_string()
    } else {
        quantity::canonicalize(&text).unwrap_or(text)
    };
    *amount = stored.into();
}

fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made an object above")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fills_only_what_is_empty() {
        let mut object = json!({"a": 0, "b": "", "c": null, "e": "x"});
        object.fill("a", 5);
        object.fill("c", 5);
        object.fill_text("b", "t");
        object.fill_text("e", "t");
        object.fill_number("n", 3);
        object.child("d").fill("x", true);
        assert_eq!(object, json!({"a": 0, "b": "t", "c": 5, "d": {"x": true}, "e": "x", "n": 3}));
    }

    #[test]
    fn quantities_become_canonical_text() {
        let mut object = json!({"limits": {"cpu": 0.5, "memory": "1024Mi", "x": "1n"}});
        object.canonical_resources("limits");
        assert_eq!(object, json!({"limits": {"cpu": "500m", "memory": "1Gi", "x": "1m"}}));
    }
}
