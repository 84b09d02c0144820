//! The life stories of pods that a real node of Kubernetes 1.36.2 was seen to tell (`tests/golden/upstream/pods`), told again
//! by the pods of a lab node.
//!
//! The recorder that lies with the recordings runs the same cases side by side, most of which wait; its comparer says which differ. What is
//! known to be equal must stay equal; what differs stands in a list with its reason. Cases of minutes are a test of their own,
//! for `cargo xtask round pods`.

use kedge_conformance::known::Known;
use kedge_integration::lab::Lab;
use kedge_integration::tools;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

/// As the recorded node's: the names in containers come from it.
const RESOLV_CONF: &str = "nameserver 192.0.2.53\nsearch example.test\noptions ndots:2\n";
/// Where the cases look for the registry.
const REGISTRY_PORT: &str = "5055";
/// Cases at a time: more would wait for the two cores of a small machine, and some recorded waits are short.
const WORKERS: &str = "WORKERS=12";
/// Cases of minutes.
const LONG: [&str; 1] = ["crashloop-timing"];

#[test]
fn recorded_pods() {
    let known = Known::read("pod-traces");
    let long: BTreeSet<String> = LONG.map(str::to_owned).into();
    let Some(mut equal) = replay(&known.green - &long) else { return };
    equal.extend(long.intersection(&known.green).cloned());
    let verdict = known.judge(&names_of(&golden()), &equal);
    assert!(verdict.findings.is_empty(), "{}", verdict.findings.join("\n"));
}

#[test]
#[ignore = "minutes of back-off: cargo xtask round pods"]
fn long_recorded_pods() {
    let long: BTreeSet<String> = LONG.map(str::to_owned).into();
    let wanted = &long & &Known::read("pod-traces").green;
    let Some(equal) = replay(wanted.clone()) else { return };
    assert_eq!(equal, wanted);
}

/// The cases that are equal; None where no lab can be made.
fn replay(names: BTreeSet<String>) -> Option<BTreeSet<String>> {
    let node = Node::start()?;
    let replayed = node.record(&names);
    let words = [tool("compare.py"), text(&golden()), text(&replayed)];
    let said = node.lab.node(&["python3", "-B", &words[0], &words[1], &words[2]]).ok();
    let equal: BTreeSet<String> =
        said.lines().filter_map(|line| line.strip_prefix("equal ")).map(str::to_owned).collect();
    println!("{} of {} pods lived as recorded", equal.len(), names.len());
    let others: Vec<&str> = said.lines().filter(|line| !line.starts_with("equal ")).collect();
    println!("{}", others.join("\n"));
    Some(equal)
}

/// A lab node with the images of the cases and their registry.
struct Node {
    lab: Lab,
    registry: Child,
}

impl Node {
    fn start() -> Option<Node> {
        let lab = Lab::or_skip()?;
        let Some((busybox, agnhost)) = programs() else {
            println!(
                "skipped: busybox and agnhost are not in the tools folder (cargo xtask tools --conformance)"
            );
            return None;
        };
        let (images, resolver) = (lab.root().join("images"), lab.root().join("pods-resolv.conf"));
        fs::create_dir_all(&images)
            .and_then(|()| fs::write(&resolver, RESOLV_CONF))
            .expect("the lab's files");
        lab.kedge(&format!(
            "start --no-kubeconfig --seccomp-default=false --resolv-conf={}",
            resolver.display()
        ))
        .ok();
        let maker = tool("mkimg.py");
        lab.node(&["python3", "-B", &maker, &text(&busybox), &text(&agnhost), &text(&images)]).ok();
        for name in ["busybox", "cfg", "named", "agnhost"] {
            lab.kedge(&format!("image load {}/{name}.tar", images.display())).ok();
        }
        let served = text(&images.join("registry.tar"));
        let registry = lab.node_running(&["python3", "-B", &tool("registry.py"), &served, REGISTRY_PORT]);
        Some(Node { lab, registry })
    }

    /// Runs the cases and gives the folder of what was seen.
    fn record(&self, names: &BTreeSet<String>) -> PathBuf {
        let root = self.lab.root();
        let (out, shared) = (root.join("replayed"), root.join("host"));
        fs::create_dir_all(&shared).expect("the folder that hostPath cases use");
        let pattern = format!("^({})$", names.iter().cloned().collect::<Vec<_>>().join("|"));
        let words = [
            "timeout".to_owned(),
            "600".to_owned(),
            "env".to_owned(),
            WORKERS.to_owned(),
            format!("HOSTDIR={}", shared.display()),
            format!("KUBECTL={}", self.lab.tools().kubectl.display()),
            format!(
                "NORM={}=<KUBELET_ROOT>,/{}=<CGROUP_ROOT>",
                root.join("var/lib/kubelet").display(),
                self.lab.parent
            ),
            "python3".to_owned(),
            "-B".to_owned(),
            tool("trace.py"),
            text(&root.join("etc/kubernetes/admin.conf")),
            text(&out),
            pattern,
        ];
        let recorder = self.lab.node_running(&words.each_ref().map(String::as_str));
        let ended = recorder.wait_with_output().expect("waiting for the recorder");
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
        out
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.registry.kill();
        let _ = self.registry.wait();
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/upstream/pods")
}

fn tool(name: &str) -> String {
    text(&golden().join(name))
}

/// busybox as its authors wrote it, and agnhost: the programs of the cases' images.
fn programs() -> Option<(PathBuf, PathBuf)> {
    let tools = tools::folder()?;
    let images = fs::read_dir(tools.join("images")).ok()?.flatten();
    let named = images.filter(|entry| entry.file_name().to_string_lossy().starts_with("busybox-"));
    // Older recipes' programs may lie beside the newest.
    let busybox = named.max_by_key(|entry| entry.metadata().and_then(|about| about.modified()).ok())?.path();
    let agnhost = tools.join("bin/agnhost");
    agnhost.is_file().then_some((busybox, agnhost))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The names of the recordings in a folder.
fn names_of(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect()
}
