//! A lab's cgroups: the same path in every tree of the machine, v1 or unified.

use crate::wait::eventually;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The trees of the machine: one where only v2 is mounted.
fn trees() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.procs").exists() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    // Controllers that share a tree have links to it.
    let real = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    real.map(|entry| entry.path()).filter(|tree| tree.join("cgroup.procs").exists()).collect()
}

/// The folders of this cgroup, one for each tree that has it.
pub fn folders(group: &str) -> Vec<PathBuf> {
    trees().iter().map(|tree| tree.join(group)).filter(|folder| folder.is_dir()).collect()
}

/// Makes the cgroup in every tree.
pub fn create(group: &str) {
    for folder in trees().iter().map(|tree| tree.join(group)) {
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
}

/// Every process in or below the cgroup, with its start time, which tells it from a later one of the same number.
pub fn processes(group: &str) -> BTreeMap<i32, String> {
    let mut found = BTreeMap::new();
    for folder in folders(group) {
        members(&folder, &mut found);
    }
    found
}

/// The processes of one container of the node, whatever its pod.
pub fn processes_of_container(parent: &str, id: &str) -> BTreeMap<i32, String> {
    let mut found = BTreeMap::new();
    for folder in folders(parent).iter().flat_map(|folder| named(folder, id)) {
        members(&folder, &mut found);
    }
    found
}

fn named(folder: &Path, name: &str) -> Vec<PathBuf> {
    let below = children(folder);
    let deeper = below.iter().flat_map(|child| named(child, name)).collect::<Vec<_>>();
    below.into_iter().filter(|child| child.ends_with(name)).chain(deeper).collect()
}

fn members(folder: &Path, found: &mut BTreeMap<i32, String>) {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines().filter_map(|line| line.parse().ok()) {
        if let Some(start) = start_time(pid) {
            found.insert(pid, start);
        }
    }
    for below in children(folder) {
        members(&below, found);
    }
}

pub fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Field 22 of proc_pid_stat(5), counted behind the name, which may hold blanks.
fn start_time(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

pub fn kill(pid: i32) {
    signal(pid, Signal::KILL);
}

pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended by itself, which for most signals is as good.
        let _ = kill_process(pid, signal);
    }
}

/// Kills what is left in the cgroup and removes it from every tree.
pub fn remove(group: &str) {
    for pid in processes(group).into_keys() {
        kill(pid);
    }
    eventually("the lab's cgroups are gone", Duration::from_secs(5), || {
        folders(group).iter().for_each(|folder| remove_folder(folder));
        folders(group).is_empty().then_some(())
    });
}

fn remove_folder(folder: &Path) {
    for below in children(folder) {
        remove_folder(&below);
    }
    // Busy until the last process in it is reaped: the caller looks again.
    let _ = fs::remove_dir(folder);
}
