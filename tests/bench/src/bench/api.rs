//! CPU that the API server spends per operation, by `kedge apiserver` alone.

use std::time::Instant;

use serde_json::{Value, json};

use crate::api::{Api, Entry};
use crate::node::{self, Server, cpu_ms};
use crate::{Outcome, report};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
/// What upstream's API server and etcd together took here, in µs of CPU (the published figures of docs/SPECIFICATION.md).
const PEER_US: [(&str, f64); 5] =
    [("create", 662.0), ("get", 417.0), ("patch", 994.0), ("pod", 1198.0), ("status", 1745.0)];

fn ready() -> Result<Api, String> {
    let kubeconfig = node::root()?.join("etc/kubernetes/admin.conf");
    node::wait("readyz", || {
        let mut api = Entry::of_kubeconfig(&kubeconfig).ok()?.open().ok()?;
        api.get("/readyz").ok().map(|_| api)
    })
}

fn config_map(index: usize) -> Value {
    let name = format!("cm-{index}");
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "v".repeat(700)}})
}

fn pod(index: usize) -> Value {
    let environment: Vec<Value> =
        (0..10).map(|at| json!({"name": format!("NAME_{at}"), "value": "x".repeat(30)})).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod-{index}"), "labels": {"app": "bench", "tier": format!("t{}", index % 7)}},
        "spec": {"nodeName": format!("node-{}", index % 50), "containers": [{
            "name": "c", "image": "registry.example/app:1.0", "env": environment,
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        }]},
    })
}

/// As upstream's figures were made: connections that are kept, each with one request at a time.
const CONNECTIONS: usize = 32;

/// µs of CPU of the server for each call by many clients at once.
fn cost<F>(pid: i32, entry: &Entry, count: usize, call: F) -> Result<f64, String>
where
    F: Fn(&mut Api, usize) -> Result<Vec<u8>, String> + Sync,
{
    let mut clients = (0..CONNECTIONS).map(|_| entry.open()).collect::<Result<Vec<_>, _>>()?;
    for client in &mut clients {
        client.get("/readyz")?;
    }
    let before = cpu_ms(pid);
    std::thread::scope(|scope| {
        let workers = clients.iter_mut().enumerate().map(|(first, client)| {
            let call = &call;
            scope.spawn(move || {
                (first..count).step_by(CONNECTIONS).try_for_each(|at| call(client, at).map(drop))
            })
        });
        let workers: Vec<_> = workers.collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a client panicked".to_owned())?)
    })?;
    Ok((cpu_ms(pid) - before) / count as f64 * 1e3)
}

/// µs of CPU of the server for each call of one client.
fn cost_alone(
    pid: i32,
    count: usize,
    mut call: impl FnMut(usize) -> Result<(), String>,
) -> Result<f64, String> {
    let before = cpu_ms(pid);
    (0..count).try_for_each(&mut call)?;
    Ok((cpu_ms(pid) - before) / count as f64 * 1e3)
}

fn tell(what: &str, value: f64, peer: &str) {
    let peer = PEER_US.iter().find(|(name, _)| *name == peer).map_or(f64::NAN, |(_, us)| *us);
    report::against(what, value, "us", ("upstream's published", peer), "1/5");
}

const COUNT: usize = 2_000;

pub fn run() -> Outcome {
    let server = Server::start()?;
    let mut api = ready()?;
    println!("peer: not built; the figures beside ours are upstream's published ones");
    let (pid, entry) = (server.pid, api.entry.clone());
    // Nobody else makes it: no controller runs here.
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    api.post("/api/v1/namespaces/default/serviceaccounts", &account)?;
    let create = cost(pid, &entry, COUNT, |api, at| api.post(CONFIG_MAPS, &config_map(at)))?;
    tell("CPU per ConfigMap create", create, "create");
    let get = cost(pid, &entry, COUNT, |api, at| api.get(&format!("{CONFIG_MAPS}/cm-{at}")))?;
    tell("CPU per ConfigMap get", get, "get");
    let change = json!({"data": {"key": "w"}});
    let patch = cost(pid, &entry, COUNT, |api, at| api.merge(&format!("{CONFIG_MAPS}/cm-{at}"), &change))?;
    tell("CPU per ConfigMap patch", patch, "patch");
    let pods = cost(pid, &entry, 5_000, |api, at| api.post(PODS, &pod(at)))?;
    tell("CPU per Pod create", pods, "pod");
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let patch = cost(pid, &entry, COUNT, |api, at| api.merge(&format!("{PODS}/pod-{at}/status"), &status))?;
    tell("CPU per Pod status patch", patch, "status");
    let mut bytes = 0;
    let list = cost_alone(pid, 10, |_| {
        bytes = api.get(PODS)?.len();
        Ok(())
    })?;
    report::line(
        &format!("CPU per LIST of 5,000 pods ({:.1} MB)", bytes as f64 / 1e6),
        list / 1e3,
        "ms",
        "15 ms",
    );
    watch(pid, &mut api)?;
    report::line(
        "RSS after it",
        node::kb(pid, "status", "VmRSS").unwrap_or(f64::NAN) / 1024.0,
        "MB",
        "150 MB",
    );
    Ok(())
}

const WATCHERS: usize = 100;
const EVENTS: usize = 100;

/// 100 watchers, each on a TLS connection of its own; the writes' own cost is taken off.
fn watch(pid: i32, api: &mut Api) -> Outcome {
    let change = |at: usize| json!({"data": {"key": format!("{at}")}});
    let path = format!("{CONFIG_MAPS}/cm-0");
    let alone = cost_alone(pid, EVENTS, |at| api.merge(&path, &change(at)).map(drop))?;
    let revision =
        api.json(CONFIG_MAPS)?["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let mut watcher = api.entry.open()?;
        watcher.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={revision}"))?;
        watchers.push(watcher);
    }
    let mut times = Vec::new();
    let watched = cost_alone(pid, EVENTS, |at| {
        let begun = Instant::now();
        api.merge(&path, &change(at + EVENTS))?;
        for watcher in &mut watchers {
            watcher.event()?;
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        Ok(())
    })?;
    let each = (watched - alone) / WATCHERS as f64;
    report::against("CPU per watch event, 100 watchers", each, "us", ("upstream's published", 41.0), "1/4");
    report::distribution("  write until the last watcher has read it", times, "ms", "3 ms");
    Ok(())
}

/// exec → readyz, with 10,000 objects in the store.
pub fn readyz() -> Outcome {
    let mut server = Server::start()?;
    let mut api = ready()?;
    for index in 0..10_000 {
        api.post(CONFIG_MAPS, &config_map(index))?;
    }
    let mut times = Vec::new();
    for _ in 0..5 {
        server.stop()?;
        let begun = Instant::now();
        server = Server::start()?;
        ready()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    report::distribution("apiserver: exec to readyz, 10,000 objects", times, "ms", "100 ms");
    Ok(())
}
