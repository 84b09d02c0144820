//! The way of a request: identity, authorization, route, handler, answer.

use crate::answer::{self, Answer, Wanted};
use crate::authn;
use crate::body::BoxBody;
use crate::context::{Context, now};
use crate::{discovery, health, metrics, openapi, resources};
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use kedge_api::Identity;
use kedge_apiserver_core::attributes::Attributes;
use kedge_apiserver_core::authentication::impersonation;
use kedge_apiserver_core::registry::info;
use kedge_apiserver_core::registry::options::{QueryString, decode};
use kedge_apiserver_core::registry::route::{Route, route};
use kedge_apiserver_core::status::ApiError;
use kedge_serving::Peer;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Requests that are not long-running must end within this.
const TIMEOUT: Duration = Duration::from_secs(60);
const AUDIT_ID: &str = "audit-id";

/// The whole API as a tower service: what the listener serves, and what in-process clients call.
#[derive(Clone)]
pub struct ApiService {
    context: Arc<Context>,
}

/// A request taken apart, as handlers get it.
pub struct Call {
    pub method: Method,
    pub attributes: Attributes,
    pub query: QueryString,
    pub parts: Parts,
}

impl ApiService {
    pub fn new(context: Arc<Context>) -> ApiService {
        ApiService { context }
    }

    /// Answers every request; nothing a handler does, panics included, ends the connection.
    pub async fn handle(self, request: Request<BoxBody>) -> Result<Response<BoxBody>, Infallible> {
        let started = Instant::now();
        let audit_id = request.headers().get(AUDIT_ID).cloned().unwrap_or_else(fresh_id);
        let method = request.method().clone();
        let context = self.context.clone();
        let outcome = AssertUnwindSafe(respond(&self.context, request)).catch_unwind().await;
        let (label, mut response) = outcome.unwrap_or_else(|_| {
            let why = "This request caused apiserver to panic. Look in the logs for details.";
            ("panic", answer::error(&ApiError::new(500, "InternalError", why), &Wanted::default()))
        });
        context.metrics.observe(method.as_str(), label, response.status().as_u16(), started.elapsed());
        response.headers_mut().insert(AUDIT_ID, audit_id);
        Ok(response)
    }
}

impl tower::Service<Request<BoxBody>> for ApiService {
    type Response = Response<BoxBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<BoxBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<BoxBody>) -> Self::Future {
        Box::pin(self.clone().handle(request))
    }
}

fn fresh_id() -> HeaderValue {
    HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).expect("a UUID is a valid header value")
}

async fn respond(context: &Arc<Context>, request: Request<BoxBody>) -> (&'static str, Response<BoxBody>) {
    let (parts, body) = request.into_parts();
    let shown = Wanted::of_error(&parts.headers);
    let identity = match identify(context, &parts) {
        Ok(identity) => identity,
        Err(error) => return ("unauthorized", answer::error(&error, &shown)),
    };
    let query = QueryString::parse(parts.uri.query().unwrap_or_default());
    let path = decode(parts.uri.path(), false);
    let method = parts.method.clone();
    let attributes = info::attributes(identity, method.as_str(), &path, &query);
    let call = Call { method, attributes, query, parts };
    if let Err(error) = authorize(context, &call.attributes) {
        return ("forbidden", answer::error(&error, &shown));
    }
    let (label, answer) = admit(context, call, body, route(&path)).await;
    (label, answer.unwrap_or_else(|error| answer::error(&error, &shown)))
}

/// In process the caller is a typed extension; over TLS the authenticator finds out. Either may ask to act as somebody else.
fn identify(context: &Context, parts: &Parts) -> Result<Identity, ApiError> {
    let peer = parts.extensions.get::<Peer>();
    let authenticated = match (parts.extensions.get::<Identity>(), peer) {
        (Some(identity), None) => identity.clone(),
        _ => {
            let certificates = peer.map_or(&[][..], |peer| &peer.certificates);
            context.authenticator.authenticate(&parts.headers, certificates, &context.objects, now())?
        }
    };
    match authn::wanted(&parts.headers)? {
        None => Ok(authenticated),
        Some(wanted) => {
            let authorizer = context.access.read();
            impersonation::impersonate(&authorizer, &authenticated, wanted)
        }
    }
}

fn authorize(context: &Context, attributes: &Attributes) -> Result<(), ApiError> {
    context.access.read().check(attributes)
}

/// Holds one of the slots for running requests, and a deadline, unless the request is long-running by nature.
async fn admit(context: &Arc<Context>, call: Call, body: BoxBody, route: Route) -> (&'static str, Answer) {
    if is_long_running(&call) {
        return dispatch(context, call, body, route).await;
    }
    let answered = tokio::time::timeout(TIMEOUT, in_slot(context, call, body, route)).await;
    answered.unwrap_or_else(|_| {
        let message = "Timeout: request did not complete within the allotted timeout";
        ("timeout", Err(ApiError::new(504, "Timeout", message)))
    })
}

/// The body is read before a slot is taken: a client that sends slowly holds up nobody who writes.
async fn in_slot(context: &Arc<Context>, call: Call, body: BoxBody, route: Route) -> (&'static str, Answer) {
    let slots = if is_system(&call.attributes.user) { &context.system_slots } else { &context.slots };
    let reading = matches!(call.method, Method::GET | Method::HEAD);
    let body = match reading {
        true => body,
        false => {
            let _place = slots.bodies.acquire().await;
            match crate::body::read(body).await {
                Ok(bytes) => crate::body::full(bytes),
                Err(error) => return ("body", Err(error)),
            }
        }
    };
    let slot = if reading { &slots.reads } else { &slots.writes };
    let Ok(_slot) = slot.try_acquire() else {
        let mut error = ApiError::new(429, "TooManyRequests", "Too many requests, please try again later.");
        error.retry_after_s = Some(1);
        return ("overload", Err(error));
    };
    dispatch(context, call, body, route).await
}

/// Whom upstream's priority levels `exempt`, `system` and `leader-election` serve.
fn is_system(user: &Identity) -> bool {
    user.groups.iter().any(|group| group == "system:masters" || group == "system:nodes")
        || user.user.starts_with("system:kube-")
        || user.user.starts_with("system:serviceaccount:kube-system:")
}

fn is_long_running(call: &Call) -> bool {
    let attributes = &call.attributes;
    attributes.verb == "watch"
        || matches!(attributes.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy" | "log")
}

async fn dispatch(context: &Arc<Context>, call: Call, body: BoxBody, route: Route) -> (&'static str, Answer) {
    match route {
        Route::Resource(target) => {
            let label = target.kind.plural;
            (label, resources::handle(context, call, body, target).await)
        }
        Route::Discovery(what) => ("discovery", discovery::handle(context, &call, &what)),
        Route::Missing => ("missing", Err(not_found())),
        Route::Other => other(context, &call).await,
    }
}

async fn other(context: &Arc<Context>, call: &Call) -> (&'static str, Answer) {
    let path = call.attributes.path.as_str();
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match first {
        "healthz" | "livez" | "readyz" => {
            (first_label(first), Ok(health::handle(context, path, &call.query)))
        }
        "version" => ("version", discovery::version(call)),
        "metrics" => ("metrics", Ok(metrics::handle(context))),
        "openapi" => ("openapi", openapi::handle(call)),
        ".well-known" | "openid" => ("openid", discovery::openid(context, call)),
        "" => ("root", discovery::root()),
        _ => ("missing", Ok(answer::text(404, "text/plain; charset=utf-8", "404 page not found\n"))),
    }
}

fn first_label(first: &str) -> &'static str {
    match first {
        "livez" => "livez",
        "readyz" => "readyz",
        _ => "healthz",
    }
}

/// A path below `/api` or `/apis` that is not there.
pub fn not_found() -> ApiError {
    let message = "the server could not find the requested resource";
    ApiError { details: serde_json::json!({}), ..ApiError::new(404, "NotFound", message) }
}

pub fn not_allowed() -> ApiError {
    let message = "the server does not allow this method on the requested resource";
    ApiError { details: serde_json::json!({}), ..ApiError::new(405, "MethodNotAllowed", message) }
}
