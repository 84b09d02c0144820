//! What may change about a pod that exists.

use super::super::access::{Fill, Read};
use super::super::field::{Path, forbidden, immutable, invalid, required};
use super::resources::qos_class;
use super::validation::validate_pod;
use crate::status::Findings;
use kedge_api::names;
use serde_json::{Value, json};

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
                         `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions \
                         to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                         previously negative)";

pub(super) fn validate_main(pod: &Value, old: &Value) -> Findings {
    let mut findings = validate_pod(pod);
    let (spec, before, path) = (&pod["spec"], &old["spec"], Path::new("spec"));
    for list in ["containers", "initContainers"] {
        let at = path.child(list);
        if spec.list(list).len() != before.list(list).len() {
            findings.push(forbidden(&at, "pod updates may not add or remove containers"));
            return findings;
        }
        for (index, container) in spec.list(list).iter().enumerate() {
            if container.text("image").is_empty() {
                findings.push(required(&at.index(index).child("image"), ""));
            }
            findings.extend(super::containers::validate_image_spaces(container, &at.index(index)));
        }
    }
    let deadline = validate_deadline(spec, before, &path.child("activeDeadlineSeconds"));
    let stops = spec.has("activeDeadlineSeconds") && !deadline.is_empty();
    findings.extend(deadline);
    if stops {
        return findings;
    }
    findings.extend(validate_tolerations(spec, before, &path.child("tolerations")));
    findings.extend(validate_gates(spec, before, &path.child("schedulingGates")));
    if with_old_values(spec, before) != *before {
        findings.push(forbidden(&path, UPDATABLE));
    }
    findings
}

fn validate_deadline(spec: &Value, before: &Value, path: &Path) -> Findings {
    let (new, old) = (spec.number("activeDeadlineSeconds"), before.number("activeDeadlineSeconds"));
    match (new, old) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            names::in_range(new, 0, i64::from(i32::MAX)).iter().map(|why| invalid(path, new, why)).collect()
        }
        (Some(new), Some(old)) if old < new => {
            vec![invalid(path, new, "must be less than or equal to previous value")]
        }
        (None, Some(_)) => {
            vec![invalid(path, Value::Null, "must not update from a positive integer to nil value")]
        }
        _ => Findings::new(),
    }
}

/// Tolerations may be added, and those that wait for a time may wait longer or shorter.
fn validate_tolerations(spec: &Value, before: &Value, path: &Path) -> Findings {
    let without_time = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if toleration.text("effect") == "NoExecute" {
            toleration.drop_field("tolerationSeconds");
        }
        toleration
    };
    let kept: Vec<Value> = spec.list("tolerations").iter().map(without_time).collect();
    if before.list("tolerations").iter().all(|old| kept.contains(&without_time(old))) {
        return Findings::new();
    }
    vec![forbidden(path, "existing toleration can not be modified except its tolerationSeconds")]
}

fn validate_gates(spec: &Value, before: &Value, path: &Path) -> Findings {
    let known = before.list("schedulingGates");
    let added = spec.list("schedulingGates").iter().enumerate().filter(|(_, gate)| !known.contains(gate));
    added
        .map(|(index, _)| {
            forbidden(
                &path.index(index).child("name"),
                "only deletion is allowed, but found new scheduling gate",
            )
        })
        .collect()
}

/// The new spec with everything set back that may change; what still differs may not.
fn with_old_values(spec: &Value, before: &Value) -> Value {
    let mut spec = spec.clone();
    for list in ["containers", "initContainers"] {
        let mut index = 0;
        spec.each(list, |container| {
            container.take_from(&before[list][index], "image");
            index += 1;
        });
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        spec.take_from(before, field);
    }
    let was_negative = before.number("terminationGracePeriodSeconds").is_some_and(|period| period < 0);
    if was_negative && spec.number("terminationGracePeriodSeconds") == Some(1) {
        spec.take_from(before, "terminationGracePeriodSeconds");
    }
    if !before.lacks("schedulingGates") {
        // A gated pod may still narrow where it is going to run.
        spec.take_from(before, "nodeSelector");
        if spec.has("affinity") || before.has("affinity") {
            let node_affinity = before["affinity"]["nodeAffinity"].clone();
            spec.child("affinity").drop_field("nodeAffinity");
            if !node_affinity.is_null() {
                spec.child("affinity")["nodeAffinity"] = node_affinity;
            }
            if spec.lacks("affinity") {
                spec.take_from(before, "affinity");
            }
        }
    }
    spec
}

pub(super) fn validate_status(pod: &Value, old: &Value) -> Findings {
    let (status, path) = (&pod["status"], Path::new("status"));
    let mut findings = Findings::new();
    for (index, condition) in status.list("conditions").iter().enumerate() {
        let at = path.child("conditions").index(index);
        let kind = condition.text("type");
        for why in names::qualified_name(kind).iter().filter(|_| kind.contains('/')) {
            findings.push(invalid(&at.child("type"), kind, why));
        }
    }
    let nominated = status.text("nominatedNodeName");
    if !nominated.is_empty() && nominated != old["status"].text("nominatedNodeName") {
        for why in names::dns_subdomain(nominated) {
            findings.push(invalid(&path.child("nominatedNodeName"), nominated, &why));
        }
    }
    findings.extend(immutable(&path.child("qosClass"), &status["qosClass"], &old["status"]["qosClass"]));
    findings.extend(validate_ended_containers(pod, old, &path));
    findings
}

/// A container that has ended for good does not run again.
fn validate_ended_containers(pod: &Value, old: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let policy = old["spec"].text("restartPolicy");
    if policy == "Always" {
        return findings;
    }
    let new_statuses = pod["status"].list("containerStatuses");
    for (index, before) in old["status"].list("containerStatuses").iter().enumerate() {
        let Some(code) = before["state"]["terminated"].number("exitCode") else {
            continue;
        };
        let own = old["spec"].list("containers").iter().find(|c| c.text("name") == before.text("name"));
        let may_restart = own.is_some_and(|c| c.has("restartPolicy") || !c.lacks("restartPolicyRules"));
        if may_restart || (policy == "OnFailure" && code != 0) {
            continue;
        }
        let now = new_statuses.iter().find(|status| status.text("name") == before.text("name"));
        if now.is_some_and(|status| !status["state"].has("terminated")) {
            let at = path.child("containerStatuses").index(index).child("state");
            findings.push(forbidden(&at, "may not be transitioned to non-terminated state"));
        }
    }
    findings
}

pub(super) fn validate_ephemeral_containers(pod: &Value, old: &Value) -> Findings {
    if old["metadata"]["annotations"].has("kubernetes.io/config.mirror") {
        return vec![forbidden(&Path::root(), "static pods do not support ephemeral containers")];
    }
    let mut findings = validate_pod(pod);
    let path = Path::new("spec").child("ephemeralContainers");
    for before in old["spec"].list("ephemeralContainers") {
        let name = before.text("name");
        let now =
            pod["spec"].list("ephemeralContainers").iter().find(|container| container.text("name") == name);
        let change = match now {
            None => "removed",
            Some(now) if now != before => "changed",
            Some(_) => continue,
        };
        findings
            .push(forbidden(&path, &format!("existing ephemeral containers {name:?} may not be {change}\n")));
    }
    findings
}

pub(super) fn validate_resize(pod: &Value, old: &Value) -> Findings {
    if old["metadata"]["annotations"].has("kubernetes.io/config.mirror") {
        return vec![forbidden(&Path::root(), "static pods cannot be resized")];
    }
    let mut findings = validate_pod(pod);
    let (spec, before, path) = (&pod["spec"], &old["spec"], Path::new("spec"));
    let class = old["status"].text("qosClass");
    if class != qos_class(spec) {
        findings.push(invalid(&path, class, "Pod QOS Class may not change as a result of resizing"));
    }
    let mut others_equal = true;
    for list in ["initContainers", "containers"] {
        if names_of(spec, list) != names_of(before, list) {
            findings.push(forbidden(&path, "containers may not be renamed or reordered on resize"));
            return findings;
        }
        for (index, (now, then)) in spec.list(list).iter().zip(before.list(list)).enumerate() {
            let at = path.child(list).index(index).child("resources");
            findings.extend(validate_removals(&now["resources"], &then["resources"], &at));
            others_equal &= without_cpu_and_memory(now) == without_cpu_and_memory(then);
        }
    }
    if !others_equal || without_containers(spec) != without_containers(before) {
        findings.push(forbidden(&path, "only cpu and memory resources are mutable"));
    }
    findings
}

fn names_of<'a>(spec: &'a Value, list: &str) -> Vec<&'a str> {
    spec.list(list).iter().map(|container| container.text("name")).collect()
}

fn validate_removals(now: &Value, then: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for (list, word) in [("requests", "requests"), ("limits", "limits")] {
        let lost =
            then.entries(list).any(|(name, _)| !now[list].has(name) && matches!(name, "cpu" | "memory"));
        if lost {
            findings.push(forbidden(&path.child(list), &format!("resource {word} cannot be removed")));
        }
    }
    findings
}

fn without_cpu_and_memory(container: &Value) -> Value {
    let mut container = container.clone();
    for list in ["requests", "limits"] {
        container.child("resources").with(list, |amounts| {
            amounts.drop_field("cpu");
            amounts.drop_field("memory");
        });
        if container["resources"].lacks(list) {
            container.child("resources").drop_field(list);
        }
    }
    container
}

fn without_containers(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for list in ["containers", "initContainers"] {
        spec[list] = json!([]);
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        let mut pod = json!({
            "metadata": {"name": "p"},
            "spec": {
                "containers": [{"name": "c", "image": "a:1"}],
                "serviceAccountName": "default",
                "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            },
        });
        super::super::defaults::default_pod(&mut pod);
        pod
    }

    /// Sets one value and says whether the update is accepted.
    fn check(pointer: &str, value: Value, accepted: bool) {
        let (old, mut new) = (pod(), pod());
        let (holder, field) = pointer.rsplit_once('/').expect("a pointer");
        new.pointer_mut(holder).expect("a holder")[field] = value;
        let findings = validate_main(&new, &old);
        assert_eq!(findings.is_empty(), accepted, "{pointer}: {findings:?}");
    }

    #[test]
    fn what_may_change() {
        let toleration = |seconds: i64| json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
        check("/spec/activeDeadlineSeconds", json!(5), true);
        check("/spec/tolerations", json!([toleration(300), {"operator": "Exists"}]), true);
        check("/spec/tolerations", json!([toleration(5)]), true);
        check("/spec/tolerations", json!([]), false);
        check("/spec/nodeName", json!("n"), false);
        check("/spec/terminationGracePeriodSeconds", json!(1), false);
        check("/spec/schedulingGates", json!([{"name": "g"}]), false);
        check("/spec/containers", json!([]), false);
    }

    #[test]
    fn an_image_may_change() {
        let (old, mut new) = (pod(), pod());
        new["spec"]["containers"][0]["image"] = "a:2".into();
        assert_eq!(validate_main(&new, &old), Findings::new());
    }

    #[test]
    fn an_ended_container_stays_ended() {
        let mut old = pod();
        old["spec"]["restartPolicy"] = "Never".into();
        old["status"] =
            json!({"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 0}}}]});
        let mut new = old.clone();
        assert_eq!(validate_status(&new, &old), Findings::new());
        new["status"]["containerStatuses"][0]["state"] = json!({"running": {}});
        assert_eq!(validate_status(&new, &old).len(), 1);
    }
}
