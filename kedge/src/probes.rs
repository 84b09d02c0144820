//! What a node needs of its machine, each probed by using it in a way that leaves no trace; never by name of machine.

use crate::failure::{Failure, Outcome};
use kedge_machinery::Roots;
use kedge_proxy::Attachment;
use kedge_sys::cgroup::Trees;
use kedge_sys::{clone, namespace, probe};
use rustix::fs::StatVfsMountFlags;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Below this a disk counts as full: the first start writes images, certificates and a database.
const DISK_BYTES_MIN: u64 = 32 << 20;

pub struct Probe {
    pub feature: &'static str,
    /// Without it no node can run.
    pub required: bool,
    pub mend: &'static str,
    pub run: fn(&Machine<'_>) -> Result<String, String>,
}

/// Whom the probes are for.
pub struct Machine<'a> {
    pub roots: &'a Roots,
    /// What a node would listen on; none while it does.
    pub ports: &'a [u16],
    /// Also what costs time and would be found out by a start anyway.
    pub is_thorough: bool,
}

pub const PROBES: [Probe; 10] = [
    Probe { feature: "root", required: true, mend: "run kedge with sudo", run: root },
    Probe { feature: "kernel", required: true, mend: "use a kernel of 5.15 or later", run: kernel },
    Probe {
        feature: "cgroups",
        required: true,
        mend: "mount cgroup2 on /sys/fs/cgroup, or the v1 controllers cpu, memory and pids",
        run: cgroups,
    },
    Probe { feature: "overlayfs", required: true, mend: "load the module: modprobe overlay", run: overlay },
    Probe {
        feature: "bpf",
        required: true,
        mend: "use a kernel with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF",
        run: bpf,
    },
    Probe {
        feature: "namespaces",
        required: true,
        mend: "use a kernel with mount, network, ipc, uts and pid namespaces",
        run: namespaces,
    },
    Probe {
        feature: "disk",
        required: true,
        mend: "make room on that disk, or mount it writable",
        run: disk,
    },
    Probe {
        feature: "ports",
        required: true,
        mend: "stop the program that holds them (`ss -lntup` names it)",
        run: ports,
    },
    Probe {
        feature: "user-namespaces",
        required: false,
        mend: "raise user.max_user_namespaces; until then hostUsers: false is refused",
        run: user_namespaces,
    },
    Probe {
        feature: "resource-limits",
        required: false,
        mend: "give CAP_SYS_RESOURCE; until then oom_score_adj below our own cannot be set",
        run: resource_limits,
    },
];

fn root(_: &Machine<'_>) -> Result<String, String> {
    let uid = rustix::process::geteuid();
    if uid.is_root() { Ok("uid 0".to_owned()) } else { Err(format!("uid {}", uid.as_raw())) }
}

fn kernel(_: &Machine<'_>) -> Result<String, String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").map_err(|error| error.to_string())?;
    let release = release.trim().to_owned();
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= (5, 15) { Ok(release) } else { Err(release) }
}

/// A group is made and removed in the tree of each controller that limits a pod.
fn cgroups(machine: &Machine<'_>) -> Result<String, String> {
    let trees = Trees::discover().map_err(|error| error.to_string())?;
    let unified = |name: &str| trees.unified_controllers.iter().any(|controller| controller == name);
    let lacking: Vec<&str> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(|name| !trees.v1.contains_key(*name) && !unified(name))
        .collect();
    let mode = match (trees.unified.is_some(), trees.v1.contains_key("memory")) {
        (true, true) => "hybrid",
        (true, false) => "v2",
        (false, _) => "v1",
    };
    if !lacking.is_empty() {
        return Err(format!("{mode}, without {}", lacking.join(", ")));
    }
    let parent = machine.roots.cgroup_parent.trim_start_matches('/');
    for root in trees.roots() {
        let below = deepest_existing(&root.join(parent));
        let group = below.join(format!("kedge-check-{}", std::process::id()));
        fs::create_dir(&group)
            .and_then(|()| fs::remove_dir(&group))
            .map_err(|error| format!("{mode}, but no group can be made in {}: {error}", below.display()))?;
    }
    Ok(mode.to_owned())
}

/// Two folders of the machine are laid over each other in a mount that is attached nowhere and goes with its descriptor.
fn overlay(_: &Machine<'_>) -> Result<String, String> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC);
    let mounted = context.and_then(|context| {
        rustix::mount::fsconfig_set_string(&context, "lowerdir", "/usr:/etc")?;
        rustix::mount::fsconfig_create(&context)?;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        rustix::mount::fsmount(&context, flags, MountAttrFlags::MOUNT_ATTR_RDONLY)
    });
    mounted.map(|_| "mounts".to_owned()).map_err(|error| error.to_string())
}

fn bpf(machine: &Machine<'_>) -> Result<String, String> {
    // An unknown command: the kernel refuses it only after it has let us in.
    match probe::bpf() {
        None | Some(rustix::io::Errno::INVAL) => {}
        Some(error) => return Err(format!("bpf(2): {error}")),
    }
    if !machine.is_thorough {
        return Ok("bpf(2) answers".to_owned());
    }
    let uplinks = kedge_proxy::probe().map_err(|error| Failure::of(&error).text)?;
    Ok(match uplinks {
        Attachment::Tcx => "every program of ours loads; uplinks by tcx".to_owned(),
        Attachment::Clsact => "every program of ours loads; uplinks by clsact".to_owned(),
    })
}

/// On a thread of its own, which takes what it has made along when it ends.
fn namespaces(_: &Machine<'_>) -> Result<String, String> {
    use clone::flags::{NEWIPC, NEWNET, NEWNS, NEWPID, NEWUTS};
    let kinds = [("mount", NEWNS), ("net", NEWNET), ("ipc", NEWIPC), ("uts", NEWUTS), ("pid", NEWPID)];
    let attempt = move || {
        kinds.iter().find_map(|(name, kind)| namespace::unshare(*kind).err().map(|error| (*name, error)))
    };
    match std::thread::spawn(attempt).join() {
        Ok(None) => Ok("mount, net, ipc, uts, pid can be made".to_owned()),
        Ok(Some((name, error))) => Err(format!("no {name} namespace: {error}")),
        Err(_) => Err("the attempt panicked".to_owned()),
    }
}

/// A process with several threads cannot enter a user namespace: the same program does it as its only act.
fn user_namespaces(_: &Machine<'_>) -> Result<String, String> {
    let attempt = Command::new("/proc/self/exe").arg(ENTER_USER_NAMESPACE).output();
    let output = attempt.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok("can be made".to_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// The name of the hidden command that [`user_namespaces`] runs.
pub const ENTER_USER_NAMESPACE: &str = "enter-user-namespace";

pub fn enter_user_namespace() -> Outcome {
    namespace::unshare(clone::flags::NEWUSER).map_err(Failure::new)
}

/// One below the current value and back again: only lowering takes the right.
fn resource_limits(_: &Machine<'_>) -> Result<String, String> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let current = fs::read_to_string(FILE).map_err(|error| error.to_string())?;
    let value: i32 = current.trim().parse().map_err(|_| format!("{FILE}: {current:?}"))?;
    if value == -1000 {
        return Ok("oom_score_adj is as low as it gets".to_owned());
    }
    fs::write(FILE, (value - 1).to_string()).map_err(|error| format!("oom_score_adj: {error}"))?;
    fs::write(FILE, value.to_string()).map_err(|error| format!("oom_score_adj: {error}"))?;
    Ok("oom_score_adj can be lowered".to_owned())
}

fn disk(machine: &Machine<'_>) -> Result<String, String> {
    let roots = machine.roots;
    let mut folders: Vec<PathBuf> = [&roots.state, &roots.kubelet, &roots.log, &roots.kubernetes]
        .into_iter()
        .map(|path| deepest_existing(path))
        .collect();
    folders.dedup();
    folders.iter().try_for_each(|folder| writable(folder))?;
    let free = free_bytes(&folders[0])?;
    Ok(format!("{} MB free on {}", free >> 20, folders[0].display()))
}

fn writable(folder: &Path) -> Result<(), String> {
    let failed = |why: &dyn std::fmt::Display| format!("{} cannot be written: {why}", folder.display());
    let stat = rustix::fs::statvfs(folder).map_err(|error| failed(&error))?;
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(failed(&"it is mounted read-only"));
    }
    let free = free_bytes(folder)?;
    if free < DISK_BYTES_MIN {
        return Err(format!(
            "{} has {} MB free, and {} MB are needed",
            folder.display(),
            free >> 20,
            DISK_BYTES_MIN >> 20
        ));
    }
    let file = folder.join(format!(".kedge-check-{}", std::process::id()));
    let written =
        fs::File::create(&file).and_then(|mut open| open.write_all(b"kedge").and_then(|()| open.sync_all()));
    let removed = fs::remove_file(&file);
    written.and(removed).map_err(|error| failed(&error))
}

fn free_bytes(folder: &Path) -> Result<u64, String> {
    let stat = rustix::fs::statvfs(folder)
        .map_err(|error| format!("cannot look at {}: {error}", folder.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The path itself, or the folder in which it would be made.
fn deepest_existing(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn ports(machine: &Machine<'_>) -> Result<String, String> {
    let any = Ipv4Addr::UNSPECIFIED;
    let is_taken = |port: u16| {
        let is_dns = port == machine.roots.ports.dns;
        TcpListener::bind((any, port)).is_err() || is_dns && UdpSocket::bind((any, port)).is_err()
    };
    let text = |ports: &mut dyn Iterator<Item = u16>| {
        ports.map(|port| port.to_string()).collect::<Vec<_>>().join(", ")
    };
    let taken = text(&mut machine.ports.iter().copied().filter(|port| is_taken(*port)));
    if !taken.is_empty() {
        return Err(format!("in use by another program: {taken}"));
    }
    Ok(match machine.ports {
        [] => "in use by kedge itself".to_owned(),
        ports => text(&mut ports.iter().copied()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_that_would_be_used() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(deepest_existing(&folder.path().join("a/b")), folder.path());
        assert_eq!(deepest_existing(Path::new("/")), Path::new("/"));
    }

    #[test]
    fn a_probe_of_a_disk_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        writable(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(writable(Path::new("/proc")).is_err());
    }
}
