//! Decoding of protobuf request bodies into JSON values.
//!
//! A body is the four bytes `k8s\0` and a `runtime.Unknown`, whose `raw` is the object. The field numbers come from the type
//! table; nothing is generated per kind. The value that comes out is fitted to its type afterwards by `schema::conform`, which
//! adds zero values and writes leaves canonically, so that a body means the same in both encodings.

mod message;
mod wire;

use crate::schema::decode::Expected;
use crate::schema::{Type, types};
use crate::status::ApiError;
use serde_json::{Value, json};
use wire::{Payload, WireError};

const MAGIC: &[u8] = b"k8s\0";

/// Decodes an enveloped object, with the apiVersion and kind of its envelope. An object of a kind that is not in the table has
/// nothing else.
pub fn decode(body: &[u8], expected: Expected<'_>) -> Result<Value, ApiError> {
    let refuse = |why: &dyn std::fmt::Display| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {why}",
            expected.kind
        ))
    };
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
