//! The cgroups of one node: made in every tree, limited in the one that holds the controller, killed by the unified one.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kedge_cri_api::LinuxContainerResources;
use kedge_cri_core::cgroup as plan;
use kedge_cri_core::devices::{self, Rule};
use kedge_sys::bpf;
use kedge_sys::cgroup::{self, Trees};

/// How long a group may be busy after its last process was killed.
const REMOVE_LIMIT: Duration = Duration::from_secs(5);

pub struct Cgroups {
    trees: Trees,
    /// Below each tree's root.
    parent: PathBuf,
}

/// A cgroup in all trees; the path is relative to the node's cgroup parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group(PathBuf);

impl Group {
    pub fn new(pod: &str, leaf: &str) -> Group {
        Group(Path::new(pod.trim_matches('/')).join(leaf))
    }

    pub fn below(&self, leaf: &str) -> Group {
        Group(self.0.join(leaf))
    }
}

/// What a process needs to enter a group.
pub struct Entrance {
    pub unified: Option<OwnedFd>,
    pub procs: Vec<OwnedFd>,
}

impl Cgroups {
    pub fn discover(parent: &str) -> io::Result<Cgroups> {
        let trees = Trees::discover()?;
        Ok(Cgroups { trees, parent: parent.trim_matches('/').into() })
    }

    pub fn is_v2(&self) -> bool {
        self.trees.is_v2()
    }

    fn at(&self, root: &Path, group: &Group) -> PathBuf {
        root.join(&self.parent).join(&group.0)
    }

    pub fn v1(&self, controller: &str, group: &Group) -> Option<PathBuf> {
        self.trees.v1.get(controller).map(|root| self.at(root, group))
    }

    pub fn unified(&self, group: &Group) -> Option<PathBuf> {
        self.trees.unified.as_deref().map(|root| self.at(root, group))
    }

    /// Each v1 controller with the group's directory in it.
    pub fn v1_directories(&self, group: &Group) -> Vec<(String, PathBuf)> {
        self.trees
            .v1
            .iter()
            .map(|(name, root)| (name.trim_start_matches("name=").to_owned(), self.at(root, group)))
            .collect()
    }

    /// Makes the group in every tree. Most often all groups above it are there.
    pub fn create(&self, group: &Group) -> io::Result<()> {
        for root in self.trees.roots() {
            let path = self.at(root, group);
            let parent = path.parent().unwrap_or(root);
            self.enable(root, parent);
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.create_from(root, group)?,
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.inherit(root, parent, &path)?,
            }
        }
        Ok(())
    }

    /// Makes the group and every one above it.
    fn create_from(&self, root: &Path, group: &Group) -> io::Result<()> {
        let mut path = root.to_path_buf();
        for part in self.parent.join(&group.0).components() {
            self.enable(root, &path);
            let above = path.clone();
            path.push(part);
            match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.inherit(root, &above, &path)?,
            }
        }
        Ok(())
    }

    /// A controller works in a v2 group only if every group above passes it down. One that cannot be is left out.
    fn enable(&self, root: &Path, directory: &Path) {
        if !self.is_v2() || self.trees.unified.as_deref() != Some(root) {
            return;
        }
        let available = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
        for controller in available.split_whitespace() {
            let _ = cgroup::write(&directory.join("cgroup.subtree_control"), &format!("+{controller}"));
        }
    }

    /// A fresh v1 cpuset has no CPUs and takes no process.
    fn inherit(&self, root: &Path, above: &Path, directory: &Path) -> io::Result<()> {
        if self.trees.v1.get("cpuset").map(PathBuf::as_path) != Some(root) {
            return Ok(());
        }
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let own = fs::read_to_string(directory.join(file))?;
            if own.trim().is_empty() {
                cgroup::write(&directory.join(file), fs::read_to_string(above.join(file))?.trim())?;
            }
        }
        Ok(())
    }

    /// Only in the unified tree: the processes of one exec, to be killed together.
    pub fn create_unified(&self, group: &Group) -> io::Result<()> {
        match self.unified(group).map(fs::create_dir) {
            Some(Err(error)) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    pub fn limit(&self, group: &Group, resources: &LinuxContainerResources) -> io::Result<()> {
        let writes = if self.is_v2() { plan::v2(resources) } else { plan::v1(resources) };
        for write in writes {
            let directory = if self.is_v2() { self.unified(group) } else { self.v1(write.controller, group) };
            let Some(file) = directory.map(|directory| directory.join(&write.file)) else {
                tracing::debug!(file = write.file, "this node has no such controller");
                continue;
            };
            let written = match cgroup::write(&file, &write.value) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::debug!(file = write.file, "this node has no such cgroup file");
                    continue;
                }
                other => other,
            };
            written.map_err(|error| {
                io::Error::new(error.kind(), format!("write {} to {}: {error}", write.value, file.display()))
            })?;
        }
        Ok(())
    }

    /// Denies all devices that no rule names. Where the node lets us do neither, a container reaches what its own
    /// capabilities and the node's outer limits let it reach: that is said, as loudly as a log can.
    pub fn limit_devices(&self, group: &Group, rules: &[Rule]) {
        let limited = match (self.v1("devices", group), self.unified(group)) {
            (Some(directory), _) => limit_devices_by_files(&directory, rules),
            (None, Some(directory)) => limit_devices_by_program(&directory, rules),
            (None, None) => Err(io::Error::other("neither a devices controller nor cgroup v2 is mounted")),
        };
        if let Err(error) = limited {
            tracing::warn!(%error, group = %group.0.display(), "devices are not limited");
        }
    }

    /// `unified` may be a group below `group` that exists in the unified tree alone.
    pub fn entrance(&self, group: &Group, unified: &Group) -> io::Result<Entrance> {
        let roots: BTreeSet<&PathBuf> = self.trees.v1.values().collect();
        let procs = roots.into_iter().map(|root| cgroup::open_entrance(&self.at(root, group)));
        let unified = self.unified(unified).map(|path| cgroup::open_directory(&path)).transpose()?;
        Ok(Entrance { unified, procs: procs.collect::<io::Result<_>>()? })
    }

    /// The groups of all pods, in whatever tree they are.
    pub fn pods(&self) -> io::Result<Vec<Group>> {
        let mut found = BTreeSet::new();
        for root in self.trees.roots() {
            for class in ["kubepods", "kubepods/burstable", "kubepods/besteffort"] {
                let Ok(entries) = fs::read_dir(root.join(&self.parent).join(class)) else { continue };
                for entry in entries {
                    let name = entry?.file_name();
                    if name.to_string_lossy().starts_with("pod") {
                        found.insert(Path::new(class).join(name));
                    }
                }
            }
        }
        Ok(found.into_iter().map(Group).collect())
    }

    fn directories(&self, group: &Group) -> Vec<PathBuf> {
        self.trees.roots().into_iter().map(|root| self.at(root, group)).collect()
    }

    /// Kills everything in the group and waits until it is gone. Blocks.
    pub fn kill(&self, group: &Group) -> io::Result<()> {
        cgroup::kill(&self.directories(group))
    }

    /// The same, and removes the group with all below it. Blocks.
    pub fn kill_and_remove(&self, group: &Group) -> io::Result<()> {
        cgroup::kill_and_remove(&self.directories(group), REMOVE_LIMIT)
    }

    /// Removes the group from every tree.
    pub fn remove(&self, group: &Group) -> io::Result<()> {
        let mut result = Ok(());
        for root in self.trees.roots() {
            // The first failure is told; the other trees are cleared all the same.
            result = result.and(cgroup::remove(&self.at(root, group)));
        }
        result
    }

    pub fn was_oom_killed(&self, group: &Group) -> bool {
        let file = if self.is_v2() {
            self.unified(group).map(|directory| directory.join("memory.events"))
        } else {
            self.v1("memory", group).map(|directory| directory.join("memory.oom_control"))
        };
        let text = file.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        field(&text, "oom_kill").is_some_and(|count| count > 0)
    }
}

fn limit_devices_by_files(directory: &Path, rules: &[Rule]) -> io::Result<()> {
    cgroup::write(&directory.join("devices.deny"), "a")?;
    let mut allow = fs::OpenOptions::new().write(true).open(directory.join("devices.allow"))?;
    // One rule a write, all through one descriptor.
    rules.iter().try_for_each(|rule| allow.write_all(devices::v1(rule).as_bytes()))
}

/// The program stays with the group until the group is removed.
fn limit_devices_by_program(directory: &Path, rules: &[Rule]) -> io::Result<()> {
    let program: Vec<[u8; 8]> = devices::program(rules).into_iter().map(|it| it.to_bytes()).collect();
    let program = bpf::load_device_program(&program)?;
    bpf::attach_device_program(program.as_fd(), cgroup::open_directory(directory)?.as_fd())
}

/// The number behind `name` in a flat-keyed file.
pub fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_flat_keyed_files() {
        let text = "low 0\noom 2\noom_kill 1\noom_group_kill 3\n";
        assert_eq!(
            [field(text, "oom_kill"), field(text, "oom"), field(text, "high")],
            [Some(1), Some(2), None]
        );
        assert_eq!(
            Group::new("/kubepods/pod1/", "c").below("exec-1"),
            Group("kubepods/pod1/c/exec-1".into())
        );
    }
}
