//! The kubelet's HTTP server on 10250, as far as clients reach through it: exec, attach, port-forward, logs, run, pods, metrics.
//!
//! Tasks: one per upgraded connection (`session`, `forward`), one per log stream (`log_stream`); each ends when its client
//! goes away. Who calls and whether they may is asked before anything else is looked at.

mod forward;
mod log_lines;
mod log_stream;
mod query;
mod reviews;
mod session;
#[cfg(test)]
pub(crate) mod tests;
mod upgrade;

use crate::lookup::{ContainerPlace, Lookup};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kedge_client::Client;
use kedge_cri_api::{AttachRequest, ExecRequest, Runtime};
use kedge_serving::delegated::{Access, Delegated, Refusal, Reviews};
use kedge_serving::x509::Verifier;
use kedge_serving::{BoxBody, Limits, Metrics, Peer, ServerTls};
use query::Query;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What the handlers reach.
pub struct Handlers {
    pub runtime: Arc<dyn Runtime>,
    pub lookup: Arc<dyn Lookup>,
    pub node_name: String,
    /// The pods of this node as JSON, for `/pods`.
    pub pods: Box<dyn Fn() -> Vec<serde_json::Value> + Send + Sync>,
    pub metrics: Metrics,
}

type Answer = Response<BoxBody>;

/// What the server is told by whoever starts it.
pub struct Settings {
    /// Node address and port 10250.
    pub address: SocketAddr,
    /// The serving certificate, signed by the cluster's authority.
    pub tls: ServerTls,
    /// PEM of the authority whose client certificates are taken.
    pub client_authority: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listening on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the authority of client certificates")]
    Authority(#[from] kedge_serving::x509::AuthorityError),
    #[error("accepting connections")]
    Serve(#[source] std::io::Error),
}

/// Serves until `shutdown` turns true. `client` asks the API server who callers are.
pub async fn run(
    settings: Settings,
    handlers: Handlers,
    client: Client,
    shutdown: watch::Receiver<bool>,
) -> Result<(), Error> {
    let authority = Verifier::new(&settings.client_authority)?;
    let delegated = Arc::new(Delegated::new(reviews::ApiReviews { client, authority }));
    let address = settings.address;
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    let service = service(Arc::new(handlers), delegated);
    kedge_serving::serve(listener, settings.tls, service, Limits::default(), shutdown)
        .await
        .map_err(Error::Serve)
}

/// The service that [`kedge_serving::serve`] runs.
pub fn service<R: Reviews + 'static>(
    handlers: Arc<Handlers>,
    delegated: Arc<Delegated<R>>,
) -> impl kedge_serving::Service {
    move |request: Request<BoxBody>| {
        let (handlers, delegated) = (Arc::clone(&handlers), Arc::clone(&delegated));
        let answer: std::pin::Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>> =
            Box::pin(async move { Ok(respond(handlers, &delegated, request).await) });
        answer
    }
}

async fn respond<R: Reviews>(
    handlers: Arc<Handlers>,
    delegated: &Delegated<R>,
    request: Request<BoxBody>,
) -> Answer {
    let (parts, body) = request.into_parts();
    match admit(&handlers, delegated, &parts).await {
        Ok(()) => route(handlers, Request::from_parts(parts, body)).await,
        Err(refusal) => {
            let status = match refusal {
                Refusal::Unauthorized => StatusCode::UNAUTHORIZED,
                Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
                Refusal::Unavailable(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            text(status, refusal.to_string())
        }
    }
}

async fn admit<R: Reviews>(
    handlers: &Handlers,
    delegated: &Delegated<R>,
    request: &Parts,
) -> Result<(), Refusal> {
    let peer = request.extensions.get::<Peer>().ok_or(Refusal::Unauthorized)?;
    let who = delegated.authenticate(&request.headers, peer).await?;
    let wanted = |subresource: &str| Access::Resource {
        verb: verb(&request.method).to_owned(),
        resource: "nodes".to_owned(),
        subresource: subresource.to_owned(),
        name: handlers.node_name.clone(),
    };
    let first = request.uri.path().split('/').nth(1).unwrap_or_default();
    match first {
        // Fine-grained where a reader exists; whoever may proxy may read these too.
        "healthz" | "pods" | "metrics" if delegated.authorize(&who, &wanted(first)).await.is_ok() => Ok(()),
        _ => delegated.authorize(&who, &wanted("proxy")).await,
    }
}

fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    }
}

async fn route(handlers: Arc<Handlers>, request: Request<BoxBody>) -> Answer {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let is_read = request.method() == Method::GET || request.method() == Method::HEAD;
    let answer = match (is_read, parts.as_slice()) {
        (true, ["healthz"]) => Ok(text(StatusCode::OK, "ok")),
        (true, ["pods"]) => Ok(pods(&handlers)),
        (true, ["metrics"]) => Ok(handlers.metrics.response()),
        (true, ["containerLogs", namespace, pod, container]) => {
            log_stream::handle(&handlers, namespace, pod, container, request.uri().query()).await
        }
        // The form with the pod's uid before the container is of older API servers.
        (_, ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container]) => {
            handlers.exec(namespace, pod, container, request).await
        }
        (_, ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container]) => {
            handlers.attach(namespace, pod, container, request).await
        }
        (_, ["portForward", namespace, pod] | ["portForward", namespace, pod, _]) => {
            handlers.port_forward(namespace, pod, request)
        }
        (false, ["run", namespace, pod, container] | ["run", namespace, pod, _, container]) => {
            handlers.run(namespace, pod, container, request.uri().query()).await
        }
        _ => Err(Rejection(StatusCode::NOT_FOUND, "404 page not found\n".to_owned())),
    };
    answer.unwrap_or_else(|Rejection(status, words)| text(status, words))
}

/// A request that is not served, with the words for its client.
struct Rejection(StatusCode, String);

fn text(status: StatusCode, words: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(full(words));
    *answer.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    answer
}

fn full(bytes: impl Into<Bytes>) -> BoxBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn pods(handlers: &Handlers) -> Answer {
    let list = serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": (handlers.pods)()});
    let mut answer = Response::new(full(list.to_string()));
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, json);
    answer
}

impl Handlers {
    fn running(&self, namespace: &str, pod: &str, container: &str) -> Result<ContainerPlace, Rejection> {
        if let Some(place) =
            self.lookup.container(namespace, pod, container, false).filter(|place| place.is_running)
        {
            return Ok(place);
        }
        Err(match self.lookup.sandbox(namespace, pod) {
            Some(_) => {
                Rejection(StatusCode::INTERNAL_SERVER_ERROR, format!("container not found (\"{container}\")"))
            }
            None => Rejection(StatusCode::NOT_FOUND, "pod does not exist".to_owned()),
        })
    }

    async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        request: Request<BoxBody>,
    ) -> Result<Answer, Rejection> {
        let query = Query::parse(request.uri().query());
        let place = self.running(namespace, pod, container)?;
        let exec = ExecRequest {
            cmd: query.all("command"),
            tty: query.is_set("tty"),
            stdin: query.is_set("input"),
            stdout: query.is_set("output"),
            // With a tty both come through stdout.
            stderr: query.is_set("error") && !query.is_set("tty"),
        };
        if !(exec.stdin || exec.stdout || exec.stderr) {
            let words = "you must specify at least 1 of stdin, stdout, stderr";
            return Err(Rejection(StatusCode::BAD_REQUEST, words.to_owned()));
        }
        let wanted =
            session::Wanted { stdin: exec.stdin, stdout: exec.stdout, stderr: exec.stderr, tty: exec.tty };
        let (answer, upgraded) = upgrade::remote_command(request)?;
        let runtime = Arc::clone(&self.runtime);
        tokio::spawn(session::run(upgraded, wanted, async move {
            let started = runtime.exec(&place.id, exec).await;
            started.map_err(|error| format!("error executing command in container: {error}"))
        }));
        Ok(answer)
    }

    async fn attach(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        request: Request<BoxBody>,
    ) -> Result<Answer, Rejection> {
        let query = Query::parse(request.uri().query());
        let place = self.running(namespace, pod, container)?;
        // The container knows whether it has a terminal; the client may be mistaken.
        let attach = AttachRequest {
            tty: place.tty,
            stdin: query.is_set("input") && place.stdin,
            stdout: query.is_set("output"),
            stderr: query.is_set("error") && !place.tty,
        };
        let wanted = session::Wanted {
            stdin: query.is_set("input"),
            stdout: attach.stdout,
            stderr: query.is_set("error") && !query.is_set("tty"),
            tty: query.is_set("tty"),
        };
        let (answer, upgraded) = upgrade::remote_command(request)?;
        let runtime = Arc::clone(&self.runtime);
        tokio::spawn(session::run(upgraded, wanted, async move {
            let attached = runtime.attach(&place.id, attach).await;
            attached.map_err(|error| format!("error attaching to container: {error}"))
        }));
        Ok(answer)
    }

    fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        request: Request<BoxBody>,
    ) -> Result<Answer, Rejection> {
        let sandbox = self.lookup.sandbox(namespace, pod);
        let sandbox =
            sandbox.ok_or_else(|| Rejection(StatusCode::NOT_FOUND, "pod does not exist".to_owned()))?;
        let (answer, upgraded) = upgrade::port_forward(request)?;
        tokio::spawn(forward::run(upgraded, Arc::clone(&self.runtime), sandbox));
        Ok(answer)
    }

    async fn run(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        query: Option<&str>,
    ) -> Result<Answer, Rejection> {
        let place = self.running(namespace, pod, container)?;
        let query = Query::parse(query);
        let command = query.text("cmd").unwrap_or_default();
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let ended = self.runtime.exec_sync(&place.id, words, 0).await;
        let ended = ended.map_err(|error| Rejection(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let mut output = [ended.stdout, ended.stderr].concat();
        if ended.exit_code != 0 {
            output.extend_from_slice(
                format!("command terminated with exit code {}", ended.exit_code).as_bytes(),
            );
            return Ok(text(StatusCode::INTERNAL_SERVER_ERROR, output));
        }
        Ok(text(StatusCode::OK, output))
    }
}
