//! kedge dies under load, is absent for five seconds, and comes back, once as the same program and once as another build;
//! then it is stopped (SIGSTOP) while traffic goes on. 200 new connections a second to a service, from the node and from a
//! pod, must not lose one, nor a single SYN; connections that are held open carry every word.

use aya::maps::{Map, MapData, PerCpuArray};
use kedge_integration::ask::LIMIT;
use kedge_integration::cgroups;
use kedge_integration::lab::{Lab, NODE_IP};
use kedge_integration::run::contains;
use kedge_integration::stage::Stage;
use kedge_integration::wait::eventually;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

const RATE: u32 = 200;
/// How long kedge is away. This is the promise under test, not a wait for something.
const ABSENCE: Duration = Duration::from_secs(5);
const LOG_BYTES: usize = 10_000_000;

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "kedge.local/hello:1", args: [web]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
"#;

const ECHO: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{port: 7, targetPort: 7777}]
"#;

#[test]
fn kedge_dies_under_load_and_nobody_notices() {
    let Some(lab) = Lab::or_skip() else { return };
    let stage = Stage::new(&lab, Path::new(env!("CARGO_BIN_EXE_actor")));
    lab.kedge("start").ok();
    lab.apply(WEB).ok();
    lab.kubectl("rollout status deployment/web --timeout=40s").ok();
    lab.apply(ECHO).ok();
    lab.apply(&stage.pod("echo", "echo 7777")).ok();
    lab.kubectl("label pod echo app=echo").ok();
    lab.pods_are_ready("echo");
    let address = format!("{}:80", lab.field("service/web", ".spec.clusterIP"));
    lab.answers(&format!("http://{address}/"), "web-");
    lab.field_becomes(
        "endpointslices -l kubernetes.io/service-name=echo",
        ".items[*].endpoints[*].conditions.ready",
        "true",
    );

    let echo = format!("{}:7", lab.field("service/echo", ".spec.clusterIP"));
    let same = lab.tools().kedge.clone();
    crash(&lab, &stage, [&address, &echo], "same", &same);
    let other = other_build(&lab);
    crash(&lab, &stage, [&address, &echo], "other", &other);
    let running = fs::read_link(format!("/proc/{}/exe", lab.pid())).expect("kedge's program");
    assert_eq!(running, other, "the other build runs");
    stopped(&lab, &address);
}

/// Another file with the same program: a note at its end, which no loader reads. What an upgrade changes in programs and maps
/// is proven in tests/privileged (`traffic_flows_without_a_daemon_and_across_an_upgrade`).
fn other_build(lab: &Lab) -> PathBuf {
    let path = lab.root().join("kedge-of-tomorrow");
    fs::copy(&lab.tools().kedge, &path).expect("a copy of kedge");
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("the copy");
    file.write_all(b"another file").expect("the copy");
    path
}

fn crash(lab: &Lab, stage: &Stage, [address, echo]: [&str; 2], round: &str, next: &Path) {
    let at = |file: &str| stage.path(&format!("{file}-{round}")).display().to_string();
    let in_pod = |file: &str| format!("/stage/{file}-{round}");
    let act = |file: &dyn Fn(&str) -> String, result| {
        format!("load {address} {RATE} {} {}", file("stop"), file(result))
    };
    let hold =
        |file: &dyn Fn(&str) -> String, result| format!("hold {echo} {} {}", file("stop"), file(result));
    for (name, act) in [
        (format!("load-{round}"), act(&in_pod, "pod")),
        (format!("hold-{round}"), hold(&in_pod, "held-pod")),
        (format!("writer-{round}"), format!("write {LOG_BYTES} {}", in_pod("begin"))),
        (format!("leaver-{round}"), format!("leave 7 {}", in_pod("begin"))),
    ] {
        lab.apply(&stage.pod(&name, &act)).ok();
        lab.pods_are_ready(&name);
    }
    let processes = containers(lab);
    assert_eq!(processes.values().map(BTreeMap::len).collect::<Vec<_>>(), [1, 1], "{processes:?}");
    let mut load = stage.on_node(lab, &act(&at, "node"));
    let mut held = stage.on_node(lab, &hold(&at, "held-node"));
    let before = Instant::now();

    lab.kill_kedge();
    let killed = Instant::now();
    let left = SystemTime::now();
    stage.signal(&format!("begin-{round}"));
    std::thread::sleep(ABSENCE.saturating_sub(killed.elapsed()));
    assert!(!Path::new(&at("stop")).exists() && !lab.kedge("status").succeeded(), "kedge is absent");
    let back = SystemTime::now();
    contains(&lab.kedge_at(next, "start").ok(), &["kedge is ready"]);

    let seconds = before.elapsed().as_secs() as u32;
    stage.signal(&format!("stop-{round}"));
    for result in ["node", "pod"] {
        let seen = stage.result(&format!("{result}-{round}"));
        assert_eq!((seen.failed, seen.again), (0, 0), "from the {result}, {round} build: {seen:?}");
        assert!(seen.sent >= seconds * RATE, "from the {result}: {seen:?} in {seconds} s");
    }
    for result in ["held-node", "held-pod"] {
        let seen = stage.result(&format!("{result}-{round}"));
        assert!(seen.failed == 0 && seen.sent > seconds, "{result}, {round} build: {seen:?}");
    }
    load.wait().expect("the load ends");
    held.wait().expect("the held connection ends");
    exit_code_and_time(lab, round, left, back);
    every_byte(lab, round);
    assert_eq!(containers(lab), processes, "the web servers of before are those of now");
    lab.kubectl(&format!("delete pod load-{round} hold-{round} writer-{round} leaver-{round} --timeout=40s"))
        .ok();
}

/// Of each web server: its container, its processes and when they began.
fn containers(lab: &Lab) -> BTreeMap<String, BTreeMap<i32, String>> {
    let ids = lab.field("pods -l app=web", ".items[*].status.containerStatuses[0].containerID");
    let ids = ids.split_whitespace().filter_map(|id| id.split("://").nth(1));
    ids.map(|id| (id.to_owned(), cgroups::processes_of_container(&lab.parent, id))).collect()
}

fn exit_code_and_time(lab: &Lab, round: &str, left: SystemTime, back: SystemTime) {
    let pod = format!("pod/leaver-{round}");
    lab.field_becomes(&pod, ".status.containerStatuses[0].state.terminated.exitCode", "7");
    let finished = lab.field(&pod, ".status.containerStatuses[0].state.terminated.finishedAt");
    let finished = lab.node(&["date", "--date", &finished, "+%s"]).ok();
    let finished: u64 = finished.trim().parse().expect("seconds");
    let seconds =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let absence = seconds(left)..=seconds(back);
    assert!(absence.contains(&finished), "it finished at {finished}, while kedge was away: {absence:?}");
}

fn every_byte(lab: &Lab, round: &str) {
    let log = lab.kubectl(&format!("logs writer-{round}")).ok();
    assert_eq!(log.len(), LOG_BYTES);
    for (number, line) in log.lines().enumerate() {
        assert_eq!(line.trim_start_matches('0'), number.to_string().trim_start_matches('0'), "line {number}");
    }
}

/// The daemon is stopped: services are the kernel's business.
fn stopped(lab: &Lab, address: &str) {
    let kedge = lab.pid();
    cgroups::signal(kedge, Signal::STOP);
    let before = service_flows(lab);
    for _ in 0..20 {
        contains(&lab.get_from_node(&format!("http://{address}/")).ok(), &["web-"]);
        contains(&lab.get_from_outside(&format!("http://{NODE_IP}:30080/")).ok(), &["web-"]);
    }
    let after = service_flows(lab);
    let sockets = lab.node(&["ss", "--listening", "--numeric", "--tcp", "--udp", "--no-header"]).ok();
    cgroups::signal(kedge, Signal::CONT);
    assert!(after >= before + 20, "the counter of service flows stood at {before}, then at {after}");
    assert!(sockets.contains(":6443"), "the API server's socket is listed: {sockets}");
    assert!(!sockets.contains(":30080"), "a socket listens on the NodePort: {sockets}");
    eventually("kedge goes on", LIMIT, || lab.kedge("status").succeeded().then_some(()));
}

/// The first of the programs' counters, summed over CPUs: read from the map itself, as no daemon answers.
fn service_flows(lab: &Lab) -> u64 {
    let pin = lab.inside("run/kedge/bpf/v1/maps/STATS");
    let map = MapData::from_pin(&pin).expect("the pinned map of counters");
    let counters = PerCpuArray::<_, u64>::try_from(Map::PerCpuArray(map)).expect("an array for each CPU");
    counters.get(&0, 0).expect("the first counter").iter().sum()
}
