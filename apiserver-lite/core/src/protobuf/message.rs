//! One message into one JSON object, driven by the type table.

use super::wire::{self, Payload, WireError};
use crate::schema::json::{self, Node};
use crate::schema::{Field, Shape, Ty, Type, times, types};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Custom resource definitions nest their schemas; nothing of the API is deeper than this.
const DEPTH_MAX: usize = 150;

pub fn decode(bytes: &[u8], ty: &'static Type) -> Result<Value, WireError> {
    object(bytes, ty, DEPTH_MAX)
}

fn object(bytes: &[u8], ty: &'static Type, depth: usize) -> Result<Value, WireError> {
    let depth = depth.checked_sub(1).ok_or(WireError::Depth)?;
    let mut map = Map::new();
    fields(bytes, ty, &mut Vec::new(), &mut map, depth)?;
    Ok(Value::Object(map))
}

/// Reads the fields of a message, or of a struct inlined in it: `around` holds the numbers of the inlined structs.
fn fields(
    bytes: &[u8],
    ty: &'static Type,
    around: &mut Vec<u32>,
    map: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), WireError> {
    for entry in wire::entries(bytes) {
        let (number, payload) = entry?;
        around.push(number);
        let found = ty.fields.iter().find(|f| f.numbers.starts_with(around));
        match (found, payload) {
            (Some(field), payload) if field.numbers.len() == around.len() => put(map, field, payload, depth)?,
            (Some(_), Payload::Bytes(inner)) => fields(inner, ty, around, map, depth)?,
            // A field that this version does not know.
            _ => {}
        }
        around.pop();
    }
    Ok(())
}

fn put(
    map: &mut Map<String, Value>,
    field: &Field,
    payload: Payload<'_>,
    depth: usize,
) -> Result<(), WireError> {
    let name = field.name;
    match (field.ty, payload) {
        (Ty::List(item), Payload::Bytes(list)) if field.is_message_list() => {
            map.insert(name.to_owned(), repeated(list, 1, *item, depth).map(Value::Array)?);
            Ok(())
        }
        (Ty::List(item), payload) => {
            let entry = map.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(items) = entry else {
                return Err(WireError::Mismatch);
            };
            append(items, *item, payload, depth)
        }
        (Ty::Map(item), Payload::Bytes(bytes)) => {
            let (key, value) = map_entry(bytes, *item, depth)?;
            let entry = map.entry(name).or_insert_with(|| Value::Object(Map::new()));
            entry[key] = value;
            Ok(())
        }
        (ty, payload) => {
            map.insert(name.to_owned(), value(ty, payload, depth)?);
            Ok(())
        }
    }
}

/// One item, or several packed ones.
fn append(items: &mut Vec<Value>, item: Ty, payload: Payload<'_>, depth: usize) -> Result<(), WireError> {
    match (item, payload) {
        (Ty::Int32 | Ty::Int64 | Ty::Bool, Payload::Bytes(mut packed)) => {
            while !packed.is_empty() {
                let number = wire::varint(&mut packed)?;
                items.push(value(item, Payload::Varint(number), depth)?);
            }
        }
        _ => items.push(value(item, payload, depth)?),
    }
    Ok(())
}

fn map_entry(bytes: &[u8], ty: Ty, depth: usize) -> Result<(String, Value), WireError> {
    let (mut key, mut found) = (String::new(), None);
    for entry in wire::entries(bytes) {
        match entry? {
            (1, Payload::Bytes(word)) => key = wire::text(word)?,
            (2, payload) => found = Some(map_value(ty, payload, depth)?),
            _ => {}
        }
    }
    Ok((key, found.unwrap_or(Value::Null)))
}

/// Protobuf has no maps of lists, so such a list comes as a message with one repeated field.
fn map_value(ty: Ty, payload: Payload<'_>, depth: usize) -> Result<Value, WireError> {
    match (ty, payload) {
        (Ty::List(item), Payload::Bytes(wrapper)) => repeated(wrapper, 1, *item, depth).map(Value::Array),
        (ty, payload) => value(ty, payload, depth),
    }
}

fn repeated(bytes: &[u8], number: u32, item: Ty, depth: usize) -> Result<Vec<Value>, WireError> {
    let mut items = Vec::new();
    for entry in wire::entries(bytes) {
        let (found, payload) = entry?;
        if found == number {
            append(&mut items, item, payload, depth)?;
        }
    }
    Ok(items)
}

fn value(ty: Ty, payload: Payload<'_>, depth: usize) -> Result<Value, WireError> {
    match (ty, payload) {
        (Ty::String, Payload::Bytes(bytes)) => wire::text(bytes).map(Value::String),
        (Ty::Bytes, Payload::Bytes(bytes)) => Ok(Value::String(STANDARD.encode(bytes))),
        (Ty::Bool, Payload::Varint(number)) => Ok(Value::Bool(number != 0)),
        (Ty::Int32, Payload::Varint(number)) => Ok((number as i32).into()),
        (Ty::Int64, Payload::Varint(number)) => Ok((number as i64).into()),
        (Ty::Float64, Payload::Fixed64(bits)) => Ok(f64::from_bits(bits).into()),
        (Ty::Ref(id, _), Payload::Bytes(bytes)) => named(bytes, types().get(id), depth),
        _ => Err(WireError::Mismatch),
    }
}

fn named(bytes: &[u8], ty: &'static Type, depth: usize) -> Result<Value, WireError> {
    match ty.shape {
        Shape::Object => object(bytes, ty, depth),
        Shape::Quantity => match last(bytes, 1)? {
            Some(Payload::Bytes(text)) if !text.is_empty() => wire::text(text).map(Value::String),
            _ => Ok("0".into()),
        },
        Shape::Time => Ok(time(bytes, |seconds, _| times::from_unix(seconds))?),
        Shape::MicroTime => Ok(time(bytes, times::micros_from_unix)?),
        Shape::IntOrString => int_or_string(bytes),
        Shape::Fields | Shape::Raw | Shape::Json | Shape::Any => match last(bytes, 1)? {
            Some(Payload::Bytes(raw)) if !raw.is_empty() => {
                json::parse(raw).map(Node::into_value).map_err(|_| WireError::Json)
            }
            _ => Ok(Value::Null),
        },
        Shape::SchemaOrArray => match schema(bytes, 1, depth)? {
            Some(schema) => Ok(schema),
            None => repeated(bytes, 2, Ty::Ref(json_schema_props(), crate::schema::RefForm::Plain), depth)
                .map(Value::Array),
        },
        Shape::SchemaOrStrings => match schema(bytes, 1, depth)? {
            Some(schema) => Ok(schema),
            None => repeated(bytes, 2, Ty::String, depth).map(Value::Array),
        },
        Shape::SchemaOrBool => match (schema(bytes, 2, depth)?, last(bytes, 1)?) {
            (Some(schema), _) => Ok(schema),
            (None, allows) => Ok(Value::Bool(matches!(allows, Some(Payload::Varint(1..))))),
        },
    }
}

/// The last value of a field that is not repeated.
fn last(bytes: &[u8], number: u32) -> Result<Option<Payload<'_>>, WireError> {
    let mut found = None;
    for entry in wire::entries(bytes) {
        let (n, payload) = entry?;
        if n == number {
            found = Some(payload);
        }
    }
    Ok(found)
}

fn number(payload: Option<Payload<'_>>) -> i64 {
    match payload {
        Some(Payload::Varint(number)) => number as i64,
        _ => 0,
    }
}

/// A message without seconds and nanoseconds is the zero time.
fn time(bytes: &[u8], format: impl Fn(i64, i32) -> Option<String>) -> Result<Value, WireError> {
    let (seconds, nanos) = (number(last(bytes, 1)?), number(last(bytes, 2)?) as i32);
    Ok(if (seconds, nanos) == (0, 0) {
        Value::Null
    } else {
        format(seconds, nanos).map_or(Value::Null, Value::String)
    })
}

fn int_or_string(bytes: &[u8]) -> Result<Value, WireError> {
    match (number(last(bytes, 1)?), last(bytes, 3)?) {
        (1, Some(Payload::Bytes(text))) => wire::text(text).map(Value::String),
        (1, _) => Ok("".into()),
        _ => Ok((number(last(bytes, 2)?) as i32).into()),
    }
}

fn schema(bytes: &[u8], number: u32, depth: usize) -> Result<Option<Value>, WireError> {
    match last(bytes, number)? {
        Some(Payload::Bytes(inner)) => object(inner, types().get(json_schema_props()), depth).map(Some),
        _ => Ok(None),
    }
}

pub fn json_schema_props() -> crate::schema::TypeId {
    types()
        .id_of("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
        .expect("the type table has the schema of custom resources")
}
