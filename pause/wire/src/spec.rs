//! What a pod sandbox, a container and an exec are made of. Every choice is made before: pause only performs.
//!
//! Strings that end up in a system call are C strings from the start, because the child that uses them may not allocate.

use alloc::ffi::CString;
use alloc::vec::Vec;

use crate::codec::{numbers, record};

/// An index into the descriptors that travel with the record.
pub type Descriptor = u32;

numbers! {
    /// Where a namespace of the pod comes from.
    #[derive(Default)]
    pub enum NamespaceFrom {
        /// The node's own.
        #[default]
        Host = 0,
        /// Made for this pod.
        Pod = 1,
    }

    /// Where a container's PID namespace comes from.
    #[derive(Default)]
    pub enum PidFrom {
        Host = 0,
        /// One for this container alone.
        #[default]
        Container = 1,
        /// The pod's shared one, whose PID 1 is a capability-less pause.
        Pod = 2,
        /// That of another container (`LaunchSpec::pid_target`).
        Target = 3,
    }

    /// What a mount step puts in place.
    #[derive(Default)]
    pub enum MountSource {
        /// A filesystem made inside the container's namespaces (proc, sysfs, tmpfs, devpts, mqueue, cgroup2).
        #[default]
        New = 0,
        /// A detached mount handed over as a descriptor.
        Detached = 1,
    }

    /// What to make when the mount's target is missing.
    #[derive(Default)]
    pub enum MountTarget {
        #[default]
        Directory = 0,
        File = 1,
    }
}

record! {
    /// A contiguous mapping: ids `0..length` inside are `host_id..` outside.
    pub struct IdMap {
        pub host_id: u32,
        pub length: u32,
    }

    /// `path` is relative to `/proc/sys`, with slashes.
    pub struct Sysctl {
        pub path: CString,
        pub value: CString,
    }

    /// The namespaces that a pod's containers share.
    pub struct SandboxSpec {
        pub network: NamespaceFrom,
        pub ipc: NamespaceFrom,
        pub uts: NamespaceFrom,
        /// The pod has one PID namespace for all its containers.
        pub shared_pid: bool,
        /// Present with `hostUsers: false`; every namespace above is then created inside it.
        pub user: Option<IdMap>,
        pub hostname: CString,
        pub sysctls: Vec<Sysctl>,
    }

    /// The cgroups a process enters before anything else.
    pub struct CgroupJoin {
        /// A directory of the unified tree, for CLONE_INTO_CGROUP.
        pub unified: Option<Descriptor>,
        /// The files by which a process enters groups of v1 trees (`tasks`), opened for writing.
        pub procs: Vec<Descriptor>,
    }

    /// A parameter of a new filesystem; an empty value is a flag.
    pub struct FsOption {
        pub key: CString,
        pub value: CString,
    }

    pub struct MountStep {
        pub source: MountSource,
        /// With `MountSource::Detached`.
        pub descriptor: Descriptor,
        /// With `MountSource::New`.
        pub fstype: CString,
        pub options: Vec<FsOption>,
        /// MOUNT_ATTR_* of a new filesystem.
        pub attributes: u64,
        /// Below the container's root.
        pub path: CString,
        pub target: MountTarget,
        /// Refuse a target that is reached through a symbolic link (`/proc`, `/sys`, `/dev`).
        pub no_symlinks: bool,
    }

    pub struct DeviceNode {
        pub path: CString,
        /// `S_IFCHR` or `S_IFBLK` with permission bits.
        pub mode: u32,
        pub major: u32,
        pub minor: u32,
        pub uid: u32,
        pub gid: u32,
    }

    pub struct Link {
        pub path: CString,
        pub target: CString,
    }

    pub struct Rlimit {
        pub resource: u32,
        pub soft: u64,
        pub hard: u64,
    }

    /// Bit sets of capability numbers. Inheritable is always empty.
    pub struct Capabilities {
        pub bounding: u64,
        pub effective: u64,
        pub permitted: u64,
        pub ambient: u64,
    }

    /// One instruction of a classic BPF program.
    pub struct Instruction {
        pub code: u16,
        pub jt: u8,
        pub jf: u8,
        pub k: u32,
    }

    /// A process, container's first or exec, from the moment its world stands.
    pub struct Process {
        pub argv: Vec<CString>,
        /// Files to try in order, as execvp would.
        pub files: Vec<CString>,
        pub env: Vec<CString>,
        pub cwd: CString,
        pub uid: u32,
        pub gid: u32,
        pub groups: Vec<u32>,
        pub capabilities: Capabilities,
        pub no_new_privs: bool,
        /// Empty is unconfined.
        pub seccomp: Vec<Instruction>,
        pub rlimits: Vec<Rlimit>,
        pub oom_score_adj: Option<i32>,
        pub tty: bool,
    }

    /// A container: everything between clone3 and execve.
    pub struct LaunchSpec {
        pub id: CString,
        pub process: Process,
        pub pid: PidFrom,
        /// With `PidFrom::Target`.
        pub pid_target: CString,
        /// A cgroup namespace of its own (cgroup v2 nodes).
        pub cgroup_namespace: bool,
        pub cgroup: CgroupJoin,
        /// The detached mount that becomes `/`.
        pub root: Descriptor,
        pub root_readonly: bool,
        pub mounts: Vec<MountStep>,
        pub devices: Vec<DeviceNode>,
        pub links: Vec<Link>,
        pub masked: Vec<CString>,
        pub readonly: Vec<CString>,
        /// A detached mount of the node's verified `/dev/null`, which masks files.
        pub null: Descriptor,
        /// The container's run directory, where `exit` is written.
        pub state_directory: Descriptor,
        /// The CRI log file, opened for appending; absent for a container without a log.
        pub log: Option<Descriptor>,
        /// Hold a pipe (or the terminal) as stdin instead of `/dev/null`.
        pub stdin: bool,
    }

    /// A process inside a running container. No mounts are made, ever.
    pub struct ExecSpec {
        pub id: CString,
        pub container: CString,
        pub process: Process,
        pub cgroup: CgroupJoin,
        /// With a terminal these are absent: the reply carries its master.
        pub stdin: Option<Descriptor>,
        pub stdout: Option<Descriptor>,
        pub stderr: Option<Descriptor>,
    }
}

macro_rules! steps {
    ($($variant:ident = $number:literal, $text:literal;)*) => {
        numbers! {
            /// The steps of a launch, for the error report `{step, item, errno}`.
            #[derive(Default)]
            pub enum Step {
                #[default]
                Request = 0,
                $($variant = $number,)*
            }
        }

        impl Step {
            /// What was being done, for a sentence: "cannot TEXT".
            pub fn text(self) -> &'static str {
                match self {
                    Step::Request => "read the request",
                    $(Step::$variant => $text,)*
                }
            }
        }
    };
}

steps! {
    Clone = 1, "clone a process";
    Cgroup = 2, "join the cgroup";
    OomScore = 3, "set oom_score_adj";
    UserNamespace = 4, "enter the user namespace";
    Namespaces = 5, "enter the pod's namespaces";
    PidNamespace = 6, "enter the PID namespace";
    IdMap = 7, "write the id mapping";
    Propagation = 8, "make the mount namespace private";
    Root = 9, "mount the root filesystem";
    Mount = 10, "mount";
    Device = 11, "make the device";
    Link = 12, "make the link";
    Terminal = 13, "open the terminal";
    Mask = 14, "mask";
    Readonly = 15, "make read-only";
    PivotRoot = 16, "change the root";
    Hostname = 17, "set the host name";
    Sysctl = 18, "set the sysctl";
    Rlimit = 19, "set the resource limit";
    Stdio = 20, "set up standard input and output";
    Session = 21, "start a session";
    Seccomp = 22, "load the seccomp filter";
    Capabilities = 23, "set capabilities";
    User = 24, "set user and groups";
    WorkingDirectory = 25, "change to the working directory";
    Exec = 26, "exec";
    ContainerGone = 27, "enter the container";
    LoopbackUp = 28, "bring up the loopback link";
}
