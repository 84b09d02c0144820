//! What noise cannot move, guarded on every landing: how often an operation allocates, and how many bytes it leaves. A count
//! may leave its committed value by 15 %; a change that moves it further says so by changing the value here.

// The helpers of a test fail as the test does; clippy sees only the functions marked #[test].
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use kedge_api::{Identity, Time};
use kedge_apiserver_core::attributes::Attributes;
use kedge_apiserver_core::authorization::Authorizer;
use kedge_apiserver_core::registry::convert;
use kedge_apiserver_core::registry::encode::decode;
use kedge_apiserver_core::registry::options::WriteOptions;
use kedge_apiserver_core::registry::route::{Route, Target, route};
use kedge_apiserver_core::registry::services::Allocator;
use kedge_apiserver_core::registry::view::StoredObjects;
use kedge_apiserver_core::registry::write::{self, Call};
use kedge_apiserver_core::schema::decode::Expected;
use kedge_apiserver_core::schema::{self, FieldValidation, Media};
use kedge_apiserver_core::strategy::strategy_of;
use kedge_store::{MemoryStore, Op, Store};
use kedge_sys::counting::Counting;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What was counted, and its committed value. All that have left it are told.
#[track_caller]
fn guard(counts: &[(&str, usize, usize)]) {
    let is_near =
        |seen: usize, committed: usize| seen * 100 >= committed * 85 && seen * 100 <= committed * 115;
    let moved: Vec<_> = counts.iter().filter(|(_, seen, committed)| !is_near(*seen, *committed)).collect();
    assert!(moved.is_empty(), "(what, seen, committed) {moved:?}");
}

/// How often `work` allocates, the second time: the first one fills what is made once.
fn allocations<T>(mut work: impl FnMut() -> T) -> (usize, T) {
    work();
    let before = Counting::count();
    let result = work();
    ((Counting::count() - before) as usize, result)
}

fn target(path: &str) -> Target {
    match route(path) {
        Route::Resource(target) => target,
        other => panic!("{path} is {other:?}"),
    }
}

struct Server {
    store: Arc<dyn Store>,
    objects: StoredObjects,
    authorizer: Authorizer,
    services: Allocator,
}

impl Server {
    fn new() -> Server {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let services = Allocator::new("10.96.0.0/16".parse().unwrap());
        let server = Server {
            objects: StoredObjects::new(Arc::clone(&store)),
            authorizer: Authorizer::default(),
            services,
            store,
        };
        for (path, object) in [
            ("/api/v1/namespaces", json!({"metadata": {"name": "default"}})),
            ("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})),
        ] {
            server.keep(server.create(path, &object.to_string()));
        }
        server
    }

    /// The way of a request's body to the bytes that are stored.
    fn create(&self, path: &str, body: &str) -> Op {
        let target = target(path);
        let kind = target.kind;
        let expected = Expected { group: kind.group, version: kind.version, kind: kind.kind };
        let ty = schema::type_of(kind);
        let decoded =
            schema::decode(body.as_bytes(), Media::Json, ty, expected, FieldValidation::Strict).unwrap();
        let mut value = decoded.value;
        convert::to_stored(kind, &mut value);
        strategy_of(kind.group, kind.kind).default(&mut value);
        let attributes = Attributes {
            user: Identity::new("admin", &["system:masters"]),
            verb: "create".into(),
            is_resource: true,
            version: "v1".into(),
            resource: kind.plural.into(),
            namespace: target.namespace.clone(),
            ..Attributes::default()
        };
        let options = WriteOptions { field_manager: "counts".into(), ..WriteOptions::default() };
        let call = Call {
            target: &target,
            attributes: &attributes,
            options: &options,
            now: Time::parse("2026-01-01T00:00:00Z").unwrap(),
            uid: "00000000-0000-4000-8000-000000000000",
            suffix: "abcde",
            store: self.store.as_ref(),
            objects: &self.objects,
            authorizer: &self.authorizer,
            services: &self.services,
        };
        write::create(&call, value).unwrap().txn.unwrap().ops.remove(0)
    }

    fn keep(&self, op: Op) {
        let txn = kedge_store::Txn { guards: Vec::new(), ops: vec![op] };
        self.store.commit(txn, Box::new(|result| assert!(result.is_ok())));
    }
}

fn pod() -> String {
    let environment: Vec<Value> =
        (0..10).map(|at| json!({"name": format!("NAME_{at}"), "value": "x".repeat(30)})).collect();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "labels": {"app": "web", "tier": "t"}},
        "spec": {"containers": [{
            "name": "c", "image": "registry.example/app:1.0", "env": environment,
            "ports": [{"containerPort": 8080, "name": "http"}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        }]},
    });
    pod.to_string()
}

#[test]
fn creating_a_pod_allocates_and_stores_what_it_did() {
    let (server, body) = (Server::new(), pod());
    let (count, op) = allocations(|| server.create("/api/v1/namespaces/default/pods", &body));
    let Op::Put { key, value } = op else { panic!("a create puts") };
    let bytes = value.len();
    server.keep(Op::Put { key: key.clone(), value });
    let entry = server.store.get(&key).unwrap();
    let (decoded, _) = allocations(|| decode(&entry));
    guard(&[
        ("allocations per pod create", count, 1218),
        ("bytes of a stored pod", bytes, 3882),
        ("allocations per decoded pod", decoded, 351),
    ]);
}

#[test]
fn a_config_map_costs_what_it_did() {
    let (server, data) = (Server::new(), "v".repeat(700));
    let body = json!({"metadata": {"name": "c"}, "data": {"key": data}}).to_string();
    let (count, op) = allocations(|| server.create("/api/v1/namespaces/default/configmaps", &body));
    let Op::Put { value, .. } = op else { panic!("a create puts") };
    guard(&[
        ("allocations per ConfigMap create", count, 128),
        ("bytes of a stored ConfigMap", value.len(), 1064),
    ]);
}

#[test]
fn a_launch_hands_over_what_it_did() {
    use kedge_cri_api::{ContainerConfig, PodSandboxConfig};
    use kedge_cri_core::launch::{Input, NodeFacts, plan};
    use kedge_cri_core::{capabilities, image::ImageConfig, seccomp};
    use kedge_pause_wire::Wire;
    let (sandbox, facts) =
        (PodSandboxConfig::default(), NodeFacts { capabilities: capabilities::ALL, ..NodeFacts::default() });
    let container = ContainerConfig { command: vec!["/app".into()], ..ContainerConfig::default() };
    let (image, defaults) = (ImageConfig::default(), seccomp::Defaults::default());
    let input = Input {
        sandbox: &sandbox,
        container: &container,
        image: &image,
        node: &facts,
        hostname: "h",
        passwd: b"root:x:0:0::/root:/bin/sh\n",
        group: b"root:x:0:\n",
        seccomp_profile: None,
        seccomp_defaults: &defaults,
    };
    let (count, planned) = allocations(|| plan(&input).unwrap());
    let mut bytes = Vec::new();
    planned.process.put(&mut bytes);
    guard(&[
        ("allocations per launch plan", count, 77),
        ("instructions of the default seccomp program", planned.process.seccomp.len(), 178),
        ("mounts of a plain container", planned.mounts.len(), 10),
        ("bytes of a process in a launch record", bytes.len(), 2337),
    ]);
}
