//! From what the kubelet asks and what the image says to a plan of a container: a value without choices left.
//!
//! The shell turns the plan into a `LaunchSpec`: it opens the things that are named here and hands them over as descriptors.

use std::ffi::CString;

use kedge_cri_api::{ContainerConfig, Mount, NamespaceMode, PodSandboxConfig, SeccompProfile};
use kedge_pause_wire::{Capabilities, DeviceNode, FsOption, Instruction, Link, PidFrom, Process};

use crate::image::ImageConfig;
use crate::user::{self, User};
use crate::{capabilities, seccomp};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("no command specified: neither the pod nor the image names one")]
    NoCommand,
    #[error("{field} holds a NUL byte")]
    Nul { field: &'static str },
    #[error("mount {path:?}: the path is not absolute, or has a \"..\"")]
    MountPath { path: String },
    #[error("working directory {0:?} is not absolute")]
    WorkingDirectory(String),
    #[error(transparent)]
    User(#[from] user::Error),
    #[error(transparent)]
    Seccomp(#[from] seccomp::ProfileError),
}

/// What is known of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Capabilities that this daemon itself has: nobody can give more.
    pub capabilities: u64,
    /// The node's device files, for privileged containers.
    pub devices: Vec<DeviceNode>,
    /// The container's cgroups are v2: it gets a cgroup namespace.
    pub is_cgroup_v2: bool,
}

#[derive(Debug)]
pub struct Input<'a> {
    pub sandbox: &'a PodSandboxConfig,
    pub container: &'a ContainerConfig,
    pub image: &'a ImageConfig,
    pub node: &'a NodeFacts,
    /// The host name inside, for the environment.
    pub hostname: &'a str,
    /// The image's tables, cut at `user::TABLE_MAX`.
    pub passwd: &'a [u8],
    pub group: &'a [u8],
    /// The content of a `Localhost` profile.
    pub seccomp_profile: Option<&'a [u8]>,
    pub seccomp_defaults: &'a seccomp::Defaults,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    New {
        fstype: &'static str,
        options: Vec<FsOption>,
        attributes: u64,
    },
    /// The node's file or directory.
    Bind(Mount),
    /// The pod's /dev/shm.
    SharedMemory,
    /// A file of the sandbox's own folder.
    SandboxFile(&'static str),
    /// The container's v1 cgroups, each below its controller's name.
    Cgroups,
    /// A device file of the node (where mknod is impossible: user namespaces).
    Device(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedMount {
    pub path: String,
    pub kind: MountKind,
    pub no_symlinks: bool,
    pub readonly: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub process: Process,
    pub pid: PidFrom,
    pub mounts: Vec<PlannedMount>,
    pub devices: Vec<DeviceNode>,
    pub links: Vec<Link>,
    pub masked: Vec<CString>,
    pub readonly: Vec<CString>,
    pub root_readonly: bool,
    pub user: User,
}

// MOUNT_ATTR_* of linux/mount.h.
const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const NODEV: u64 = 4;
const NOEXEC: u64 = 8;
const STRICTATIME: u64 = 0x20;

const PATH_DEFAULT: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const S_IFCHR: u32 = 0o020_000;

pub fn plan(input: &Input<'_>) -> Result<Plan, Error> {
    let (container, security) = (input.container, &input.container.security);
    let user = user::resolve(security, &input.image.user, input.passwd, input.group)?;
    let process = plan_process(input, &user)?;
    let has_user_namespace = input.sandbox.namespaces.userns.is_some();
    let mut mounts = default_mounts(input);
    mounts
        .retain(|default| container.mounts.iter().all(|mount| normal(&mount.container_path) != default.path));
    mounts.extend(config_mounts(&container.mounts)?);
    let mut readonly = if security.privileged { Vec::new() } else { security.readonly_paths.clone() };
    if !security.privileged && !input.node.is_cgroup_v2 {
        readonly.push("/sys/fs/cgroup".to_owned());
    }
    let masked = if security.privileged { &[][..] } else { &security.masked_paths };
    let mut devices = default_devices();
    if security.privileged {
        devices.extend(
            input
                .node
                .devices
                .iter()
                .filter(|extra| devices.iter().all(|it| it.path != extra.path))
                .cloned()
                .collect::<Vec<_>>(),
        );
    }
    if has_user_namespace {
        let binds = devices.drain(..).filter_map(|device| device.path.into_string().ok());
        let at = mounts.iter().position(|mount| mount.path == "/dev").map_or(0, |at| at + 1);
        let binds: Vec<_> = binds.map(|path| planned(&path.clone(), MountKind::Device(path))).collect();
        mounts.splice(at..at, binds);
    }
    Ok(Plan {
        process,
        pid: plan_pid(input),
        mounts,
        devices,
        links: default_links(),
        masked: c_strings(masked, "maskedPaths")?,
        readonly: c_strings(&readonly, "readonlyPaths")?,
        root_readonly: security.readonly_rootfs,
        user,
    })
}

fn plan_pid(input: &Input<'_>) -> PidFrom {
    let namespaces = &input.container.security.namespaces;
    match namespaces.pid {
        _ if namespaces.target_id.is_some() => PidFrom::Target,
        NamespaceMode::Node => PidFrom::Host,
        NamespaceMode::Pod => PidFrom::Pod,
        NamespaceMode::Container => PidFrom::Container,
    }
}

fn c(text: &str, field: &'static str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::Nul { field })
}

fn c_strings(texts: &[String], field: &'static str) -> Result<Vec<CString>, Error> {
    texts.iter().map(|text| c(text, field)).collect()
}

fn plan_process(input: &Input<'_>, user: &User) -> Result<Process, Error> {
    let (container, security) = (input.container, &input.container.security);
    let argv = argv(container, input.image);
    if argv.is_empty() || argv[0].is_empty() {
        return Err(Error::NoCommand);
    }
    let cwd = match (container.working_dir.as_str(), input.image.working_dir.as_str()) {
        ("", "") => "/",
        ("", image) => image,
        (own, _) => own,
    };
    if !cwd.starts_with('/') {
        return Err(Error::WorkingDirectory(cwd.to_owned()));
    }
    let env = environment(input, user);
    let set =
        capabilities::resolve(security.privileged, &security.add_capabilities, &security.drop_capabilities);
    let set = set & input.node.capabilities;
    Ok(Process {
        files: files_to_try(&argv[0], &env)?,
        argv: c_strings(&argv, "command")?,
        env: c_strings(&env, "env")?,
        cwd: c(cwd, "workingDir")?,
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
        capabilities: process_capabilities(set, user.uid),
        no_new_privs: security.no_new_privs,
        seccomp: seccomp_program(input, set)?,
        rlimits: Vec::new(),
        oom_score_adj: Some(container.resources.oom_score_adj.clamp(-1000, 1000) as i32),
        tty: container.tty,
    })
}

/// Only root keeps capabilities over execve; for everybody else the bounding set limits what a setuid program may get.
pub fn process_capabilities(set: u64, uid: u32) -> Capabilities {
    let held = if uid == 0 { set } else { 0 };
    Capabilities { bounding: set, effective: held, permitted: held, ambient: 0 }
}

/// `command` replaces the image's Entrypoint and with it its Cmd; `args` replaces Cmd.
fn argv(container: &ContainerConfig, image: &ImageConfig) -> Vec<String> {
    match (container.command.is_empty(), container.args.is_empty()) {
        (false, _) => [&container.command[..], &container.args].concat(),
        (true, false) => [&image.entrypoint[..], &container.args].concat(),
        (true, true) => [&image.entrypoint[..], &image.cmd].concat(),
    }
}

/// Later ones win: defaults, the image's, the pod's. Order and places of first mention are kept.
fn environment(input: &Input<'_>, user: &User) -> Vec<String> {
    let mut variables: Vec<String> = vec![PATH_DEFAULT.to_owned()];
    if input.container.tty {
        variables.push("TERM=xterm".to_owned());
    }
    variables.push(format!("HOSTNAME={}", input.hostname));
    let mut set = |variable: String| {
        let name = variable.split('=').next().unwrap_or_default().to_owned();
        let is_same = |known: &&mut String| known.split('=').next() == Some(&name);
        match variables.iter_mut().find(is_same) {
            Some(known) => *known = variable,
            None => variables.push(variable),
        }
    };
    input.image.env.iter().cloned().for_each(&mut set);
    input.container.envs.iter().map(|(name, value)| format!("{name}={value}")).for_each(&mut set);
    if !variables.iter().any(|variable| variable.starts_with("HOME=")) {
        variables.push(format!("HOME={}", user.home));
    }
    variables
}

/// A name without a slash is looked up in the container's own PATH.
pub fn files_to_try(program: &str, env: &[String]) -> Result<Vec<CString>, Error> {
    if program.contains('/') {
        return Ok(vec![c(program, "command")?]);
    }
    let path = env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default();
    let directories = path.split(':').filter(|directory| directory.starts_with('/'));
    directories
        .map(|directory| c(&format!("{}/{program}", directory.trim_end_matches('/')), "command"))
        .collect()
}

fn seccomp_program(input: &Input<'_>, capabilities: u64) -> Result<Vec<Instruction>, Error> {
    let security = &input.container.security;
    let policy = match &security.seccomp {
        _ if security.privileged => return Ok(Vec::new()),
        SeccompProfile::Unconfined => return Ok(Vec::new()),
        SeccompProfile::RuntimeDefault => return Ok(input.seccomp_defaults.program(capabilities)),
        SeccompProfile::Localhost(_) => seccomp::parse(input.seccomp_profile.unwrap_or_default())?,
    };
    Ok(seccomp::assemble(&policy))
}

fn planned(path: &str, kind: MountKind) -> PlannedMount {
    PlannedMount { path: path.to_owned(), kind, no_symlinks: true, readonly: false }
}

fn new(path: &str, fstype: &'static str, attributes: u64, options: &[(&str, &str)]) -> PlannedMount {
    let own = |text: &str| CString::new(text).expect("a constant without NUL");
    let options = options.iter().map(|(key, value)| FsOption { key: own(key), value: own(value) }).collect();
    planned(path, MountKind::New { fstype, options, attributes })
}

fn default_mounts(input: &Input<'_>) -> Vec<PlannedMount> {
    let is_privileged = input.container.security.privileged;
    let readonly = if is_privileged { 0 } else { RDONLY };
    let quiet = NOSUID | NODEV | NOEXEC;
    let devpts = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    let mut mounts = vec![
        new("/proc", "proc", quiet, &[]),
        new("/dev", "tmpfs", NOSUID | STRICTATIME, &[("mode", "755"), ("size", "65536k")]),
        new("/dev/pts", "devpts", NOSUID | NOEXEC, &devpts),
        planned("/dev/shm", MountKind::SharedMemory),
        new("/dev/mqueue", "mqueue", quiet, &[]),
        new("/sys", "sysfs", quiet | readonly, &[]),
    ];
    if input.node.is_cgroup_v2 {
        mounts.push(new("/sys/fs/cgroup", "cgroup2", quiet | readonly, &[]));
    } else {
        mounts.push(new("/sys/fs/cgroup", "tmpfs", quiet, &[("mode", "755")]));
        mounts.push(planned("/sys/fs/cgroup", MountKind::Cgroups));
    }
    for (path, file) in [("/etc/hostname", "hostname"), ("/etc/resolv.conf", "resolv.conf")] {
        let kind = MountKind::SandboxFile(file);
        let readonly = input.container.security.readonly_rootfs;
        mounts.push(PlannedMount { no_symlinks: false, readonly, ..planned(path, kind) });
    }
    mounts
}

/// The kubelet's mounts, outer ones first.
fn config_mounts(mounts: &[Mount]) -> Result<Vec<PlannedMount>, Error> {
    let mut planned = Vec::new();
    for mount in mounts {
        let path = normal(&mount.container_path);
        if path.split('/').any(|part| part == "..") || mount.container_path.contains('\0') {
            return Err(Error::MountPath { path: mount.container_path.clone() });
        }
        let (kind, readonly) = (MountKind::Bind(mount.clone()), mount.readonly);
        planned.push(PlannedMount { path, kind, no_symlinks: false, readonly });
    }
    planned.sort_by_key(|mount| mount.path.matches('/').count());
    Ok(planned)
}

/// An absolute path without doubled or trailing slashes; one that was not absolute is taken from the root, as upstream does.
fn normal(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.fold(String::new(), |normal, part| normal + "/" + part)
}

fn default_devices() -> Vec<DeviceNode> {
    const DEVICES: [(&str, u32, u32); 6] =
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
    let node = |(name, major, minor): &(&str, u32, u32)| DeviceNode {
        path: CString::new(format!("/dev/{name}")).expect("a constant without NUL"),
        mode: S_IFCHR | 0o666,
        major: *major,
        minor: *minor,
        uid: 0,
        gid: 0,
    };
    DEVICES.iter().map(node).collect()
}

fn default_links() -> Vec<Link> {
    const LINKS: [(&str, &str); 5] = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
    ];
    let own = |text: &str| CString::new(text).expect("a constant without NUL");
    LINKS.iter().map(|(path, target)| Link { path: own(path), target: own(target) }).collect()
}

/// The number of a stop signal: the pod's, else the image's, else SIGTERM.
pub fn stop_signal(container: &str, image: &str) -> i32 {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    const SIGTERM: i32 = 15;
    const SIGRTMIN: i32 = 34;
    let number = |text: &str| {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        let named = NAMES.iter().position(|known| *known == name).map(|at| at as i32 + 1);
        let real_time =
            || name.strip_prefix("RTMIN+").and_then(|n| n.parse::<i32>().ok()).map(|n| SIGRTMIN + n);
        let number = text.parse().ok().filter(|number| (1..=64).contains(number));
        named.or_else(real_time).or(number)
    };
    number(container).or_else(|| number(image)).unwrap_or(SIGTERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(
        change: impl FnOnce(&mut PodSandboxConfig, &mut ContainerConfig, &mut ImageConfig),
        see: impl FnOnce(Result<Plan, Error>) -> T,
    ) -> T {
        let (mut sandbox, mut container, mut image) = Default::default();
        change(&mut sandbox, &mut container, &mut image);
        let node = NodeFacts { capabilities: capabilities::ALL, ..NodeFacts::default() };
        see(plan(&Input {
            sandbox: &sandbox,
            container: &container,
            image: &image,
            node: &node,
            hostname: "h",
            passwd: b"",
            group: b"",
            seccomp_profile: None,
            seccomp_defaults: &seccomp::Defaults::default(),
        }))
    }

    #[track_caller]
    fn check_argv(command: &[&str], args: &[&str], expected: &str) {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let seen = with(
            |_, container, image| {
                (container.command, container.args) = (own(command), own(args));
                (image.entrypoint, image.cmd) = (own(&["/e"]), own(&["c"]));
            },
            |plan| {
                plan.unwrap()
                    .process
                    .argv
                    .iter()
                    .map(|arg| arg.to_str().unwrap())
                    .collect::<Vec<_>>()
                    .join(" ")
            },
        );
        assert_eq!(seen, expected);
    }

    #[test]
    fn command_and_args_replace_the_images() {
        check_argv(&[], &[], "/e c");
        check_argv(&[], &["a"], "/e a");
        check_argv(&["/x"], &[], "/x");
        check_argv(&["/x"], &["a"], "/x a");
        assert_eq!(with(|_, _, _| {}, |plan| plan.unwrap_err()), Error::NoCommand);
    }

    #[test]
    fn the_environment_is_ordered_and_unique() {
        let env = with(
            |_, container, image| {
                container.command = vec!["run".into()];
                container.envs = vec![("A".into(), "pod=1".into()), ("B".into(), String::new())];
                image.env = vec!["PATH=/opt:/bin".into(), "A=image".into(), "C=c".into()];
            },
            |plan| {
                let plan = plan.unwrap();
                assert_eq!(plan.process.files, [c"/opt/run".into(), CString::from(c"/bin/run")]);
                plan.process
                    .env
                    .iter()
                    .map(|variable| variable.to_str().unwrap())
                    .collect::<Vec<_>>()
                    .join(" ")
            },
        );
        assert_eq!(env, "PATH=/opt:/bin HOSTNAME=h A=pod=1 C=c B= HOME=/");
    }

    #[test]
    fn mounts_of_the_pod_replace_defaults_and_come_outer_first() {
        let mount =
            |path: &str| Mount { container_path: path.into(), host_path: "/x".into(), ..Mount::default() };
        let paths = with(
            |_, container, _| {
                container.command = vec!["/x".into()];
                container.mounts =
                    vec![mount("/a/b//c/"), mount("/dev/shm"), mount("data"), mount("/etc/resolv.conf")];
            },
            |plan| plan.unwrap().mounts.into_iter().map(|mount| mount.path).collect::<Vec<_>>().join(" "),
        );
        assert_eq!(
            paths,
            "/proc /dev /dev/pts /dev/mqueue /sys /sys/fs/cgroup /sys/fs/cgroup /etc/hostname /data /dev/shm \
             /etc/resolv.conf /a/b/c"
        );
    }

    #[test]
    fn privilege_is_all_or_what_was_asked() {
        let capabilities = |is_privileged: bool, uid: i64| {
            with(
                |_, container, _| {
                    container.command = vec!["/x".into()];
                    container.security.privileged = is_privileged;
                    container.security.run_as_user = Some(uid);
                    container.security.masked_paths = vec!["/proc/kcore".into()];
                },
                |plan| {
                    let plan = plan.unwrap();
                    (plan.process.capabilities, plan.process.seccomp.is_empty(), plan.masked.len())
                },
            )
        };
        let (default, is_unconfined, masked) = capabilities(false, 1000);
        assert_eq!(
            (default.bounding, default.effective, is_unconfined, masked),
            (capabilities::DEFAULT, 0, false, 1)
        );
        let (all, is_unconfined, masked) = capabilities(true, 0);
        assert_eq!((all.effective, is_unconfined, masked), (capabilities::ALL, true, 0));
    }

    #[test]
    fn stop_signals() {
        let signals =
            [("SIGINT", "9"), ("", "SIGQUIT"), ("", ""), ("RTMIN+3", ""), ("15", "9"), ("nonsense", "2")]
                .map(|(container, image)| stop_signal(container, image));
        assert_eq!(signals, [2, 3, 15, 37, 15, 2]);
    }
}
