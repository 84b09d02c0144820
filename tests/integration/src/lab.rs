//! A node's world: a network namespace with one uplink to another that stands for the outside, a mount namespace, folders
//! and a cgroup parent. Everything goes when the lab is dropped, whatever the test did.

use crate::cgroups;
use crate::run::Ran;
use crate::tools::Tools;
use crate::wait::patience;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

pub const NODE: &str = "node-1";
pub const NODE_IP: &str = "10.77.0.2";
pub const OUTSIDE_IP: &str = "10.77.0.1";

/// Folders that a node finds.
const EVERY_MACHINE_HAS: [&str; 4] = ["etc", "run", "var/lib", "var/log"];

/// No single command of a test takes longer.
const LIMIT_S: u32 = 60;

/// Labs of this process, which run side by side.
static LABS: AtomicU32 = AtomicU32::new(0);

/// Shares the mounts, as a machine's are, and has names asked where nobody answers. Then it lives as long as its standard
/// input: a killed test leaves no holder.
const HOLD: &str = "mount --make-rshared / && mount --bind \"$0\" /etc/resolv.conf && echo held && exec cat";

pub struct Lab {
    tools: Tools,
    root: TempDir,
    /// Name of the cgroup below which the node puts its own.
    pub parent: String,
    node: Child,
    outside: Child,
}

impl Lab {
    /// A lab, or nothing and a line that says why there can be none.
    pub fn or_skip() -> Option<Lab> {
        match Tools::find() {
            Ok(tools) => Some(Lab::new(tools)),
            Err(reason) => {
                println!("skipped: {reason}");
                None
            }
        }
    }

    fn new(tools: Tools) -> Lab {
        let root = TempDir::with_prefix("kedge-lab-").expect("a temporary folder");
        let resolver = root.path().join("resolv.conf");
        fs::write(&resolver, format!("nameserver {OUTSIDE_IP}\n")).expect("writing resolv.conf");
        for folder in EVERY_MACHINE_HAS {
            fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        let outside = hold(&["--net"], &resolver);
        let node = hold(&["--net"], &resolver);
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let parent = format!("kedge-lab-{}-{number}", std::process::id());
        let lab = Lab { tools, root, parent, node, outside };
        lab.connect();
        lab
    }

    fn connect(&self) {
        let outside = self.outside.id().to_string();
        let node_address = format!("{NODE_IP}/24");
        let outside_address = format!("{OUTSIDE_IP}/24");
        self.node(&["ip", "link", "add", "up0", "type", "veth", "peer", "name", "out0", "netns", &outside])
            .ok();
        self.node(&["ip", "address", "add", &node_address, "dev", "up0"]).ok();
        self.outside(&["ip", "address", "add", &outside_address, "dev", "out0"]).ok();
        self.outside(&["ip", "link", "set", "lo", "up"]).ok();
        self.outside(&["ip", "link", "set", "out0", "up"]).ok();
        self.node(&["ip", "link", "set", "lo", "up"]).ok();
        // An address that comes by itself a moment later would look like a trace of the node.
        self.node(&["ip", "link", "set", "up0", "addrgenmode", "none"]).ok();
        self.node(&["ip", "link", "set", "up0", "up"]).ok();
        self.node(&["ip", "route", "add", "default", "via", OUTSIDE_IP]).ok();
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// A path of the node as this process can open it: with the mounts that only the node sees.
    pub fn inside(&self, path: &str) -> PathBuf {
        self.at(&self.root().join(path))
    }

    /// The same for an absolute path.
    pub fn at(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").expect("an absolute path");
        Path::new(&format!("/proc/{}/root", self.node.id())).join(path)
    }

    /// Every process of the node: in its network namespace, or in its cgroups.
    pub fn processes(&self) -> Vec<i32> {
        let mut all = in_network_of(self.node.id());
        all.extend(cgroups::processes(&self.parent).into_keys());
        all.sort_unstable();
        all.dedup();
        all
    }

    pub fn log(&self) -> PathBuf {
        self.root().join("var/log/kedge/kedge.log")
    }

    /// Runs a command on the node.
    pub fn node(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(&self.node, words).stdin(Stdio::null()), words.join(" "))
    }

    /// Runs a command on a machine next to the node.
    pub fn outside(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(&self.outside, words).stdin(Stdio::null()), words.join(" "))
    }

    /// Starts a command on the node and leaves it running.
    pub fn node_running(&self, words: &[&str]) -> Child {
        self.running(&self.node, words)
    }

    /// The same on the machine next to it.
    pub fn outside_running(&self, words: &[&str]) -> Child {
        self.running(&self.outside, words)
    }

    fn running(&self, holder: &Child, words: &[&str]) -> Child {
        let mut command = self.enter(holder);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Runs a command on the node with a file as its standard input.
    pub fn node_reading(&self, words: &[&str], input: &Path) -> Ran {
        let file = fs::File::open(input).unwrap_or_else(|error| panic!("{}: {error}", input.display()));
        Ran::of(self.command(&self.node, words).stdin(file), words.join(" "))
    }

    pub fn kedge(&self, arguments: &str) -> Ran {
        self.kedge_at(&self.tools.kedge, arguments)
    }

    /// Runs another build of kedge.
    pub fn kedge_at(&self, program: &Path, arguments: &str) -> Ran {
        let program = program.display().to_string();
        let words: Vec<&str> = [program.as_str()].into_iter().chain(arguments.split_whitespace()).collect();
        self.node(&words)
    }

    /// Runs kubectl with these blank-separated arguments.
    pub fn kubectl(&self, arguments: &str) -> Ran {
        self.kubectl_words(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    pub fn kubectl_words(&self, arguments: &[&str]) -> Ran {
        let program = self.tools.kubectl.display().to_string();
        let words: Vec<&str> = [program.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        self.node(&words)
    }

    /// Pipes a manifest into `kubectl apply`.
    pub fn apply(&self, manifest: &str) -> Ran {
        let file = self.root().join("manifest.yaml");
        fs::File::create(&file).and_then(|mut file| file.write_all(manifest.as_bytes())).expect("a manifest");
        self.kubectl(&format!("apply -f {}", file.display()))
    }

    /// Starts kubectl and leaves it running, its standard output piped.
    pub fn kubectl_running(&self, arguments: &str) -> Child {
        let program = self.tools.kubectl.display().to_string();
        let mut command = self.enter(&self.node);
        command.arg(program).args(arguments.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().expect("kubectl starts")
    }

    fn command(&self, holder: &Child, words: &[&str]) -> Command {
        let mut command = self.enter(holder);
        command.args(["timeout", &(LIMIT_S * patience()).to_string()]).args(words);
        command
    }

    fn enter(&self, holder: &Child) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &holder.id().to_string(), "--net", "--mount"]);
        command
            .env("HOME", self.root())
            .env("KEDGE_ROOT", self.root())
            .env("KEDGE_CGROUP_ROOT", format!("/{}", self.parent))
            .env("KEDGE_NODE_NAME", NODE)
            .env("KUBECONFIG", self.root().join("etc/kubernetes/admin.conf"));
        command
    }
}

/// A process that holds new namespaces open; returns once they stand.
fn hold(namespaces: &[&str], resolver: &Path) -> Child {
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["--mount", "--propagation", "private", "sh", "-c", HOLD]).arg(resolver);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare starts");
    let mut line = String::new();
    let stdout = child.stdout.as_mut().expect("a piped standard output");
    BufReader::new(stdout).read_line(&mut line).expect("the holder's word");
    assert_eq!(line, "held\n", "the lab's namespaces could not be made");
    child
}

impl Drop for Lab {
    fn drop(&mut self) {
        let deleted = self.kedge("delete");
        if !deleted.succeeded() {
            eprintln!("{deleted}");
        }
        // Processes first, then the cgroups they were in; the namespaces go with their holders, the files last.
        for pid in in_network_of(self.node.id()) {
            cgroups::kill(pid);
        }
        cgroups::remove(&self.parent);
        for holder in [&mut self.node, &mut self.outside] {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// The processes of a holder's network namespace but itself.
fn in_network_of(holder: u32) -> Vec<i32> {
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let wanted = network(&holder.to_string());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| wanted.is_some() && network(name) == wanted)
        .filter_map(|name| name.parse().ok())
        .filter(|pid| u32::try_from(*pid) != Ok(holder))
        .collect()
}
