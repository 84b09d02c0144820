//! The strategic merge patch that turns one status into another and leaves alone what others own.

use serde_json::{Map, Value, json};

/// Lists that the API merges by a key: conditions are patched one by one, the others are replaced as a whole.
const REPLACED: [&str; 3] = ["podIPs", "addresses", "hostIPs"];

/// None where nothing differs.
pub(crate) fn between(old: &Value, new: &Value) -> Option<Value> {
    let patch = objects(old.as_object().unwrap_or(&Map::new()), new.as_object().unwrap_or(&Map::new()));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn objects(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, value) in new {
        let before = old.get(key);
        if before == Some(value) {
            continue;
        }
        let change = match (key.as_str(), before, value) {
            ("conditions", before, Value::Array(after)) => {
                let changed = conditions(before.and_then(Value::as_array).map_or(&[], Vec::as_slice), after);
                if changed.is_empty() {
                    continue;
                }
                Value::Array(changed)
            }
            (name, Some(_), Value::Array(after)) if REPLACED.contains(&name) => {
                let mut list = after.clone();
                list.push(json!({"$patch": "replace"}));
                Value::Array(list)
            }
            (_, Some(Value::Object(before)), Value::Object(after)) => Value::Object(objects(before, after)),
            (_, _, value) => value.clone(),
        };
        patch.insert(key.clone(), change);
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

/// Changed and new conditions whole (absent fields as null), and those that are gone as deletions.
fn conditions(old: &[Value], new: &[Value]) -> Vec<Value> {
    let find =
        |list: &[Value], kind: &Value| list.iter().find(|condition| condition["type"] == *kind).cloned();
    let mut patch = Vec::new();
    for condition in new {
        let before = find(old, &condition["type"]);
        if before.as_ref() == Some(condition) {
            continue;
        }
        let mut change = condition.clone();
        for key in before.iter().filter_map(Value::as_object).flat_map(Map::keys) {
            if condition.get(key).is_none() {
                change[key] = Value::Null;
            }
        }
        patch.push(change);
    }
    for gone in old.iter().filter(|condition| find(new, &condition["type"]).is_none()) {
        patch.push(json!({"$patch": "delete", "type": gone["type"]}));
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches() {
        for (old, new, patch) in [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1, "b": 2}), json!({"a": 3}), Some(json!({"a": 3, "b": null}))),
            (json!({"n": {"x": 1, "y": 2}}), json!({"n": {"x": 1}}), Some(json!({"n": {"y": null}}))),
            (json!({"l": [{"name": "a"}]}), json!({"l": []}), Some(json!({"l": []}))),
            (
                json!({"conditions": [{"type": "A", "status": "False", "reason": "x"}, {"type": "B", "status": "True"}]}),
                json!({"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}]}),
                Some(json!({"conditions": [{"type": "A", "status": "True", "reason": null}]})),
            ),
            (json!({"conditions": [{"type": "A"}]}), json!({}), Some(json!({"conditions": null}))),
            (
                json!({"podIPs": [{"ip": "1"}]}),
                json!({"podIPs": [{"ip": "2"}]}),
                Some(json!({"podIPs": [{"ip": "2"}, {"$patch": "replace"}]})),
            ),
        ] {
            assert_eq!(between(&old, &new), patch, "{old} -> {new}");
        }
    }
}
