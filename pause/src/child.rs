//! What happens between clone3 and execve: a fixed list of steps over a prepared spec.
//!
//! Everything here runs in a child of a process with two threads, so it allocates nothing and takes no lock; it ends in
//! execve or `_exit`. A failed step is reported as `{step, item, errno}` on the status socket, whose end of file is success.

use std::ffi::{CStr, c_char};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kedge_pause_wire::{LaunchSpec, MountSource, MountStep, MountTarget, Process, Step};
use kedge_sys::path::{self, Links};
use kedge_sys::process::{self, SeccompInstruction};
use kedge_sys::{Errno, mount, namespace, socket, terminal};

/// What a status packet means: its first byte.
pub const STATUS_FAILED: u8 = b'F';
pub const STATUS_PID: u8 = b'P';
pub const STATUS_TERMINAL: u8 = b'T';

/// A step that failed.
pub struct Failure {
    pub step: Step,
    pub item: u32,
    pub errno: Errno,
}

pub type Steps = Result<(), Failure>;

/// Names the step of an error.
pub trait At<T> {
    fn at(self, step: Step) -> Result<T, Failure>;
    fn at_item(self, step: Step, item: usize) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.at_item(step, 0)
    }
    fn at_item(self, step: Step, item: usize) -> Result<T, Failure> {
        self.map_err(|errno| Failure { step, item: item as u32, errno })
    }
}

/// Reports a failure and ends the child.
pub fn fail(status: BorrowedFd<'_>, failure: &Failure) -> ! {
    let [i0, i1, i2, i3] = failure.item.to_le_bytes();
    let [e0, e1, e2, e3] = failure.errno.raw_os_error().to_le_bytes();
    let _ =
        socket::send(status, &[STATUS_FAILED, failure.step as u8], &[i0, i1, i2, i3, e0, e1, e2, e3], &[]);
    process::exit_now(127)
}

/// A process with its pointer arrays, laid out before the clone.
pub struct Prepared<'a> {
    pub process: &'a Process,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    seccomp: Vec<SeccompInstruction>,
}

impl<'a> Prepared<'a> {
    pub fn new(process: &'a Process) -> Prepared<'a> {
        let pointers = |strings: &'a [std::ffi::CString]| {
            let mut pointers: Vec<*const c_char> = strings.iter().map(|text| text.as_ptr()).collect();
            pointers.push(std::ptr::null());
            pointers
        };
        let seccomp = process.seccomp.iter();
        Prepared {
            process,
            argv: pointers(&process.argv),
            env: pointers(&process.env),
            seccomp: seccomp
                .map(|i| SeccompInstruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k })
                .collect(),
        }
    }
}

/// The ends of a process's standard streams; with a terminal they are opened by the child.
pub struct Stdio {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Enters the v1 cgroups and sets oom_score_adj, while the process still is the node's root in the node's /proc.
pub fn settle(procs: &[OwnedFd], oom_score_adj: Option<i32>) -> Steps {
    for (index, procs) in procs.iter().enumerate() {
        write_all(procs.as_fd(), b"0").at_item(Step::Cgroup, index)?;
    }
    if let Some(value) = oom_score_adj {
        let mut buffer = [0; 12];
        let text = decimal(value, &mut buffer);
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::open(c"/proc/self/oom_score_adj", flags, rustix::fs::Mode::empty())
            .at(Step::OomScore)?;
        write_all(file.as_fd(), text).at(Step::OomScore)?;
    }
    Ok(())
}

pub fn write_all(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Errno> {
    match rustix::io::write(fd, bytes)? {
        written if written == bytes.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// `value` in decimal at the end of `buffer`.
fn decimal(value: i32, buffer: &mut [u8; 12]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    &buffer[at..]
}

/// The descriptors that a container's mounts need, already taken out of the record.
pub struct Mounts<'a> {
    pub spec: &'a LaunchSpec,
    pub root: OwnedFd,
    /// One for each step of `spec.mounts`; `None` for new filesystems.
    pub detached: Vec<Option<OwnedFd>>,
    pub null: OwnedFd,
}

/// Builds the container's filesystem and makes it the root. Runs in the container's own mount namespace.
pub fn build_root(mounts: &Mounts<'_>, status: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Failure> {
    let spec = mounts.spec;
    mount::set_root_propagation(mount::Propagation::Slave).at(Step::Propagation)?;
    mount::set_root_propagation(mount::Propagation::Private).at(Step::Propagation)?;
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let old_root = rustix::fs::open(c"/", flags, rustix::fs::Mode::empty()).at(Step::Root)?;
    mount::attach(mounts.root.as_fd(), old_root.as_fd()).at(Step::Root)?;
    let root = mounts.root.as_fd();
    for (index, (step, detached)) in spec.mounts.iter().zip(&mounts.detached).enumerate() {
        mount_one(root, step, detached.as_ref()).at_item(Step::Mount, index)?;
    }
    for (index, device) in spec.devices.iter().enumerate() {
        make_device(root, device).at_item(Step::Device, index)?;
    }
    for (index, link) in spec.links.iter().enumerate() {
        make_link(root, link).at_item(Step::Link, index)?;
    }
    let slave = if spec.process.tty { Some(open_console(root, status).at(Step::Terminal)?) } else { None };
    for (index, path) in spec.readonly.iter().enumerate() {
        make_readonly(root, path).at_item(Step::Readonly, index)?;
    }
    mask(root, &spec.masked, mounts.null.as_fd())?;
    if !spec.process.cwd.is_empty() {
        // A missing working directory is made, as every runtime does.
        let _ = path::ensure_directory(root, &spec.process.cwd, Links::InRoot);
    }
    process::change_directory_to(root).at(Step::PivotRoot)?;
    mount::pivot_into_current_directory().at(Step::PivotRoot)?;
    if spec.root_readonly {
        let change = mount::SetAttributes { set: mount::attr::RDONLY, ..Default::default() };
        mount::set_attributes(root, &change).at(Step::Readonly)?;
    }
    Ok(slave)
}

fn mount_one(root: BorrowedFd<'_>, step: &MountStep, detached: Option<&OwnedFd>) -> Result<(), Errno> {
    let links = if step.no_symlinks { Links::Refused } else { Links::InRoot };
    let target = match step.target {
        MountTarget::Directory => path::ensure_directory(root, &step.path, links)?,
        MountTarget::File => path::ensure_file(root, &step.path, links)?,
    };
    match step.source {
        MountSource::Detached => mount::attach(detached.ok_or(Errno::BADF)?.as_fd(), target.as_fd()),
        MountSource::New => {
            let fs = mount::Fs::open(&step.fstype)?;
            for option in &step.options {
                if option.value.is_empty() {
                    fs.set_flag(&option.key)?;
                } else {
                    fs.set_string(&option.key, &option.value)?;
                }
            }
            mount::attach(fs.mount(step.attributes)?.as_fd(), target.as_fd())
        }
    }
}

fn make_device(root: BorrowedFd<'_>, device: &kedge_pause_wire::DeviceNode) -> Result<(), Errno> {
    let (directory, name) = path::open_parent(root, &device.path, Links::InRoot)?;
    match path::make_node(directory.as_fd(), name, device.mode, device.major, device.minor) {
        Err(Errno::EXIST) => return Ok(()),
        other => other?,
    }
    // mknod applies the umask; the mode is the spec's.
    path::change_mode(directory.as_fd(), name, device.mode & 0o7777)?;
    path::change_owner(directory.as_fd(), name, device.uid, device.gid)
}

fn make_link(root: BorrowedFd<'_>, link: &kedge_pause_wire::Link) -> Result<(), Errno> {
    let (directory, name) = path::open_parent(root, &link.path, Links::InRoot)?;
    match path::make_link(directory.as_fd(), name, &link.target) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Opens a terminal of the container's own devpts, hands its master to the supervisor and mounts its slave on /dev/console.
fn open_console(root: BorrowedFd<'_>, status: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let slave = open_terminal(root, status)?;
    let console = path::ensure_file(root, c"/dev/console", Links::InRoot)?;
    let tree = mount::clone_tree(slave.as_fd(), c"", false)?;
    mount::attach(tree.as_fd(), console.as_fd())?;
    Ok(slave)
}

/// The container can put anything at /dev/ptmx: only the real multiplexer (5, 2) is taken.
pub fn open_terminal(root: BorrowedFd<'_>, status: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK;
    let probe = path::open_in_root(root, c"/dev/ptmx", libc::O_PATH, Links::InRoot)?;
    if !mount::is_char_device(&probe, 5, 2)? {
        return Err(Errno::NOTTY);
    }
    let master = path::open_in_root(root, c"/dev/ptmx", flags, Links::InRoot)?;
    if !mount::is_char_device(&master, 5, 2)? {
        return Err(Errno::NOTTY);
    }
    let slave = terminal::open_slave(master.as_fd())?;
    socket::send(status, &[STATUS_TERMINAL], &[], &[master.as_fd()])?;
    Ok(slave)
}

fn make_readonly(root: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    let target = match path::open_in_root(root, path, libc::O_PATH, Links::InRoot) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let tree = mount::clone_tree(target.as_fd(), c"", true)?;
    let change = mount::SetAttributes { set: mount::attr::RDONLY, is_recursive: true, ..Default::default() };
    mount::set_attributes(tree.as_fd(), &change)?;
    mount::attach(tree.as_fd(), target.as_fd())
}

/// Covers files by the node's /dev/null and directories by one shared empty tmpfs. Older kernels refuse to copy a detached
/// mount, so each copy is taken from the first one in place.
fn mask(root: BorrowedFd<'_>, paths: &[std::ffi::CString], null: BorrowedFd<'_>) -> Steps {
    let mut first_file: Option<OwnedFd> = None;
    let mut first_directory: Option<OwnedFd> = None;
    for (index, path) in paths.iter().enumerate() {
        let target = match path::open_in_root(root, path, libc::O_PATH, Links::InRoot) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            other => other.at_item(Step::Mask, index)?,
        };
        let stat = rustix::fs::fstat(&target).at_item(Step::Mask, index)?;
        let is_directory =
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory;
        let first = if is_directory { &mut first_directory } else { &mut first_file };
        let covered = match first {
            Some(first) => mount::clone_tree(first.as_fd(), c"", false)
                .and_then(|copy| mount::attach(copy.as_fd(), target.as_fd())),
            None if is_directory => empty_directory().and_then(|tmpfs| {
                mount::attach(tmpfs.as_fd(), target.as_fd())?;
                *first = Some(tmpfs);
                Ok(())
            }),
            None => mount::attach(null, target.as_fd()).and_then(|()| {
                *first = Some(path::open_in_root(root, path, libc::O_PATH, Links::InRoot)?);
                Ok(())
            }),
        };
        covered.at_item(Step::Mask, index)?;
    }
    Ok(())
}

fn empty_directory() -> Result<OwnedFd, Errno> {
    let options = [(c"size", c"0"), (c"nr_blocks", c"1"), (c"mode", c"555")];
    let attributes = mount::attr::RDONLY | mount::attr::NOSUID | mount::attr::NODEV | mount::attr::NOEXEC;
    mount::new_detached(c"tmpfs", &options[1..], attributes)
}

/// Turns this process into the wanted one. Returns only on failure.
pub fn become_process(prepared: &Prepared<'_>, stdio: &Stdio) -> Failure {
    match become_steps(prepared, stdio) {
        Err(failure) => failure,
        Ok(never) => match never {},
    }
}

enum Never {}

fn become_steps(prepared: &Prepared<'_>, stdio: &Stdio) -> Result<Never, Failure> {
    let process = prepared.process;
    for (index, limit) in process.rlimits.iter().enumerate() {
        process::set_rlimit(limit.resource, limit.soft, limit.hard).at_item(Step::Rlimit, index)?;
    }
    process::new_session().at(Step::Session)?;
    for (fd, target) in [(&stdio.stdin, 0), (&stdio.stdout, 1), (&stdio.stderr, 2)] {
        process::duplicate_to(fd.as_fd(), target).at(Step::Stdio)?;
    }
    if process.tty {
        terminal::set_controlling().at(Step::Terminal)?;
        let _ = rustix::fs::fchown(&stdio.stdin, Some(rustix::fs::Uid::from_raw(process.uid)), None);
    }
    process::set_umask(0o022);
    process::limit_bounding_set(process.capabilities.bounding).at(Step::Capabilities)?;
    if !process.no_new_privs {
        // Takes CAP_SYS_ADMIN, which the next steps give away.
        load_seccomp(prepared)?;
    }
    process::set_keep_capabilities(true).at(Step::Capabilities)?;
    process::set_user(process.uid, process.gid, &process.groups).at(Step::User)?;
    process::change_directory_or_root(&process.cwd).at(Step::WorkingDirectory)?;
    if !process::is_current_directory_reachable().at(Step::WorkingDirectory)? {
        return Err(Failure { step: Step::WorkingDirectory, item: 0, errno: Errno::ACCESS });
    }
    let sets = &process.capabilities;
    process::set_capabilities(sets.permitted, sets.effective).at(Step::Capabilities)?;
    process::set_keep_capabilities(false).at(Step::Capabilities)?;
    process::reset_signals();
    process::close_from_at_exec(3).at(Step::Stdio)?;
    if process.no_new_privs {
        process::set_no_new_privs().at(Step::Seccomp)?;
        load_seccomp(prepared)?;
    }
    Err(Failure { step: Step::Exec, item: 0, errno: execute_first(prepared) })
}

fn load_seccomp(prepared: &Prepared<'_>) -> Steps {
    if prepared.seccomp.is_empty() {
        return Ok(());
    }
    process::load_seccomp(&prepared.seccomp).at(Step::Seccomp)
}

/// As execvp: the first file that is there and may be run; a forbidden one is reported only if none runs.
fn execute_first(prepared: &Prepared<'_>) -> Errno {
    let mut result = Errno::NOENT;
    for file in &prepared.process.files {
        // SAFETY: both arrays end with null and point into `prepared.process`, which is borrowed.
        match unsafe { process::execute(file, &prepared.argv, &prepared.env) } {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => result = Errno::ACCESS,
            errno => return errno,
        }
    }
    result
}

/// Tells the supervisor the pid of the second stage.
pub fn report_pid(status: BorrowedFd<'_>, pid: i32, pidfd: &OwnedFd) -> Steps {
    socket::send(status, &[STATUS_PID], &pid.to_le_bytes(), &[pidfd.as_fd()]).at(Step::Clone)
}

/// Enters the namespaces that the pod's containers share.
pub fn enter_shared(shared: &[(Option<&OwnedFd>, u64)]) -> Steps {
    for (index, (fd, kind)) in shared.iter().enumerate() {
        if let Some(fd) = fd {
            namespace::enter(fd.as_fd(), *kind).at_item(Step::Namespaces, index)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_without_allocating() {
        for value in [0, 7, -998, 1000, i32::MIN, i32::MAX] {
            let mut buffer = [0; 12];
            assert_eq!(decimal(value, &mut buffer), value.to_string().as_bytes());
        }
    }
}
