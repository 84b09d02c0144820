//! How Go prints what error messages show.

use crate::schema::{Shape, Ty, Type, types};
use serde_json::{Map, Value};

/// `%v` of a decoded document: `map[data:map[w:x] nope:1]`.
pub fn print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(print).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key}:{}", print(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// A patched document as JSON. Objects that the patch looked into have sorted keys; the others keep the order of their Go
/// struct, which is that of its protobuf numbers.
pub fn document(value: &Value, ty: &'static Type, touched: &Value) -> String {
    let mut out = String::new();
    object(&mut out, value, Some(ty), Some(touched));
    out
}

fn object(out: &mut String, value: &Value, ty: Option<&'static Type>, touched: Option<&Value>) {
    let touched = touched.filter(|t| t.is_object());
    match value {
        Value::Object(map) => {
            let ty = ty.filter(|ty| ty.shape == Shape::Object);
            out.push('{');
            for (index, key) in keys(map, ty, touched.is_some()).into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key).to_string());
                out.push(':');
                let field = ty.and_then(|ty| ty.field(key)).map(|f| f.ty);
                field_value(out, &map[key], field, touched.and_then(|t| t.get(key)));
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn keys<'a>(map: &'a Map<String, Value>, ty: Option<&'static Type>, sorted: bool) -> Vec<&'a str> {
    let mut keys: Vec<&str> = map.keys().map(String::as_str).collect();
    keys.sort_unstable();
    if let (Some(ty), false) = (ty, sorted) {
        keys.sort_by_key(|key| ty.field(key).map_or(&[u32::MAX][..], |f| f.numbers));
    }
    keys
}

fn field_value(out: &mut String, value: &Value, ty: Option<Ty>, touched: Option<&Value>) {
    match (value, ty) {
        (Value::Array(items), Some(Ty::List(item))) => {
            out.push('[');
            for (index, value) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                field_value(out, value, Some(*item), touched.and_then(|t| t.get(index.to_string())));
            }
            out.push(']');
        }
        (value, Some(Ty::Ref(id, _))) => object(out, value, Some(types().get(id)), touched),
        (value, _) => object(out, value, None, touched),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values() {
        let check = |value: Value, text: &str| assert_eq!(print(&value), text);
        check(json!({"nope": 1, "data": {"w": "x"}}), "map[data:map[w:x] nope:1]");
        check(json!([{"name": "z"}, null, true]), "[map[name:z] <nil> true]");
    }

    #[test]
    fn documents_keep_the_order_of_structs() {
        let ty = types().of("", "v1", "ConfigMap").expect("ConfigMap");
        let value = json!({"metadata": {"labels": {"a": "b"}, "name": "c", "uid": "u"}, "kind": "ConfigMap", "data": {}});
        let expected =
            r#"{"data":{},"kind":"ConfigMap","metadata":{"name":"c","uid":"u","labels":{"a":"b"}}}"#;
        assert_eq!(document(&value, ty, &json!({"data": "x"})), expected);
    }
}
