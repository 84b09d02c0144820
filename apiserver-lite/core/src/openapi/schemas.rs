//! The schemas of a document: those that its operations name, and what these name in turn.

use crate::schema::{Field, ListType, RefForm, Shape, Ty, Type, types};
use serde_json::{Map, Value, json};

const PREFIX: &str = "#/components/schemas/";

pub fn reference(full_name: &str) -> Value {
    json!({"$ref": format!("{PREFIX}{full_name}")})
}

/// `own`: the group and version of the document, which DeleteOptions and WatchEvent belong to as well.
pub fn reachable(paths: &Value, own: Option<(&str, &str)>) -> Map<String, Value> {
    let mut waiting = Vec::new();
    collect(paths, &mut waiting);
    let mut found = Map::new();
    while let Some(name) = waiting.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let Some(ty) = types().named(&name) else { continue };
        let schema = schema(ty, own);
        collect(&schema, &mut waiting);
        found.insert(name, schema);
    }
    found
}

fn collect(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let name = map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(PREFIX));
            names.extend(name.map(str::to_owned));
            map.values().for_each(|below| collect(below, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        _ => {}
    }
}

fn schema(ty: &'static Type, own: Option<(&str, &str)>) -> Value {
    let mut schema = match ty.shape {
        Shape::Object => object(ty),
        Shape::Fields | Shape::Any | Shape::Raw => json!({"type": "object"}),
        Shape::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Shape::Time | Shape::MicroTime => json!({"type": "string", "format": "date-time"}),
        Shape::IntOrString => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        Shape::Json | Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => json!({}),
    };
    if ty.atomic {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
    if !ty.unions.is_empty() {
        schema["x-kubernetes-unions"] = serde_json::from_str(ty.unions).unwrap_or_default();
    }
    let gvks = gvks(ty, own);
    if !gvks.is_empty() {
        schema["x-kubernetes-group-version-kind"] = Value::Array(gvks);
    }
    schema
}

fn gvks(ty: &Type, own: Option<(&str, &str)>) -> Vec<Value> {
    let everywhere = ty.gvks.len() > 2;
    let belongs = |gvk: &&(&str, &str, &str)| {
        !everywhere || (gvk.0, gvk.1) == ("", "v1") || own == Some((gvk.0, gvk.1))
    };
    ty.gvks
        .iter()
        .filter(belongs)
        .map(|(group, version, kind)| json!({"group": group, "version": version, "kind": kind}))
        .collect()
}

fn object(ty: &'static Type) -> Value {
    let mut schema = json!({"type": "object"});
    if !ty.fields.is_empty() {
        schema["properties"] = ty.fields.iter().map(|f| (f.name.to_owned(), property(f))).collect();
    }
    if !ty.required.is_empty() {
        schema["required"] = json!(ty.required);
    }
    schema
}

fn property(field: &Field) -> Value {
    let mut schema = match field.ty {
        Ty::Ref(id, RefForm::Plain) => json!({"allOf": [reference(types().get(id).full_name)]}),
        Ty::List(item) => json!({"type": "array", "items": inner(*item, field.enums)}),
        Ty::Map(value) => json!({"type": "object", "additionalProperties": inner(*value, field.enums)}),
        Ty::Ref(..) => inner(field.ty, &[]),
        scalar => {
            let mut schema = plain(scalar);
            put_enum(&mut schema, field.enums);
            schema
        }
    };
    if let Some(default) = field.default.and_then(|d| serde_json::from_str::<Value>(d).ok()) {
        schema["default"] = default;
    }
    let list = match field.list {
        ListType::Unset => "",
        ListType::Atomic => "atomic",
        ListType::Set => "set",
        ListType::Map => "map",
    };
    for (key, word) in [
        ("x-kubernetes-list-type", list),
        ("x-kubernetes-map-type", field.map),
        ("x-kubernetes-patch-strategy", &field.patch.join(",")),
        ("x-kubernetes-patch-merge-key", field.merge_key),
    ] {
        if !word.is_empty() {
            schema[key] = word.into();
        }
    }
    if !field.keys.is_empty() {
        schema["x-kubernetes-list-map-keys"] = json!(field.keys);
    }
    schema
}

/// An item or a map's value: with its zero default.
fn inner(ty: Ty, enums: &[&str]) -> Value {
    match ty {
        Ty::Ref(id, RefForm::Bare) => reference(types().get(id).full_name),
        Ty::Ref(id, _) => json!({"allOf": [reference(types().get(id).full_name)], "default": {}}),
        Ty::List(item) => json!({"type": "array", "items": inner(*item, enums)}),
        Ty::Map(value) => json!({"type": "object", "additionalProperties": inner(*value, enums)}),
        scalar => {
            let mut schema = plain(scalar);
            let zero = match scalar {
                Ty::String => Some(json!("")),
                Ty::Bool => Some(json!(false)),
                Ty::Int32 | Ty::Int64 | Ty::Float64 => Some(json!(0)),
                _ => None,
            };
            if let Some(zero) = zero {
                schema["default"] = zero;
            }
            put_enum(&mut schema, enums);
            schema
        }
    }
}

fn plain(ty: Ty) -> Value {
    match ty {
        Ty::Bool => json!({"type": "boolean"}),
        Ty::Int32 => json!({"type": "integer", "format": "int32"}),
        Ty::Int64 => json!({"type": "integer", "format": "int64"}),
        Ty::Float64 => json!({"type": "number", "format": "double"}),
        Ty::Bytes => json!({"type": "string", "format": "byte"}),
        _ => json!({"type": "string"}),
    }
}

fn put_enum(schema: &mut Value, enums: &[&str]) {
    if !enums.is_empty() {
        schema["enum"] = json!(enums);
    }
}
