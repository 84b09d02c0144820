//! Start, status and delete.

use kedge_integration::cgroups;
use kedge_integration::lab::{Lab, NODE};
use kedge_integration::run::contains;
use std::path::Path;

pub fn check(lab: &Lab) {
    contains(&lab.kedge("check").ok(), &["ok root", "ok kernel", "ok cgroups", "ok bpf", "ok ports"]);
}

pub fn start(lab: &Lab) {
    contains(&lab.kedge("start").ok(), &["kedge is ready"]);
    let node = lab.kubectl(&format!("get node {NODE} --no-headers")).ok();
    let columns: Vec<&str> = node.split_whitespace().collect();
    assert_eq!(columns[1], "Ready", "{node}");
    assert!(columns[4].starts_with("v1.36."), "{node}");
}

pub fn delete(lab: &Lab) {
    contains(&lab.kedge("delete").ok(), &["kedge is gone from this machine"]);
    let mounts = lab.node(&["cat", "/proc/self/mountinfo"]).ok();
    let root = lab.root().display().to_string();
    // The lab's own mount is the resolv.conf, which is named by its source.
    let left: Vec<&str> = mounts
        .lines()
        .filter(|line| line.split(' ').nth(4).is_some_and(|at| at.starts_with(&root)))
        .collect();
    assert!(left.is_empty(), "mounts are left: {left:#?}");
    for folder in
        ["var/lib/kedge", "var/lib/kubelet", "var/log/pods", "var/log/containers", "run/kedge", "etc/kedge"]
    {
        assert!(!Path::new(&root).join(folder).exists(), "{folder} is left");
    }
    let running = cgroups::processes(&lab.parent);
    assert!(running.is_empty(), "processes are left: {running:?}");
    let groups: Vec<_> = cgroups::folders(&lab.parent).iter().map(|folder| folder.join("kubepods")).collect();
    assert!(groups.iter().all(|group| !group.exists()), "cgroups are left: {groups:?}");
    let routes = lab.node(&["ip", "route"]).ok();
    assert!(!routes.contains("10.244."), "routes are left: {routes}");
    let links = lab.node(&["ip", "-brief", "link"]).ok();
    let names: Vec<&str> = links.lines().filter_map(|line| line.split(['@', ' ']).next()).collect();
    assert_eq!(names, ["lo", "up0"], "links are left");
    assert!(
        lab.node(&["ip", "netns"]).ok().lines().all(|name| !name.contains("kedge")),
        "namespaces are left"
    );
    lab.kedge("status").fails_with(3);
}
