//! kedge ends, by force or by wish, and comes back.

use crate::manifests;
use crate::network::{cluster_url, node_port_url, says_hello};
use kedge_integration::cgroups;
use kedge_integration::lab::Lab;
use kedge_integration::run::contains;
use kedge_integration::wait::eventually;
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);
const CONTAINERS: &str = "{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";

pub fn kill(lab: &Lab) {
    lab.apply(manifests::LEAVER).ok();
    lab.kubectl("wait pod/leaver --for=condition=Ready --timeout=20s").ok();
    let (cluster, node_port) = (cluster_url(lab), node_port_url());
    let pods = format!("{}/kubepods", lab.parent);
    let containers = containers(lab);
    let processes = cgroups::processes(&pods);
    let leaver = sleeper(processes.keys());

    lab.kill_kedge();
    for answer in
        [lab.get_from_node(&cluster), lab.get_from_node(&node_port), lab.get_from_outside(&node_port)]
    {
        assert!(says_hello(&answer), "without kedge: {answer}");
    }
    cgroups::kill(leaver);
    eventually("the leaver has left", LIMIT, || {
        sleepers(cgroups::processes(&pods).keys()).is_empty().then_some(())
    });

    contains(&lab.kedge("start").ok(), &["kedge is ready"]);
    eventually("the leaver's exit code is known", LIMIT, || {
        let code = lab.field("pod/leaver", ".status.containerStatuses[0].state.terminated.exitCode");
        (code == "7").then_some(())
    });
    assert_eq!(self::containers(lab), containers, "a container was made anew");
    let now = cgroups::processes(&pods);
    let web = |(pid, _): &(&i32, &String)| command_line(**pid).ends_with(&["web".to_owned()]);
    let before: Vec<_> =
        processes.iter().filter(|process| now.get(process.0) == Some(process.1)).filter(web).collect();
    assert_eq!(before.len(), 2, "the web servers of before are the ones of now: {processes:?} {now:?}");
    lab.remove_pod("leaver");
}

/// Of each pod of `hello`: its UID, its container and how often that was restarted.
fn containers(lab: &Lab) -> String {
    lab.kubectl_words(&["get", "pods", "-l", "app=hello", "-o", &format!("jsonpath={CONTAINERS}")]).ok()
}

fn sleeper<'a>(processes: impl Iterator<Item = &'a i32>) -> i32 {
    let found = sleepers(processes);
    assert_eq!(found.len(), 1, "the leaver's sleep is one process");
    found[0]
}

fn sleepers<'a>(processes: impl Iterator<Item = &'a i32>) -> Vec<i32> {
    processes
        .copied()
        .filter(|pid| command_line(*pid).last().is_some_and(|word| word == manifests::LEAVER_SLEEP))
        .collect()
}

fn command_line(pid: i32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

pub fn stop_and_start(lab: &Lab) {
    let pods = format!("{}/kubepods", lab.parent);
    let before = lab.field("pods -l app=hello", ".items[*].metadata.uid");
    contains(&lab.kedge("stop").ok(), &["kedge has stopped"]);
    assert!(cgroups::processes(&pods).is_empty(), "a pod runs after stop");
    contains(&lab.kedge("stop").ok(), &["kedge is not running"]);

    contains(&lab.kedge("start").ok(), &["kedge is ready"]);
    lab.kubectl("wait --for=condition=Ready pod -l app=hello --timeout=40s").ok();
    assert_eq!(lab.field("pods -l app=hello", ".items[*].metadata.uid"), before);
    let url = node_port_url();
    eventually("the service answers again", LIMIT, || says_hello(&lab.get_from_outside(&url)).then_some(()));
}
