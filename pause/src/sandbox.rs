//! Making and holding the namespaces that a pod's containers share.
//!
//! A short-lived child makes them all in one clone3, sets host name, loopback and sysctls inside, and ends; descriptors keep
//! them alive. With a shared PID namespace the child stays as its PID 1: without capabilities, in an empty root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kedge_pause_wire::{IdMap, NamespaceFrom, SandboxSpec, Step};
use kedge_sys::clone::{self, Forked, flags};
use kedge_sys::{Errno, mount, namespace, process, socket};

use crate::child::{self, At, Failure, Steps, write_all};

/// Nobody: the user of the shared PID 1.
const UNPRIVILEGED: u32 = 65534;

/// The namespaces of the pod; `None` is the node's own.
#[derive(Default)]
pub struct Namespaces {
    pub user: Option<OwnedFd>,
    pub network: Option<OwnedFd>,
    pub ipc: Option<OwnedFd>,
    pub uts: Option<OwnedFd>,
    pub pid: Option<OwnedFd>,
    /// The host id of the pod's root.
    pub host_id: u32,
    pub init: Option<(i32, OwnedFd)>,
}

impl Namespaces {
    /// What a process of the pod enters after its user namespace.
    pub fn shared(&self) -> [(Option<&OwnedFd>, u64); 3] {
        [
            (self.network.as_ref(), flags::NEWNET),
            (self.ipc.as_ref(), flags::NEWIPC),
            (self.uts.as_ref(), flags::NEWUTS),
        ]
    }
}

fn wanted(spec: &SandboxSpec) -> u64 {
    let mut wanted = 0;
    for (from, flag) in [(spec.network, flags::NEWNET), (spec.ipc, flags::NEWIPC), (spec.uts, flags::NEWUTS)]
    {
        if from == NamespaceFrom::Pod {
            wanted |= flag;
        }
    }
    if spec.shared_pid {
        wanted |= flags::NEWPID | flags::NEWNS;
    }
    if spec.user.is_some() {
        wanted |= flags::NEWUSER;
    }
    wanted
}

/// Makes the pod's namespaces. Blocks until they stand: nothing else runs in the pod yet.
pub fn setup(spec: &SandboxSpec) -> Result<Namespaces, Failure> {
    let wanted = wanted(spec);
    if wanted == 0 {
        return Ok(Namespaces::default());
    }
    let paths: Vec<std::ffi::CString> = spec.sysctls.iter().map(|sysctl| proc_sys(&sysctl.path)).collect();
    let (ours, theirs) = socket::pair().at(Step::Clone)?;
    // SAFETY: the child only makes system calls on prepared values, and ends.
    let (pid, pidfd) = match unsafe { clone::fork(wanted, None) }.at(Step::Clone)? {
        Forked::Child => {
            // The end of the other end is what this child waits for.
            drop(ours);
            holder(spec, &paths, theirs.as_fd())
        }
        Forked::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(theirs);
    let made = collect(spec, pid, ours.as_fd());
    match made {
        Ok(mut namespaces) if spec.shared_pid => {
            namespaces.init = Some((pid, pidfd));
            Ok(namespaces)
        }
        other => {
            // Closing our end is the child's signal to end.
            drop(ours);
            process::reap(pid);
            other
        }
    }
}

fn proc_sys(path: &std::ffi::CStr) -> std::ffi::CString {
    let mut full = b"/proc/sys/".to_vec();
    full.extend_from_slice(path.to_bytes());
    std::ffi::CString::new(full).expect("a C string holds no NUL")
}

fn collect(spec: &SandboxSpec, pid: i32, status: BorrowedFd<'_>) -> Result<Namespaces, Failure> {
    if let Some(map) = &spec.user {
        write_id_maps(pid, map).at(Step::IdMap)?;
    }
    socket::send(status, b"G", &[], &[]).at(Step::Clone)?;
    match socket::receive(status, 64).at(Step::Clone)? {
        Some(packet) if packet.bytes == b"R" => {}
        Some(packet) => return Err(read_failure(&packet.bytes)),
        None => {
            return Err(Failure { step: Step::Clone, item: 0, errno: Errno::CHILD });
        }
    }
    let process = pid.to_string();
    let open = |is_wanted: bool, name: &str| -> Result<Option<OwnedFd>, Failure> {
        if is_wanted { namespace::open(&process, name).at(Step::Namespaces).map(Some) } else { Ok(None) }
    };
    let namespaces = Namespaces {
        user: open(spec.user.is_some(), "user")?,
        network: open(spec.network == NamespaceFrom::Pod, "net")?,
        ipc: open(spec.ipc == NamespaceFrom::Pod, "ipc")?,
        uts: open(spec.uts == NamespaceFrom::Pod, "uts")?,
        pid: open(spec.shared_pid, "pid")?,
        host_id: spec.user.as_ref().map_or(0, |map| map.host_id),
        init: None,
    };
    if spec.shared_pid {
        socket::send(status, b"S", &[], &[]).at(Step::Clone)?;
    }
    Ok(namespaces)
}

/// Reads a child's `{step, item, errno}`.
pub fn read_failure(packet: &[u8]) -> Failure {
    let number =
        |at: usize| packet.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    let step = packet.get(1).and_then(|number| Step::ALL.iter().find(|step| **step as u8 == *number));
    Failure {
        step: step.copied().unwrap_or(Step::Request),
        item: number(2),
        errno: Errno::from_raw_os_error((number(6) as i32).clamp(1, 4095)),
    }
}

fn write_id_maps(pid: i32, map: &IdMap) -> Result<(), Errno> {
    let line = format!("0 {} {}\n", map.host_id, map.length);
    for file in ["uid_map", "gid_map"] {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::open(format!("/proc/{pid}/{file}"), flags, rustix::fs::Mode::empty())?;
        write_all(file.as_fd(), line.as_bytes())?;
    }
    Ok(())
}

/// The child that makes the namespaces.
fn holder(spec: &SandboxSpec, paths: &[std::ffi::CString], status: BorrowedFd<'_>) -> ! {
    let mut word = [0; 1];
    let mut wait = |expected: u8| matches!(rustix::io::read(status, &mut word), Ok(1)) && word[0] == expected;
    if !wait(b'G') {
        process::exit_now(127);
    }
    if let Err(failure) = furnish(spec, paths) {
        child::fail(status, &failure);
    }
    let is_told = socket::send(status, b"R", &[], &[]).is_ok();
    // Alive until its namespaces are held by descriptors; then it is told to stay, or its peer is gone.
    if !is_told || !wait(b'S') {
        process::exit_now(0);
    }
    // SAFETY: this process uses no descriptor any more.
    if unsafe { process::close_from(3) }.is_err() {
        process::exit_now(127);
    }
    process::reap_for_ever()
}

fn furnish(spec: &SandboxSpec, paths: &[std::ffi::CString]) -> Steps {
    if spec.user.is_some() {
        process::set_user(0, 0, &[]).at(Step::User)?;
    }
    if spec.network == NamespaceFrom::Pod {
        namespace::bring_up_loopback().at(Step::LoopbackUp)?;
    }
    if spec.uts == NamespaceFrom::Pod {
        namespace::set_host_name(&spec.hostname).at(Step::Hostname)?;
    }
    for (index, (sysctl, path)) in spec.sysctls.iter().zip(paths).enumerate() {
        write_sysctl(path, sysctl.value.to_bytes()).at_item(Step::Sysctl, index)?;
    }
    if spec.shared_pid { become_init(spec.user.is_some()) } else { Ok(()) }
}

/// The files below /proc/sys show the namespaces of whoever opens them; this /proc is the node's, out of any container's reach.
fn write_sysctl(path: &std::ffi::CStr, value: &[u8]) -> Result<(), Errno> {
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
    write_all(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?.as_fd(), value)
}

/// PID 1 of a shared namespace is visible to every container of the pod: it owns nothing worth reaching.
fn become_init(is_mapped: bool) -> Steps {
    mount::set_root_propagation(mount::Propagation::Slave).at(Step::Propagation)?;
    let attributes = mount::attr::RDONLY | mount::attr::NOSUID | mount::attr::NODEV | mount::attr::NOEXEC;
    let empty = mount::new_detached(c"tmpfs", &[(c"mode", c"555")], attributes).at(Step::Root)?;
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let root = rustix::fs::open(c"/", flags, rustix::fs::Mode::empty()).at(Step::Root)?;
    mount::attach(empty.as_fd(), root.as_fd()).at(Step::Root)?;
    process::change_directory_to(empty.as_fd()).at(Step::PivotRoot)?;
    mount::pivot_into_current_directory().at(Step::PivotRoot)?;
    process::limit_bounding_set(0).at(Step::Capabilities)?;
    let user = if is_mapped { 0 } else { UNPRIVILEGED };
    process::set_user(user, user, &[]).at(Step::User)?;
    process::set_capabilities(0, 0).at(Step::Capabilities)?;
    process::set_undumpable().at(Step::Session)?;
    // After the change of user, which clears it: PID 1 never outlives the supervisor.
    process::set_parent_death_signal(libc::SIGKILL).at(Step::Session)?;
    process::set_no_new_privs().at(Step::Session)
}
