//! New processes. The daemon has many threads, so it never forks: it starts pause by [`spawn`], which shares memory with the
//! child until its execve. Pause is small and forks by [`fork`].

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::Errno;

/// Raw CLONE_* flags of `clone3`, kernel header `linux/sched.h`.
pub mod flags {
    pub const NEWNS: u64 = libc::CLONE_NEWNS as u64;
    pub const NEWCGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    pub const NEWUTS: u64 = libc::CLONE_NEWUTS as u64;
    pub const NEWIPC: u64 = libc::CLONE_NEWIPC as u64;
    pub const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
    pub const NEWPID: u64 = libc::CLONE_NEWPID as u64;
    pub const NEWNET: u64 = libc::CLONE_NEWNET as u64;
    /// The child's parent is the caller's parent.
    pub const PARENT: u64 = libc::CLONE_PARENT as u64;
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args`, version 2 (88 bytes).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}
const _: () = assert!(size_of::<CloneArgs>() == 88);

/// Which side of a [`fork`] this is.
#[derive(Debug)]
pub enum Forked {
    Child,
    Parent { pid: i32, pidfd: OwnedFd },
}

/// `clone3` with a copy of the caller's memory, optionally straight into a cgroup of the unified tree.
///
/// # Safety
/// In the child of a process with several threads only async-signal-safe work is allowed: no allocation, no locks, and it
/// must end in execve or `_exit`.
pub unsafe fn fork(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked, Errno> {
    let mut pidfd: RawFd = -1;
    let is_sibling = flags & flags::PARENT != 0;
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        // With CLONE_PARENT the exit signal is the caller's own, and naming one is EINVAL.
        exit_signal: if is_sibling { 0 } else { libc::SIGCHLD as u64 },
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the structure is the kernel's, its size is passed, and without CLONE_VM the child runs on a copy of this stack.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, ptr::from_ref(&args), size_of::<CloneArgs>()) };
    match pid {
        0 => Ok(Forked::Child),
        pid if pid > 0 => {
            // SAFETY: the kernel has stored a descriptor of ours that nobody else knows.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent { pid: pid as i32, pidfd })
        }
        _ => Err(crate::last_errno()),
    }
}

/// What a spawned program starts with. Nothing else is inherited: the environment is empty, other descriptors are closed.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The program's file; a sealed memfd will do.
    pub program: BorrowedFd<'a>,
    pub argv: &'a [&'a CStr],
    /// These become 3, 4, 5, …; 0, 1 and 2 become `stdio`.
    pub descriptors: &'a [BorrowedFd<'a>],
    pub stdio: BorrowedFd<'a>,
    /// The directory of the group in the unified tree, in which the child is born.
    pub unified: Option<BorrowedFd<'a>>,
    /// The files by which the child enters v1 groups first, see [`crate::cgroup::open_entrance`].
    pub cgroups: &'a [BorrowedFd<'a>],
}

/// Everything the child reads, laid out before the clone: it shares memory with a sleeping thread and may not allocate.
struct ChildPlan {
    program: RawFd,
    argv: Vec<*const c_char>,
    descriptors: Vec<RawFd>,
    stdio: RawFd,
    cgroups: Vec<RawFd>,
    errno: c_int,
}

const STACK_BYTES: usize = 64 * 1024;
/// Descriptors are first moved up here, so that none of them is overwritten by its neighbour.
const PARKED: RawFd = 512;

/// Starts a program by CLONE_VM | CLONE_VFORK: the cost does not depend on the caller's size (70 µs instead of 25 ms per GB).
pub fn spawn(spawn: &Spawn<'_>) -> Result<(i32, OwnedFd), Errno> {
    let mut argv: Vec<*const c_char> = spawn.argv.iter().map(|arg| arg.as_ptr()).collect();
    argv.push(ptr::null());
    let raw = |fds: &[BorrowedFd<'_>]| fds.iter().map(|fd| fd.as_raw_fd()).collect::<Vec<_>>();
    let mut plan = ChildPlan {
        program: spawn.program.as_raw_fd(),
        argv,
        descriptors: raw(spawn.descriptors),
        stdio: spawn.stdio.as_raw_fd(),
        cgroups: raw(spawn.cgroups),
        errno: 0,
    };
    let mut stack = vec![0_u128; STACK_BYTES / size_of::<u128>()];
    let mut pidfd: RawFd = -1;
    let args = CloneArgs {
        flags: (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64
            | spawn.unified.map_or(0, |_| CLONE_INTO_CGROUP),
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: STACK_BYTES as u64,
        cgroup: spawn.unified.map_or(0, |unified| unified.as_raw_fd() as u64),
        ..CloneArgs::default()
    };
    // SAFETY: the child runs `child` on a stack of its own; CLONE_VFORK suspends this thread until execve or _exit, so `plan`
    // and `stack` outlive every access. The stack ends on a multiple of 16, as the ABI demands at a call.
    let pid = unsafe { clone3_on_stack(&args, child, ptr::from_mut(&mut plan).cast()) };
    if pid < 0 {
        return Err(Errno::from_raw_os_error(-pid as i32));
    }
    let pid = pid as i32;
    // SAFETY: the kernel has stored a descriptor of ours that nobody else knows.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // Written by the child through the shared memory while this thread slept.
    // SAFETY: a plain read of a live local that the compiler cannot know to have changed.
    match unsafe { ptr::read_volatile(&plan.errno) } {
        0 => Ok((pid, pidfd)),
        errno => {
            crate::process::reap(pid);
            Err(Errno::from_raw_os_error(errno))
        }
    }
}

/// clone3 whose child runs `run(argument)` on the stack of `args`: libc has no such call, and its clone cannot be born in a
/// cgroup. Entering the unified tree later, by cgroup.procs, waits for an RCU grace period: 12 to 50 ms on a busy machine.
///
/// # Safety
/// `args` is a valid request with a stack that outlives the child's use of it, as is `argument`.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3_on_stack(
    args: &CloneArgs,
    run: extern "C" fn(*mut c_void) -> !,
    argument: *mut c_void,
) -> libc::c_long {
    let result;
    // SAFETY: the kernel keeps all registers but rax, rcx and r11; the child, whose stack is empty, never leaves `run`.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") ptr::from_ref(args),
            in("rsi") size_of::<CloneArgs>(),
            in("r12") argument,
            in("r13") run,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

extern "C" fn child(plan: *mut c_void) -> ! {
    // SAFETY: `spawn` passes its own live `ChildPlan`, and its thread sleeps until this function is gone.
    let plan = unsafe { &mut *plan.cast::<ChildPlan>() };
    // SAFETY: `enter` calls the kernel only.
    let result = unsafe { enter(plan) };
    if let Err(errno) = result {
        plan.errno = errno.raw_os_error();
    }
    // SAFETY: ends this process without running any handler of the parent's.
    unsafe { libc::_exit(127) }
}

/// # Safety
/// Must run in the child of [`spawn`]; it replaces the process image or returns an error.
unsafe fn enter(plan: &mut ChildPlan) -> Result<(), Errno> {
    let check = |result: c_int| {
        if result < 0 { Err(crate::last_errno()) } else { Ok(result) }
    };
    for group in &plan.cgroups {
        // SAFETY: writes one byte of a constant.
        let written = unsafe { libc::write(*group, c"0".as_ptr().cast(), 1) };
        check(written as c_int)?;
    }
    // SAFETY: plain system calls on numbers; the descriptor table is this process's own copy.
    unsafe {
        let program = check(libc::fcntl(plan.program, libc::F_DUPFD_CLOEXEC, PARKED))?;
        let stdio = check(libc::fcntl(plan.stdio, libc::F_DUPFD_CLOEXEC, PARKED))?;
        // The kernel chooses the numbers: a chosen one may be a source that is still to be copied.
        for descriptor in &mut plan.descriptors {
            *descriptor = check(libc::fcntl(*descriptor, libc::F_DUPFD_CLOEXEC, PARKED))?;
        }
        for target in 0..3 {
            check(libc::dup2(stdio, target))?;
        }
        for (parked, target) in plan.descriptors.iter().zip(3..) {
            check(libc::dup2(*parked, target))?;
        }
        let unused = 3 + plan.descriptors.len() as libc::c_uint;
        let cloexec = libc::CLOSE_RANGE_CLOEXEC as c_int;
        check(libc::syscall(libc::SYS_close_range, unused, libc::c_uint::MAX, cloexec) as c_int)?;
        check(libc::setsid())?;
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
        let env: [*const c_char; 1] = [ptr::null()];
        let (argv, env) = (plan.argv.as_ptr(), env.as_ptr());
        libc::syscall(libc::SYS_execveat, program, c"".as_ptr(), argv, env, libc::AT_EMPTY_PATH);
    }
    Err(crate::last_errno())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    /// A daemon with more than 512 descriptors: the number of one source is where another would be moved.
    #[test]
    fn a_source_among_the_parked_numbers_arrives() {
        let (mut output, stdio) = std::io::pipe().unwrap();
        let (first, _first) = std::io::pipe().unwrap();
        let (second, mut told) = std::io::pipe().unwrap();
        told.write_all(b"whole").unwrap();
        drop(told);
        let second = rustix::io::fcntl_dupfd_cloexec(&second, PARKED + 2).unwrap();
        let shell = std::fs::File::open("/bin/sh").unwrap();
        let (pid, _pidfd) = spawn(&Spawn {
            program: shell.as_fd(),
            argv: &[c"sh", c"-c", c"read text <&4; echo $text"],
            descriptors: &[first.as_fd(), second.as_fd()],
            stdio: stdio.as_fd(),
            unified: None,
            cgroups: &[],
        })
        .unwrap();
        drop(stdio);
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        crate::process::reap(pid);
        assert_eq!(text, "whole\n");
    }
}
