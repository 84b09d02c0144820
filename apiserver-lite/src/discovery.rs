//! Discovery (legacy and aggregated), `/version`, the root index, OpenAPI.

use crate::answer::{self, Answer, Wanted};
use crate::body::BoxBody;
use crate::body::full;
use crate::context::Context;
use crate::service::{Call, not_allowed, not_found};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Response};
use kedge_apiserver_core::registry::negotiate::{Endpoint, Representation, Transform};
use kedge_apiserver_core::registry::route::Discovery;
use kedge_apiserver_core::registry::{aggregated, listing};
use kedge_apiserver_core::status::ApiError;
use serde_json::json;
use std::sync::OnceLock;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

pub fn handle(context: &Context, call: &Call, what: &Discovery) -> Answer {
    let headers = &call.parts.headers;
    let wanted = Wanted::read(headers, None, Endpoint::Discovery)?;
    let groups = matches!(what, Discovery::Core | Discovery::Groups);
    if wanted.representation.transform == Transform::Discovery && groups {
        if call.method != Method::GET {
            return Err(not_allowed());
        }
        return Ok(aggregated_document(*what == Discovery::Core, headers.get(IF_NONE_MATCH)));
    }
    let any_method = *what == Discovery::Groups;
    if call.method != Method::GET && call.method != Method::HEAD && !any_method {
        return Err(not_allowed());
    }
    let document = match what {
        Discovery::Core => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
            let port = context.config.listen.port();
            let server = host.unwrap_or_else(|| format!("{}:{port}", context.config.advertise));
            listing::api_versions(&server)
        }
        Discovery::Groups => listing::groups(),
        Discovery::Group(group) => listing::group(group),
        Discovery::Version(group, version) => listing::resources(group, version),
    };
    Ok(answer::value(200, &document, &wanted))
}

/// The documents never change while a server runs: made once, with their hash.
fn aggregated_document(core: bool, known: Option<&HeaderValue>) -> Response<BoxBody> {
    static DOCUMENTS: OnceLock<[(Vec<u8>, HeaderValue); 2]> = OnceLock::new();
    let documents = DOCUMENTS.get_or_init(|| {
        [true, false].map(|core| {
            let text = aggregated::document(core).to_string();
            let hash = HeaderValue::from_str(&format!("\"{}\"", aggregated::hash(&text)));
            (text.into_bytes(), hash.expect("a hash in hexadecimal is a valid header value"))
        })
    });
    let (bytes, etag) = &documents[usize::from(!core)];
    let fresh = known != Some(etag);
    let mut response = Response::new(full(if fresh { bytes.clone() } else { Vec::new() }));
    let headers = response.headers_mut();
    headers.insert(ETAG, etag.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    match fresh {
        true => drop(headers.insert(CONTENT_TYPE, HeaderValue::from_static(AGGREGATED))),
        false => *response.status_mut() = http::StatusCode::NOT_MODIFIED,
    }
    response
}

/// The version of Kubernetes whose behaviour this is, and ours behind the plus.
pub const GIT_VERSION: &str = "v1.36.2+kedge.0";

pub fn version(call: &Call) -> Answer {
    if call.method != Method::GET {
        return Err(not_allowed());
    }
    // Always JSON: the document has no message.
    let mut wanted = Wanted::read(&call.parts.headers, None, Endpoint::Plain).unwrap_or_default();
    wanted.representation = Representation::default();
    let document = json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": format!("linux/{}", platform()),
    });
    Ok(answer::value(200, &document, &wanted))
}

/// Go's name of the architecture.
fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Always JSON, whatever is asked for.
pub fn root() -> Answer {
    Ok(answer::value(200, &json!({"paths": listing::paths()}), &Wanted::default()))
}

/// What verifiers of service account tokens read.
pub fn openid(context: &Context, call: &Call) -> Answer {
    let headers = &call.parts.headers;
    let (document, content_type) = match call.attributes.path.as_str() {
        "/.well-known/openid-configuration" => {
            (context.authenticator.openid_configuration(host(&call.parts)), "application/json")
        }
        "/openid/v1/jwks" => (context.authenticator.jwks(), JWKS),
        _ => return Err(not_found()),
    };
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    if content_type == JWKS && !accept.contains(JWKS) && !accept.contains("*/*") {
        let message = format!("406: Not Acceptable\n\nAvailable representations: {JWKS}");
        return Err(ApiError { details: json!({}), ..ApiError::new(406, "NotAcceptable", message) });
    }
    let mut response = answer::text(200, content_type, document.to_string());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Ok(response)
}

const JWKS: &str = "application/jwk-set+json";

/// Where the client found the server: a header in HTTP/1, a part of the URI in HTTP/2.
fn host(parts: &Parts) -> &str {
    let header = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    header.or(parts.uri.authority().map(Authority::as_str)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Conformance spec "ServiceAccountIssuerDiscovery": a client that speaks HTTP/2 got a jwks_uri without host.
    #[test]
    fn both_versions_of_http_say_the_host() {
        let parts = |uri: &str, header: Option<&str>| {
            let mut request = http::Request::builder().uri(uri);
            if let Some(header) = header {
                request = request.header(HOST, header);
            }
            request.body(()).expect("a request").into_parts().0
        };
        assert_eq!(host(&parts("/openid/v1/jwks", Some("a:6443"))), "a:6443");
        assert_eq!(host(&parts("https://b:6443/openid/v1/jwks", None)), "b:6443");
    }
}
