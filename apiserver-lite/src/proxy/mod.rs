//! The proxy subresources of pods, services and nodes: the request goes on to the pod, one of the service's pods or the
//! kubelet, whatever its method, and the answer comes back as it is. An upgraded connection is copied.

mod destination;
mod html;

use crate::answer::Answer;
use crate::body::BoxBody;
use crate::context::Context;
use crate::dialer::KubeletAddress;
use crate::service::Call;
use crate::upgrade::join;
use destination::{Destination, Id, Scheme, of_node, of_pod, of_service, port_name, unavailable};
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST,
    LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kedge_api::kinds;
use kedge_apiserver_core::registry::encode::decode;
use kedge_apiserver_core::registry::route::{Target, key};
use kedge_apiserver_core::status::ApiError;
use kedge_serving::Peer;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};

/// What ends with a connection, and what only the API server may see.
const KEPT_BACK: [HeaderName; 9] = [
    // A page must come readable, so that its links can be rewritten.
    ACCEPT_ENCODING,
    AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    HeaderName::from_static("proxy-connection"),
];
const IMPERSONATION: &str = "impersonate-";

/// Services' pods are taken in turn.
static TURN: AtomicUsize = AtomicUsize::new(0);

pub(crate) async fn serve(context: &Arc<Context>, call: Call, body: BoxBody, target: &Target) -> Answer {
    let rest = rest(call.parts.uri.path(), target.kind.namespaced);
    let Some(rest) = rest.map(str::to_owned) else {
        if matches!(call.method, Method::GET | Method::HEAD) {
            return Ok(with_slash(&call));
        }
        return pass(context, call, body, target, "").await;
    };
    pass(context, call, body, target, &rest).await
}

/// What follows `/proxy/`, as the client wrote it; nothing without that slash.
fn rest(path: &str, namespaced: bool) -> Option<&str> {
    // "", api, v1, namespaces, NAMESPACE, pods, NAME, proxy
    let before = if namespaced { 8 } else { 6 };
    path.splitn(before + 1, '/').nth(before)
}

/// Relative links of a page need the slash.
fn with_slash(call: &Call) -> Response<BoxBody> {
    let query = call.parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}/{query}", call.parts.uri.path());
    let mut answer = Response::new(crate::body::full(""));
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

async fn pass(context: &Arc<Context>, call: Call, body: BoxBody, target: &Target, rest: &str) -> Answer {
    let (destination, kubelet) = find(context, target)?;
    let prefix =
        call.parts.uri.path().strip_suffix(rest).unwrap_or_default().trim_end_matches('/').to_owned();
    let is_upgrade = call.parts.headers.contains_key(UPGRADE);
    let mut client = Request::from_parts(call.parts, body);
    let upgraded = hyper::upgrade::on(&mut client);
    let request = onward(client, rest, is_upgrade)?;
    let (response, host) = match destination {
        Destination::Kubelet => {
            let kubelet = kubelet.ok_or_else(|| unavailable("no kubelet to proxy to".to_owned()))?;
            let io = context.dialer.kubelet(kubelet).await.map_err(|error| no_service(&error))?;
            (send(io, request).await?, format!("https://{}", kubelet.0))
        }
        Destination::Address(scheme, address) => {
            let io = context.dialer.tcp(address).await.map_err(|error| no_service(&error))?;
            let response = match scheme {
                Scheme::Http => send(io, request).await?,
                Scheme::Https => {
                    let io =
                        context.dialer.unverified(address, io).await.map_err(|error| no_service(&error))?;
                    send(io, request).await?
                }
            };
            (response, format!("{}://{address}", scheme.name()))
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(join(response, upgraded));
    }
    Ok(back(response, &prefix, &host))
}

fn find(context: &Context, target: &Target) -> Result<(Destination, Option<KubeletAddress>), ApiError> {
    match target.kind.plural {
        "pods" => {
            let id = Id::parse(&target.name, "pod")?;
            Ok((of_pod(&id, &object(context, "pods", &target.namespace, id.name)?)?, None))
        }
        "services" => {
            let id = Id::parse(&target.name, "service")?;
            let service = object(context, "services", &target.namespace, id.name)?;
            let endpoints = object(context, "endpoints", &target.namespace, id.name)?;
            let turn = TURN.fetch_add(1, Ordering::Relaxed);
            Ok((of_service(&id, port_name(&id, &service)?, &endpoints, turn)?, None))
        }
        _ => {
            let id = Id::parse(&target.name, "node")?;
            let node = object(context, "nodes", "", id.name)?;
            let no_address = || ApiError::internal(format!("node {:?} has no InternalIP", id.name));
            let kubelet = KubeletAddress::of(&node).ok_or_else(no_address)?;
            Ok((of_node(&id, kubelet.0)?, Some(kubelet)))
        }
    }
}

fn object(context: &Context, plural: &str, namespace: &str, name: &str) -> Result<Value, ApiError> {
    let kind = kinds::lookup("", "v1", plural).expect("the kind table has what can be proxied to");
    let entry = context.store.get(&key(kind, namespace, name));
    entry.map(|entry| decode(&entry)).ok_or_else(|| ApiError::not_found("", plural, name))
}

/// The client's request as the destination gets it.
fn onward(client: Request<BoxBody>, rest: &str, is_upgrade: bool) -> Result<Request<BoxBody>, ApiError> {
    let (parts, body) = client.into_parts();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut request = Request::builder().method(&parts.method).uri(format!("/{rest}{query}"));
    if let Some(headers) = request.headers_mut() {
        forward_headers(&parts.headers, is_upgrade, headers);
        if !headers.contains_key(HOST)
            && let Some(authority) = parts.uri.authority()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            headers.insert(HOST, host);
        }
        for (name, value) in [
            ("x-forwarded-for", parts.extensions.get::<Peer>().map(|peer| peer.address.ip().to_string())),
            ("x-forwarded-host", headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned)),
            ("x-forwarded-proto", Some("https".to_owned())),
            ("x-forwarded-uri", Some(parts.uri.path().to_owned())),
        ] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
    request
        .body(body)
        .map_err(|error| ApiError::bad_request(format!("this request cannot be proxied: {error}")))
}

fn forward_headers(from: &HeaderMap, is_upgrade: bool, to: &mut HeaderMap) {
    for (name, value) in from {
        let is_hop = !is_upgrade && (name == CONNECTION || name == UPGRADE);
        if !is_hop && !KEPT_BACK.contains(name) && !name.as_str().starts_with(IMPERSONATION) {
            to.append(name, value.clone());
        }
    }
}

async fn send(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<BoxBody>,
) -> Result<Response<Incoming>, ApiError> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(io)).await.map_err(|error| no_service(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection ended");
        }
    });
    sender.send_request(request).await.map_err(|error| no_service(&error))
}

fn no_service(error: &dyn std::fmt::Display) -> ApiError {
    unavailable(format!("error trying to reach service: {error}"))
}

fn back(response: Response<Incoming>, prefix: &str, host: &str) -> Response<BoxBody> {
    let (mut parts, body) = response.into_parts();
    for name in KEPT_BACK.iter().chain([&CONNECTION]) {
        parts.headers.remove(name);
    }
    let location = parts.headers.get(LOCATION).and_then(|location| location.to_str().ok());
    if let Some(location) = location.and_then(|location| moved(location, prefix, host))
        && let Ok(location) = HeaderValue::from_str(&location)
    {
        parts.headers.insert(LOCATION, location);
    }
    // The client's connection may be of another version.
    parts.version = http::Version::default();
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("text/html") && !parts.headers.contains_key(CONTENT_ENCODING) {
        parts.headers.remove(CONTENT_LENGTH);
        return Response::from_parts(parts, html::rewritten(body, prefix, host));
    }
    Response::from_parts(parts, body.map_err(Into::into).boxed_unsync())
}

/// A redirection within the destination leads through the proxy again.
fn moved(location: &str, prefix: &str, host: &str) -> Option<String> {
    let path = location.strip_prefix(host).unwrap_or(location);
    path.starts_with('/').then(|| format!("{prefix}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_path_stays_as_it_was_written() {
        let pod = "/api/v1/namespaces/a/pods/http:b:80/proxy";
        assert_eq!(rest(pod, true), None);
        assert_eq!(rest(&format!("{pod}/"), true), Some(""));
        assert_eq!(rest(&format!("{pod}/x%2Fy//z/"), true), Some("x%2Fy//z/"));
        assert_eq!(rest("/api/v1/nodes/n/proxy/logs/", false), Some("logs/"));
    }

    #[test]
    fn redirections_stay_behind_the_proxy() {
        let prefix = "/api/v1/namespaces/a/pods/b/proxy";
        let check = |location: &str, expected: Option<&str>| {
            let wanted = expected.map(|path| format!("{prefix}{path}"));
            assert_eq!(moved(location, prefix, "http://10.0.0.1:80"), wanted, "{location}");
        };
        check("/there", Some("/there"));
        check("http://10.0.0.1:80/there", Some("/there"));
        check("http://elsewhere/there", None);
        check("relative", None);
    }

    #[test]
    fn credentials_and_hops_are_kept_back() {
        let mut from = HeaderMap::new();
        for name in ["authorization", "impersonate-user", "connection", "upgrade", "accept", "te"] {
            from.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        let names = |is_upgrade: bool| {
            let mut to = HeaderMap::new();
            forward_headers(&from, is_upgrade, &mut to);
            let mut names: Vec<String> = to.keys().map(ToString::to_string).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(names(false), "accept");
        assert_eq!(names(true), "accept connection upgrade");
    }
}
