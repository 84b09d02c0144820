//! Table tests of the rules: nodes and pods as lines, the verdicts as text.

use serde_json::json;

use crate::decide::{Outcome, decide};
use crate::explain::explain;
use crate::framework::{ClusterEvent, Plugin};
use crate::plugins::PLUGINS;
use crate::testing::{node, pod, pod_with, snapshot};
use kedge_api::Pod;

/// What the plugins that had an opinion say about the first node: `ok`, or the refusing plugins with code and reasons.
fn verdict(lines: &[&str], pod: &Pod) -> String {
    let explanation = explain(&snapshot(lines), pod, 0);
    if let Some(refusal) = explanation.rejected {
        return format!("{} {:?}: {}", refusal.plugin, refusal.code, refusal.reasons.join(", "));
    }
    let refusals = explanation.nodes[0].filters.iter().filter_map(|(_, verdict)| verdict.as_ref().err());
    let texts: Vec<String> = refusals
        .map(|refusal| format!("{} {:?}: {}", refusal.plugin, refusal.code, refusal.reasons.join(", ")))
        .collect();
    if texts.is_empty() { "ok".to_owned() } else { texts.join("; ") }
}

fn check(lines: &[&str], text: &str, expected: &str) {
    assert_eq!(verdict(lines, &pod(text)), expected, "{lines:?} {text}");
}

#[test]
fn node_resources_fit() {
    let no = "NodeResourcesFit Unschedulable: ";
    let never = "NodeResourcesFit UnschedulableAndUnresolvable: ";
    check(&["a cpu=1 memory=1Gi"], "p cpu=1 memory=1Gi", "ok");
    check(&["a"], "p", "ok");
    check(&["a cpu=1"], "p cpu=1001m", &format!("{never}Insufficient cpu"));
    check(&["a cpu=2", "x cpu=1 on=a"], "p cpu=1001m", &format!("{no}Insufficient cpu"));
    check(&["a cpu=2", "x cpu=1 on=a phase=Failed"], "p cpu=2", "ok");
    check(
        &["a cpu=1 memory=1Gi"],
        "p cpu=2 memory=2Gi",
        &format!("{never}Insufficient cpu, Insufficient memory"),
    );
    check(&["a pods=1", "x on=a"], "p", &format!("{no}Too many pods"));
    check(&["a cpu=1"], "p example.com/gpu=1", &format!("{never}Insufficient example.com/gpu"));
    check(
        &["a example.com/gpu=1", "x example.com/gpu=1 on=a"],
        "p example.com/gpu=1",
        &format!("{no}Insufficient example.com/gpu"),
    );
    check(&["a hugepages-2Mi=4Mi"], "p hugepages-2Mi=4Mi", "ok");
    check(
        &["a ephemeral-storage=1Gi"],
        "p ephemeral-storage=2Gi",
        &format!("{never}Insufficient ephemeral-storage"),
    );
}

#[test]
fn node_name() {
    check(&["a"], "p wants=a", "ok");
    check(
        &["a"],
        "p wants=b",
        "NodeName UnschedulableAndUnresolvable: node(s) didn't match the requested node name",
    );
}

#[test]
fn node_unschedulable() {
    check(&["a cordoned"], "p", "NodeUnschedulable UnschedulableAndUnresolvable: node(s) were unschedulable");
    check(&["a cordoned"], "p tolerates=node.kubernetes.io/unschedulable::NoSchedule", "ok");
}

#[test]
fn taint_toleration() {
    let no = "TaintToleration UnschedulableAndUnresolvable: node(s) had untolerated taint(s)";
    check(&["a taint=k:v:NoSchedule"], "p", no);
    check(&["a taint=k:v:NoExecute"], "p tolerates=k:v:NoSchedule", no);
    check(&["a taint=k:v:NoSchedule"], "p tolerates=k:w:NoSchedule", no);
    check(&["a taint=k:v:NoSchedule"], "p tolerates=k:v:NoSchedule", "ok");
    check(&["a taint=k:v:NoSchedule"], "p tolerates=k:v:", "ok");
    check(&["a taint=k:v:PreferNoSchedule"], "p", "ok");
    let all = pod_with(json!({"tolerations": [{"operator": "Exists"}]}));
    assert_eq!(verdict(&["a taint=k:v:NoSchedule taint=l:w:NoExecute"], &all), "ok");
}

#[test]
fn node_ports() {
    let no = "NodePorts Unschedulable: node(s) didn't have free ports for the requested pod ports";
    check(&["a", "x on=a port=80"], "p port=80", no);
    check(&["a", "x on=a port=80"], "p port=81", "ok");
    let other = |ip: &str, protocol: &str| {
        pod_with(
            json!({"containers": [{"name": "c", "ports": [{"hostPort": 80, "hostIP": ip, "protocol": protocol}]}]}),
        )
    };
    assert_eq!(verdict(&["a", "x on=a port=80"], &other("10.0.0.1", "TCP")), no);
    assert_eq!(verdict(&["a", "x on=a port=80"], &other("10.0.0.1", "UDP")), "ok");
}

fn affine(terms: serde_json::Value) -> std::sync::Arc<Pod> {
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
    pod_with(json!({"affinity": {"nodeAffinity": required}}))
}

#[test]
fn node_affinity() {
    let no = "NodeAffinity UnschedulableAndUnresolvable: node(s) didn't match Pod's node affinity/selector";
    check(&["a label=disk:ssd"], "p selector=disk:ssd", "ok");
    check(&["a label=disk:hdd"], "p selector=disk:ssd", no);
    check(&["a"], "p selector=disk:ssd", no);
    let label = |operator: &str, values: &[&str]| json!({"key": "n", "operator": operator, "values": values});
    for (operator, values, expected) in [
        ("In", vec!["4", "5"], "ok"),
        ("In", vec!["4"], no),
        ("NotIn", vec!["5"], no),
        ("NotIn", vec!["4"], "ok"),
        ("Exists", vec![], "ok"),
        ("DoesNotExist", vec![], no),
        ("Gt", vec!["4"], "ok"),
        ("Gt", vec!["5"], no),
        ("Lt", vec!["6"], "ok"),
    ] {
        let pod = affine(json!([{"matchExpressions": [label(operator, &values)]}]));
        assert_eq!(verdict(&["a label=n:5"], &pod), expected, "{operator} {values:?}");
    }
    // Terms are alternatives, expressions of one term are not; an empty term accepts nothing.
    let either = affine(
        json!([{"matchExpressions": [label("In", &["1"])]}, {"matchExpressions": [label("In", &["5"])]}]),
    );
    assert_eq!(verdict(&["a label=n:5"], &either), "ok");
    let both = affine(json!([{"matchExpressions": [label("In", &["5"]), label("In", &["1"])]}]));
    assert_eq!(verdict(&["a label=n:5"], &both), no);
    assert_eq!(verdict(&["a"], &affine(json!([{}]))), no);
}

#[test]
fn node_affinity_by_name() {
    let field = |operator: &str, names: &[&str]| json!({"key": "metadata.name", "operator": operator, "values": names});
    let daemon = affine(json!([{"matchFields": [field("In", &["b"])]}]));
    assert_eq!(decide(&snapshot(&["a", "b", "c"]), &daemon, 0).outcome, Outcome::Node("b".into()));
    assert_eq!(
        decide(&snapshot(&["a", "b", "c"]), &daemon, 0).filtered,
        1,
        "the other nodes are not even asked"
    );
    let elsewhere = affine(json!([{"matchFields": [field("NotIn", &["a"])]}]));
    assert_eq!(decide(&snapshot(&["a", "b"]), &elsewhere, 0).outcome, Outcome::Node("b".into()));
    let torn = affine(json!([{"matchFields": [field("In", &["a"]), field("In", &["b"])]}]));
    assert_eq!(
        verdict(&["a"], &torn),
        "NodeAffinity UnschedulableAndUnresolvable: pod affinity terms conflict"
    );
}

fn check_message(lines: &[&str], pod: &Pod, expected: &str) {
    let Outcome::Unschedulable(diagnosis) = decide(&snapshot(lines), pod, 0).outcome else {
        panic!("{lines:?} has room");
    };
    assert_eq!(diagnosis.message(), expected);
}

#[test]
fn messages() {
    let tail = "no new claims to deallocate, preemption:";
    check_message(
        &["a cpu=1", "b cpu=1", "c cpu=8 cordoned", "d cpu=8", "x cpu=8 on=d"],
        &pod("p cpu=2"),
        &format!(
            "0/4 nodes are available: 1 node(s) were unschedulable, 3 Insufficient cpu. {tail} 0/4 nodes are available: \
             1 No preemption victims found for incoming pod, 3 Preemption is not helpful for scheduling."
        ),
    );
    check_message(
        &["a", "b"],
        &affine(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gone"]}]}])),
        &format!(
            "0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. {tail} 0/2 nodes are available: \
             2 Preemption is not helpful for scheduling."
        ),
    );
    check_message(
        &["a cpu=1"],
        &pod("p cpu=2 never"),
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to \
         preemptionPolicy=Never.",
    );
}

/// `node plugin score, …` of the fitting nodes, for one plugin.
fn check_scores(lines: &[&str], pod: &Pod, plugin: &str, expected: &[i64]) {
    let explanation = explain(&snapshot(lines), pod, 0);
    let scores: Vec<i64> = explanation
        .nodes
        .iter()
        .flat_map(|node| node.scores.iter().filter(|(name, _)| *name == plugin).map(|(_, score)| *score))
        .collect();
    assert_eq!(scores, expected, "{lines:?}");
}

#[test]
fn scores() {
    let nodes = ["a cpu=4 memory=4Gi", "b cpu=4 memory=4Gi", "x cpu=2 memory=2Gi on=b"];
    check_scores(&nodes, &pod("p cpu=1 memory=1Gi"), "NodeResourcesFit", &[75, 25]);
    let balance = "NodeResourcesBalancedAllocation";
    check_scores(&["a cpu=4 memory=4Gi"], &pod("p cpu=1 memory=1Gi"), balance, &[75]);
    let lopsided = ["a cpu=4 memory=4Gi", "b cpu=4 memory=4Gi", "x cpu=2 on=b"];
    check_scores(&lopsided, &pod("p memory=2Gi"), balance, &[62, 87]);
    check_scores(&lopsided, &pod("p"), balance, &[]);
    let tainted =
        ["a taint=k:v:PreferNoSchedule", "b", "c taint=k:v:PreferNoSchedule taint=l:v:PreferNoSchedule"];
    check_scores(&tainted, &pod("p"), "TaintToleration", &[150, 300, 0]);
    check_scores(&tainted, &pod("p tolerates=k:v:PreferNoSchedule"), "TaintToleration", &[300, 300, 0]);
    let images = ["a image=i:latest@1048576000", "b"];
    check_scores(&images, &pod("p image=i"), "ImageLocality", &[48, 0]);
    let liked = |key: &str, weight: i64| json!({"weight": weight, "preference": {"matchExpressions": [{"key": key, "operator": "Exists"}]}});
    let preferred =
        json!({"preferredDuringSchedulingIgnoredDuringExecution": [liked("x", 10), liked("y", 40)]});
    let pod = pod_with(json!({"affinity": {"nodeAffinity": preferred}}));
    check_scores(&["a label=x:1", "b label=x:1 label=y:1", "c"], &pod, "NodeAffinity", &[40, 200, 0]);
}

fn check_hint(plugin: &str, text: &str, event: ClusterEvent<'_>, expected: bool) {
    let plugin: &dyn Plugin = *PLUGINS.iter().find(|known| known.name() == plugin).unwrap();
    assert_eq!(plugin.may_help(&pod(text), event), expected, "{} {text} {event:?}", plugin.name());
}

#[test]
fn hints() {
    let update = |plugin, text, old, new, expected| {
        check_hint(plugin, text, ClusterEvent::NodeUpdated { old: &node(old), new: &node(new) }, expected);
    };
    update("NodeUnschedulable", "p", "a cordoned", "a", true);
    update("NodeUnschedulable", "p", "a", "a label=x:y", false);
    update("TaintToleration", "p", "a taint=k:v:NoSchedule", "a", true);
    update("TaintToleration", "p", "a taint=k:v:NoSchedule", "a taint=k:w:NoSchedule", false);
    update("NodeAffinity", "p selector=x:y", "a", "a label=x:y", true);
    update("NodeAffinity", "p selector=x:y", "a label=x:y", "a label=x:y cpu=1", false);
    update("NodeResourcesFit", "p cpu=2", "a cpu=1", "a cpu=2", true);
    update("NodeResourcesFit", "p cpu=2", "a cpu=2", "a cpu=2 label=x:y", false);
    update("NodePorts", "p port=80", "a", "a cpu=1", false);
    check_hint("NodePorts", "p port=80", ClusterEvent::PodLeft(&pod("x port=80")), true);
    check_hint("NodePorts", "p port=80", ClusterEvent::PodLeft(&pod("x port=81")), false);
    check_hint("NodeName", "p wants=a", ClusterEvent::NodeAdded(&node("a")), true);
    check_hint("NodeName", "p wants=a", ClusterEvent::NodeAdded(&node("b")), false);
}
