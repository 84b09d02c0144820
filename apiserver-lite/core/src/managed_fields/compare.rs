//! What differs between two objects of a type, as sets of paths.
//!
//! A list with keys or of set type is compared item by item, an atomic one as a whole; so are maps. An added item or field
//! brings every path inside it.

use super::set::{Set, Step};
use crate::schema::{Field, ListType, Shape, Ty, Type, types};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The outcome of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Added or modified.
    pub changed: Set,
    pub removed: Set,
}

pub fn compare(old: &Value, new: &Value, ty: &'static Type) -> Comparison {
    let mut walk = Walk { comparison: Comparison::default(), path: Vec::new() };
    walk.inside(Some(old), Some(new), Inside::Struct(ty));
    walk.comparison
}

/// How the content of a value compares.
#[derive(Clone, Copy)]
enum Inside {
    /// As a whole.
    Leaf,
    Struct(&'static Type),
    Map(Ty),
    /// By these keys.
    List(&'static Type, &'static [&'static str]),
    Set,
}

impl Inside {
    fn of_field(field: &'static Field) -> Inside {
        match (field.ty, field.list) {
            (Ty::List(_), ListType::Set) => Inside::Set,
            (Ty::List(item), ListType::Map) => match item.target() {
                Some(ty) => Inside::List(ty, field.keys),
                None => Inside::Leaf,
            },
            (Ty::Ref(..) | Ty::Map(_), _) if field.map == "atomic" => Inside::Leaf,
            (ty, _) => Inside::of(ty),
        }
    }

    fn of(ty: Ty) -> Inside {
        match ty {
            Ty::Map(value) => Inside::Map(*value),
            Ty::Ref(id, _) => Inside::of_type(types().get(id)),
            _ => Inside::Leaf,
        }
    }

    fn of_type(ty: &'static Type) -> Inside {
        match ty.shape {
            Shape::Object if !ty.atomic => Inside::Struct(ty),
            _ => Inside::Leaf,
        }
    }
}

struct Walk {
    comparison: Comparison,
    path: Vec<Step>,
}

impl Walk {
    /// A value that may have come or gone.
    fn value(&mut self, step: Step, old: Option<&Value>, new: Option<&Value>, inside: Inside) {
        self.path.push(step);
        if !self.inside(old, new, inside) {
            match (old, new) {
                (None, Some(_)) => self.comparison.changed.insert(&self.path),
                (Some(_), None) => self.comparison.removed.insert(&self.path),
                _ => {}
            }
        }
        self.path.pop();
    }

    /// True: the value was compared as a whole.
    fn inside(&mut self, old: Option<&Value>, new: Option<&Value>, inside: Inside) -> bool {
        let both_empty = is_empty(old) && is_empty(new);
        match inside {
            _ if both_empty => self.leaf(old, new),
            Inside::Leaf => self.leaf(old, new),
            Inside::Struct(ty) => match (object(old), object(new)) {
                (Some(old), Some(new)) => {
                    self.fields(old, new, |name| ty.field(name).map_or(Inside::Leaf, Inside::of_field))
                }
                _ => self.leaf(old, new),
            },
            Inside::Map(value) => match (object(old), object(new)) {
                (Some(old), Some(new)) => self.fields(old, new, |_| Inside::of(value)),
                _ => self.leaf(old, new),
            },
            Inside::List(ty, keys) => {
                self.items(old, new, Inside::of_type(ty), |item| Some(Step::Keys(item_keys(item, ty, keys))))
            }
            Inside::Set => self.items(old, new, Inside::Leaf, |item| Some(Step::Value(item.to_string()))),
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) -> bool {
        match (old, new) {
            (Some(_), None) => self.comparison.removed.insert(&self.path),
            (old, Some(new)) if old != Some(new) => self.comparison.changed.insert(&self.path),
            _ => {}
        }
        true
    }

    fn fields(
        &mut self,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        inside: impl Fn(&str) -> Inside,
    ) -> bool {
        for (name, value) in old {
            self.value(Step::Field(name.clone()), Some(value), new.get(name), inside(name));
        }
        for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            self.value(Step::Field(name.clone()), None, Some(value), inside(name));
        }
        false
    }

    fn items(
        &mut self,
        old: Option<&Value>,
        new: Option<&Value>,
        inside: Inside,
        step: impl Fn(&Value) -> Option<Step>,
    ) -> bool {
        let (old, new) = (by_step(old, &step), by_step(new, &step));
        let none = Vec::new();
        for step in old.keys().chain(new.keys().filter(|step| !old.contains_key(*step))) {
            let (old, new) = (old.get(step).unwrap_or(&none), new.get(step).unwrap_or(&none));
            match (old.as_slice(), new.as_slice()) {
                ([] | [_], [] | [_]) => {
                    self.value(step.clone(), old.first().copied(), new.first().copied(), inside);
                }
                // Items with the same key cannot be told apart: they are one thing.
                (old, new) => self.duplicates(step, old, new),
            }
        }
        false
    }

    fn duplicates(&mut self, step: &Step, old: &[&Value], new: &[&Value]) {
        self.path.push(step.clone());
        match new.is_empty() {
            true => self.comparison.removed.insert(&self.path),
            false if old != new => self.comparison.changed.insert(&self.path),
            false => {}
        }
        self.path.pop();
    }
}

/// The items of a list by their keys. An item may come more than once.
fn by_step(list: Option<&Value>, step: impl Fn(&Value) -> Option<Step>) -> BTreeMap<Step, Vec<&Value>> {
    let mut found: BTreeMap<Step, Vec<&Value>> = BTreeMap::new();
    for item in list.and_then(Value::as_array).into_iter().flatten() {
        if let Some(step) = step(item) {
            found.entry(step).or_default().push(item);
        }
    }
    found
}

/// The keys of an item, a missing one with its default.
fn item_keys(item: &Value, ty: &'static Type, keys: &[&str]) -> String {
    let mut found = BTreeMap::new();
    for key in keys {
        let default = || ty.field(key).and_then(|f| serde_json::from_str(f.default?).ok());
        if let Some(value) = item.get(*key).filter(|v| !v.is_null()).cloned().or_else(default) {
            found.insert(*key, value);
        }
    }
    json!(found).to_string()
}

/// Absent and null stand for an empty object while the other side has content.
fn object(value: Option<&Value>) -> Option<&Map<String, Value>> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    match value {
        None | Some(Value::Null) => Some(&EMPTY),
        Some(Value::Object(map)) => Some(map),
        Some(_) => None,
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences() {
        let ty = types().named("io.k8s.api.core.v1.PodSpec").expect("PodSpec");
        let check = |old: Value, new: Value, changed: Value, removed: Value| {
            let found = compare(&old, &new, ty);
            assert_eq!(
                (found.changed.to_fields(), found.removed.to_fields()),
                (changed, removed),
                "{old} {new}"
            );
        };
        check(json!({}), json!({}), json!({}), json!({}));
        check(json!({}), json!({"nodeName": "a"}), json!({"f:nodeName": {}}), json!({}));
        check(json!({"nodeName": "a"}), json!({"nodeName": "b"}), json!({"f:nodeName": {}}), json!({}));
        check(json!({"nodeName": "a"}), json!({}), json!({}), json!({"f:nodeName": {}}));
        // A null list was there before; an absent one comes with its items.
        let a = || json!([{"name": "a", "resources": {}}]);
        let inside = || json!({"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:resources": {}}});
        check(
            json!({"containers": null}),
            json!({"containers": a()}),
            json!({"f:containers": inside()}),
            json!({}),
        );
        let mut whole = inside();
        whole["."] = json!({});
        check(
            json!({}),
            json!({"initContainers": a()}),
            json!({"f:initContainers": whole.clone()}),
            json!({}),
        );
        check(json!({"initContainers": a()}), json!({}), json!({}), json!({"f:initContainers": whole}));
        // Atomic: a list, a struct, a map.
        check(json!({}), json!({"tolerations": [{"key": "a"}]}), json!({"f:tolerations": {}}), json!({}));
        check(json!({}), json!({"nodeSelector": {"a": "b"}}), json!({"f:nodeSelector": {}}), json!({}));
        check(json!({}), json!({"securityContext": {}}), json!({"f:securityContext": {}}), json!({}));
        check(
            json!({"containers": [{"name": "a"}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]}),
            json!({"f:containers": {"k:{\"name\":\"a\"}": {"f:ports": {
                ".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}),
            json!({}),
        );
    }
}
