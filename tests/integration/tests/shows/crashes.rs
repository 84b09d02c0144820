//! kedge is killed again and again while it is busy: nothing may be left over, and nothing may be lost.
//!
//! The instants are drawn from a seed, which is printed; `KEDGE_TEST_SEED` gives another.

use kedge_integration::cgroups;
use kedge_integration::lab::Lab;
use kedge_integration::run::contains;
use kedge_integration::trace::{self, Trace};
use kedge_integration::wait::within;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

const CRASHES: u32 = 5;
const REPLICAS: u32 = 3;
const SETTLED: Duration = Duration::from_secs(60);

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: kedge.local/hello:1
        args: [web]
        volumeMounts: [{name: memory, mountPath: /memory}]
      volumes: [{name: memory, emptyDir: {medium: Memory}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#;

#[test]
fn killed_at_random_instants_nothing_leaks() {
    let Some(lab) = Lab::or_skip() else { return };
    let seed = std::env::var("KEDGE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    let mut instants = Instants(seed);
    let before = Trace::of(&lab, &trace::Objects::new());
    lab.kedge("start").ok();
    lab.apply(WEB).ok();
    let mut objects = trace::reachable(&lab);
    for crash in 1..=CRASHES {
        // Twice the work at once: pods go and pods come.
        let mut work = [restart(&lab), scale(&lab, if crash % 2 == 0 { 1 } else { 6 })];
        let instant = instants.next();
        println!("crash {crash} after {instant:?}");
        std::thread::sleep(instant);
        lab.kill_kedge();
        // What kubectl was about to say breaks off with the server.
        work.iter_mut().for_each(|kubectl| drop(kubectl.wait()));
        contains(&lab.kedge("start").ok(), &["kedge is ready"]);
        objects.extend(trace::reachable(&lab));
    }
    lab.kubectl(&format!("scale deployment/web --replicas={REPLICAS}")).ok();
    lab.kubectl("rollout status deployment/web --timeout=55s").ok();
    settled(&lab);
    lab.answers(&format!("http://{}/", lab.field("service/web", ".spec.clusterIP")), "web-");
    lab.kedge("delete").ok();
    assert_eq!(before.changes(&Trace::of(&lab, &objects)), Vec::<String>::new());
}

fn restart(lab: &Lab) -> Child {
    lab.kubectl_running("rollout restart deployment/web")
}

fn scale(lab: &Lab, replicas: u32) -> Child {
    lab.kubectl_running(&format!("scale deployment/web --replicas={replicas}"))
}

/// Whatever the node has for pods it has for the pods that there are.
fn settled(lab: &Lab) {
    let mut last = Vec::new();
    let found = within(SETTLED, || {
        let pods = lab.field("pods", ".items[*].metadata.uid");
        let pods: BTreeSet<String> = pods.split_whitespace().map(str::to_owned).collect();
        last = excess(lab, &pods);
        if pods.len() != REPLICAS as usize {
            last.push(format!("{} pods", pods.len()));
        }
        last.is_empty().then_some(())
    });
    assert!(found.is_some(), "not settled after {SETTLED:?}: {last:#?}");
}

/// What there is too many or too few of.
fn excess(lab: &Lab, pods: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut count = |what: &str, things: Vec<String>| {
        if things.len() != pods.len() {
            findings.push(format!("{what} for {} pods: {things:#?}", pods.len()));
        }
    };
    let links = lab.node(&["ip", "-brief", "link"]).ok();
    count("links", links.lines().filter(|line| line.starts_with("veth")).map(str::to_owned).collect());
    let routes = lab.node(&["ip", "route"]).ok();
    count("routes", routes.lines().filter(|line| line.contains(" dev veth")).map(str::to_owned).collect());
    count("leases", names(&lab.inside("run/kedge/network"), ".json"));
    count("sandboxes", names(&lab.inside("run/kedge/pods"), ""));
    count("volume folders", names(&lab.inside("var/lib/kubelet/pods"), ""));
    let pauses = lab.processes().into_iter().filter(|pid| comm(*pid).contains("pause"));
    count("pauses", pauses.map(|pid| pid.to_string()).collect());
    let mounts = lab.node(&["cat", "/proc/self/mountinfo"]).ok();
    let volumes = mounts.lines().filter(|line| {
        line.contains("empty-dir/memory")
            || line.contains("empty-dir~memory")
            || line.contains("kubernetes.io~empty-dir")
    });
    count("memory volumes", volumes.map(str::to_owned).collect());
    for folder in cgroups::folders(&format!("{}/kubepods", lab.parent)) {
        let groups = pod_groups(&folder);
        if groups != *pods {
            findings.push(format!("cgroups below {}: {groups:?}, pods {pods:?}", folder.display()));
        }
    }
    findings
}

fn names(folder: &Path, suffix: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(suffix))
        .collect()
}

fn comm(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

/// The UIDs of `pod<uid>` groups, whatever their class.
fn pod_groups(folder: &Path) -> BTreeSet<String> {
    let below = cgroups::children(folder);
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let deeper =
        below.iter().filter(|path| ["besteffort", "burstable"].iter().any(|class| path.ends_with(class)));
    let deeper: Vec<String> = deeper.flat_map(|path| pod_groups(path)).collect();
    let here = below.iter().filter_map(|path| name(path)?.strip_prefix("pod").map(str::to_owned));
    here.chain(deeper).collect()
}

/// xorshift64: between nothing and two seconds.
struct Instants(u64);

impl Instants {
    fn next(&mut self) -> Duration {
        let mut state = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0 = state;
        Duration::from_millis(state % 2000)
    }
}
