//! kedge ends, by force or by wish, and comes back.

use crate::applications::{jsonpath, remove_pod};
use crate::network::{cluster_url, get_from_node, get_from_outside, node_port_url, says_hello};
use crate::{lifecycle, manifests};
use kedge_integration::cgroups;
use kedge_integration::lab::Lab;
use kedge_integration::run::contains;
use kedge_integration::wait::eventually;
use std::fs;
use std::path::Path;
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

    let kedge = lifecycle::pid(lab);
    cgroups::kill(kedge);
    eventually("kedge has ended", LIMIT, || (!Path::new(&format!("/proc/{kedge}")).exists()).then_some(()));
    lab.kedge("status").fails_with(3);
    for answer in
        [get_from_node(lab, &cluster), get_from_node(lab, &node_port), get_from_outside(lab, &node_port)]
    {
        assert!(says_hello(&answer), "without kedge: {answer}");
    }
    cgroups::kill(leaver);
    eventually("the leaver has left", LIMIT, || {
        sleepers(cgroups::processes(&pods).keys()).is_empty().then_some(())
    });

    contains(&lab.kedge("start").ok(), &["kedge is ready"]);
    eventually("the leaver's exit code is known", LIMIT, || {
        let code = jsonpath(lab, "pod/leaver", ".status.containerStatuses[0].state.terminated.exitCode");
        (code == "7").then_some(())
    });
    assert_eq!(self::containers(lab), containers, "a container was made anew");
    let now = cgroups::processes(&pods);
    let web = |(pid, _): &(&i32, &String)| command_line(**pid).ends_with(&["web".to_owned()]);
    let before: Vec<_> =
        processes.iter().filter(|process| now.get(process.0) == Some(process.1)).filter(web).collect();
    assert_eq!(before.len(), 2, "the web servers of before are the ones of now: {processes:?} {now:?}");
    remove_pod(lab, "leaver");
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
    let before = jsonpath(lab, "pods -l app=hello", ".items[*].metadata.uid");
    contains(&lab.kedge("stop").ok(), &["kedge has stopped"]);
    assert!(cgroups::processes(&pods).is_empty(), "a pod runs after stop");
    contains(&lab.kedge("stop").ok(), &["kedge is not running"]);

    contains(&lab.kedge("start").ok(), &["kedge is ready"]);
    lab.kubectl("wait --for=condition=Ready pod -l app=hello --timeout=40s").ok();
    assert_eq!(jsonpath(lab, "pods -l app=hello", ".items[*].metadata.uid"), before);
    let url = node_port_url();
    eventually("the service answers again", LIMIT, || says_hello(&get_from_outside(lab, &url)).then_some(()));
}
