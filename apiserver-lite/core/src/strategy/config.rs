//! ConfigMaps and Secrets.

use super::access::{Fill, Read};
use super::usual::Usual;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

pub(super) static CONFIG_MAP: Usual = Usual::PLAIN;

pub(super) static SECRET: Usual = Usual {
    default: default_secret,
    ..Usual::PLAIN
};

/// `stringData` is a way to write, never to read: it goes over into `data`.
fn default_secret(object: &mut Value) {
    object.fill_text("type", "Opaque");
    let plain = object["stringData"].clone();
    object.drop_field("stringData");
    for (key, text) in plain.as_object().into_iter().flatten() {
        object.child("data")[key] = STANDARD.encode(text.as_str().unwrap_or_default()).into();
    }
    if object.has("data") && object.lacks("data") {
        object.drop_field("data");
    }
}
