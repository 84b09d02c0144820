//! Cgroup trees: which ones the node has (v1, v2, hybrid), and reading and writing their files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{process, socket};

/// Waiting for killed processes to be gone. One in uninterruptible sleep keeps its cgroup, and the caller tries again later.
const KILL_WAIT_MS: i32 = 5_000;
const KILL_ROUNDS_MAX: usize = 100;
/// Between two looks at a group whose last process is about to leave it.
const LEAVING: Duration = Duration::from_millis(2);

/// The trees of one node. In hybrid mode the v1 controllers hold the limits, and the unified tree kills and hosts eBPF hooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trees {
    /// The mount point of the unified tree.
    pub unified: Option<PathBuf>,
    /// Controllers that the unified tree offers at its root.
    pub unified_controllers: Vec<String>,
    /// Mount point of each v1 controller, named ones (`name=systemd`) included. Co-mounted controllers share one path.
    pub v1: BTreeMap<String, PathBuf>,
}

impl Trees {
    /// Reads this process's mount table.
    pub fn discover() -> io::Result<Trees> {
        let mut trees = Trees::parse(&fs::read_to_string("/proc/self/mountinfo")?);
        if let Some(unified) = &trees.unified {
            let controllers = fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
            trees.unified_controllers = controllers.split_whitespace().map(str::to_owned).collect();
        }
        Ok(trees)
    }

    /// `mountinfo`: fields, ` - `, type, source, superblock options (proc_pid_mountinfo(5)). The first mount of a tree counts.
    pub fn parse(mountinfo: &str) -> Trees {
        let mut trees = Trees::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let Some(mount_point) = left.split(' ').nth(4) else {
                continue;
            };
            let mut right = right.split(' ');
            match right.next() {
                Some("cgroup2") if trees.unified.is_none() => trees.unified = Some(mount_point.into()),
                Some("cgroup") => {
                    let options = right.nth(1).unwrap_or_default().split(',');
                    for controller in options.filter(|option| is_controller(option)) {
                        trees.v1.entry(controller.to_owned()).or_insert_with(|| mount_point.into());
                    }
                }
                _ => {}
            }
        }
        trees
    }

    /// True if limits are set by v2 files.
    pub fn is_v2(&self) -> bool {
        !self.v1.contains_key("memory") && self.unified_controllers.iter().any(|name| name == "memory")
    }

    /// Every distinct tree root, v1 first.
    pub fn roots(&self) -> Vec<&Path> {
        let mut roots: Vec<&Path> = self.v1.values().map(PathBuf::as_path).collect();
        roots.sort();
        roots.dedup();
        roots.extend(self.unified.as_deref());
        roots
    }
}

fn is_controller(option: &str) -> bool {
    const OTHER: [&str; 7] = ["rw", "ro", "xattr", "noprefix", "clone_children", "none", "cpuset_v2_mode"];
    !OTHER.contains(&option) && !option.starts_with("release_agent")
}

/// Writes one value to a cgroup file: a single write, as the kernel demands.
pub fn write(path: &Path, value: &str) -> io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?)
}

/// The file of a v1 group by which a process of one thread enters it, writing `0`. It is `tasks`: the kernel moves a whole
/// process, by `cgroup.procs`, only after an RCU grace period (12 to 50 ms on a busy machine) with all cgroups locked.
pub fn open_entrance(directory: &Path) -> io::Result<OwnedFd> {
    Ok(fs::OpenOptions::new().write(true).open(directory.join("tasks"))?.into())
}

/// Removes a cgroup and everything below it. A group that is gone already is success; a busy one is EBUSY.
pub fn remove(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The processes of one cgroup, without those below it. A group that is gone has none; one that goes while its file is
/// open says ENODEV.
pub fn processes(directory: &Path) -> io::Result<Vec<i32>> {
    match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The processes of a cgroup and of all below it.
pub fn processes_below(directory: &Path) -> io::Result<Vec<i32>> {
    let mut pids = processes(directory)?;
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(pids);
    };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        pids.extend(processes_below(&entry.path())?);
    }
    Ok(pids)
}

/// Kills everything in one group, given by its directory in each tree, and waits until it is gone. Blocks.
pub fn kill(directories: &[PathBuf]) -> io::Result<()> {
    for _ in 0..KILL_ROUNDS_MAX {
        let mut pids = BTreeSet::new();
        for directory in directories {
            pids.extend(processes_below(directory)?);
        }
        if pids.is_empty() {
            return Ok(());
        }
        let pidfds: Vec<OwnedFd> = pids.iter().filter_map(|pid| process::pidfd_open(*pid).ok()).collect();
        for directory in directories {
            // Only the unified tree has the file.
            let _ = write(&directory.join("cgroup.kill"), "1");
        }
        for pidfd in &pidfds {
            let _ = process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        }
        for pidfd in &pidfds {
            if !socket::poll_readable(&[pidfd.as_fd()], KILL_WAIT_MS)?[0] {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "killed processes do not end"));
            }
        }
        if pidfds.is_empty() {
            // Zombies that their parent has not taken yet.
            return Ok(());
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "processes are started faster than they are killed"))
}

/// Kills a group and removes it from each of its trees. A killed process leaves its group a moment after it has ended, so
/// a busy one is tried again until `limit`.
pub fn kill_and_remove(directories: &[PathBuf], limit: Duration) -> io::Result<()> {
    kill(directories)?;
    let deadline = Instant::now() + limit;
    for directory in directories {
        while let Err(error) = remove(directory) {
            if Instant::now() > deadline {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", directory.display())));
            }
            std::thread::sleep(LEAVING);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hybrid_and_unified_nodes() {
        let hybrid = Trees::parse(
            "30 20 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             31 20 0:2 / /sys/fs/cgroup/systemd rw shared:4 - cgroup cgroup rw,xattr,name=systemd\n\
             32 20 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             33 20 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        assert_eq!(hybrid.unified, Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(hybrid.v1["cpuacct"], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(hybrid.v1.keys().collect::<Vec<_>>(), ["cpu", "cpuacct", "memory", "name=systemd"]);
        assert_eq!(hybrid.roots().len(), 4);
        assert!(!hybrid.is_v2());
        let mut v2 = Trees::parse("30 20 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        v2.unified_controllers = vec!["memory".into()];
        assert!(v2.is_v2());
    }
}
