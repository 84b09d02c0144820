//! Request bodies: limits, and decoding into the stored version.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body;
use http_body_util::BodyExt;
use kedge_api::kinds::Kind;
use kedge_apiserver_core::schema::decode::Expected;
use kedge_apiserver_core::schema::{self, Decoded, FieldValidation, Media, Type};
use kedge_apiserver_core::status::ApiError;
use serde_json::Value;

pub use kedge_serving::{BoxBody, BoxError};

/// Upstream's limit on request bodies.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Reads a body whole. A loop of our own: the limit of `http-body-util` cannot be proven `Send` in a spawned task.
pub async fn read(mut body: BoxBody) -> Result<Bytes, ApiError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| ApiError::bad_request(format!("unable to read the request's body: {error}")))?;
        if let Ok(data) = frame.into_data() {
            if bytes.is_empty() && body.is_end_stream() && data.len() <= BODY_BYTES_MAX {
                return Ok(data);
            }
            if bytes.len() + data.len() > BODY_BYTES_MAX {
                let message = format!("Request entity too large: limit is {BODY_BYTES_MAX}");
                return Err(ApiError::new(413, "RequestEntityTooLarge", message));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}

pub fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

/// Decodes an object of a kind, as it came.
pub fn decode(
    bytes: &[u8],
    headers: &HeaderMap,
    kind: &Kind,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    let expected = Expected { group: kind.group, version: kind.version, kind: kind.kind };
    decode_as(bytes, headers, schema::type_of(kind), expected, validation)
}

pub fn decode_as(
    bytes: &[u8],
    headers: &HeaderMap,
    ty: &'static Type,
    expected: Expected<'_>,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    schema::decode(bytes, Media::parse(content_type(headers))?, ty, expected, validation)
}

/// The DeleteOptions of a body. Any group's version is accepted, as upstream does.
pub fn delete_options(bytes: &[u8], headers: &HeaderMap) -> Result<Value, ApiError> {
    let expected = Expected { group: "", version: "v1", kind: "DeleteOptions" };
    let options = match Media::parse(content_type(headers))? {
        Media::Protobuf => return kedge_apiserver_core::protobuf::decode(bytes, expected),
        Media::Yaml => serde_yaml_ng::from_slice(bytes).map_err(|e| e.to_string()),
        Media::Json => serde_json::from_slice::<Value>(bytes).map_err(|error| match error.is_eof() {
            true => "unexpected end of JSON input".to_owned(),
            false => error.to_string(),
        }),
    };
    let options = options.map_err(|why| {
        ApiError::bad_request(format!("couldn't get version/kind; json parse error: {why}"))
    })?;
    match options["kind"].as_str() {
        None | Some("" | "DeleteOptions") => Ok(options),
        Some(kind) => Err(ApiError::bad_request(format!(
            "no kind {kind:?} is registered for version {:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
            options["apiVersion"].as_str().unwrap_or_default()
        ))),
    }
}

/// A body that is known whole.
pub fn full(bytes: impl Into<Bytes>) -> BoxBody {
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
