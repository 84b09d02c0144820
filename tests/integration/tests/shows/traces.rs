//! What a node leaves behind, and what it does to other firewalls: nothing. And the differ itself is put to the test.

use kedge_integration::cgroups;
use kedge_integration::lab::Lab;
use kedge_integration::run::contains;
use kedge_integration::trace::{self, Objects, Trace};
use std::fs;
use std::path::Path;

const PODS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: kedge.local/hello:1
        args: [web]
        volumeMounts: [{name: memory, mountPath: /memory}, {name: disk, mountPath: /disk}]
      volumes: [{name: memory, emptyDir: {medium: Memory}}, {name: disk, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: v1
kind: Pod
metadata: {name: guest}
spec:
  hostUsers: false
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "kedge.local/hello:1", args: [sleep, infinity]}]
"#;

/// Starts a node with pods of several sorts; gives the objects of the kernel that it has.
fn busy_node(lab: &Lab) -> Objects {
    lab.kedge("start").ok();
    lab.apply(PODS).ok();
    lab.kubectl("rollout status deployment/web --timeout=40s").ok();
    lab.pods_are_ready("guest");
    lab.answers(&format!("http://{}/", lab.field("service/web", ".spec.clusterIP")), "web-");
    let objects = trace::reachable(lab);
    assert!(objects.len() > 20, "a datapath has its programs and maps: {objects:?}");
    objects
}

/// iptables and nftables print the same before and while pods and services run; a pod has one pause, and nobody else's
/// runtime is there.
#[test]
fn a_node_writes_no_firewall_rule_and_leaves_no_trace() {
    let Some(lab) = Lab::or_skip() else { return };
    lab.node(&["iptables", "-A", "INPUT", "-s", "192.0.2.7", "-j", "DROP"]).ok();
    lab.node(&["nft", "add", "table", "inet", "of_the_machine"]).ok();
    let (before, rules) = (Trace::of(&lab, &Objects::new()), trace::firewall(&lab));
    assert!(rules.iter().any(|rule| rule.contains("192.0.2.7")), "{rules:?}");
    let objects = busy_node(&lab);
    assert_eq!(trace::firewall(&lab), rules);
    one_pause_for_each_pod(&lab);
    assert!(!before.changes(&Trace::of(&lab, &objects)).is_empty(), "a running node is seen");
    contains(&lab.kedge("delete").ok(), &["kedge is gone from this machine"]);
    assert_eq!(before.changes(&Trace::of(&lab, &objects)), Vec::<String>::new());
}

fn one_pause_for_each_pod(lab: &Lab) {
    let pods = lab.kubectl("get pods --all-namespaces --no-headers").ok().lines().count();
    let names: Vec<String> = lab
        .processes()
        .into_iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect();
    assert_eq!(names.iter().filter(|name| name.contains("pause")).count(), pods, "{names:?}");
    let foreign = ["containerd", "runc", "crun", "conmon", "crio", "dockerd"];
    assert!(!names.iter().any(|name| foreign.iter().any(|bad| name.starts_with(bad))), "{names:?}");
}

/// `kedge delete` finds everything also when kedge was killed and its pods are left alone.
#[test]
fn delete_after_a_crash_leaves_no_trace() {
    let Some(lab) = Lab::or_skip() else { return };
    let before = Trace::of(&lab, &Objects::new());
    let objects = busy_node(&lab);
    lab.kill_kedge();
    contains(&lab.kedge("delete").ok(), &["kedge is gone from this machine"]);
    assert_eq!(before.changes(&Trace::of(&lab, &objects)), Vec::<String>::new());
}

/// One thing of each sort is planted where a node might have forgotten it: each is told, and nothing else.
#[test]
fn whatever_is_left_is_told() {
    let Some(lab) = Lab::or_skip() else { return };
    let root = lab.root().display().to_string();
    let at = |name: &str| format!("{root}/{name}");
    fs::create_dir_all(at("planted-mount")).expect("a folder");
    fs::create_dir_all(at("pins")).expect("a folder");
    lab.node(&["mount", "-t", "bpf", "bpf", &at("pins")]).ok();
    let before = Trace::of(&lab, &Objects::new());

    lab.kedge("start").ok();
    let objects = trace::reachable(&lab);
    lab.node(&["mount", "-t", "tmpfs", "planted", &at("planted-mount")]).ok();
    lab.node(&["ip", "route", "add", "unreachable", "192.0.2.0/24"]).ok();
    lab.node(&["ip", "link", "add", "planted0", "type", "veth", "peer", "name", "planted1"]).ok();
    lab.node(&["sysctl", "net.ipv4.conf.up0.forwarding=1"]).ok();
    cgroups::create(&format!("{}/planted", lab.parent));
    let map = kedge_sys::bpf::get(&lab.inside("run/kedge/bpf/v1/maps/STATS")).expect("a map of the node");
    kedge_sys::bpf::pin(std::os::fd::AsFd::as_fd(&map), &lab.inside("pins/planted")).expect("another pin");
    drop(map);
    fs::write(at("planted-file"), "").expect("a file");
    let mut process = lab.node_running(&["sleep", "3609"]);
    lab.kedge("delete").ok();

    let changes = before.changes(&Trace::of(&lab, &objects));
    process.kill().and_then(|()| process.wait()).expect("our own process");
    for (kind, wanted) in [
        ("mount", at("planted-mount")),
        ("route", "192.0.2.0/24".to_owned()),
        ("link", "planted0".to_owned()),
        ("sysctl", "net.ipv4.conf.up0.forwarding = 1".to_owned()),
        ("cgroup", "planted".to_owned()),
        ("bpf", "map".to_owned()),
        ("file", at("planted-file")),
        ("process", "sleep 3609".to_owned()),
    ] {
        let told =
            changes.iter().any(|line| line.starts_with(&format!("+ {kind} ")) && line.contains(&wanted));
        assert!(told, "{kind} {wanted} is not told: {changes:#?}");
    }
    // Counted too: the value that the sysctl had, and a cgroup for each tree of the machine.
    let unplanned: Vec<&String> = changes
        .iter()
        .filter(|line| {
            !["planted", "192.0.2.0/24", "up0.forwarding", "bpf map", "sleep 3609"]
                .iter()
                .any(|word| line.contains(word))
        })
        .collect();
    assert!(unplanned.is_empty(), "{unplanned:#?}");
    assert!(Path::new(&at("planted-file")).exists(), "delete removes nothing of others");
}
