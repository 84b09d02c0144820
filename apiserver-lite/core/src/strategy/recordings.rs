//! Replays of upstream's recorded answers: what a POST becomes, and what is found wrong.
//!
//! `tests/golden/green/*.txt` lists the cases that pass. A listed case must pass; `KEDGE_UPDATE=1` writes the list anew.

use super::access::{Fill, Read};
use super::strategy_of;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden")).join(name)
}

fn cases(group: &str) -> Vec<(String, Vec<Value>)> {
    let text = std::fs::read_to_string(golden(&format!("upstream/api/{group}.json")))
        .expect("the recording is there");
    let mut file: Value = serde_json::from_str(&text).expect("the recording is JSON");
    let Value::Object(cases) = file["cases"].take() else {
        panic!("{group} has no cases")
    };
    cases
        .into_iter()
        .map(|(id, steps)| (id, steps.as_array().cloned().unwrap_or_default()))
        .collect()
}

/// Compares what passes with the committed list.
fn enforce(group: &str, passing: &BTreeSet<String>, total: usize) {
    let path = golden(&format!("green/{group}.txt"));
    let listed: BTreeSet<String> = std::fs::read_to_string(&path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect();
    println!("{group}: {} of {total} recorded cases pass", passing.len());
    if std::env::var_os("KEDGE_UPDATE").is_some() {
        let lines: String = passing.iter().map(|id| format!("{id}\n")).collect();
        std::fs::write(&path, lines).expect("the list can be written");
    }
    let broken: Vec<&String> = listed.difference(passing).collect();
    assert!(broken.is_empty(), "{group}: no longer green: {broken:?}");
}

fn group_of(object: &Value) -> &str {
    object
        .text("apiVersion")
        .rsplit_once('/')
        .map_or("", |(group, _)| group)
}

/// What decoding into upstream's types loses: nulls and empty lists.
fn decoded(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, v)| !v.is_null() && **v != json!([]));
            Value::Object(kept.map(|(k, v)| (k.clone(), decoded(v))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(decoded).collect()),
        other => other.clone(),
    }
}

/// The metadata that the registry sets.
fn with_server_metadata(object: &mut Value) {
    let metadata = object.child("metadata");
    metadata["uid"] = "<uid:1>".into();
    metadata["creationTimestamp"] = "<time>".into();
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
    ] {
        metadata.drop_field(field);
    }
}

/// Takes out what the registry, the allocators and admission add.
fn without_foreign_parts(object: &mut Value, request: &Value) {
    let metadata = object.child("metadata");
    for field in [
        "managedFields",
        "resourceVersion",
        "namespace",
        "uid",
        "creationTimestamp",
        "name",
        "generateName",
    ] {
        metadata.drop_field(field);
    }
    match object.text("kind") {
        "Service" => {
            let spec = object.child("spec");
            for field in ["clusterIP", "clusterIPs"] {
                if spec[field].to_string().contains("<ip:") {
                    spec.drop_field(field);
                }
            }
            spec.each("ports", |port| {
                if port["nodePort"] == "<nodePort>" {
                    port.drop_field("nodePort");
                }
            });
        }
        "Pod" => without_pod_admission(object.child("spec"), &request["spec"]),
        "Node" => object.child("spec").drop_field("taints"),
        "CertificateSigningRequest" => {
            for field in ["groups", "uid", "username"] {
                object.child("spec").drop_field(field);
            }
        }
        _ => {}
    }
}

fn without_pod_admission(spec: &mut Value, asked: &Value) {
    let is_ours = |item: &Value| item.text("name").starts_with("kube-api-access");
    for field in [
        "priority",
        "preemptionPolicy",
        "serviceAccount",
        "serviceAccountName",
    ] {
        if !asked.has(field) || spec.text(field) == "default" {
            spec.drop_field(field);
        }
    }
    let drop_from = |holder: &mut Value, field: &str, drop: &dyn Fn(&Value) -> bool| {
        if let Some(list) = holder.get_mut(field).and_then(Value::as_array_mut) {
            list.retain(|item| !drop(item));
        }
        if holder.lacks(field) {
            holder.drop_field(field);
        }
    };
    drop_from(spec, "volumes", &is_ours);
    drop_from(spec, "tolerations", &|toleration| {
        toleration.number("tolerationSeconds") == Some(300)
    });
    spec.each("containers", |container| {
        drop_from(container, "volumeMounts", &is_ours)
    });
}

fn defaulted(request: &Value) -> Value {
    defaulted_in("", request)
}

fn defaulted_in(namespace: &str, request: &Value) -> Value {
    let mut object = decoded(request);
    let strategy = strategy_of(group_of(request), request.text("kind"));
    with_server_metadata(&mut object);
    if !namespace.is_empty() {
        object.child("metadata")["namespace"] = namespace.into();
    }
    strategy.default(&mut object);
    strategy.prepare_for_create(&mut object);
    object
}

#[test]
fn defaulting() {
    let mut passing = BTreeSet::new();
    let cases = cases("defaulting");
    for (id, steps) in &cases {
        let (request, response) = (&steps[0]["request"]["body"], &steps[0]["response"]["body"]);
        if response.text("kind") == "Status" {
            continue;
        }
        let (mut ours, mut theirs) = (defaulted(request), response.clone());
        without_foreign_parts(&mut ours, request);
        without_foreign_parts(&mut theirs, request);
        if ours == theirs {
            passing.insert(id.clone());
        } else if std::env::var_os("KEDGE_SHOW").is_some() {
            println!("{id}\n  ours   {ours}\n  theirs {theirs}");
        }
    }
    enforce("defaulting", &passing, cases.len());
}

fn is_of_registry(field: &str) -> bool {
    let own = ["metadata.taints", "metadata.annotations["];
    field.starts_with("metadata.") && !own.iter().any(|own| field.starts_with(own))
}

/// The findings of a recorded refusal that are a strategy's to make: metadata is the registry's.
fn recorded_findings(response: &Value) -> Vec<(String, String, String)> {
    let causes = response["details"].list("causes").iter();
    let causes = causes.filter(|cause| !is_of_registry(cause.text("field")));
    causes
        .map(|cause| {
            (
                cause.text("reason").into(),
                cause.text("field").into(),
                cause.text("message").into(),
            )
        })
        .collect()
}

fn own_findings(request: &Value) -> Vec<(String, String, String)> {
    let mut object = defaulted_in("kg-validation", request);
    // The placeholder is no label; a uid is.
    let text = object
        .to_string()
        .replace("<uid:1>", "00000000-0000-0000-0000-000000000001");
    object = serde_json::from_str(&text).expect("still JSON");
    let findings = strategy_of(group_of(request), request.text("kind")).validate_create(&object);
    findings
        .iter()
        .map(|f| (f.kind.reason().to_owned(), f.field.clone(), f.message.clone()))
        .collect()
}

#[test]
fn validation() {
    let mut passing = BTreeSet::new();
    let cases = cases("validation");
    let mut counted = 0;
    for (id, steps) in &cases {
        let step = &steps[steps.len() - 1];
        let (request, response) = (&step["request"], &step["response"]);
        let is_ours = [201, 422].contains(&response.number("status").unwrap_or_default());
        if request.text("method") != "POST" || !is_ours || !request["body"].has("kind") {
            continue;
        }
        counted += 1;
        let (ours, theirs) = (
            own_findings(&request["body"]),
            recorded_findings(&response["body"]),
        );
        if ours == theirs {
            passing.insert(id.clone());
        } else if std::env::var_os("KEDGE_SHOW").is_some() {
            println!("{id} {}\n  ours   {ours:?}\n  theirs {theirs:?}", request["body"]);
        }
    }
    enforce("validation", &passing, counted);
}
