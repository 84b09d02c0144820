//! Controllers and what sizes them.

use super::cells::{Row, human, labels, or, scalar, some};
use kedge_api::Time;
use serde_json::Value;

/// Names, images and selector: the columns of `-o wide`.
fn wide(row: &Row<'_>, template: &str, selector: Option<&str>) -> Vec<Value> {
    let [names, images] = row.containers(&format!("{template}/containers"));
    let mut cells = vec![names, images];
    cells.extend(selector.map(|path| row.selector(path)));
    cells
}

pub fn replication_controller(row: &Row<'_>) -> Vec<Value> {
    let mut cells = replicas(row);
    cells.extend(wide(row, "spec/template/spec", None));
    cells.push(labels(row.at("spec/selector")).into());
    cells
}

pub fn replica_set(row: &Row<'_>) -> Vec<Value> {
    let mut cells = replicas(row);
    cells.extend(wide(row, "spec/template/spec", Some("spec/selector")));
    cells
}

fn replicas(row: &Row<'_>) -> Vec<Value> {
    let numbers =
        ["spec/replicas", "status/replicas", "status/readyReplicas"].map(|path| row.number(path).into());
    let mut cells = vec![row.name()];
    cells.extend(numbers);
    cells.push(row.age());
    cells
}

pub fn deployment(row: &Row<'_>) -> Vec<Value> {
    let ready = format!("{}/{}", row.number("status/readyReplicas"), row.number("spec/replicas"));
    let (updated, available) = (row.number("status/updatedReplicas"), row.number("status/availableReplicas"));
    let mut cells = vec![row.name(), ready.into(), updated.into(), available.into(), row.age()];
    cells.extend(wide(row, "spec/template/spec", Some("spec/selector")));
    cells
}

pub fn stateful_set(row: &Row<'_>) -> Vec<Value> {
    let ready = format!("{}/{}", row.number("status/readyReplicas"), row.number("spec/replicas"));
    let mut cells = vec![row.name(), ready.into(), row.age()];
    cells.extend(wide(row, "spec/template/spec", None));
    cells
}

pub fn daemon_set(row: &Row<'_>) -> Vec<Value> {
    let numbers = [
        "status/desiredNumberScheduled",
        "status/currentNumberScheduled",
        "status/numberReady",
        "status/updatedNumberScheduled",
        "status/numberAvailable",
    ];
    let mut cells = vec![row.name()];
    cells.extend(numbers.map(|path| Value::from(row.number(path))));
    cells.push(labels(row.at("spec/template/spec/nodeSelector")).into());
    cells.push(row.age());
    cells.extend(wide(row, "spec/template/spec", Some("spec/selector")));
    cells
}

pub fn controller_revision(row: &Row<'_>) -> Vec<Value> {
    let owner = row.list("metadata/ownerReferences").iter().find(|owner| owner["controller"] == true);
    let controller = owner.map_or("<none>".to_owned(), |owner| {
        let text = |key: &str| owner[key].as_str().unwrap_or_default();
        let kind = text("kind").to_lowercase();
        let kind = match text("apiVersion").split_once('/') {
            Some((group, _)) => format!("{kind}.{group}"),
            None => kind,
        };
        format!("{kind}/{}", text("name"))
    });
    vec![row.name(), controller.into(), row.number("revision").into(), row.age()]
}

pub fn job(row: &Row<'_>) -> Vec<Value> {
    let done = row.number("status/succeeded");
    let parallelism = row.number("spec/parallelism");
    let completions = match (row.at("spec/completions").as_i64(), parallelism) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, 2..) => format!("{done}/1 of {parallelism}"),
        (None, _) => format!("{done}/1"),
    };
    let time = |path: &str| row.at(path).as_str().and_then(Time::parse);
    let duration = time("status/startTime")
        .map_or(String::new(), |start| human(time("status/completionTime").unwrap_or(row.now).0 - start.0));
    let mut cells = vec![row.name(), job_status(row).into(), completions.into(), duration.into(), row.age()];
    cells.extend(wide(row, "spec/template/spec", Some("spec/selector")));
    cells
}

fn job_status(row: &Row<'_>) -> &'static str {
    let has = |kind: &str| {
        row.list("status/conditions")
            .iter()
            .find(|c| c["type"] == kind)
            .is_some_and(|c| c["status"] == "True")
    };
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if row.is_deleted() => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

pub fn cron_job(row: &Row<'_>) -> Vec<Value> {
    let last = match row.at("status/lastScheduleTime") {
        Value::Null => "<none>".to_owned(),
        time => row.since_value(time),
    };
    let suspend = match row.at("spec/suspend").as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    let mut cells = vec![
        row.name(),
        row.text("spec/schedule").into(),
        or(row.text("spec/timeZone"), "<none>").into(),
        suspend.into(),
        row.list("status/active").len().into(),
        last.into(),
        row.age(),
    ];
    cells.extend(wide(row, "spec/jobTemplate/spec/template/spec", None));
    let selector = match row.at("spec/jobTemplate/spec/selector") {
        Value::Null => "<none>".into(),
        _ => row.selector("spec/jobTemplate/spec/selector"),
    };
    cells.push(selector);
    cells
}

pub fn disruption_budget(row: &Row<'_>) -> Vec<Value> {
    vec![
        row.name(),
        scalar(row.at("spec/minAvailable"), "N/A").into(),
        scalar(row.at("spec/maxUnavailable"), "N/A").into(),
        row.number("status/disruptionsAllowed").into(),
        row.age(),
    ]
}

pub fn autoscaler(row: &Row<'_>) -> Vec<Value> {
    let reference =
        format!("{}/{}", row.text("spec/scaleTargetRef/kind"), row.text("spec/scaleTargetRef/name"));
    vec![
        row.name(),
        reference.into(),
        metrics(row).into(),
        scalar(row.at("spec/minReplicas"), "<unset>").into(),
        row.number("spec/maxReplicas").into(),
        row.number("status/currentReplicas").into(),
        row.age(),
    ]
}

const METRICS_MAX: usize = 2;

fn metrics(row: &Row<'_>) -> String {
    if row.at("spec/targetCPUUtilizationPercentage").is_number() {
        // The first version has this one metric in a field of its own.
        let current = row.at("status/currentCPUUtilizationPercentage");
        let current = current.as_i64().map_or("<unknown>".to_owned(), |percent| format!("{percent}%"));
        return format!("cpu: {current}/{}%", row.number("spec/targetCPUUtilizationPercentage"));
    }
    let statuses = row.list("status/currentMetrics");
    let words: Vec<String> = row
        .list("spec/metrics")
        .iter()
        .enumerate()
        .map(|(index, spec)| metric(spec, statuses.get(index).unwrap_or(&Value::Null)))
        .collect();
    match words.is_empty() {
        true => "<none>".to_owned(),
        false => some(&words, METRICS_MAX, ", "),
    }
}

fn metric(spec: &Value, status: &Value) -> String {
    let source = match spec["type"].as_str().unwrap_or_default() {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let target = &spec[source]["target"];
    let current = &status[source]["current"];
    let average = scalar(&target["averageValue"], "");
    let known = |key: &str| scalar(&current[key], "<unknown>");
    match source {
        "resource" | "containerResource" => {
            let name = spec[source]["name"].as_str().unwrap_or_default();
            if !average.is_empty() {
                return format!("{name}: {}/{average}", known("averageValue"));
            }
            let percent = |value: &Value, none: &str| {
                value.as_i64().map_or(none.to_owned(), |percent| format!("{percent}%"))
            };
            let current = percent(&current["averageUtilization"], "<unknown>");
            format!("{name}: {current}/{}", percent(&target["averageUtilization"], "<auto>"))
        }
        "pods" => format!("{}/{average}", known("averageValue")),
        _ if !average.is_empty() => format!("{}/{average} (avg)", known("averageValue")),
        _ => format!("{}/{}", known("value"), scalar(&target["value"], "0")),
    }
}
