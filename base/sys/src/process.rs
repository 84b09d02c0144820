//! Processes: descriptors for them, their ends, and what a process sets for itself before execve.
//!
//! The functions that a child calls between clone and execve allocate nothing and take no lock.

use std::ffi::{CStr, c_char, c_int, c_ulong};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::Errno;

fn check(result: c_int) -> Result<(), Errno> {
    if result < 0 { Err(crate::last_errno()) } else { Ok(()) }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Signaled(i32),
}

impl Ended {
    /// The shell's convention, which the Kubernetes API shows: 128 + signal for a killed process.
    pub fn code(self) -> i32 {
        match self {
            Ended::Exited(code) => code,
            Ended::Signaled(signal) => 128 + signal,
        }
    }

    pub fn signal(self) -> i32 {
        match self {
            Ended::Exited(_) => 0,
            Ended::Signaled(signal) => signal,
        }
    }
}

/// Takes the next ended child of this process, if there is one.
pub fn reap_any() -> Result<Option<(i32, Ended)>, Errno> {
    let mut status: c_int = 0;
    // SAFETY: a local that outlives the call.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    match pid {
        0 => Ok(None),
        pid if pid < 0 => match crate::last_errno() {
            Errno::CHILD => Ok(None),
            errno => Err(errno),
        },
        pid => Ok(Some((pid, ended(status)))),
    }
}

/// Waits for one child to end, and takes it.
pub fn reap(pid: i32) -> Option<Ended> {
    let mut status: c_int = 0;
    loop {
        // SAFETY: a local that outlives the call.
        match unsafe { libc::waitpid(pid, &mut status, 0) } {
            done if done == pid => return Some(ended(status)),
            _ if crate::last_errno() == Errno::INTR => {}
            _ => return None,
        }
    }
}

fn ended(status: c_int) -> Ended {
    if libc::WIFSIGNALED(status) {
        Ended::Signaled(libc::WTERMSIG(status))
    } else {
        Ended::Exited(libc::WEXITSTATUS(status))
    }
}

pub fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    check(fd as c_int)?;
    // SAFETY: the kernel has just returned this descriptor; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for the default one.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) } as c_int)
}

/// A copy of another process's descriptor.
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, target: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), target, 0) };
    check(fd as c_int)?;
    // SAFETY: the kernel has just returned this descriptor; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Makes /proc/self unreadable for others, and descriptors unreachable by pidfd_getfd or ptrace.
pub fn set_undumpable() -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0)
}

pub fn set_no_new_privs() -> Result<(), Errno> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// Keeps permitted capabilities when the user id changes.
pub fn set_keep_capabilities(keep: bool) -> Result<(), Errno> {
    prctl(libc::PR_SET_KEEPCAPS, c_ulong::from(keep), 0)
}

/// The child dies with its parent (between clone and execve: a half-made container must not stay).
pub fn set_parent_death_signal(signal: i32) -> Result<(), Errno> {
    prctl(libc::PR_SET_PDEATHSIG, signal as c_ulong, 0)
}

pub fn set_name(name: &CStr) -> Result<(), Errno> {
    prctl(libc::PR_SET_NAME, name.as_ptr() as c_ulong, 0)
}

fn prctl(option: c_int, value: c_ulong, third: c_ulong) -> Result<(), Errno> {
    let zero: c_ulong = 0;
    // SAFETY: the options used here take numbers, and PR_SET_NAME a terminated string that outlives the call.
    check(unsafe { libc::prctl(option, value, third, zero, zero) })
}

/// `struct __user_cap_header_struct` and two `__user_cap_data_struct`, version 3.
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: c_int,
}
#[repr(C)]
#[derive(Clone, Copy)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// Bit sets are 64 wide; the kernel answers EINVAL above its last capability.
const CAPABILITIES_MAX: u32 = 64;

/// Removes every capability from the bounding set that is not in `keep`.
pub fn limit_bounding_set(keep: u64) -> Result<(), Errno> {
    for capability in (0..CAPABILITIES_MAX).filter(|bit| keep & (1 << bit) == 0) {
        match prctl(libc::PR_CAPBSET_DROP, c_ulong::from(capability), 0) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Sets permitted and effective; inheritable is always emptied (CVE-2022-24769 and its kin).
pub fn set_capabilities(permitted: u64, effective: u64) -> Result<(), Errno> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let word = |set: u64, index: u32| (set >> (32 * index)) as u32;
    let data = [0, 1].map(|index| CapData {
        effective: word(effective, index),
        permitted: word(permitted, index),
        inheritable: 0,
    });
    // SAFETY: both structures are the kernel's for this version.
    check(unsafe { libc::syscall(libc::SYS_capset, ptr::from_ref(&header), data.as_ptr()) } as c_int)
}

pub fn clear_ambient_set() -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong, 0)
}

/// Groups and ids of this thread, by raw system calls: the C library would stop all threads to agree first.
pub fn set_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the slice outlives the call and its length is passed.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) } as c_int)?;
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) } as c_int)?;
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) } as c_int)
}

pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let none = ptr::null_mut::<libc::rlimit64>();
    // SAFETY: the structure is the kernel's; no old value is asked for.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, ptr::from_ref(&limit), none) } as c_int)
}

/// Default dispositions and an empty mask: the Rust runtime ignores SIGPIPE, and pause blocks SIGCHLD.
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is always valid; the C library's own signals answer EINVAL, which is harmless.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an initialised local set.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
    }
}

/// Blocks these signals in this thread and its later children, and returns a descriptor that reads them.
pub fn signal_descriptor(signals: &[i32]) -> Result<OwnedFd, Errno> {
    // SAFETY: an initialised local set; the descriptor returned is new.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut()))?;
        let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

pub fn new_session() -> Result<(), Errno> {
    // SAFETY: no arguments.
    check(unsafe { libc::setsid() })
}

/// Puts a copy of `fd` at the number `target`, without close-on-exec.
pub fn duplicate_to(fd: BorrowedFd<'_>, target: RawFd) -> Result<(), Errno> {
    if fd.as_raw_fd() == target {
        // SAFETY: plain numbers.
        return check(unsafe { libc::fcntl(target, libc::F_SETFD, 0) });
    }
    // SAFETY: plain numbers; the caller names a target that no owned descriptor has (0, 1, 2).
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) })
}

/// Everything from `first` on closes at execve.
pub fn close_from_at_exec(first: u32) -> Result<(), Errno> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) } as c_int)
}

/// Closes everything from `first` on. For a process that owns nothing else any more.
///
/// # Safety
/// No owned descriptor at or above `first` may be used afterwards.
pub unsafe fn close_from(first: u32) -> Result<(), Errno> {
    // SAFETY: the caller gives up every descriptor in the range.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } as c_int)
}

/// An empty path is `/`.
pub fn change_directory_or_root(path: &CStr) -> Result<(), Errno> {
    let path = if path.is_empty() { c"/" } else { path };
    // SAFETY: a terminated path.
    check(unsafe { libc::chdir(path.as_ptr()) })
}

pub fn change_directory_to(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: a plain number.
    check(unsafe { libc::fchdir(fd.as_raw_fd()) })
}

/// False if the current directory lies outside the root: the kernel then says "(unreachable)" (CVE-2024-21626).
pub fn is_current_directory_reachable() -> Result<bool, Errno> {
    let mut buffer = [0_u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer's length is passed.
    let result = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    check(result as c_int)?;
    Ok(buffer[0] == b'/')
}

pub fn set_umask(mask: u32) {
    // SAFETY: cannot fail.
    unsafe { libc::umask(mask) };
}

/// Replaces the process image. Returns only on failure.
///
/// # Safety
/// `argv` and `env` must end with a null pointer, and every pointer before it must be a terminated string.
pub unsafe fn execute(file: &CStr, argv: &[*const c_char], env: &[*const c_char]) -> Errno {
    // SAFETY: the caller vouches for the arrays.
    unsafe { libc::execve(file.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    crate::last_errno()
}

pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process without running handlers.
    unsafe { libc::_exit(code) }
}

/// Blocks SIGCHLD, then reaps for ever: the whole life of a PID 1.
pub fn reap_for_ever() -> ! {
    // SAFETY: an initialised local set; the calls take pointers to it and may fail harmlessly.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut());
        loop {
            while libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) > 0 {}
            libc::sigwaitinfo(&set, ptr::null_mut());
        }
    }
}

/// One instruction of classic BPF, `struct sock_filter`.
pub use libc::sock_filter as SeccompInstruction;

/// Loads a filter for this thread. Without no_new_privs it takes CAP_SYS_ADMIN.
pub fn load_seccomp(program: &[SeccompInstruction]) -> Result<(), Errno> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let (op, none) = (libc::SECCOMP_SET_MODE_FILTER, 0);
    // SAFETY: the program outlives the call; the kernel copies and verifies it.
    check(unsafe { libc::syscall(libc::SYS_seccomp, op, none, ptr::from_ref(&program)) } as c_int)
}
