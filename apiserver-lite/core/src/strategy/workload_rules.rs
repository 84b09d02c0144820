//! What is wrong with the kinds that keep pods running, in the order in which upstream looks.

use super::access::{Fill, Read};
use super::field::{
    Path, forbidden, ill_formed, immutable, invalid, invalid_struct, not_negative, not_supported, required,
};
use super::labels::validate_selector;
use super::pod::validate_template;
use super::storage_rules::validate_claim_spec;
use crate::status::Findings;
use kedge_api::{Selector, names};
use serde_json::{Value, json};

const NO_MATCH: &str = "`selector` does not match template `labels`";

fn number(holder: &Value, field: &str) -> i64 {
    holder.number(field).unwrap_or_default()
}

fn counts_not_negative(holder: &Value, fields: &[&str], path: &Path) -> Findings {
    fields.iter().flat_map(|field| not_negative(&path.child(field), number(holder, field))).collect()
}

pub(super) fn validate_deployment(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = counts_not_negative(spec, &["replicas"], &path);
    findings.extend(validate_selected_template(spec, "deployment", "ReplicaSet", &path));
    findings.extend(validate_rollout(&spec["strategy"], &path.child("strategy")));
    let counts = ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"];
    findings.extend(counts_not_negative(spec, &counts, &path));
    let deadline = number(spec, "progressDeadlineSeconds");
    if spec.has("progressDeadlineSeconds") && deadline <= number(spec, "minReadySeconds") {
        let at = path.child("progressDeadlineSeconds");
        findings.push(invalid(&at, deadline, "must be greater than minReadySeconds"));
    }
    findings
}

pub(super) fn validate_deployment_update(object: &Value, old: &Value) -> Findings {
    with_fixed_selector(validate_deployment(object), object, old)
}

pub(super) fn with_fixed_selector(mut findings: Findings, object: &Value, old: &Value) -> Findings {
    let at = Path::new("spec").child("selector");
    findings.extend(immutable(&at, &object["spec"]["selector"], &old["spec"]["selector"]));
    findings
}

pub(super) fn validate_replica_set(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = counts_not_negative(spec, &["replicas", "minReadySeconds"], &path);
    findings.extend(validate_selected_template(spec, "deployment", "ReplicaSet", &path));
    findings
}

/// A selector and the template that it must select. `of` and `kind` stand in the messages.
fn validate_selected_template(spec: &Value, of: &str, kind: &str, path: &Path) -> Findings {
    let (selector, at) = (&spec["selector"], path.child("selector"));
    let mut findings = validate_selector_of(selector, of, &at);
    match Selector::from_object(selector) {
        Err(_) => findings.push(invalid(&at, selector.clone(), "invalid label selector")),
        Ok(selector) => {
            findings.extend(validate_matched(spec, &selector, path));
            findings.extend(validate_endless_template(spec, kind, path));
        }
    }
    findings
}

fn validate_selector_of(selector: &Value, of: &str, path: &Path) -> Findings {
    if selector.is_null() {
        return vec![required(path, "")];
    }
    let mut findings = validate_selector(selector, path);
    findings.extend(validate_not_empty(selector, of, path));
    findings
}

fn validate_not_empty(selector: &Value, of: &str, path: &Path) -> Findings {
    let is_empty = selector.lacks("matchLabels") && selector.lacks("matchExpressions");
    if selector.is_null() || !is_empty {
        return Findings::new();
    }
    vec![invalid(path, selector.clone(), &format!("empty selector is invalid for {of}"))]
}

fn validate_matched(spec: &Value, selector: &Selector, path: &Path) -> Findings {
    let labels = &spec["template"]["metadata"]["labels"];
    if selector.is_empty() || selector.matches(labels) {
        return Findings::new();
    }
    vec![invalid(&path.child("template.metadata.labels"), labels.clone(), NO_MATCH)]
}

/// A template whose pods are started again for ever.
fn validate_endless_template(spec: &Value, kind: &str, path: &Path) -> Findings {
    let mut findings = validate_template(&spec["template"], &path.child("template"));
    findings.extend(validate_endless(&spec["template"]["spec"], kind, &path.child("template.spec")));
    findings
}

fn validate_endless(pod: &Value, kind: &str, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let policy = pod.text("restartPolicy");
    if policy != "Always" {
        findings.push(not_supported(&path.child("restartPolicy"), policy, &["Always"]));
    }
    if pod.has("activeDeadlineSeconds") {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        findings.push(forbidden(&path.child("activeDeadlineSeconds"), &why));
    }
    findings
}

fn validate_rollout(strategy: &Value, path: &Path) -> Findings {
    let (rolling, at) = (&strategy["rollingUpdate"], path.child("rollingUpdate"));
    match strategy.text("type") {
        "Recreate" if !rolling.is_null() => {
            vec![forbidden(&at, "may not be specified when strategy `type` is 'Recreate'")]
        }
        "Recreate" => Findings::new(),
        "RollingUpdate" => {
            let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
            let mut findings = validate_count_or_percent(unavailable, &at.child("maxUnavailable"));
            findings.extend(validate_count_or_percent(surge, &at.child("maxSurge")));
            if amount(unavailable) == 0 && amount(surge) == 0 {
                let why = "may not be 0 when `maxSurge` is 0";
                findings.push(invalid(&at.child("maxUnavailable"), unavailable.clone(), why));
            }
            findings.extend(validate_at_most_all(unavailable, &at.child("maxUnavailable")));
            findings
        }
        other => vec![not_supported_strategy(other, rolling, path, &["Recreate", "RollingUpdate"])],
    }
}

fn not_supported_strategy(
    kind: &str,
    rolling: &Value,
    path: &Path,
    supported: &[&str],
) -> crate::status::Finding {
    let mut finding = not_supported(path, "", supported);
    let shown = format!("{{\"Type\":\"{kind}\",\"RollingUpdate\":{rolling}}}");
    finding.message = finding.message.replacen("\"\"", &shown, 1);
    finding
}

/// The number in a count or a percentage; a percentage does not count as zero unless it says zero.
fn amount(value: &Value) -> i64 {
    match value {
        Value::String(text) => text.trim_end_matches('%').parse().unwrap_or_default(),
        other => other.as_i64().unwrap_or_default(),
    }
}

/// `2` or `25%`.
pub(super) fn validate_count_or_percent(value: &Value, path: &Path) -> Findings {
    match value {
        Value::String(text) => ill_formed(path, text, names::percent(text)),
        other => not_negative(path, other.as_i64().unwrap_or_default()),
    }
}

pub(super) fn validate_at_most_all(value: &Value, path: &Path) -> Findings {
    let is_percent = value.as_str().is_some_and(|text| names::percent(text).is_empty());
    if !is_percent || amount(value) <= 100 {
        return Findings::new();
    }
    vec![invalid(path, value.clone(), "must not be greater than 100%")]
}

pub(super) fn validate_daemon_set(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let (selector, at) = (&spec["selector"], path.child("selector"));
    let mut findings = validate_selector(selector, &at);
    let labels = &spec["template"]["metadata"]["labels"];
    if Selector::from_object(selector).is_ok_and(|selector| !selector.matches(labels)) {
        findings.push(invalid(&path.child("template.metadata.labels"), labels.clone(), NO_MATCH));
    }
    findings.extend(validate_not_empty(selector, "daemonset", &at));
    findings.extend(validate_endless_template(spec, "DaemonSet", &path));
    findings.extend(counts_not_negative(spec, &["minReadySeconds"], &path));
    findings.extend(validate_daemon_strategy(&spec["updateStrategy"], &path.child("updateStrategy")));
    findings.extend(counts_not_negative(spec, &["revisionHistoryLimit"], &path));
    findings
}

pub(super) fn validate_daemon_set_update(object: &Value, old: &Value) -> Findings {
    with_fixed_selector(validate_daemon_set(object), object, old)
}

fn validate_daemon_strategy(strategy: &Value, path: &Path) -> Findings {
    let (rolling, at) = (&strategy["rollingUpdate"], path.child("rollingUpdate"));
    match strategy.text("type") {
        "OnDelete" => return Findings::new(),
        "RollingUpdate" if rolling.is_null() => return vec![required(&at, "")],
        "RollingUpdate" => {}
        other => {
            return vec![not_supported_strategy(other, rolling, path, &["RollingUpdate", "OnDelete"])];
        }
    }
    let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
    let (at_unavailable, at_surge) = (at.child("maxUnavailable"), at.child("maxSurge"));
    let mut findings = validate_count_or_percent(unavailable, &at_unavailable);
    findings.extend(validate_count_or_percent(surge, &at_surge));
    findings.extend(validate_at_most_all(unavailable, &at_unavailable));
    findings.extend(validate_at_most_all(surge, &at_surge));
    match (amount(unavailable) != 0, amount(surge) != 0) {
        (true, true) => {
            findings.push(invalid(
                &at_surge,
                surge.clone(),
                "may not be set when maxUnavailable is non-zero",
            ));
        }
        (false, false) => findings.push(required(&at_unavailable, "cannot be 0 when maxSurge is 0")),
        _ => {}
    }
    findings
}

pub(super) fn validate_stateful_set(object: &Value) -> Findings {
    let mut findings = validate_claims_and_policies(&object["spec"], &Path::new("spec"), true);
    findings.extend(validate_stateful_template(&object["spec"], &Path::new("spec")));
    findings
}

fn validate_claims_and_policies(spec: &Value, path: &Path, is_create: bool) -> Findings {
    let mut findings = Findings::new();
    let policy = spec.text("podManagementPolicy");
    if !["OrderedReady", "Parallel"].contains(&policy) {
        let at = path.child("podManagementPolicy");
        findings.push(invalid(&at, policy, "must be 'OrderedReady' or 'Parallel'"));
    }
    findings.extend(validate_stateful_strategy(&spec["updateStrategy"], &path.child("updateStrategy")));
    let (retention, at) =
        (&spec["persistentVolumeClaimRetentionPolicy"], path.child("persistentVolumeClaimRetentionPolicy"));
    for field in ["whenDeleted", "whenScaled"] {
        let policy = retention.text(field);
        if !["Delete", "Retain"].contains(&policy) {
            findings.push(not_supported(&at.child(field), policy, &["Delete", "Retain"]));
        }
    }
    for (index, claim) in spec.list("volumeClaimTemplates").iter().enumerate().filter(|_| is_create) {
        let at = path.child("volumeClaimTemplates").index(index).child("spec");
        findings.extend(validate_claim_spec(&claim["spec"], &at));
    }
    findings.extend(counts_not_negative(spec, &["replicas", "minReadySeconds"], path));
    findings.extend(not_negative(&path.child("ordinals.start"), number(&spec["ordinals"], "start")));
    let service = spec.text("serviceName");
    if is_create && !service.is_empty() {
        findings.extend(ill_formed(&path.child("serviceName"), service, names::dns_label(service)));
    }
    findings
}

fn validate_stateful_strategy(strategy: &Value, path: &Path) -> Findings {
    let (rolling, at) = (&strategy["rollingUpdate"], path.child("rollingUpdate"));
    match strategy.text("type") {
        "OnDelete" if rolling.is_null() => Findings::new(),
        "OnDelete" => {
            let shown = [
                ("Partition", number(rolling, "partition").into()),
                ("MaxUnavailable", rolling["maxUnavailable"].clone()),
            ];
            vec![invalid_struct(&at, &shown, "only allowed for updateStrategy 'RollingUpdate'")]
        }
        "RollingUpdate" => {
            let mut findings = not_negative(&at.child("partition"), number(rolling, "partition"));
            if rolling.has("maxUnavailable") {
                let (unavailable, at) = (&rolling["maxUnavailable"], at.child("maxUnavailable"));
                findings.extend(validate_count_or_percent(unavailable, &at));
                if amount(unavailable) == 0 {
                    findings.push(invalid(&at, unavailable.clone(), "cannot be 0"));
                }
                findings.extend(validate_at_most_all(unavailable, &at));
            }
            findings
        }
        other => {
            let shown = [("Type", other.into()), ("RollingUpdate", rolling.clone())];
            vec![invalid_struct(path, &shown, "must be 'RollingUpdate' or 'OnDelete'")]
        }
    }
}

/// The template with the volumes that the claims are going to give it.
fn validate_stateful_template(spec: &Value, path: &Path) -> Findings {
    let (selector, at) = (&spec["selector"], path.child("selector"));
    let mut findings = validate_selector_of(selector, "statefulset", &at);
    match Selector::from_object(selector) {
        Err(_) => findings.push(invalid(&at, selector.clone(), "")),
        Ok(selector) => {
            findings.extend(validate_matched(spec, &selector, path));
            let template = with_claimed_volumes(spec);
            findings.extend(validate_template(&template, &path.child("template")));
        }
    }
    findings.extend(validate_endless(&spec["template"]["spec"], "StatefulSet", &path.child("template.spec")));
    findings
}

fn with_claimed_volumes(spec: &Value) -> Value {
    let mut template = spec["template"].clone();
    let pod = template.child("spec");
    // Hostname and subdomain are the controller's to set.
    pod.drop_field("hostname");
    pod.drop_field("subdomain");
    let mut volumes: Vec<Value> = Vec::new();
    for claim in spec.list("volumeClaimTemplates") {
        let name = claim["metadata"].text("name");
        volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    }
    for volume in pod.list("volumes") {
        if !volumes.iter().any(|claimed| claimed["name"] == volume["name"]) {
            volumes.push(volume.clone());
        }
    }
    pod["volumes"] = volumes.into();
    template
}

pub(super) fn validate_stateful_set_update(object: &Value, old: &Value) -> Findings {
    const WHY: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                       'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                       'minReadySeconds' are forbidden";
    let path = Path::new("spec");
    let mut findings = validate_claims_and_policies(&object["spec"], &path, false);
    findings.extend(validate_stateful_template(&object["spec"], &path));
    let mut spec = object["spec"].clone();
    for field in [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ] {
        spec.take_from(&old["spec"], field);
    }
    if spec != old["spec"] {
        findings.push(forbidden(&path, WHY));
    }
    findings
}

pub(super) fn validate_revision(object: &Value) -> Findings {
    let mut findings = Findings::new();
    if !object.has("data") {
        findings.push(required(&Path::new("data"), "data is mandatory"));
    }
    findings.extend(counts_not_negative(object, &["revision"], &Path::root()));
    findings
}

pub(super) fn validate_replication_controller(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = counts_not_negative(spec, &["minReadySeconds"], &path);
    if spec.lacks("selector") {
        findings.push(required(&path.child("selector"), ""));
    }
    findings.extend(counts_not_negative(spec, &["replicas"], &path));
    if !spec.has("template") {
        findings.push(required(&path.child("template"), ""));
        return findings;
    }
    findings.extend(validate_matched(spec, &Selector::from_map(&spec["selector"]), &path));
    findings.extend(validate_endless_template(spec, "ReplicationController", &path));
    findings
}

/// The counts in a status: none negative, none more than there are replicas.
pub(super) fn validate_counts(object: &Value, _old: &Value, part: &str) -> Findings {
    let (status, path) = (&object["status"], Path::new("status"));
    if part != "status" {
        return Findings::new();
    }
    let counts = status.as_object().into_iter().flatten().filter(|(_, value)| value.is_i64());
    let mut findings: Findings = counts
        .flat_map(|(name, value)| not_negative(&path.child(name), value.as_i64().unwrap_or_default()))
        .collect();
    if !status.has("replicas") {
        return findings;
    }
    let (replicas, ready) = (number(status, "replicas"), number(status, "readyReplicas"));
    for field in ["updatedReplicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        if number(status, field) > replicas {
            let why = "cannot be greater than status.replicas";
            findings.push(invalid(&path.child(field), number(status, field), why));
        }
    }
    if number(status, "availableReplicas") > ready {
        let at = path.child("availableReplicas");
        findings.push(invalid(
            &at,
            number(status, "availableReplicas"),
            "cannot be greater than readyReplicas",
        ));
    }
    findings
}
