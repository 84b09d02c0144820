//! The loop against an API server of a few lines: two watches that say what the test says, and a list of what was written.

use crate::run;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use kedge_api::{Identity, Node, Pod};
use kedge_client::{BoxBody, BoxError, Cache, Client, WatchOptions};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// The longest wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    nodes: Mutex<Option<UnboundedReceiver<Value>>>,
    pods: Mutex<Option<UnboundedReceiver<Value>>>,
    written: UnboundedSender<String>,
    /// Status codes of the next bindings; 201 when there are none left.
    bindings: Mutex<Vec<u16>>,
}

impl Server {
    async fn answer(self: Arc<Server>, request: Request<BoxBody>) -> Result<Response<BoxBody>, BoxError> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if head.method == Method::GET {
            let watch = if path.ends_with("/nodes") { &self.nodes } else { &self.pods };
            return Ok(stream(watch.lock().await.take()));
        }
        let body: Value = serde_json::from_slice(&body.collect().await?.to_bytes())?;
        let code =
            if path.ends_with("/binding") { self.bindings.lock().await.pop().unwrap_or(201) } else { 201 };
        let answer = match code {
            409 => json!({"kind": "Status", "code": 409, "reason": "Conflict", "message": "no"}),
            _ => body.clone(),
        };
        // Nobody reads on after the end of a test.
        let _ = self.written.send(said(&path, &body));
        let bytes = Full::new(Bytes::from(answer.to_string())).map_err(|never| match never {}).boxed_unsync();
        Ok(Response::builder().status(code).body(bytes)?)
    }
}

/// A watch: lines as they come, open until the test ends.
fn stream(events: Option<UnboundedReceiver<Value>>) -> Response<BoxBody> {
    let events = events.unwrap_or_else(|| unbounded_channel().1);
    let frames = UnboundedReceiverStream::new(events)
        .map(|event| Ok::<_, BoxError>(Frame::data(Bytes::from(format!("{event}\n")))));
    Response::new(StreamBody::new(frames).boxed_unsync())
}

/// One line about a write.
fn said(path: &str, body: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if path.ends_with("/binding") {
        return format!("bind {} {}", text(&body["metadata"]["uid"]), text(&body["target"]["name"]));
    }
    if path.ends_with("/status") {
        let condition = &body["status"]["conditions"][0];
        return format!(
            "{} {}={}",
            text(&body["metadata"]["uid"]),
            text(&condition["type"]),
            text(&condition["status"])
        );
    }
    format!("event {} {}", text(&body["involvedObject"]["name"]), text(&body["reason"]))
}

fn added(object: Value) -> Value {
    json!({"type": "ADDED", "object": object})
}

fn synced() -> Value {
    let metadata = json!({"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}});
    json!({"type": "BOOKMARK", "object": {"metadata": metadata}})
}

fn node(name: &str, cpu: &str) -> Value {
    added(json!({"metadata": {"name": name, "resourceVersion": "1"},
        "status": {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "9"}}}))
}

fn pod(name: &str, cpu: &str) -> Value {
    let container = json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
    added(json!({"metadata": {"namespace": "ns", "name": name, "uid": name, "resourceVersion": "1"},
        "spec": {"schedulerName": "default-scheduler", "containers": [container]}}))
}

struct World {
    nodes: UnboundedSender<Value>,
    pods: UnboundedSender<Value>,
    written: UnboundedReceiver<String>,
    stop: watch::Sender<bool>,
    run: tokio::task::JoinHandle<()>,
}

impl World {
    /// A scheduler that has seen these objects and nothing else.
    fn start(nodes: Vec<Value>, pods: Vec<Value>, bindings: Vec<u16>) -> World {
        let (node_sender, node_events) = unbounded_channel();
        let (pod_sender, pod_events) = unbounded_channel();
        for (sender, events) in [(&node_sender, nodes), (&pod_sender, pods)] {
            for event in events.into_iter().chain([synced()]) {
                sender.send(event).unwrap();
            }
        }
        let (said, written) = unbounded_channel();
        let server = Arc::new(Server {
            nodes: Mutex::new(Some(node_events)),
            pods: Mutex::new(Some(pod_events)),
            written: said,
            bindings: Mutex::new(bindings),
        });
        let service = tower::service_fn(move |request| Arc::clone(&server).answer(request));
        let client = Client::in_process(service, Identity::new("system:kube-scheduler", &[]), "test");
        let pods: Arc<Cache<Pod>> = Cache::start(client.clone(), WatchOptions::default());
        let nodes: Arc<Cache<Node>> = Cache::start(client.clone(), WatchOptions::default());
        let (stop, shutdown) = watch::channel(false);
        let run = tokio::spawn(run(client, pods, nodes, shutdown));
        World { nodes: node_sender, pods: pod_sender, written, stop, run }
    }

    /// Reads what is written until all of `expected` was; other writes may lie between.
    async fn expect(&mut self, expected: &[&str]) {
        let mut missing: Vec<&str> = expected.to_vec();
        let mut seen = Vec::new();
        while !missing.is_empty() {
            let next = tokio::time::timeout(PATIENCE, self.written.recv()).await;
            let line = next.unwrap_or_else(|_| panic!("{missing:?} did not come, but {seen:?}")).unwrap();
            if let Some(found) = missing.iter().position(|text| *text == line) {
                missing.remove(found);
            }
            seen.push(line);
        }
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(PATIENCE, self.run).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn binds_what_fits_and_tells_what_does_not() {
    let mut world = World::start(vec![node("a", "1")], vec![pod("x", "1"), pod("y", "1")], Vec::new());
    world
        .expect(&["bind x a", "y PodScheduled=False", "event x Scheduled", "event y FailedScheduling"])
        .await;
    // Room for the second; and a third comes later.
    world.nodes.send(node("b", "1")).unwrap();
    world.expect(&["bind y b"]).await;
    world.pods.send(pod("z", "0")).unwrap();
    world.expect(&["event z Scheduled"]).await;
    world.end().await;
}

#[tokio::test]
async fn a_binding_that_is_refused_is_tried_again() {
    let mut world = World::start(vec![node("a", "1")], vec![pod("x", "1")], vec![409]);
    world.expect(&["bind x a", "event x FailedScheduling", "bind x a", "event x Scheduled"]).await;
    world.end().await;
}
