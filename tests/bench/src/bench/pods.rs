//! Pods on a whole node, made through the API.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use crate::api::Api;
use crate::floor::Floor;
use crate::node::{self, Node};
use crate::{Outcome, report};

const PODS: &str = "/api/v1/namespaces/default/pods";
const ROUNDS: usize = 30;

/// `cpu` is requested: without a request a pod has 1/512 of a share, and on a busy machine waits for the rest of it.
fn pod(name: &str, node: Option<&str>, cpu: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "bench"}},
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "kedge.local/hello:1", "args": ["sleep", "100000"],
                "resources": {"requests": {"cpu": cpu}}}],
        },
    })
}

fn is_running(api: &mut Api, name: &str) -> bool {
    api.json(&format!("{PODS}/{name}")).is_ok_and(|pod| pod["status"]["phase"] == "Running")
}

/// Makes a pod that the scheduler places, and waits until it runs.
pub fn start(api: &mut Api, name: &str) -> Result<(), String> {
    api.post(PODS, &pod(name, None, "100m"))?;
    node::wait(name, || is_running(api, name).then_some(()))
}

fn end(api: &mut Api, name: &str) -> Result<(), String> {
    api.delete(&format!("{PODS}/{name}"))?;
    node::wait(&format!("the end of {name}"), || api.get(&format!("{PODS}/{name}")).err().map(drop))
}

/// Creation → Running in the API: admission, scheduler, kubelet, runtime, status.
pub fn apply() -> Outcome {
    let node = Node::start()?;
    let mut api = node.api()?;
    start(&mut api, "warm")?;
    let mut times = Vec::new();
    let cpu = node::cpu_ms(node.pid);
    for round in 0..ROUNDS {
        let name = format!("pod-{round}");
        let begun = Instant::now();
        start(&mut api, &name)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        end(&mut api, &name)?;
    }
    let cpu = (node::cpu_ms(node.pid) - cpu) / ROUNDS as f64;
    report::distribution("pod created to Running", times, "ms", "150 ms");
    report::line("kedge's CPU per pod, start, polls and end", cpu, "ms", "-");
    Ok(())
}

/// Seconds and count of each runtime operation so far.
fn operations(kubelet: &mut Api) -> Result<BTreeMap<String, (f64, f64)>, String> {
    let text = String::from_utf8_lossy(&kubelet.get("/metrics")?).into_owned();
    let mut operations: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("kubelet_runtime_operations_duration_seconds_") else { continue };
        let Some((series, value)) = rest.rsplit_once(' ') else { continue };
        let Some(operation) = series.split('"').nth(1) else { continue };
        let entry = operations.entry(operation.to_owned()).or_default();
        match series.split('{').next() {
            Some("sum") => entry.0 = value.parse().unwrap_or(f64::NAN),
            Some("count") => entry.1 = value.parse().unwrap_or(f64::NAN),
            _ => {}
        }
    }
    Ok(operations)
}

/// Milliseconds that one operation took between two looks.
fn took(before: &BTreeMap<String, (f64, f64)>, after: &BTreeMap<String, (f64, f64)>, operation: &str) -> f64 {
    let at = |seen: &BTreeMap<String, (f64, f64)>| seen.get(operation).copied().unwrap_or_default();
    let ((sum0, count0), (sum1, count1)) = (at(before), at(after));
    (sum1 - sum0) / (count1 - count0) * 1e3
}

/// The runtime's own time: RunPodSandbox, CreateContainer and StartContainer, which returns after the execve. One pod at a
/// time, the floor in turns with it.
pub fn launch() -> Outcome {
    let node = Node::start()?;
    let mut api = node.api()?;
    let mut kubelet = api.entry.with_port(10250).open()?;
    let mut floor = Floor::new(&node::root()?)?;
    start(&mut api, "warm")?;
    let (mut all, mut floors) = (Vec::new(), Vec::new());
    let mut parts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let name = node::name();
    for round in 0..ROUNDS {
        floors.push(floor.run()?);
        let pod_name = format!("pod-{round}");
        let before = operations(&mut kubelet)?;
        api.post(PODS, &pod(&pod_name, Some(&name), "500m"))?;
        node::wait(&pod_name, || is_running(&mut api, &pod_name).then_some(()))?;
        let after = operations(&mut kubelet)?;
        let each = ["run_podsandbox", "create_container", "start_container"];
        all.push(each.iter().map(|operation| took(&before, &after, operation)).sum());
        for operation in each {
            parts.entry(operation).or_default().push(took(&before, &after, operation));
        }
        end(&mut api, &pod_name)?;
    }
    let ((floor_min, floor_p50, _), (min, p50, _)) = (report::spread(floors), report::spread(all.clone()));
    report::distribution("pod request to first instruction", all, "ms", "10 ms");
    report::against("  minimum", min, "ms", ("floor", floor_min), "4 x floor");
    report::against("  p50", p50, "ms", ("floor", floor_p50), "4 x floor");
    for (operation, values) in parts {
        report::distribution(&format!("  {operation}"), values, "ms", "-");
    }
    Ok(())
}

const CROWD: usize = 100;
const AT_ONCE: usize = 20;

/// 100 pods, at most 20 of them not running yet; then what each costs.
pub fn crowd() -> Outcome {
    let node = Node::start()?;
    let mut api = node.api()?;
    start(&mut api, "warm")?;
    let (cpu, rss) = (node::cpu_ms(node.pid), node::kb(node.pid, "status", "RssAnon").unwrap_or(f64::NAN));
    let (begun, name) = (Instant::now(), node::name());
    let (mut made, mut refused) = (0, None);
    node::wait("100 running pods", || {
        let list = api.json(&format!("{PODS}?labelSelector=app%3Dbench&resourceVersion=0")).ok()?;
        let items = list["items"].as_array()?;
        // The first one runs already.
        let running =
            items.iter().filter(|pod| pod["status"]["phase"] == "Running").count().saturating_sub(1);
        while made < CROWD && made - running < AT_ONCE && refused.is_none() {
            refused = api.post(PODS, &pod(&format!("crowd-{made}"), Some(&name), "10m")).err();
            made += 1;
        }
        (running == CROWD || refused.is_some()).then_some(())
    })?;
    if let Some(why) = refused {
        return Err(why);
    }
    let seconds = begun.elapsed().as_secs_f64();
    report::line("pods started, 20 at a time", CROWD as f64 / seconds, "/s", "150 /s");
    report::line("kedge's CPU per pod", (node::cpu_ms(node.pid) - cpu) / CROWD as f64, "ms", "-");
    let pss: Vec<f64> =
        node::pauses().into_iter().filter_map(|pid| node::kb(pid, "smaps_rollup", "Pss")).collect();
    report::distribution("memory per pod (PSS of pause)", pss, "kB", "512 kB");
    let grown = node::kb(node.pid, "status", "RssAnon").unwrap_or(f64::NAN) - rss;
    report::line("kedge's anonymous memory per pod", grown / CROWD as f64, "kB", "-");
    Ok(())
}

/// ExecSync through the kubelet's `/run`, which calls it.
pub fn exec() -> Outcome {
    let node = Node::start()?;
    let mut api = node.api()?;
    let mut kubelet = api.entry.with_port(10250).open()?;
    start(&mut api, "box")?;
    let run = |kubelet: &mut Api| kubelet.post("/run/default/box/c?cmd=/hello%20echo", &Value::Null);
    run(&mut kubelet)?;
    let mut times = Vec::new();
    let cpu = node::cpu_ms(node.pid);
    let mut before = operations(&mut kubelet)?;
    for _ in 0..ROUNDS * 3 {
        run(&mut kubelet)?;
        let after = operations(&mut kubelet)?;
        times.push(took(&before, &after, "exec_sync"));
        before = after;
    }
    report::distribution("ExecSync", times, "ms", "2 ms");
    let cpu = (node::cpu_ms(node.pid) - cpu) / (ROUNDS * 3) as f64;
    report::line("kedge's CPU per ExecSync and two requests", cpu, "ms", "-");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_takes_the_mean_of_what_came_between() {
        let seen = |sum, count| BTreeMap::from([("start_container".to_owned(), (sum, count))]);
        assert_eq!(took(&seen(1.0, 10.0), &seen(1.5, 12.0), "start_container"), 250.0);
    }
}
