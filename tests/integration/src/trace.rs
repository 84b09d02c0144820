//! What a machine looks like, as far as a node could have left a trace of it; and the difference between two looks.

use crate::cgroups;
use crate::lab::Lab;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Each thing by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(BTreeMap<&'static str, BTreeSet<String>>);

/// Maps and programs of the kernel that belong to a lab, as `map 7` or `program 9`. Other labs have theirs at the same time,
/// so that ids are remembered while the node lives: afterwards nobody could say whose they were.
pub type Objects = BTreeSet<String>;

impl Trace {
    /// `known`: objects that belonged to the node when it lived.
    pub fn of(lab: &Lab, known: &Objects) -> Trace {
        let lines = |words: &[&str]| set(&lab.node(words).ok());
        let below = lab.root().display().to_string();
        let mut kinds = BTreeMap::new();
        kinds.insert("mount", mounts(&lab.node(&["cat", "/proc/self/mountinfo"]).ok()));
        kinds.insert("link", names(&lab.node(&["ip", "-brief", "link"]).ok()));
        kinds.insert("address", lines(&["ip", "-oneline", "address"]));
        kinds.insert("route", routes(lab));
        kinds.insert("rule", lines(&["ip", "rule"]));
        kinds.insert("qdisc", lines(&["tc", "qdisc"]));
        kinds.insert("firewall", firewall(lab));
        kinds.insert("sysctl", lines(&["sysctl", "--all", "--pattern", "^net.ipv[46].*forward"]));
        kinds.insert("cgroup", groups(lab));
        // The tests' own manifests, and what kubectl remembers.
        let mut files = lines(&["find", &below, "-xdev", "-not", "-name", "manifest.yaml"]);
        files.retain(|file| !file.contains("/.kube"));
        kinds.insert("file", files);
        kinds.insert("process", processes(lab));
        kinds.insert("bpf", reachable(lab).union(&still_loaded(known)).cloned().collect());
        Trace(kinds)
    }

    /// A line for each thing that came or went, sorted.
    pub fn changes(&self, later: &Trace) -> Vec<String> {
        let mut changes = Vec::new();
        for (kind, before) in &self.0 {
            let after = &later.0[kind];
            changes.extend(after.difference(before).map(|thing| format!("+ {kind} {thing}")));
            changes.extend(before.difference(after).map(|thing| format!("- {kind} {thing}")));
        }
        changes
    }
}

fn set(text: &str) -> BTreeSet<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn names(links: &str) -> BTreeSet<String> {
    links.lines().filter_map(|line| line.split(['@', ' ']).next()).map(str::to_owned).collect()
}

/// Mount point and type; ids differ from one mount of the same to the next.
fn mounts(table: &str) -> BTreeSet<String> {
    let point = |line: &str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        Some(format!("{} {}", mount.split(' ').nth(4)?, filesystem.split(' ').next()?))
    };
    table.lines().filter_map(point).collect()
}

fn routes(lab: &Lab) -> BTreeSet<String> {
    let four = lab.node(&["ip", "-4", "route", "show", "table", "all"]).ok();
    let six = lab.node(&["ip", "-6", "route", "show", "table", "all"]).ok();
    set(&four).union(&set(&six)).cloned().collect()
}

/// What other firewalls of the machine would show.
pub fn firewall(lab: &Lab) -> BTreeSet<String> {
    let rules = [lab.node(&["iptables-save"]).ok(), lab.node(&["nft", "list", "ruleset"]).ok()];
    // iptables-save writes when it was asked.
    rules.iter().flat_map(|text| set(text)).filter(|line| !line.starts_with('#')).collect()
}

fn groups(lab: &Lab) -> BTreeSet<String> {
    cgroups::folders(&lab.parent).iter().flat_map(|folder| walk(folder)).collect()
}

fn walk(folder: &Path) -> Vec<String> {
    let below = cgroups::children(folder);
    let deeper = below.iter().flat_map(|child| walk(child));
    below.iter().map(|child| child.display().to_string()).chain(deeper).collect()
}

fn processes(lab: &Lab) -> BTreeSet<String> {
    lab.processes().into_iter().map(|pid| format!("{pid} {}", command_line(pid))).collect()
}

fn command_line(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline"))
        .unwrap_or_default()
        .replace('\0', " ")
        .trim()
        .to_owned()
}

/// What a process of the lab holds, or what is pinned in one of its bpffs.
pub fn reachable(lab: &Lab) -> Objects {
    let held = lab.processes().into_iter().flat_map(|pid| {
        let folder = format!("/proc/{pid}/fdinfo");
        let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        files.filter_map(|file| fs::read_to_string(file).ok()).flat_map(|text| ids(&text)).collect::<Vec<_>>()
    });
    held.chain(pinned(lab)).collect()
}

/// The lines of proc_pid_fdinfo(5) that name a map or a program; a link names its program.
fn ids(fdinfo: &str) -> Vec<String> {
    let of = |line: &str| {
        let (name, id) = line.split_once(':')?;
        let kind = name.strip_suffix("_id")?;
        let kind = ["map", "prog"].into_iter().find(|known| *known == kind)?;
        Some(format!("{} {}", if kind == "prog" { "program" } else { kind }, id.trim()))
    };
    fdinfo.lines().filter_map(of).collect()
}

fn pinned(lab: &Lab) -> Vec<String> {
    let root = lab.root().display().to_string();
    let table = lab.node(&["cat", "/proc/self/mountinfo"]).ok();
    let all = mounts(&table);
    let points = all.iter().filter_map(|mount| mount.strip_suffix(" bpf")).filter(|at| at.starts_with(&root));
    let files = points.flat_map(|point| set(&lab.node(&["find", point, "-type", "f"]).ok()));
    files.filter_map(|file| pin(&lab.at(Path::new(&file)))).collect()
}

/// A link's descriptor names the program behind it.
fn pin(path: &Path) -> Option<String> {
    let object = kedge_sys::bpf::get(path).ok()?;
    let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", object.as_raw_fd())).ok()?;
    ids(&told).into_iter().next()
}

fn still_loaded(known: &Objects) -> Objects {
    let programs =
        aya::programs::loaded_programs().flatten().map(|program| format!("program {}", program.id()));
    let maps = aya::maps::loaded_maps().flatten().map(|map| format!("map {}", map.id()));
    programs.chain(maps).filter(|object| known.contains(object)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_both_ways() {
        let of = |things: &[&str]| {
            Trace(BTreeMap::from([("route", things.iter().map(|thing| (*thing).to_owned()).collect())]))
        };
        assert_eq!(of(&["a", "b"]).changes(&of(&["b", "c"])), ["+ route c", "- route a"]);
        assert_eq!(of(&["a"]).changes(&of(&["a"])), Vec::<String>::new());
    }

    #[test]
    fn descriptors_of_bpf_objects_are_told() {
        assert_eq!(ids("pos:\t0\nmap_type:\t1\nmap_id:\t17\n"), ["map 17"]);
        assert_eq!(ids("link_type:\ttcx\nlink_id:\t4\nprog_tag:\tab\nprog_id:\t9\n"), ["program 9"]);
        assert!(ids("flags:\t02\nmnt_id:\t15\n").is_empty());
    }
}
