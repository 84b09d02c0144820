//! Strategic merge patch: a merge patch that knows which lists merge, and by which key.
//!
//! The directives: `$patch: replace|delete` in an object or a list's item, `$retainKeys` in an object,
//! `$deleteFromPrimitiveList/FIELD` and `$setElementOrder/FIELD` beside a list. See
//! `contributors/devel/sig-api-machinery/strategic-merge-patch.md` of kubernetes/community.

use super::golang;
use super::unprocessable;
use crate::schema::{Ty, Type, types};
use crate::status::ApiError;
use serde_json::{Map, Value, json};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList";
const ORDER_PREFIX: &str = "$setElementOrder";

pub fn apply(document: &mut Value, patch: Value, ty: &'static Type) -> Result<(), ApiError> {
    let (Value::Object(original), Value::Object(patch)) = (&mut *document, patch) else {
        return Err(ApiError::bad_request("invalid JSON document"));
    };
    merge_object(original, patch, Schema::Type(ty))
}

/// What is known about the object at hand.
#[derive(Clone, Copy)]
enum Schema {
    Type(&'static Type),
    /// A map of such values.
    Map(Ty),
    /// Free content.
    Unknown,
}

/// How a field merges.
struct Strategy {
    schema: Schema,
    /// Lists only: by this key (empty: by value).
    merge: Option<&'static str>,
    replace: bool,
}

impl Schema {
    fn of(ty: Ty) -> Schema {
        match ty {
            Ty::Ref(id, _) => Schema::Type(types().get(id)),
            Ty::Map(value) => Schema::Map(*value),
            Ty::List(item) => Schema::of(*item),
            _ => Schema::Unknown,
        }
    }

    fn field(self, name: &str) -> Result<Strategy, ApiError> {
        match self {
            Schema::Type(ty) if ty.fields.is_empty() => Ok(Strategy::plain(Schema::Unknown)),
            Schema::Type(ty) => {
                let field = ty.field(name).ok_or_else(|| {
                    failure(format!(
                        "unable to find api field in struct {} for the json field {name:?}",
                        ty.name
                    ))
                })?;
                Ok(Strategy {
                    schema: Schema::of(field.ty),
                    merge: field.patch.contains(&"merge").then_some(field.merge_key),
                    replace: field.patch.contains(&"replace"),
                })
            }
            Schema::Map(value) => Ok(Strategy::plain(Schema::of(value))),
            Schema::Unknown => Ok(Strategy::plain(Schema::Unknown)),
        }
    }
}

impl Strategy {
    fn plain(schema: Schema) -> Strategy {
        Strategy { schema, merge: None, replace: false }
    }
}

fn merge_object(
    original: &mut Map<String, Value>,
    mut patch: Map<String, Value>,
    schema: Schema,
) -> Result<(), ApiError> {
    if let Some(directive) = patch.get(PATCH) {
        match directive.as_str() {
            Some("replace") => {
                patch.remove(PATCH);
                *original = patch;
            }
            Some("delete") => original.clear(),
            _ => {
                return Err(unknown_directive(&golang::print(directive), &Value::Object(patch)));
            }
        }
        return Ok(());
    }
    retain_keys(original, &mut patch)?;
    merge_ordered_lists(original, &mut patch, schema)?;
    for (key, value) in patch {
        match key.split_once('/') {
            Some((DELETE_PREFIX, field)) => delete_from_list(original, field, &value)?,
            _ if key.starts_with(DELETE_PREFIX) => {
                return Err(ApiError::bad_request("invalid patch format of primitive list"));
            }
            _ => merge_field(original, key, value, schema)?,
        }
    }
    Ok(())
}

fn merge_field(
    original: &mut Map<String, Value>,
    key: String,
    patch: Value,
    schema: Schema,
) -> Result<(), ApiError> {
    match (original.get_mut(&key), patch) {
        (_, Value::Null) => {
            original.remove(&key);
        }
        (Some(Value::Object(below)), Value::Object(patch)) => {
            let strategy = schema.field(&key)?;
            if strategy.replace {
                *below = patch;
            } else {
                merge_object(below, patch, strategy.schema)?;
            }
        }
        (Some(Value::Array(items)), Value::Array(patch)) => {
            let strategy = schema.field(&key)?;
            match strategy.merge {
                Some(merge_key) => {
                    *items = merge_list(std::mem::take(items), patch, merge_key, strategy.schema)?
                }
                None => *items = patch,
            }
        }
        (_, mut patch) => {
            discard_nulls(&mut patch);
            match without_directives(patch) {
                Some(value) => original.insert(key, value),
                None => original.remove(&key),
            };
        }
    }
    Ok(())
}

/// `$retainKeys`: every other key goes. The patch may set no key that the list lacks.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), ApiError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let bad = || ApiError::bad_request("invalid patch format of retainKeys");
    let keys = keys.as_array().ok_or_else(bad)?;
    let retained = |key: &str| keys.iter().any(|k| k == key);
    let is_directive = |key: &str| key.starts_with(DELETE_PREFIX) || key.starts_with(ORDER_PREFIX);
    if patch.iter().any(|(key, value)| !value.is_null() && !is_directive(key) && !retained(key)) {
        return Err(bad());
    }
    original.retain(|key, _| retained(key));
    Ok(())
}

/// `$setElementOrder/FIELD` together with the list that it orders.
fn merge_ordered_lists(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    schema: Schema,
) -> Result<(), ApiError> {
    let directives: Vec<String> = patch.keys().filter(|k| k.starts_with(ORDER_PREFIX)).cloned().collect();
    for directive in directives {
        let bad = || ApiError::bad_request("invalid patch format of setElementOrder list");
        let order = patch.remove(&directive).and_then(array).ok_or_else(bad)?;
        let field = match directive.split_once('/') {
            Some((ORDER_PREFIX, field)) => field,
            _ => return Err(bad()),
        };
        let strategy = schema.field(field)?;
        let merge_key = strategy.merge.unwrap_or_default();
        let changes = patch.remove(field).map(|list| array(list).ok_or_else(bad)).transpose()?;
        check_order(changes.as_deref().unwrap_or_default(), &order, merge_key)?;
        let before = original.remove(field).map(|list| array(list).ok_or_else(bad)).transpose()?;
        let merged = match (before.clone(), changes) {
            (None, None) => continue,
            (Some(list), None) => list,
            (None, Some(changes)) => changes.into_iter().filter_map(without_directives).collect(),
            (Some(list), Some(changes)) => match strategy.merge {
                Some(key) => merge_list(list, changes, key, strategy.schema)?,
                None => changes,
            },
        };
        let merged = in_order(merged, &order, &before.unwrap_or_default(), merge_key);
        original.insert(field.to_owned(), Value::Array(merged));
    }
    Ok(())
}

/// The items of the patch must come in the order of the directive.
fn check_order(changes: &[Value], order: &[Value], merge_key: &str) -> Result<(), ApiError> {
    if changes.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    let ordered =
        changes.iter().filter(|c| c.get(PATCH).is_none()).all(|c| rest.any(|o| same(c, o, merge_key)));
    if ordered {
        return Ok(());
    }
    let (changes, order) = (golang::print(&json!(changes)), golang::print(&json!(order)));
    Err(failure(format!(
        "The order in patch list:\n{changes}\n doesn't match $setElementOrder list:\n{order}\n"
    )))
}

fn merge_list(
    original: Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
    schema: Schema,
) -> Result<Vec<Value>, ApiError> {
    if !original.iter().chain(&patch).any(Value::is_object) {
        let mut merged: Vec<Value> = Vec::new();
        for item in original.iter().chain(&patch) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return Ok(in_order(merged, &patch, &original, ""));
    }
    if merge_key.is_empty() {
        return Err(failure("cannot merge lists without merge key".to_owned()));
    }
    let (original, patch) = apply_item_directives(original, patch, merge_key)?;
    let mut merged = original.clone();
    for change in &patch {
        let (Value::Object(map), Some(key)) = (change, change.get(merge_key)) else {
            return Err(no_merge_key(change, merge_key));
        };
        match merged.iter_mut().find(|item| item.get(merge_key) == Some(key)) {
            Some(Value::Object(item)) => merge_object(item, map.clone(), schema)?,
            _ => {
                let mut item = change.clone();
                item.as_object_mut().map(|map| map.remove(RETAIN_KEYS));
                merged.push(item);
            }
        }
    }
    Ok(in_order(merged, &patch, &original, merge_key))
}

/// `$patch` in the items of a list: deletes matching items, or makes the rest of the patch the whole list.
fn apply_item_directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
) -> Result<(Vec<Value>, Vec<Value>), ApiError> {
    let mut plain = Vec::new();
    let mut replace = false;
    for item in patch {
        match item.get(PATCH) {
            None => plain.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    let key = item.get(merge_key).ok_or_else(|| no_merge_key(&item, merge_key))?;
                    original.retain(|o| o.get(merge_key) != Some(key));
                }
                Some("replace") => replace = true,
                Some("merge") => {
                    return Err(failure("merging lists cannot yet be specified in the patch".to_owned()));
                }
                _ => return Err(unknown_directive(&golang::print(directive), &item)),
            },
        }
    }
    Ok(if replace { (plain, Vec::new()) } else { (original, plain) })
}

/// Items that the patch names come in its order, the others in theirs; where the two could be exchanged the patch's come
/// first, unless the stored order says otherwise.
fn in_order(merged: Vec<Value>, order: &[Value], stored: &[Value], merge_key: &str) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| list.iter().position(|o| same(o, item, merge_key));
    let (mut named, mut others): (Vec<_>, Vec<_>) =
        merged.into_iter().partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    others.sort_by_key(|item| place(stored, item).unwrap_or(usize::MAX));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut all = Vec::new();
    loop {
        let take_other = match (others.peek(), named.peek()) {
            (None, None) => return all,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(name)) => match (place(stored, other), place(stored, name)) {
                (Some(other), Some(name)) => other < name,
                _ => false,
            },
        };
        all.extend(if take_other { others.next() } else { named.next() });
    }
}

fn same(one: &Value, other: &Value, merge_key: &str) -> bool {
    if merge_key.is_empty() {
        one == other
    } else {
        one.get(merge_key).is_some() && one.get(merge_key) == other.get(merge_key)
    }
}

fn delete_from_list(original: &mut Map<String, Value>, field: &str, values: &Value) -> Result<(), ApiError> {
    let values =
        values.as_array().ok_or_else(|| ApiError::bad_request("invalid patch format of primitive list"))?;
    if let Some(Value::Array(items)) = original.get_mut(field) {
        items.retain(|item| !values.contains(item));
    }
    Ok(())
}

fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(discard_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// None: the value itself was a directive.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(PATCH) => None,
        Value::Object(map) => {
            let kept = map.into_iter().filter_map(|(key, value)| Some((key, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        leaf => Some(leaf),
    }
}

fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// Upstream answers these as plain 500s.
fn failure(message: String) -> ApiError {
    ApiError::new(500, "", message)
}

fn unknown_directive(directive: &str, map: &Value) -> ApiError {
    failure(format!("unknown patch type: {directive} in map: {}", golang::print(map)))
}

fn no_merge_key(item: &Value, merge_key: &str) -> ApiError {
    if item.is_object() {
        failure(format!("map: {} does not contain declared merge key: {merge_key}", golang::print(item)))
    } else {
        unprocessable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(document: Value, patch: Value) -> Result<Value, ApiError> {
        let mut found = document;
        let ty = types().named("io.k8s.api.core.v1.PodSpec").expect("PodSpec");
        apply(&mut found, patch, ty).map(|()| found)
    }

    #[test]
    fn merges() {
        let check = |document: Value, patch: Value, expected: Value| {
            assert_eq!(run(document.clone(), patch.clone()), Ok(expected), "{document} {patch}");
        };
        let two = || json!({"containers": [{"name": "a", "args": ["x"]}, {"name": "b"}]});
        check(
            two(),
            json!({"containers": [{"name": "b", "image": "i"}]}),
            json!({"containers": [{"name": "a", "args": ["x"]}, {"name": "b", "image": "i"}]}),
        );
        check(
            two(),
            json!({"containers": [{"name": "c"}]}),
            json!({"containers": [{"name": "c"}, {"name": "a", "args": ["x"]}, {"name": "b"}]}),
        );
        check(
            two(),
            json!({"containers": [{"name": "a", "$patch": "delete"}]}),
            json!({"containers": [{"name": "b"}]}),
        );
        check(
            two(),
            json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
            json!({"containers": [{"name": "c"}]}),
        );
        check(
            two(),
            json!({"containers": [{"name": "a", "args": ["y"]}]}),
            json!({"containers": [{"name": "a", "args": ["y"]}, {"name": "b"}]}),
        );
        check(
            two(),
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
            json!({"containers": [{"name": "b"}, {"name": "a", "args": ["x"]}]}),
        );
        check(
            json!({"nodeSelector": {"a": "b"}}),
            json!({"nodeSelector": {"a": null, "c": "d"}}),
            json!({"nodeSelector": {"c": "d"}}),
        );
        check(
            json!({"tolerations": [{"key": "a"}]}),
            json!({"tolerations": [{"key": "b"}]}),
            json!({"tolerations": [{"key": "b"}]}),
        );
        check(
            json!({}),
            json!({"nodeName": null, "securityContext": {"runAsUser": null}}),
            json!({"securityContext": {}}),
        );
        check(
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
        );
    }

    #[test]
    fn primitive_lists() {
        let ty = types().named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("ObjectMeta");
        let check = |patch: Value, expected: Value| {
            let mut found = json!({"finalizers": ["a", "b", "c"]});
            assert_eq!(
                apply(&mut found, patch.clone(), ty).map(|()| found["finalizers"].clone()),
                Ok(expected),
                "{patch}"
            );
        };
        check(json!({"finalizers": ["d"]}), json!(["d", "a", "b", "c"]));
        check(json!({"$deleteFromPrimitiveList/finalizers": ["b"]}), json!(["a", "c"]));
        check(
            json!({"$setElementOrder/finalizers": ["c", "d"], "finalizers": ["d"], "$deleteFromPrimitiveList/finalizers": ["a"]}),
            json!(["b", "c", "d"]),
        );
    }

    #[test]
    fn refuses() {
        let check = |patch: Value, code: u16, message: &str| {
            let error = run(json!({"volumes": [{"name": "v"}], "containers": [{"name": "a"}]}), patch)
                .expect_err(message);
            assert_eq!((error.code, error.message.as_str()), (code, message));
        };
        check(
            json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {}}]}),
            400,
            "invalid patch format of retainKeys",
        );
        check(
            json!({"$patch": "merge", "a": 1}),
            500,
            "unknown patch type: merge in map: map[$patch:merge a:1]",
        );
        check(
            json!({"containers": [{"image": "x"}]}),
            500,
            "map: map[image:x] does not contain declared merge key: name",
        );
        check(
            json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "z"}]}),
            500,
            "The order in patch list:\n[map[name:z]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        );
    }
}
