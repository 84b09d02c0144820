//! ConfigMaps, Secrets, and the accounts that refer to them.

use super::access::{Fill, Read};
use super::field::{Path, forbidden, ill_formed, immutable, invalid, required, too_long};
use super::usual::Usual;
use super::warnings;
use crate::status::Findings;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kedge_api::names;
use serde_json::Value;

const SIZE_MAX: usize = 1024 * 1024;

pub(super) static CONFIG_MAP: Usual =
    Usual { validate: validate_config_map, validate_update: validate_config_map_update, ..Usual::PLAIN };

pub(super) static SECRET: Usual = Usual {
    default: default_secret,
    validate: validate_secret,
    validate_update: validate_secret_update,
    ..Usual::PLAIN
};

pub(super) static SERVICE_ACCOUNT: Usual = Usual { warnings: warnings::of_service_account, ..Usual::PLAIN };

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

fn validate_config_map(object: &Value) -> Findings {
    let mut findings = Findings::new();
    let mut size = 0;
    for (key, value) in object.entries("data") {
        let at = Path::new("data").key(key);
        findings.extend(ill_formed(&at, key, names::config_map_key(key)));
        if object["binaryData"].get(key).is_some() {
            findings.push(invalid(&at, key, "duplicate of key present in binaryData"));
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in object.entries("binaryData") {
        findings.extend(ill_formed(&Path::new("binaryData").key(key), key, names::config_map_key(key)));
        size += decoded_length(value);
    }
    if size > SIZE_MAX {
        findings.push(too_long(&Path::new("[]"), SIZE_MAX));
    }
    findings
}

/// Bytes behind base64: three for four characters, less the padding.
fn decoded_length(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    (text.len() / 4 * 3).saturating_sub(text.bytes().rev().take_while(|b| *b == b'=').count())
}

fn validate_config_map_update(object: &Value, old: &Value) -> Findings {
    let mut findings = validate_frozen(object, old, &["data", "binaryData"]);
    findings.extend(validate_config_map(object));
    findings
}

/// What is marked immutable stays so, and stays as it is.
fn validate_frozen(object: &Value, old: &Value, fields: &[&str]) -> Findings {
    const WHY: &str = "field is immutable when `immutable` is set";
    let mut findings = Findings::new();
    if !old.flag("immutable") {
        return findings;
    }
    if !object.flag("immutable") {
        findings.push(forbidden(&Path::new("immutable"), WHY));
    }
    for field in fields {
        let empty = object.lacks(field) && old.lacks(field);
        if !empty && object.get(*field) != old.get(*field) {
            findings.push(forbidden(&Path::new(field), WHY));
        }
    }
    findings
}

fn validate_secret(object: &Value) -> Findings {
    let mut findings = Findings::new();
    let path = Path::new("data");
    let mut size = 0;
    for (key, value) in object.entries("data") {
        findings.extend(ill_formed(&path.key(key), key, names::config_map_key(key)));
        size += decoded_length(value);
    }
    if size > SIZE_MAX {
        findings.push(too_long(&path, SIZE_MAX));
    }
    findings.extend(validate_secret_type(object, &path));
    findings
}

fn validate_secret_type(object: &Value, path: &Path) -> Findings {
    const ACCOUNT: &str = "kubernetes.io/service-account.name";
    let data = &object["data"];
    let missing = |key: &&str| data.get(*key).is_none();
    let require = |key: &str| required(&path.key(key), "");
    match object.text("type") {
        "kubernetes.io/service-account-token"
            if object["metadata"]["annotations"].text(ACCOUNT).is_empty() =>
        {
            vec![required(&Path::new("metadata.annotations").key(ACCOUNT), "")]
        }
        "kubernetes.io/dockercfg" => validate_json(data, ".dockercfg", path),
        "kubernetes.io/dockerconfigjson" => validate_json(data, ".dockerconfigjson", path),
        "kubernetes.io/basic-auth" if ["username", "password"].iter().all(missing) => {
            vec![require("username"), require("password")]
        }
        "kubernetes.io/ssh-auth" if data.text("ssh-privatekey").is_empty() => vec![require("ssh-privatekey")],
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().filter(missing).map(require).collect(),
        _ => Findings::new(),
    }
}

fn validate_json(data: &Value, key: &str, path: &Path) -> Findings {
    let Some(text) = data.get(key).and_then(Value::as_str) else {
        return vec![required(&path.key(key), "")];
    };
    let bytes = STANDARD.decode(text).unwrap_or_default();
    match serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes) {
        Ok(_) => Findings::new(),
        Err(_) => vec![invalid(&path.key(key), "<secret contents redacted>", &json_error(&bytes))],
    }
}

/// The first thing that Go's decoder would complain about.
fn json_error(bytes: &[u8]) -> String {
    match bytes.iter().find(|b| !b.is_ascii_whitespace()) {
        None => "unexpected end of JSON input".to_owned(),
        Some(b'{') => "unexpected end of JSON input".to_owned(),
        Some(first) => {
            format!("invalid character '{}' looking for beginning of value", char::from(*first))
        }
    }
}

fn validate_secret_update(object: &Value, old: &Value) -> Findings {
    let mut findings = immutable(&Path::new("type"), &object["type"], &old["type"]);
    findings.extend(validate_frozen(object, old, &["data"]));
    findings.extend(validate_secret(object));
    findings
}
