//! What the kernel alone takes to start a program the way a pod's container is started: new namespaces, a cgroup in every
//! tree, an overlay root with the usual mounts, pivot, clone3, execve. No daemon, no supervisor, no network device, no seccomp.
//!
//! A thread of its own enters the namespaces and spawns from there: they go with it.

use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use kedge_sys::cgroup::{self, Trees};
use kedge_sys::clone::{self, flags};
use kedge_sys::mount::{self, Fs};
use kedge_sys::path::{self, Links};
use kedge_sys::{namespace, process};
use rustix::fs::{Mode, OFlags};

const MOUNTS: [(&CStr, &CStr); 6] = [
    (c"/proc", c"proc"),
    (c"/dev", c"tmpfs"),
    (c"/dev/pts", c"devpts"),
    (c"/dev/shm", c"tmpfs"),
    (c"/dev/mqueue", c"mqueue"),
    (c"/sys", c"sysfs"),
];

pub struct Floor {
    /// An unpacked image layer.
    layer: PathBuf,
    scratch: PathBuf,
    trees: Trees,
    parent: String,
    runs: usize,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl Floor {
    /// Uses the layer of the image that every node has.
    pub fn new(root: &Path) -> std::result::Result<Floor, String> {
        let layers =
            fs::read_dir(root.join("var/lib/kedge/images/layers")).map_err(|error| error.to_string())?;
        let layer = layers.flatten().map(|entry| entry.path()).find(|path| path.join("hello").is_file());
        let parent = std::env::var("KEDGE_CGROUP_ROOT").unwrap_or_default().trim_matches('/').to_owned();
        Ok(Floor {
            layer: layer.ok_or("no layer with hello")?,
            scratch: root.join("floor"),
            trees: Trees::discover().map_err(|error| error.to_string())?,
            parent,
            runs: 0,
        })
    }

    /// Milliseconds until the program has been executed.
    pub fn run(&mut self) -> std::result::Result<f64, String> {
        self.runs += 1;
        let run = format!("floor{}", self.runs);
        let begun = Instant::now();
        let floor = &*self;
        let started = std::thread::scope(|scope| scope.spawn(|| floor.start(&run)).join());
        let pid = started
            .map_err(|_| "the floor's thread panicked".to_owned())?
            .map_err(|error| format!("the floor: {error}"))?;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        process::reap(pid);
        for root in self.trees.roots() {
            cgroup::remove(&root.join(&self.parent).join(&run)).map_err(|error| error.to_string())?;
        }
        fs::remove_dir_all(self.scratch.join(&run)).map_err(|error| error.to_string())?;
        Ok(took)
    }

    fn start(&self, run: &str) -> Result<i32> {
        let (upper, work) = (self.scratch.join(run).join("upper"), self.scratch.join(run).join("work"));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let mut entrances = Vec::new();
        for root in self.trees.roots() {
            let group = root.join(&self.parent).join(run);
            fs::create_dir(&group)?;
            if self.trees.unified.as_deref() != Some(root) {
                if self.trees.v1.get("cpuset").map(PathBuf::as_path) == Some(root) {
                    for file in ["cpuset.cpus", "cpuset.mems"] {
                        fs::write(group.join(file), fs::read_to_string(root.join(file))?.trim())?;
                    }
                }
                entrances.push(cgroup::open_entrance(&group)?);
            }
        }
        let unified = self.trees.unified.as_ref().map(|root| root.join(&self.parent).join(run));
        let unified = unified.map(|group| cgroup::open_directory(&group)).transpose()?;
        namespace::unshare(flags::NEWNS | flags::NEWNET | flags::NEWPID | flags::NEWIPC | flags::NEWUTS)?;
        mount::set_root_propagation(mount::Propagation::Private)?;
        let root = self.overlay(&upper, &work)?;
        let old = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        mount::attach(root.as_fd(), old.as_fd())?;
        for (at, fstype) in MOUNTS {
            let target = path::ensure_directory(root.as_fd(), at, Links::InRoot)?;
            mount::attach(mount::new_detached(fstype, &[], 0)?.as_fd(), target.as_fd())?;
        }
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        process::change_directory_to(root.as_fd())?;
        mount::pivot_into_current_directory()?;
        let program = path::open_in_root(root.as_fd(), c"/hello", libc::O_PATH, Links::InRoot)?;
        let groups: Vec<_> = entrances.iter().map(AsFd::as_fd).collect();
        let (pid, _pidfd) = clone::spawn(&clone::Spawn {
            program: program.as_fd(),
            argv: &[c"hello", c"echo"],
            descriptors: &[],
            stdio: null.as_fd(),
            unified: unified.as_ref().map(AsFd::as_fd),
            cgroups: &groups,
        })?;
        Ok(pid)
    }

    fn overlay(&self, upper: &Path, work: &Path) -> Result<OwnedFd> {
        let text = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes());
        let fs = Fs::open(c"overlay")?;
        fs.set_string(c"lowerdir", &text(&self.layer)?)?;
        fs.set_string(c"upperdir", &text(upper)?)?;
        fs.set_string(c"workdir", &text(work)?)?;
        Ok(fs.mount(0)?)
    }
}
