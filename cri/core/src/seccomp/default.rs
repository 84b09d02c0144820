//! The profile that `RuntimeDefault` means: what ordinary programs call, minus what reaches the kernel's administration,
//! other processes' memory, or namespaces. A capability that a container was given opens the calls it is for.

use super::assemble::{Action, Argument, Comparison, Policy, Rule};
use super::syscalls::number;
use crate::capabilities::bit;

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

const ALLOWED: &str = "\
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown clock_adjtime \
    clock_getres clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 \
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit \
    exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown \
    fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate \
    futex futex_requeue futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid \
    geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid \
    getresuid getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday \
    getuid getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl \
    io_destroy io_getevents io_pgetevents ioprio_get ioprio_set io_setup io_submit kill landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen listmount listxattr \
    listxattrat llistxattr lremovexattr lseek lsetxattr lstat madvise map_shadow_stack membarrier memfd_create \
    memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap modify_ldt mprotect \
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd \
    msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open \
    pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 \
    prlimit64 process_mrelease pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom \
    recvmmsg recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq \
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min \
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler \
    sched_yield seccomp select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto setfsgid setfsuid \
    setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit set_robust_list \
    setsid setsockopt set_thread_area set_tid_address setuid setxattr setxattrat shmat shmctl shmdt shmget shutdown \
    sigaltstack signalfd signalfd4 socketpair splice stat statfs statmount statx symlink symlinkat sync \
    sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime \
    timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat \
    uretprobe utime utimensat utimes vfork vmsplice wait4 waitid write writev arch_prctl ptrace process_vm_readv \
    process_vm_writev";

/// Calls that a capability opens.
const BY_CAPABILITY: &[(&str, &str)] = &[
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr \
         move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns \
         syslog umount umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module init_module finit_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("SYS_RAWIO", "iopl ioperm"),
    ("SYS_TIME", "settimeofday clock_settime"),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("SYSLOG", "syslog"),
    ("BPF", "bpf"),
    ("PERFMON", "perf_event_open"),
];

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET together.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;
const AF_VSOCK: u64 = 40;
/// Execution domains that programs ask for: Linux, 32-bit addresses, no randomisation, and the query.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

fn allow(comparison: Option<(u32, Comparison)>) -> Rule {
    let arguments = comparison.map(|(index, comparison)| Argument { index, comparison });
    Rule { arguments: arguments.into_iter().collect(), action: Action::Allow }
}

/// The policy for a container whose bounding set is `capabilities`.
pub fn runtime_default(capabilities: u64) -> Policy {
    let mut policy = Policy { default: Action::Errno(EPERM), rules: Default::default() };
    let mut set = |name: &str, rules: Vec<Rule>| {
        if let Some(number) = number(name) {
            policy.rules.insert(number, rules);
        }
    };
    ALLOWED.split_whitespace().for_each(|name| set(name, vec![allow(None)]));
    set("personality", PERSONALITIES.map(|value| allow(Some((0, Comparison::Equal(value))))).into());
    set("socket", vec![allow(Some((0, Comparison::NotEqual(AF_VSOCK))))]);
    let no_namespaces = Comparison::MaskedEqual { mask: CLONE_NAMESPACES, value: 0 };
    set("clone", vec![allow(Some((0, no_namespaces)))]);
    // Its flags lie in memory, out of a filter's sight; the C library falls back to clone on this error.
    set("clone3", vec![Rule { arguments: Vec::new(), action: Action::Errno(ENOSYS) }]);
    let given = |name: &str| bit(name).is_some_and(|bit| capabilities & bit != 0);
    for (_, calls) in BY_CAPABILITY.iter().filter(|(capability, _)| given(capability)) {
        calls.split_whitespace().for_each(|name| set(name, vec![allow(None)]));
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::super::assemble::{assemble, tests::action};
    use super::*;
    use crate::capabilities;

    const ALLOW: u32 = 0x7fff_0000;

    #[test]
    fn a_default_container_reaches_no_administration() {
        let program = assemble(&runtime_default(capabilities::DEFAULT));
        for name in [
            "unshare",
            "bpf",
            "keyctl",
            "add_key",
            "mount",
            "setns",
            "fsopen",
            "open_tree",
            "userfaultfd",
            "io_uring_setup",
            "kexec_load",
            "init_module",
        ] {
            let value = action(&program, number(name).unwrap(), [0; 6]);
            assert_eq!(value, 0x5_0001, "{name}");
        }
        for name in ["read", "execve", "openat", "futex", "chroot", "rseq", "statx"] {
            assert_eq!(action(&program, number(name).unwrap(), [0; 6]), ALLOW, "{name}");
        }
        assert_eq!(action(&program, number("clone3").unwrap(), [0; 6]), 0x5_0026);
        let clone = number("clone").unwrap();
        assert_eq!(action(&program, clone, [0x0100_0000 | 17, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(action(&program, clone, [0x1000_0000, 0, 0, 0, 0, 0]), 0x5_0001);
        let socket = number("socket").unwrap();
        assert_eq!(action(&program, socket, [2, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(action(&program, socket, [AF_VSOCK, 0, 0, 0, 0, 0]), 0x5_0001);
        assert!(program.len() < 700, "{}", program.len());
    }

    #[test]
    fn capabilities_open_their_calls() {
        let program = assemble(&runtime_default(capabilities::DEFAULT | bit("SYS_ADMIN").unwrap()));
        for name in ["mount", "unshare", "clone3", "bpf"] {
            assert_eq!(action(&program, number(name).unwrap(), [0; 6]), ALLOW, "{name}");
        }
    }

    #[test]
    fn every_name_is_known_or_of_another_architecture() {
        let unknown: Vec<&str> = ALLOWED.split_whitespace().filter(|name| number(name).is_none()).collect();
        assert_eq!(unknown, Vec::<&str>::new());
    }
}
