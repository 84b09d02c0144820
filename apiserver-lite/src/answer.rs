//! Answers: objects, lists, tables and errors in the representation that was asked for.

use crate::body::BoxBody;
use crate::body::full;
use crate::context::now;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY, WARNING,
};
use http::{HeaderMap, HeaderValue, Response};
use kedge_api::kinds::Kind;
use kedge_apiserver_core::protobuf;
use kedge_apiserver_core::registry::convert;
use kedge_apiserver_core::registry::encode::{Encoded, decode};
use kedge_apiserver_core::registry::facts::Facts;
use kedge_apiserver_core::registry::negotiate::{Endpoint, Format, Representation, Transform, negotiate};
use kedge_apiserver_core::registry::read::Listing;
use kedge_apiserver_core::status::ApiError;
use kedge_apiserver_core::table;
use kedge_store::Revision;
use serde_json::{Value, json};
use std::io::Write;

/// Bodies above this are compressed for clients that ask, as upstream does.
const GZIP_FROM: usize = 128 * 1024;

/// What the client wants to see: its representation, whether it takes gzip, which part of objects a table carries.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub representation: Representation,
    pub gzip: bool,
    pub include: table::Include,
}

impl Wanted {
    /// How the client wants to see an error: in JSON where it asks for nothing that errors have.
    pub fn of_error(headers: &HeaderMap) -> Wanted {
        Wanted::read(headers, None, Endpoint::Plain).unwrap_or_default()
    }

    pub fn read(headers: &HeaderMap, include: Option<&str>, endpoint: Endpoint) -> Result<Wanted, ApiError> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let representation = negotiate(text(ACCEPT), endpoint)?;
        let include = match representation.transform {
            Transform::Table(_) => table::Include::parse(include.unwrap_or_default())?,
            _ => table::Include::default(),
        };
        Ok(Wanted {
            representation,
            gzip: text(ACCEPT_ENCODING).is_some_and(|e| e.contains("gzip")),
            include,
        })
    }
}

/// An encoded object of a kind, in the stored version.
pub struct Object<'a> {
    pub kind: &'static Kind,
    pub encoded: &'a Encoded,
    pub revision: Option<Revision>,
}

impl Object<'_> {
    /// The object as `kind` shows it.
    fn value(&self) -> Value {
        let mut value = self.encoded.decode(self.revision);
        convert::from_stored(self.kind, &mut value);
        value
    }
}

pub fn object(code: u16, object: &Object<'_>, wanted: &Wanted) -> Result<Response<BoxBody>, ApiError> {
    let stored = object.kind.stored_as == object.kind.group_version();
    let Representation { format, transform } = wanted.representation;
    match transform {
        Transform::None if stored && format == Format::Json => {
            let mut bytes = object.encoded.to_vec(object.revision);
            bytes.push(b'\n');
            Ok(finish(code, format.content_type(), bytes, wanted.gzip))
        }
        Transform::None | Transform::Discovery => Ok(value(code, &object.value(), wanted)),
        Transform::Table(version) => {
            let rows = vec![object.value()];
            let metadata = rows[0]["metadata"]["resourceVersion"].clone();
            let table = table::table(object.kind, version, rows, now(), wanted.include);
            Ok(value(code, &with_metadata(table, json!({"resourceVersion": metadata})), wanted))
        }
        Transform::Partial(version) => Ok(value(code, &partial(version, object.value()), wanted)),
        Transform::PartialList(_) => Err(not_acceptable(&format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list (*{})",
            go_name(object.kind, object.kind.kind)
        ))),
    }
}

pub fn list(kind: &'static Kind, listing: &Listing, wanted: &Wanted) -> Result<Response<BoxBody>, ApiError> {
    let stored = kind.stored_as == kind.group_version();
    let Representation { format, transform } = wanted.representation;
    if transform == Transform::None && stored && format == Format::Json {
        let bytes = concatenate(kind, listing);
        return Ok(finish(200, format.content_type(), bytes, wanted.gzip));
    }
    let mut metadata = json!({"resourceVersion": listing.revision.to_string()});
    if let Some(token) = &listing.continue_token {
        metadata["continue"] = token.as_str().into();
    }
    if let Some(remaining) = listing.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    if transform == Transform::None && stored && format == Format::Protobuf {
        let message = protobuf::list(&metadata, listing.entries.iter().map(|entry| Facts::message(entry)));
        let bytes = protobuf::enveloped(&kind.api_version(), kind.list_kind, &message);
        return Ok(finish(200, format.content_type(), bytes, wanted.gzip));
    }
    let items = || -> Vec<Value> {
        let decoded = listing.entries.iter().map(|entry| {
            let mut object = decode(entry);
            convert::from_stored(kind, &mut object);
            object
        });
        decoded.collect()
    };
    let document = match transform {
        Transform::None | Transform::Discovery => json!({
            "kind": kind.list_kind, "apiVersion": kind.api_version(), "metadata": metadata,
            "items": items().into_iter().map(without_type).collect::<Vec<_>>(),
        }),
        Transform::Table(version) => {
            with_metadata(table::table(kind, version, items(), now(), wanted.include), metadata)
        }
        Transform::PartialList(version) => {
            let items: Vec<Value> =
                items().into_iter().map(|item| without_type(partial(version, item))).collect();
            json!({
                "kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata, "items": if items.is_empty() { Value::Null } else { items.into() },
            })
        }
        Transform::Partial(_) => {
            return Err(not_acceptable(&format!(
                "you requested PartialObjectMetadata, but the requested object is a list (*{})",
                go_name(kind, kind.list_kind)
            )));
        }
    };
    Ok(value(200, &document, wanted))
}

/// A list is a concatenation of what is stored.
fn concatenate(kind: &Kind, listing: &Listing) -> Vec<u8> {
    let size: usize = listing.entries.iter().map(|entry| entry.value.len() + 40).sum();
    let mut out = Vec::with_capacity(size + 256);
    let head = json!({"kind": kind.list_kind, "apiVersion": kind.api_version()}).to_string();
    out.extend_from_slice(&head.as_bytes()[..head.len() - 1]);
    let mut metadata = json!({"resourceVersion": listing.revision.to_string()});
    if let Some(token) = &listing.continue_token {
        metadata["continue"] = token.as_str().into();
    }
    if let Some(remaining) = listing.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    out.extend_from_slice(format!(",\"metadata\":{metadata},\"items\":[").as_bytes());
    for (index, entry) in listing.entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        Encoded::stored(entry).write_item(&mut out, Some(entry.mod_revision));
    }
    out.extend_from_slice(b"]}\n");
    out
}

fn without_type(mut item: Value) -> Value {
    if let Some(map) = item.as_object_mut() {
        map.remove("kind");
        map.remove("apiVersion");
    }
    item
}

/// `PartialObjectMetadata` of an object.
pub fn partial(version: &str, mut object: Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object["metadata"].take(),
    })
}

fn with_metadata(mut table: Value, metadata: Value) -> Value {
    table["metadata"] = metadata;
    table
}

fn not_acceptable(message: &str) -> ApiError {
    ApiError::new(406, "NotAcceptable", message)
}

/// The name of the internal Go type, which upstream's words contain.
fn go_name(kind: &Kind, name: &str) -> String {
    let package = match kind.group {
        "" => "core",
        group => group.split('.').next().unwrap_or_default(),
    };
    format!("{package}.{name}")
}

/// A document that is not an object of the store.
pub fn value(code: u16, value: &Value, wanted: &Wanted) -> Response<BoxBody> {
    let format = wanted.representation.format;
    let bytes = match format {
        Format::Json => {
            let mut bytes = value.to_string().into_bytes();
            bytes.push(b'\n');
            bytes
        }
        Format::Yaml => serde_yaml_ng::to_string(value).unwrap_or_default().into_bytes(),
        Format::Protobuf => match protobuf::body(value) {
            Some(bytes) => bytes,
            None => return error(&not_acceptable(NOT_IN_PROTOBUF), wanted),
        },
    };
    finish(code, format.content_type(), bytes, wanted.gzip)
}

const NOT_IN_PROTOBUF: &str = "the object does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message";

/// An error as a Status.
pub fn error(error: &ApiError, wanted: &Wanted) -> Response<BoxBody> {
    let mut response = value(error.code, &error.to_status(), wanted);
    if let Some(seconds) = error.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

pub fn text(code: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<BoxBody> {
    finish(code, content_type, body.into().to_vec(), false)
}

/// A body of bytes, compressed where that is worth it.
pub fn bytes(code: u16, content_type: &'static str, bytes: Vec<u8>, gzip: bool) -> Response<BoxBody> {
    finish(code, content_type, bytes, gzip)
}

fn finish(code: u16, content_type: &'static str, bytes: Vec<u8>, gzip: bool) -> Response<BoxBody> {
    let compressed = (gzip && bytes.len() > GZIP_FROM).then(|| compress(&bytes)).flatten();
    let mut response = Response::new(full(compressed.clone().unwrap_or(bytes)));
    *response.status_mut() = http::StatusCode::from_u16(code).expect("codes of errors are valid");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if compressed.is_some() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 6), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// Adds `Warning: 299` headers; each text once.
pub fn warn(response: &mut Response<BoxBody>, warnings: &[String]) {
    let mut sent: Vec<&str> = Vec::new();
    for warning in warnings {
        if sent.contains(&warning.as_str()) {
            continue;
        }
        sent.push(warning);
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        // Header values are bytes; control characters are left out.
        let clean: String = quoted.chars().filter(|c| !c.is_control()).collect();
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{clean}\"").as_bytes()) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

pub type Answer = Result<Response<BoxBody>, ApiError>;
