//! One JSON object into one message, driven by the type table, as gogo/protobuf writes the Go struct: fields by number, every
//! field that is no pointer is written, zero or not; lists one item after the other; maps by key.
//!
//! A length stands before what it measures and is known after it: it is appended and rotated to the front.

use super::message::json_schema_props;
use crate::schema::{Field, Shape, Ty, Type, times, types};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;

/// Appends the fields of an object.
pub fn object(out: &mut Vec<u8>, value: &Value, ty: &'static Type) {
    fields(out, value.as_object(), ty.by_number, 0);
}

/// Appends a length-delimited field.
pub fn delimited(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, number, BYTES);
    let start = out.len();
    write(out);
    let length = out.len() - start;
    varint(out, length as u64);
    let width = out.len() - start - length;
    out[start..].rotate_right(width);
}

pub fn text(out: &mut Vec<u8>, number: u32, text: &str) {
    delimited(out, number, |out| out.extend_from_slice(text.as_bytes()));
}

/// Writes the fields of a struct whose numbers below `depth` are those of the inlined structs around it.
fn fields(out: &mut Vec<u8>, map: Option<&Map<String, Value>>, mut rest: &[&'static Field], depth: usize) {
    while let Some((first, after)) = rest.split_first() {
        let number = first.numbers[depth];
        if first.numbers.len() == depth + 1 {
            let value = map.and_then(|map| map.get(first.name)).filter(|value| !value.is_null());
            field(out, number, first, value);
            rest = after;
            continue;
        }
        let inlined = rest.iter().take_while(|field| field.numbers[depth] == number).count();
        let (inside, after) = rest.split_at(inlined);
        delimited(out, number, |out| fields(out, map, inside, depth + 1));
        rest = after;
    }
}

fn field(out: &mut Vec<u8>, number: u32, field: &Field, value: Option<&Value>) {
    match (field.ty, value) {
        (Ty::List(item), Some(value)) if field.is_message_list() => message_list(out, number, *item, value),
        (Ty::List(_), None) if field.is_message_list() => {}
        (Ty::List(item), value) => {
            for one in value.and_then(Value::as_array).into_iter().flatten() {
                single(out, number, *item, one);
            }
        }
        (Ty::Map(item), value) => {
            for (key, one) in value.and_then(Value::as_object).into_iter().flatten() {
                delimited(out, number, |out| {
                    text(out, 1, key);
                    map_value(out, *item, one);
                });
            }
        }
        (ty, Some(value)) => single(out, number, ty, value),
        (Ty::Bytes, None) => {}
        (_, None) if field.presence.pointer => {}
        (ty, None) => single(out, number, ty, &Value::Null),
    }
}

/// A list as a message with one repeated field.
fn message_list(out: &mut Vec<u8>, number: u32, item: Ty, value: &Value) {
    delimited(out, number, |out| {
        for one in value.as_array().into_iter().flatten() {
            single(out, 1, item, one);
        }
    });
}

/// Protobuf has no maps of lists.
fn map_value(out: &mut Vec<u8>, ty: Ty, value: &Value) {
    match ty {
        Ty::List(item) => message_list(out, 2, *item, value),
        ty => single(out, 2, ty, value),
    }
}

/// One value; null is the zero value.
fn single(out: &mut Vec<u8>, number: u32, ty: Ty, value: &Value) {
    match ty {
        Ty::String => text(out, number, value.as_str().unwrap_or_default()),
        Ty::Bytes => {
            let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
            delimited(out, number, |out| out.extend_from_slice(&bytes));
        }
        Ty::Bool => integer(out, number, i64::from(value.as_bool().unwrap_or_default())),
        Ty::Int32 | Ty::Int64 => integer(out, number, value.as_i64().unwrap_or_default()),
        Ty::Float64 => {
            tag(out, number, FIXED64);
            out.extend_from_slice(&value.as_f64().unwrap_or_default().to_bits().to_le_bytes());
        }
        Ty::Ref(id, _) => delimited(out, number, |out| named(out, types().get(id), value)),
        // No type has a list of lists.
        Ty::List(_) | Ty::Map(_) => {}
    }
}

fn named(out: &mut Vec<u8>, ty: &'static Type, value: &Value) {
    match ty.shape {
        Shape::Object => object(out, value, ty),
        Shape::Quantity => text(out, 1, value.as_str().unwrap_or("0")),
        Shape::Time | Shape::MicroTime => {
            if let Some((seconds, nanos)) = value.as_str().and_then(times::to_unix) {
                integer(out, 1, seconds);
                integer(out, 2, nanos.into());
            }
        }
        Shape::IntOrString => {
            integer(out, 1, i64::from(value.is_string()));
            integer(out, 2, value.as_i64().unwrap_or_default());
            text(out, 3, value.as_str().unwrap_or_default());
        }
        Shape::Fields | Shape::Raw | Shape::Json | Shape::Any => {
            if !value.is_null() {
                text(out, 1, &value.to_string());
            }
        }
        Shape::SchemaOrArray => schema_or(out, value, 1, 2),
        Shape::SchemaOrStrings => match value.as_array() {
            Some(words) => words.iter().for_each(|word| single(out, 2, Ty::String, word)),
            None => schema_or(out, value, 1, 2),
        },
        Shape::SchemaOrBool => {
            // A schema allows what it describes.
            integer(out, 1, i64::from(value.as_bool().unwrap_or(value.is_object())));
            if value.is_object() {
                schema_or(out, value, 2, 2);
            }
        }
    }
}

/// A schema under one number, or a list of them under the other.
fn schema_or(out: &mut Vec<u8>, value: &Value, one: u32, many: u32) {
    let ty = types().get(json_schema_props());
    match value {
        Value::Array(schemas) => {
            for schema in schemas {
                delimited(out, many, |out| object(out, schema, ty));
            }
        }
        schema => delimited(out, one, |out| object(out, schema, ty)),
    }
}

fn integer(out: &mut Vec<u8>, number: u32, value: i64) {
    tag(out, number, VARINT);
    // A negative number takes ten bytes, as two's complement of 64 bits.
    varint(out, value as u64);
}

fn tag(out: &mut Vec<u8>, number: u32, wire: u32) {
    varint(out, u64::from(number << 3 | wire));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
