//! A start that must fail says why and what to do in one sentence, ends with a code that is not zero, and leaves nothing
//! behind and nothing damaged. And a reboot is no fault: the pods come back.

use kedge_integration::ask::LIMIT;
use kedge_integration::cgroups;
use kedge_integration::lab::Lab;
use kedge_integration::run::contains;
use kedge_integration::steps::{self, Step};
use kedge_integration::trace::{Objects, Trace};
use kedge_integration::wait::eventually;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const STEPS: &[Step] = &[
    ("a port in use", port_in_use),
    ("a kernel feature that is missing", feature_hidden),
    ("a kubelet alone without its kubeconfig", kubelet_alone),
    ("a disk mounted read-only", read_only_disk),
    ("a full disk", full_disk),
    ("a database file that is none", broken_database),
    ("a second start", second_start),
    ("a database of a newer kedge", newer_database),
    ("a reboot", reboot),
];

#[test]
fn a_start_that_must_fail_says_why_and_leaves_nothing() {
    let Some(lab) = Lab::or_skip() else { return };
    steps::run(&lab, STEPS);
}

/// `kedge start` fails with one line that has all of this; nothing changed but what `made` names.
#[track_caller]
fn refused(lab: &Lab, arguments: &str, wanted: &[&str], made: &[&str]) {
    let before = Trace::of(lab, &Objects::new());
    let ran = lab.kedge(&format!("start {arguments}"));
    assert_ne!(ran.code, 0, "{ran}");
    assert_eq!(ran.stderr.lines().count(), 1, "one sentence: {ran}");
    wanted.iter().for_each(|words| contains(&ran.stderr, &[words]));
    let changes = before.changes(&Trace::of(lab, &Objects::new()));
    let unexpected: Vec<&String> =
        changes.iter().filter(|line| !made.iter().any(|name| line.ends_with(name))).collect();
    assert!(unexpected.is_empty(), "the refused start left {unexpected:#?}");
}

fn port_in_use(lab: &Lab) {
    let listen = "import socket, time; s = socket.create_server(('', 6443)); print('open', flush=True); time.sleep(60)";
    let mut holder = lab.node_running(&["python3", "-c", listen]);
    holder
        .stdout
        .as_mut()
        .expect("a piped standard output")
        .read_exact(&mut [0; 4])
        .expect("the holder's word");
    refused(lab, "", &["ports: in use by another program: 6443: stop the program"], &[]);
    holder.kill().and_then(|()| holder.wait()).expect("the holder ends");
}

fn feature_hidden(lab: &Lab) {
    refused(
        lab,
        "--without=overlayfs",
        &["overlayfs: treated as missing", "load the module: modprobe overlay"],
        &[],
    );
    let said = lab.kedge("check --without=bpf");
    contains(&said.stdout, &["missing bpf", "-> use a kernel with CONFIG_BPF_SYSCALL", "ok overlayfs"]);
    contains(&said.fails_with(1), &["1 things are missing on this machine"]);
    let said = lab.kedge("check --without=user-namespaces");
    contains(&said.ok(), &["degraded user-namespaces", "-> raise user.max_user_namespaces"]);
}

/// Its network was set up already when the start failed: that is taken back as well, but not the files of the demo image.
fn kubelet_alone(lab: &Lab) {
    let before = Trace::of(lab, &Objects::new());
    let ran = lab.kedge("kubelet --kubeconfig /nowhere/kubeconfig");
    assert!(ran.code == 1 && !ran.stderr.contains("panicked"), "{ran}");
    contains(&ran.stderr, &["/nowhere/kubeconfig"]);
    let mut changes = before.changes(&Trace::of(lab, &Objects::new()));
    changes.retain(|line| !line.starts_with("+ file "));
    assert!(changes.is_empty(), "the refused start left {changes:#?}");
}

fn read_only_disk(lab: &Lab) {
    on_disk(lab, "ro", |lab| {
        refused(lab, "", &["is mounted read-only: make room on that disk, or mount it writable"], &[]);
    });
}

fn full_disk(lab: &Lab) {
    on_disk(lab, "size=48m", |lab| {
        let file = lab.root().join("var/filler").display().to_string();
        lab.node(&["dd", "if=/dev/zero", &format!("of={file}"), "bs=1M", "count=44", "status=none"]).ok();
        refused(lab, "", &["disk:", "4 MB free, and 32 MB are needed: make room on that disk"], &[]);
    });
}

/// With a disk of its own for everything below `/var`.
fn on_disk(lab: &Lab, options: &str, test: impl FnOnce(&Lab)) {
    let var = lab.root().join("var").display().to_string();
    lab.node(&["mount", "-t", "tmpfs", "-o", options, "disk", &var]).ok();
    test(lab);
    lab.node(&["umount", &var]).ok();
}

fn database(lab: &Lab) -> PathBuf {
    lab.root().join("var/lib/kedge/store.db")
}

fn broken_database(lab: &Lab) {
    let path = database(lab);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, "these are no tables at all, whoever reads them".repeat(100)).expect("a file");
    let before = fs::read(&path).expect("the file");
    refused(lab, "", &["store.db is damaged", "restore a copy of it, or move the file away"], LOG);
    assert_eq!(fs::read(&path).expect("the file"), before, "the file is as it was");
    fs::remove_dir_all(path.parent().expect("a folder")).expect("removing the file");
    fs::remove_dir_all(lab.root().join("var/log/kedge")).expect("removing the log");
}

/// What a start leaves that failed later than at its first look: the log, which its sentence names.
const LOG: &[&str] = &["/var/log/kedge", "/var/log/kedge/kedge.log"];

fn second_start(lab: &Lab) {
    lab.kedge("start").ok();
    let pid = lab.pid();
    refused(
        lab,
        "",
        &["kedge is running already: see `kedge status`, or end it with `kedge stop` first"],
        &[],
    );
    refused(lab, "--foreground", &["kedge is running already"], &[]);
    assert_eq!(lab.pid(), pid);
    contains(&lab.kedge("check").ok(), &["ok ports in use by kedge itself"]);
}

/// Where SQLite keeps the number that a program gives its schema (`PRAGMA user_version`): fileformat2, 1.3.
const USER_VERSION_AT: u64 = 60;

fn newer_database(lab: &Lab) {
    lab.kubectl("create configmap kept --from-literal=a=b").ok();
    lab.kedge("stop").ok();
    let path = database(lab);
    let old = set_version(&path, 99);
    let before = fs::read(&path).expect("the file");
    refused(
        lab,
        "",
        &["was written by a newer version of kedge (schema 99", "start that version, or restore"],
        &[],
    );
    assert_eq!(fs::read(&path).expect("the file"), before, "the file is as it was");
    set_version(&path, old);
    lab.kedge("start").ok();
    assert_eq!(lab.field("configmap/kept", ".data.a"), "b");
}

fn set_version(path: &Path, version: u32) -> u32 {
    let mut file = fs::File::options().read(true).write(true).open(path).expect("the database");
    let mut bytes = [0; 4];
    file.seek(SeekFrom::Start(USER_VERSION_AT)).and_then(|_| file.read_exact(&mut bytes)).expect("its head");
    let old = u32::from_be_bytes(bytes);
    file.seek(SeekFrom::Start(USER_VERSION_AT))
        .and_then(|_| file.write_all(&version.to_be_bytes()))
        .expect("its head");
    old
}

const PODS: &str = r#"
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
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#;

/// No process, no mount, no link, no cgroup and another boot id: what a machine has lost when it comes up again.
fn reboot(lab: &Lab) {
    lab.apply(PODS).ok();
    lab.kubectl("rollout status deployment/web --timeout=40s").ok();
    let uids = lab.field("pods -l app=web", ".items[*].metadata.uid");
    lab.kill_kedge();
    cgroups::remove(&lab.parent);
    let root = lab.root().display().to_string();
    for folder in ["run/kedge", "var/lib/kubelet"] {
        let at = format!("{root}/{folder}");
        eventually(&format!("nothing is mounted below {folder}"), LIMIT, || {
            let mounts = lab.node(&["cat", "/proc/self/mountinfo"]).ok();
            let deepest = mounts
                .lines()
                .rev()
                .filter_map(|line| line.split(' ').nth(4))
                .find(|point| point.starts_with(&at));
            match deepest {
                None => Some(()),
                Some(point) => {
                    lab.node(&["umount", "--lazy", point]).ok();
                    None
                }
            }
        });
    }
    lab.node(&["ip", "route", "flush", "type", "unreachable"]).ok();
    let boot = lab.root().join("boot_id");
    fs::write(&boot, "00000000-0000-4000-8000-000000000002\n").expect("another boot id");
    lab.node(&["mount", "--bind", &boot.display().to_string(), "/proc/sys/kernel/random/boot_id"]).ok();

    contains(&lab.kedge("start").ok(), &["kedge is ready"]);
    let counts = ".items[*].status.containerStatuses[0].restartCount";
    eventually("both containers were started once more", LIMIT, || {
        (lab.field("pods -l app=web", counts) == "1 1").then_some(())
    });
    lab.pods_are_ready("-l app=web");
    assert_eq!(lab.field("pods -l app=web", ".items[*].metadata.uid"), uids, "they are the same pods");
    lab.answers(&format!("http://{}/", lab.field("service/web", ".spec.clusterIP")), "web-");
}
