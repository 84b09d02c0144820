//! JSON patch (RFC 6902) as upstream's library reads it, which is laxer than the RFC: `replace` may add, `copy` may copy what
//! is not there, an index may be negative, and whatever precedes the first slash of a path is ignored.

use crate::schema::json::{DEPTH_MAX, Node, is_within};
use serde_json::{Map, Value};

/// One operation. What is missing or wrong shows when it is applied, since the operations before it may not fail.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    op: String,
    path: Option<String>,
    from: Option<String>,
    value: Value,
}

/// An operation cannot be applied. Upstream does not tell clients more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected;

pub fn parse(node: Node) -> Result<Vec<Operation>, String> {
    let wrong =
        |node: &Node, ty: &str| format!("json: cannot unmarshal {} into Go value of type {ty}", node.kind());
    let items = match node {
        Node::Array(items) => items,
        Node::Null => Vec::new(),
        other => return Err(wrong(&other, "jsonpatch.Patch")),
    };
    let operation = |item: Node| match item {
        Node::Object(_) => {
            let text = |key: &str| match item.get(key) {
                Some(Node::String(text)) => Some(text.clone()),
                _ => None,
            };
            let value = item.get("value").cloned().map_or(Value::Null, Node::into_value);
            Ok(Operation {
                op: text("op").unwrap_or_default(),
                path: text("path"),
                from: text("from"),
                value,
            })
        }
        other => Err(wrong(&other, "jsonpatch.Operation")),
    };
    items.into_iter().map(operation).collect()
}

/// Upstream's limit on what all operations of one patch copy; here it bounds what they move as well, which has to be measured
/// too.
const COPIED_BYTES_MAX: usize = 3 * 1024 * 1024;

/// All operations or none: the document is useless after a failure.
pub fn apply(document: &mut Value, operations: &[Operation]) -> Result<(), Rejected> {
    let mut copied = 0;
    for operation in operations {
        let path = Path::parse(operation.path.as_deref().ok_or(Rejected)?)?;
        // Copies of copies would grow without end, or deeper than any stack.
        let mut measured = |value: Value| {
            copied += bytes(&value);
            let is_shallow = is_within(&value, DEPTH_MAX.saturating_sub(path.parents.len() + 1));
            if copied > COPIED_BYTES_MAX || !is_shallow { Err(Rejected) } else { Ok(value) }
        };
        let from = || Path::parse(operation.from.as_deref().ok_or(Rejected)?);
        match operation.op.as_str() {
            "add" => add(path.container(document)?, &path.key, measured(operation.value.clone())?)?,
            "remove" => drop(remove(path.container(document)?, &path.key)?),
            "replace" => replace(path.container(document)?, &path.key, measured(operation.value.clone())?)?,
            "move" => {
                let from = from()?;
                let value = measured(remove(from.container(document)?, &from.key)?)?;
                add(path.container(document)?, &path.key, value)?;
            }
            "copy" => {
                let from = from()?;
                let value = get(from.container(document)?, &from.key)?.cloned().unwrap_or(Value::Null);
                let value = measured(value)?;
                add(path.container(document)?, &path.key, value)?;
            }
            "test" => {
                let found = get(path.container(document)?, &path.key)?.unwrap_or(&Value::Null);
                if *found != operation.value {
                    return Err(Rejected);
                }
            }
            _ => return Err(Rejected),
        }
    }
    Ok(())
}

/// About the length of its JSON text.
fn bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| bytes(item) + 1).sum::<usize>() + 2,
        Value::Object(map) => map.iter().map(|(key, item)| key.len() + 4 + bytes(item)).sum::<usize>() + 2,
        _ => 4,
    }
}

/// The objects that the operations look into, as a document of objects: upstream prints these with sorted keys.
pub fn touched(operations: &[Operation]) -> Value {
    let mut touched = Value::Object(Map::new());
    for path in operations.iter().flat_map(|o| [&o.path, &o.from]).flatten() {
        let Ok(path) = Path::parse(path) else { continue };
        let mut at = &mut touched;
        for part in path.parents {
            if !at[&part].is_object() {
                at[&part] = Value::Object(Map::new());
            }
            at = &mut at[&part];
        }
    }
    touched
}

struct Path {
    parents: Vec<String>,
    key: String,
}

impl Path {
    fn parse(path: &str) -> Result<Path, Rejected> {
        let mut parents: Vec<String> = path.split('/').skip(1).map(unescape).collect();
        let key = parents.pop().ok_or(Rejected)?;
        Ok(Path { parents, key })
    }

    fn container<'a>(&self, document: &'a mut Value) -> Result<&'a mut Value, Rejected> {
        self.parents.iter().try_fold(document, |at, part| match at {
            Value::Object(map) => map.get_mut(part).ok_or(Rejected),
            Value::Array(items) => {
                let index = index(part, items.len())?;
                items.get_mut(index).ok_or(Rejected)
            }
            _ => Err(Rejected),
        })
    }
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// Negative ones count from the end.
fn index(part: &str, length: usize) -> Result<usize, Rejected> {
    let index: i64 = part.parse().map_err(|_| Rejected)?;
    usize::try_from(if index < 0 { index + length as i64 } else { index }).map_err(|_| Rejected)
}

fn get<'a>(container: &'a Value, key: &str) -> Result<Option<&'a Value>, Rejected> {
    match container {
        Value::Object(map) => Ok(map.get(key)),
        Value::Array(items) => items.get(index(key, items.len())?).map(Some).ok_or(Rejected),
        _ => Err(Rejected),
    }
}

fn add(container: &mut Value, key: &str, value: Value) -> Result<(), Rejected> {
    match container {
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let index = index(key, items.len() + 1)?;
            if index > items.len() {
                return Err(Rejected);
            }
            items.insert(index, value);
        }
        _ => return Err(Rejected),
    }
    Ok(())
}

fn replace(container: &mut Value, key: &str, value: Value) -> Result<(), Rejected> {
    match container {
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Array(items) => {
            let index = index(key, items.len())?;
            *items.get_mut(index).ok_or(Rejected)? = value;
        }
        _ => return Err(Rejected),
    }
    Ok(())
}

fn remove(container: &mut Value, key: &str) -> Result<Value, Rejected> {
    match container {
        Value::Object(map) => map.remove(key).ok_or(Rejected),
        Value::Array(items) => {
            let index = index(key, items.len())?;
            if index < items.len() { Ok(items.remove(index)) } else { Err(Rejected) }
        }
        _ => Err(Rejected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn copies_of_copies_are_bounded() {
        let check = |paths: &mut dyn Iterator<Item = String>, applies: bool| {
            let copy = |path| json!({"op": "copy", "from": "/m", "path": path});
            let parsed = parse(Value::from_iter(paths.map(copy)).into()).expect("parses");
            let mut document = json!({"m": {"text": "x".repeat(1000)}});
            assert_eq!(apply(&mut document, &parsed).is_ok(), applies);
        };
        // Doubles the document each time; the one after it nests a level deeper each time.
        check(&mut (0..30).map(|n| format!("/m/{n}")), false);
        check(&mut (0..5000).map(|_| "/m/n".to_owned()), false);
        check(&mut (0..100).map(|n| format!("/k{n}")), true);
        let shallow = json!([{"op": "copy", "from": "/m/text", "path": "/m/n"}]);
        let mut document = json!({"m": {"text": 1}});
        assert!(apply(&mut document, &parse(shallow.into()).expect("parses")).is_ok());
    }

    #[test]
    fn operations() {
        let check = |operations: Value, expected: Option<Value>| {
            let parsed = parse(operations.clone().into()).expect("parses");
            let mut document = json!({"a": {"b/c": 1}, "l": [1, 2]});
            let found = apply(&mut document, &parsed).ok().map(|()| document);
            assert_eq!(found, expected, "{operations}");
        };
        check(
            json!([{"op": "add", "path": "/x", "value": 1}]),
            Some(json!({"a": {"b/c": 1}, "l": [1, 2], "x": 1})),
        );
        check(
            json!([{"op": "add", "path": "/l/1", "value": 9}]),
            Some(json!({"a": {"b/c": 1}, "l": [1, 9, 2]})),
        );
        check(
            json!([{"op": "add", "path": "/l/-", "value": 9}]),
            Some(json!({"a": {"b/c": 1}, "l": [1, 2, 9]})),
        );
        check(json!([{"op": "add", "path": "/l/9", "value": 9}]), None);
        check(json!([{"op": "add", "path": "/x/y", "value": 9}]), None);
        check(json!([{"op": "remove", "path": "/a/b~1c"}]), Some(json!({"a": {}, "l": [1, 2]})));
        check(json!([{"op": "remove", "path": "/l/-1"}]), Some(json!({"a": {"b/c": 1}, "l": [1]})));
        check(json!([{"op": "remove", "path": "/q"}]), None);
        check(
            json!([{"op": "replace", "path": "/q", "value": 1}]),
            Some(json!({"a": {"b/c": 1}, "l": [1, 2], "q": 1})),
        );
        check(
            json!([{"op": "move", "from": "/l", "path": "/m"}]),
            Some(json!({"a": {"b/c": 1}, "m": [1, 2]})),
        );
        check(
            json!([{"op": "copy", "from": "/q", "path": "/m"}]),
            Some(json!({"a": {"b/c": 1}, "l": [1, 2], "m": null})),
        );
        check(
            json!([{"op": "test", "path": "/l/0", "value": 1}]),
            Some(json!({"a": {"b/c": 1}, "l": [1, 2]})),
        );
        check(json!([{"op": "test", "path": "/l/0", "value": 2}]), None);
        check(json!([{"op": "nope", "path": "/l"}]), None);
        check(json!([{"op": "add", "path": "", "value": {}}]), None);
        check(json!([{}]), None);
    }
}
