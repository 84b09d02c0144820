//! The streams of a pod that end at its kubelet: log, exec, attach, port-forward. The request is passed on with the API
//! server's own identity, and an upgraded connection as it is: WebSocket or SPDY is a matter between client and kubelet.
//!
//! Tasks: two per stream, the kubelet connection's and, once upgraded, the one that copies; both end with either side.

mod log_socket;
mod plan;
#[cfg(test)]
mod tests;

use crate::answer::Answer;
use crate::body::BoxBody;
use crate::context::Context;
use crate::dialer::KubeletAddress;
use crate::service::Call;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use kedge_api::kinds;
use kedge_apiserver_core::registry::encode::decode;
use kedge_apiserver_core::registry::route::{Target, key};
use kedge_apiserver_core::status::ApiError;
use plan::{Plan, Stream};
use serde_json::Value;
use std::sync::Arc;

/// What a client's handshake has for the kubelet; its credentials are not among it.
const PASSED_ON: [HeaderName; 6] = [
    CONNECTION,
    UPGRADE,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION,
    SEC_WEBSOCKET_PROTOCOL,
    HeaderName::from_static("x-stream-protocol-version"),
];
/// Bytes of a kubelet's error that are told.
const WORDS_BYTES_MAX: usize = 64 << 10;

/// Serves a request for a stream of the pod `pod`.
pub(crate) async fn stream(
    context: &Arc<Context>,
    call: Call,
    body: BoxBody,
    target: &Target,
    stream: Stream,
    pod: &Value,
) -> Answer {
    if call.method == Method::GET && stream != Stream::Log {
        // A WebSocket begins with GET, but runs a command: reading rights are not enough.
        let attributes = kedge_apiserver_core::attributes::Attributes {
            verb: "create".to_owned(),
            ..call.attributes.clone()
        };
        context.access.read().check(&attributes)?;
    }
    let (node, path) = match plan::plan(stream, pod, &target.namespace, &target.name, &call.query)? {
        Plan::Empty => {
            let mut nothing = Response::new(crate::body::full(Bytes::new()));
            *nothing.status_mut() = StatusCode::NO_CONTENT;
            nothing.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
            return Ok(nothing);
        }
        Plan::Ask { node, path } => (node, path),
    };
    let address = kubelet(context, &node)?;
    let mut client = Request::from_parts(call.parts, body);
    let mut request = Request::builder().method(call.method).uri(path).header(HOST, address.0.to_string());
    for name in PASSED_ON.iter().filter(|_| stream != Stream::Log) {
        for value in client.headers().get_all(name) {
            request = request.header(name, value);
        }
    }
    let request = request.body(Empty::new()).map_err(ApiError::internal)?;
    let response = ask(context, address, request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let ours = hyper::upgrade::on(&mut client);
        return Ok(join(response, ours));
    }
    let is_socket = log_socket::is_wanted(client.headers());
    match (stream, response.status().is_success()) {
        (Stream::Log, true) if is_socket => {
            let ours = hyper::upgrade::on(&mut client);
            log_socket::serve(client.headers(), ours, response)
        }
        (Stream::Log, true) => Ok(pass(response)),
        (Stream::Log, false) => Err(refusal(response).await),
        // The client shows the kubelet's words as they are.
        (Stream::Exec | Stream::Attach | Stream::PortForward, _) => Ok(pass(response)),
    }
}

fn kubelet(context: &Context, node: &str) -> Result<KubeletAddress, ApiError> {
    let kind = kinds::lookup("", "v1", "nodes").expect("the kind table has nodes");
    let entry = context.store.get(&key(kind, "", node));
    let entry = entry.ok_or_else(|| ApiError::not_found("", "nodes", node))?;
    let no_address = || ApiError::internal(format!("node {node:?} has no InternalIP"));
    KubeletAddress::of(&decode(&entry)).ok_or_else(no_address)
}

async fn ask(
    context: &Context,
    address: KubeletAddress,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, ApiError> {
    let dialing =
        |error: &dyn std::fmt::Display| ApiError::internal(format!("error dialing backend: {error}"));
    let io = context.dialer.kubelet(address).await.map_err(|error| dialing(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(io)).await.map_err(|error| dialing(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a kubelet connection ended");
        }
    });
    sender.send_request(request).await.map_err(|error| dialing(&error))
}

/// Answers 101 and copies bytes both ways once both sides have switched.
pub(crate) fn join(mut kubelet: Response<Incoming>, client: OnUpgrade) -> Response<BoxBody> {
    let theirs = hyper::upgrade::on(&mut kubelet);
    tokio::spawn(async move {
        let (client, kubelet) = match tokio::try_join!(client, theirs) {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "a stream was not upgraded"),
        };
        let (mut client, mut kubelet) = (TokioIo::new(client), TokioIo::new(kubelet));
        // Either side may go at any time; both are closed then.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut kubelet).await;
    });
    let mut answer = Response::new(crate::body::full(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = kubelet.headers().clone();
    answer
}

fn pass(response: Response<Incoming>) -> Response<BoxBody> {
    let mut answer = text(response.status(), Bytes::new());
    *answer.body_mut() = response.into_body().map_err(Into::into).boxed_unsync();
    answer
}

fn text(status: StatusCode, body: Bytes) -> Response<BoxBody> {
    let mut answer = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

/// A kubelet's refusal as a Status.
async fn refusal(response: Response<Incoming>) -> ApiError {
    let status = response.status();
    let mut body = response.into_body();
    let mut words = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        words.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
        if words.len() > WORDS_BYTES_MAX {
            break;
        }
    }
    let words = String::from_utf8_lossy(&words).trim_end().to_owned();
    match status.as_u16() {
        400 => ApiError::bad_request(words),
        404 => ApiError::new(
            404,
            "NotFound",
            format!("the server could not find the requested resource ({words})"),
        ),
        _ => {
            let message =
                format!("an error on the server ({words:?}) has prevented the request from succeeding");
            ApiError::new(500, "InternalError", message)
        }
    }
}

pub(crate) use plan::Stream as Kind;
