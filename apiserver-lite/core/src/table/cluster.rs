//! Nodes, namespaces, events, rights and the rest.

use super::cells::{Row, human, join, or, scalar};
use serde_json::Value;

/// Kinds without columns of their own: the time stands as it is.
pub fn plain(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.at("metadata/creationTimestamp").clone()]
}

pub fn name_and_age(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.age()]
}

fn count(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

pub fn config_map(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), (count(row.at("data")) + count(row.at("binaryData"))).into(), row.age()]
}

pub fn secret(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.text("type").into(), count(row.at("data")).into(), row.age()]
}

pub fn namespace(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.text("status/phase").into(), row.age()]
}

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

pub fn node(row: &Row<'_>) -> Vec<Value> {
    let ready = row.list("status/conditions").iter().find(|c| c["type"] == "Ready");
    let mut status = match ready {
        None => "Unknown".to_owned(),
        Some(condition) if condition["status"] == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
    };
    if row.at("spec/unschedulable") == true {
        status.push_str(",SchedulingDisabled");
    }
    let labels = row.at("metadata/labels").as_object().into_iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None => value.as_str().filter(|_| key == "kubernetes.io/role"),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    let info = |key: &str| row.at("status/nodeInfo")[key].as_str().unwrap_or_default();
    let kernel = match info("architecture") {
        "" => or(info("kernelVersion"), "<unknown>").to_owned(),
        architecture => format!("{} ({architecture})", or(info("kernelVersion"), "<unknown>")),
    };
    vec![
        row.name(),
        status.into(),
        or(&roles.join(","), "<none>").into(),
        row.age(),
        info("kubeletVersion").into(),
        node_address(row, "InternalIP").into(),
        node_address(row, "ExternalIP").into(),
        or(info("osImage"), "<unknown>").into(),
        kernel.into(),
        or(info("containerRuntimeVersion"), "<unknown>").into(),
    ]
}

fn node_address(row: &Row<'_>, kind: &str) -> String {
    let found = row.list("status/addresses").iter().find(|address| address["type"] == kind);
    found.map_or("<none>".to_owned(), |address| scalar(&address["address"], "<none>"))
}

pub fn resource_quota(row: &Row<'_>) -> Vec<Value> {
    let used = row.at("status/used");
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in row.at("status/hard").as_object().into_iter().flatten() {
        let text = format!("{resource}: {}/{}", scalar(&used[resource.as_str()], "0"), scalar(hard, "0"));
        match resource.starts_with("limits.") {
            true => limits.push(text),
            false => requests.push(text),
        }
    }
    vec![row.name(), requests.join(", ").into(), limits.join(", ").into(), row.age()]
}

/// Both faces of an event.
pub fn event(row: &Row<'_>) -> Vec<Value> {
    let either = |core: &str, other: &str| match row.at(core) {
        Value::Null => row.at(other).clone(),
        value => value.clone(),
    };
    let first_time = either("firstTimestamp", "deprecatedFirstTimestamp");
    let first = match &first_time {
        Value::Null => row.since("eventTime"),
        time => row.since_value(time),
    };
    let last = match either("lastTimestamp", "deprecatedLastTimestamp") {
        Value::Null => first.clone(),
        time => row.since_value(&time),
    };
    let (last, count) = match row.at("series") {
        Value::Null => (last, either("count", "deprecatedCount").as_i64().unwrap_or(0).max(1)),
        series => (row.since_value(&series["lastObservedTime"]), series["count"].as_i64().unwrap_or(0)),
    };
    let about = either("involvedObject", "regarding");
    let source = either("source", "deprecatedSource");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&about["kind"]).to_lowercase();
    let target = match text(&about["name"]).as_str() {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let component = text(&source["component"]);
    let reporter = text(&either("reportingComponent", "reportingController"));
    let host = text(&source["host"]);
    let words = [or(&component, &reporter), or(&host, row.text("reportingInstance"))];
    vec![
        last.into(),
        row.text("type").into(),
        row.text("reason").into(),
        target.into(),
        text(&about["fieldPath"]).into(),
        if words[1].is_empty() { words[0].into() } else { words.join(", ").into() },
        text(&either("message", "note")).trim().into(),
        first.into(),
        count.into(),
        row.name(),
    ]
}

pub fn binding(row: &Row<'_>) -> Vec<Value> {
    let subjects = row.list("subjects");
    let of = |kind: &str| {
        let named = subjects.iter().filter(|subject| subject["kind"] == kind);
        join(named.map(subject_name), ", ")
    };
    let role = format!("{}/{}", row.text("roleRef/kind"), row.text("roleRef/name"));
    vec![
        row.name(),
        role.into(),
        row.age(),
        of("User").into(),
        of("Group").into(),
        of("ServiceAccount").into(),
    ]
}

fn subject_name(subject: &Value) -> String {
    let name = scalar(&subject["name"], "");
    match subject["namespace"].as_str().filter(|namespace| !namespace.is_empty()) {
        Some(namespace) if subject["kind"] == "ServiceAccount" => format!("{namespace}/{name}"),
        _ => name,
    }
}

pub fn signing_request(row: &Row<'_>) -> Vec<Value> {
    let has = |kind: &str| row.list("status/conditions").iter().any(|c| c["type"] == kind);
    let mut status = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !row.text("status/certificate").is_empty() {
        status.push_str(",Issued");
    }
    let duration = row.at("spec/expirationSeconds").as_i64().map_or("<none>".to_owned(), human);
    vec![
        row.name(),
        row.age(),
        or(row.text("spec/signerName"), "<none>").into(),
        row.text("spec/username").into(),
        duration.into(),
        status.into(),
    ]
}

pub fn lease(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.text("spec/holderIdentity").into(), row.age()]
}

pub fn priority_class(row: &Row<'_>) -> Vec<Value> {
    let default = row.at("globalDefault").as_bool().unwrap_or(false);
    vec![
        row.name(),
        row.number("value").into(),
        default.into(),
        row.age(),
        row.text("preemptionPolicy").into(),
    ]
}

pub fn runtime_class(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.text("handler").into(), row.age()]
}

pub fn flow_schema(row: &Row<'_>) -> Vec<Value> {
    let dangling = row.list("status/conditions").iter().find(|c| c["type"] == "Dangling");
    let missing = dangling.and_then(|condition| condition["status"].as_str()).unwrap_or("?");
    vec![
        row.name(),
        row.text("spec/priorityLevelConfiguration/name").into(),
        row.number("spec/matchingPrecedence").into(),
        or(row.text("spec/distinguisherMethod/type"), "<none>").into(),
        row.age(),
        missing.into(),
    ]
}

pub fn priority_level(row: &Row<'_>) -> Vec<Value> {
    let limited = row.at("spec/limited");
    let queuing = &limited["limitResponse"]["queuing"];
    let number = |value: &Value| if value.is_null() { Value::from("<none>") } else { value.clone() };
    vec![
        row.name(),
        row.text("spec/type").into(),
        number(&limited["nominalConcurrencyShares"]),
        number(&queuing["queues"]),
        number(&queuing["handSize"]),
        number(&queuing["queueLengthLimit"]),
        row.age(),
    ]
}

pub fn api_service(row: &Row<'_>) -> Vec<Value> {
    let service = match row.at("spec/service") {
        Value::Null => "Local".to_owned(),
        of => format!("{}/{}", scalar(&of["namespace"], ""), scalar(&of["name"], "")),
    };
    let condition = row.list("status/conditions").iter().find(|c| c["type"] == "Available");
    let available = condition.map_or("Unknown".to_owned(), |condition| {
        let status = condition["status"].as_str().unwrap_or_default();
        match condition["reason"].as_str().unwrap_or_default() {
            reason if status != "True" && !reason.is_empty() => format!("{status} ({reason})"),
            _ => status.to_owned(),
        }
    });
    vec![row.name(), service.into(), available.into(), row.age()]
}

/// Webhooks and policies.
pub fn admission(kind: &str) -> fn(&Row<'_>) -> Vec<Value> {
    match kind {
        "ValidatingAdmissionPolicy" => |row| policy(row, "spec/validations"),
        "MutatingAdmissionPolicy" => |row| policy(row, "spec/mutations"),
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => policy_binding,
        _ => |row| vec![row.name(), row.list("webhooks").len().into(), row.age()],
    }
}

fn policy(row: &Row<'_>, rules: &str) -> Vec<Value> {
    let parameter = match row.at("spec/paramKind") {
        Value::Null => "<unset>".to_owned(),
        of => format!("{}/{}", scalar(&of["apiVersion"], ""), scalar(&of["kind"], "")),
    };
    vec![row.name(), row.list(rules).len().into(), parameter.into(), row.age()]
}

fn policy_binding(row: &Row<'_>) -> Vec<Value> {
    let reference = row.at("spec/paramRef");
    let namespace = reference["namespace"].as_str().unwrap_or("*");
    let parameter = match reference["name"].as_str().unwrap_or_default() {
        "" => "<unset>".to_owned(),
        name => format!("{namespace}/{name}"),
    };
    vec![row.name(), row.text("spec/policyName").into(), parameter.into(), row.age()]
}
