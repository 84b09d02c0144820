//! `/openapi/v3`: the index and its documents, which clients keep by their hash.

use crate::answer::{self, Answer};
use crate::body::BoxBody;
use crate::body::full;
use crate::discovery::GIT_VERSION;
use crate::service::{Call, not_allowed};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HeaderValue, IF_NONE_MATCH, LAST_MODIFIED,
    LOCATION, VARY,
};
use http::{Method, Response, StatusCode};
use kedge_apiserver_core::openapi;
use kedge_apiserver_core::status::ApiError;
use std::time::{Duration, SystemTime};

const PREFIX: &str = "/openapi/v3";
const YEAR: Duration = Duration::from_secs(365 * 86_400);

pub fn handle(call: &Call) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed());
    }
    let path = call.attributes.path.as_str();
    match path.strip_prefix(PREFIX) {
        Some("") => Ok(index()),
        Some(rest) => document(call, rest.trim_start_matches('/')),
        None => Ok(answer::text(404, "text/plain; charset=utf-8", "404 page not found\n")),
    }
}

fn index() -> Response<BoxBody> {
    let body = openapi::index(GIT_VERSION).to_string();
    let mut response = answer::text(200, "text/plain; charset=utf-8", body);
    response.headers_mut().insert(LAST_MODIFIED, date(SystemTime::now()));
    response
}

fn document(call: &Call, path: &str) -> Answer {
    if path.is_empty() || !openapi::paths().iter().any(|known| known == path) {
        return Ok(no_document());
    }
    let hash = openapi::hash(path, GIT_VERSION);
    let headers = &call.parts.headers;
    let etag = HeaderValue::from_str(&format!("\"{hash}\"")).map_err(ApiError::internal)?;
    let asked = call.query.get("hash").filter(|asked| !asked.is_empty());
    let mut response = if asked.is_some_and(|asked| asked != hash) {
        let location =
            HeaderValue::from_str(&format!("{PREFIX}/{path}?hash={hash}")).map_err(ApiError::internal)?;
        let mut moved = Response::new(full(""));
        *moved.status_mut() = StatusCode::MOVED_PERMANENTLY;
        moved.headers_mut().insert(LOCATION, location);
        moved.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        moved
    } else if headers.get(IF_NONE_MATCH) == Some(&etag) {
        let mut known = Response::new(full(""));
        *known.status_mut() = StatusCode::NOT_MODIFIED;
        known
    } else {
        let bytes = openapi::document(path, GIT_VERSION).unwrap_or_default();
        let gzip =
            headers.get(ACCEPT_ENCODING).and_then(|e| e.to_str().ok()).is_some_and(|e| e.contains("gzip"));
        let mut found = answer::bytes(200, "application/json", bytes.to_vec(), gzip);
        found.headers_mut().insert(LAST_MODIFIED, date(SystemTime::now()));
        found
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, etag);
    headers.append(VARY, HeaderValue::from_static("Accept"));
    let caching = if asked == Some(hash.as_str()) {
        // The address names the content, so it never changes.
        headers.insert(EXPIRES, date(SystemTime::now() + YEAR));
        "public, immutable"
    } else {
        "no-cache, private"
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    Ok(response)
}

/// A 404 without words, as upstream answers here.
fn no_document() -> Response<BoxBody> {
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// An HTTP date.
fn date(time: SystemTime) -> HeaderValue {
    use time::format_description::well_known::Rfc2822;
    let text = time::OffsetDateTime::from(time).format(&Rfc2822).unwrap_or_default();
    HeaderValue::from_str(&text.replace("+0000", "GMT")).unwrap_or(HeaderValue::from_static(""))
}
