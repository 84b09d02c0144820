//! Protobuf bodies into JSON values, and JSON values into protobuf answers.
//!
//! A body is the four bytes `k8s\0` and a `runtime.Unknown`, whose `raw` is the object. The field numbers come from the type
//! table; nothing is generated per kind. The value that comes out is fitted to its type afterwards by `schema::conform`, which
//! adds zero values and writes leaves canonically, so that a body means the same in both encodings.
//!
//! An answer is the same envelope around what `encode` writes. A message without its envelope is also an item of a list, so one
//! encoding of a revision serves gets, lists and watches.

mod encode;
mod message;
mod wire;

use crate::schema::decode::{Expected, unrecognized};
use crate::schema::{Type, types};
use crate::status::ApiError;
use serde_json::{Value, json};
use wire::{Payload, WireError};

const MAGIC: &[u8] = b"k8s\0";

/// Decodes an enveloped object, with the apiVersion and kind of its envelope. An object of a kind that is not in the table has
/// nothing else.
pub fn decode(body: &[u8], expected: Expected<'_>) -> Result<Value, ApiError> {
    let refuse = |why: &dyn std::fmt::Display| unrecognized(expected, &why.to_string(), body);
    let Some(unknown) = body.strip_prefix(MAGIC) else {
        return Err(refuse(
            &"provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
        ));
    };
    let envelope = Envelope::read(unknown).map_err(|e| refuse(&e))?;
    let ty = envelope.ty(expected);
    let mut value = match ty {
        Some(ty) => message::decode(envelope.raw, ty).map_err(|e| refuse(&e))?,
        None => json!({}),
    };
    for (key, word) in [("apiVersion", envelope.api_version), ("kind", envelope.kind)] {
        if !word.is_empty() {
            value[key] = word.into();
        }
    }
    Ok(value)
}

/// The whole body of an object; None for what has no type in protobuf.
pub fn body(object: &Value) -> Option<Vec<u8>> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    Some(enveloped(text("apiVersion"), text("kind"), &message(object)?))
}

/// The message of an object; None for what has no type in protobuf.
pub fn message(object: &Value) -> Option<Vec<u8>> {
    if object["apiVersion"].as_str().is_some_and(|version| version.starts_with("meta.k8s.io/")) {
        return metadata_only(object);
    }
    let ty = type_of(object)?;
    let mut out = Vec::with_capacity(512);
    encode::object(&mut out, object, ty);
    Some(out)
}

/// `PartialObjectMetadata` and its list; OpenAPI, and with it the type table, does not know them.
fn metadata_only(object: &Value) -> Option<Vec<u8>> {
    let partial = |object: &Value| {
        let mut out = Vec::with_capacity(512);
        encode::delimited(&mut out, 1, |out| encode::object(out, &object["metadata"], meta("ObjectMeta")));
        out
    };
    match object["kind"].as_str()? {
        "PartialObjectMetadata" => Some(partial(object)),
        "PartialObjectMetadataList" => {
            let items = object["items"].as_array().into_iter().flatten();
            Some(list(&object["metadata"], items.map(partial)))
        }
        _ => None,
    }
}

/// The message of a list: every list of the API has its metadata and items under the same numbers.
pub fn list<T: AsRef<[u8]>>(metadata: &Value, items: impl Iterator<Item = T>) -> Vec<u8> {
    let mut out = Vec::new();
    encode::delimited(&mut out, 1, |out| encode::object(out, metadata, meta("ListMeta")));
    for item in items {
        encode::delimited(&mut out, 2, |out| out.extend_from_slice(item.as_ref()));
    }
    out
}

/// A body: the message in its envelope.
pub fn enveloped(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    out.extend_from_slice(MAGIC);
    encode::delimited(&mut out, 1, |out| {
        encode::text(out, 1, api_version);
        encode::text(out, 2, kind);
    });
    encode::delimited(&mut out, 2, |out| out.extend_from_slice(message));
    encode::text(&mut out, 3, "");
    encode::text(&mut out, 4, "");
    out
}

/// One event of a watch: its length in four bytes, then a `WatchEvent` around the body.
pub fn frame(word: &str, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4];
    encode::text(&mut out, 1, word);
    encode::delimited(&mut out, 2, |out| {
        encode::delimited(out, 1, |out| out.extend_from_slice(body));
    });
    let length = u32::try_from(out.len() - 4).expect("no object comes near four gigabytes");
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

fn type_of(object: &Value) -> Option<&'static Type> {
    let api_version = object["apiVersion"].as_str().unwrap_or("v1");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    types().of(group, version, object["kind"].as_str()?)
}

fn meta(name: &str) -> &'static Type {
    types().named(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}")).expect("a test encodes lists")
}

/// `runtime.Unknown`.
#[derive(Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Envelope<'a>, WireError> {
        let mut envelope = Envelope::default();
        for entry in wire::entries(bytes) {
            match entry? {
                (1, Payload::Bytes(type_meta)) => {
                    for entry in wire::entries(type_meta) {
                        match entry? {
                            (1, Payload::Bytes(word)) => envelope.api_version = wire::text(word)?,
                            (2, Payload::Bytes(word)) => envelope.kind = wire::text(word)?,
                            _ => {}
                        }
                    }
                }
                (2, Payload::Bytes(raw)) => envelope.raw = raw,
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn ty(&self, expected: Expected<'_>) -> Option<&'static Type> {
        let (group, version) = match self.api_version.split_once('/') {
            Some(pair) => pair,
            None if self.api_version.is_empty() => (expected.group, expected.version),
            None => ("", self.api_version.as_str()),
        };
        let kind = if self.kind.is_empty() { expected.kind } else { &self.kind };
        types().of(group, version, kind)
    }
}

#[cfg(test)]
mod tests;
