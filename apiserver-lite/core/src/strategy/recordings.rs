//! Replays of upstream's recorded answers: what a POST becomes, and what is found wrong.
//!
//! `tests/golden/green/*.txt` lists the cases that pass. A listed case must pass; `KEDGE_UPDATE=1` writes the list anew.

use super::access::{Fill, Read};
use super::{Part, strategy_of};
use crate::status::Finding;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden")).join(name)
}

fn cases(group: &str) -> Vec<(String, Vec<Value>)> {
    let text = std::fs::read_to_string(golden(&format!("upstream/api/{group}.json")))
        .expect("the recording is there");
    let mut file: Value = serde_json::from_str(&text).expect("the recording is JSON");
    let Value::Object(cases) = file["cases"].take() else { panic!("{group} has no cases") };
    cases.into_iter().map(|(id, steps)| (id, steps.as_array().cloned().unwrap_or_default())).collect()
}

/// Compares what passes with the committed list.
fn enforce(group: &str, passing: &BTreeSet<String>, total: usize) {
    let path = golden(&format!("green/{group}.txt"));
    let listed: BTreeSet<String> =
        std::fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
    println!("{group}: {} of {total} recorded cases pass", passing.len());
    if std::env::var_os("KEDGE_UPDATE").is_some() {
        let lines: String = passing.iter().map(|id| format!("{id}\n")).collect();
        std::fs::write(&path, lines).expect("the list can be written");
    }
    let broken: Vec<&String> = listed.difference(passing).collect();
    assert!(broken.is_empty(), "{group}: no longer green: {broken:?}");
}

fn group_of(object: &Value) -> &str {
    object.text("apiVersion").rsplit_once('/').map_or("", |(group, _)| group)
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
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        metadata.drop_field(field);
    }
}

/// Takes out what the registry, the allocators and admission add.
fn without_foreign_parts(object: &mut Value, request: &Value) {
    let metadata = object.child("metadata");
    for field in
        ["managedFields", "resourceVersion", "namespace", "uid", "creationTimestamp", "name", "generateName"]
    {
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
    for field in ["priority", "preemptionPolicy", "serviceAccount", "serviceAccountName"] {
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
    drop_from(spec, "tolerations", &|toleration| toleration.number("tolerationSeconds") == Some(300));
    spec.each("containers", |container| drop_from(container, "volumeMounts", &is_ours));
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

/// Findings about metadata are the registry's, but for the few that depend on the rest of the object.
fn is_of_registry(kind: &str, field: &str) -> bool {
    let own = ["metadata.taints", "metadata.annotations[", "metadata.labels["];
    field.starts_with("metadata.") && kind != "APIService" && !own.iter().any(|own| field.starts_with(own))
}

/// Reason, field and message.
type Cause = (String, String, String);

/// The findings of a recorded refusal that are a strategy's to make.
fn recorded_findings(response: &Value) -> Vec<Cause> {
    let kind = response["details"].text("kind");
    let causes = response["details"].list("causes").iter();
    let causes = causes.filter(|cause| !is_of_registry(kind, cause.text("field")));
    causes
        .map(|cause| (cause.text("reason").into(), cause.text("field").into(), cause.text("message").into()))
        .collect()
}

fn causes(findings: &[Finding]) -> Vec<Cause> {
    findings.iter().map(|f| (f.kind.reason().to_owned(), f.field.clone(), f.message.clone())).collect()
}

/// Placeholders as values that are valid where they stand.
fn with_real_values(value: &Value) -> Value {
    let text = value.to_string().replace("<uid:1>", "00000000-0000-0000-0000-000000000001");
    let text = text.replace("<ip:1>", "10.96.0.1").replace("<ip:2>", "10.96.0.2").replace("<rand>", "abcde");
    serde_json::from_str(&text).expect("still JSON")
}

fn create_findings(request: &Value) -> Vec<Cause> {
    let object = with_real_values(&defaulted_in("kg-validation", request));
    causes(&strategy_of(group_of(request), request.text("kind")).validate_create(&object))
}

const ONE_CPU: &str = r#"{"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}"#;

/// The stored object that the recorded updates start from is not recorded itself. It is the body of one of the updates with
/// that one's change undone: prefix of the cases, the update, what it changed, and the stored value of that.
const STORED: [(&str, &str, &str, &str); 24] = [
    ("update-pod-resize", "update-pod-resize-cpu", "/spec/containers/0/resources", ONE_CPU),
    ("update-pod-", "update-pod-finalizer", "/metadata/finalizers", "null"),
    ("update-cm-", "update-cm-immut-label", "/metadata/labels", "null"),
    ("update-cr-", "update-cr-rev", "/revision", "1"),
    ("update-csid-", "update-csid-attach", "/spec/attachRequired", "true"),
    ("update-csr-", "update-csr-spec", "/spec/usages", r#"["client auth"]"#),
    ("update-deploy-", "update-deploy-ok", "/spec/replicas", "1"),
    ("update-ds-", "update-ds-sel", "/spec/selector/matchLabels/app", r#""x""#),
    ("update-ic-", "update-ic-ctl", "/spec/controller", r#""x.example.com/y""#),
    ("update-ipaddr-", "update-ipaddr-ref", "/spec/parentRef/name", r#""s""#),
    ("update-job-", "update-job-parallel", "/spec/parallelism", "1"),
    ("update-node-", "update-node-prov", "/spec/providerID", r#""a://b""#),
    ("update-pc-", "update-pc-desc", "/description", "null"),
    ("update-pvc-", "update-pvc-sc", "/spec/storageClassName", "null"),
    ("update-rb-", "update-rb-ref", "/roleRef/name", r#""z""#),
    ("update-rct-", "update-rct-spec", "/spec/spec/devices/requests/0/name", r#""r""#),
    ("update-rq-", "update-rq-scopes", "/spec/scopes", "null"),
    ("update-rtc-", "update-rtc-handler", "/handler", r#""h""#),
    ("update-sc-params", "update-sc-params", "/parameters", "null"),
    ("update-sc-", "update-sc-policy", "/reclaimPolicy", r#""Delete""#),
    ("update-secret-", "update-secret-immut-unset", "/immutable", "true"),
    ("update-sts-", "update-sts-vct", "/spec/volumeClaimTemplates", "null"),
    ("update-svc-", "update-svc-nodeport", "/spec/type", r#""ClusterIP""#),
    ("update-vac-", "update-vac-d", "/driverName", r#""d.example.com""#),
];

fn stored_object(id: &str, bodies: &BTreeMap<&str, &Value>) -> Option<Value> {
    let (_, from, pointer, value) = STORED.into_iter().find(|(prefix, ..)| id.starts_with(prefix))?;
    let mut object = (*bodies.get(from)?).clone();
    *object.pointer_mut(pointer)? = serde_json::from_str(value).ok()?;
    Some(decoded(&with_real_values(&object)))
}

/// The findings, and the generation that the object would have.
fn updated(request: &Value, old: &Value) -> (Vec<Cause>, Option<i64>) {
    let path = request.text("path").split('?').next().unwrap_or_default();
    let part = match path.rsplit('/').next().unwrap_or_default() {
        "status" => Part::Status,
        "ephemeralcontainers" => Part::Subresource("ephemeralcontainers"),
        "resize" => Part::Subresource("resize"),
        _ => Part::Main,
    };
    let mut object = decoded(&with_real_values(&request["body"]));
    let strategy = strategy_of(group_of(&object), object.text("kind"));
    strategy.default(&mut object);
    strategy.prepare_for_update(&mut object, old, part);
    let generation = object["metadata"].number("generation");
    (causes(&strategy.validate_update(&object, old, part)), generation)
}

#[test]
fn validation() {
    let mut passing = BTreeSet::new();
    let cases = cases("validation");
    let bodies = cases.iter().map(|(id, steps)| (id.as_str(), &steps[0]["request"]["body"])).collect();
    let mut counted = 0;
    for (id, steps) in &cases {
        let (request, response) = (&steps[0]["request"], &steps[0]["response"]);
        let is_ours = [200, 201, 422].contains(&response.number("status").unwrap_or_default());
        if !is_ours || !request["body"].has("kind") {
            continue;
        }
        let (ours, generation) = match request.text("method") {
            "POST" => (create_findings(&request["body"]), None),
            _ => match stored_object(id, &bodies) {
                Some(old) => updated(request, &old),
                None => continue,
            },
        };
        counted += 1;
        let theirs = recorded_findings(&with_real_values(&response["body"]));
        let counts =
            response["status"] != 200 || generation == response["body"]["metadata"].number("generation");
        if ours == theirs && counts {
            passing.insert(id.clone());
        } else if std::env::var_os("KEDGE_SHOW").is_some() {
            println!("{id} {generation:?} {}\n  ours   {ours:?}\n  theirs {theirs:?}", request["body"]);
        }
    }
    enforce("validation", &passing, counted);
}

/// The texts behind `299 - "…"` that are a strategy's: what decoding found and what is true of a whole version are not.
fn recorded_warnings(response: &Value) -> Vec<String> {
    let headers = response["headers"].as_object().into_iter().flatten();
    let lists = headers.filter(|(name, _)| name.eq_ignore_ascii_case("warning")).map(|(_, list)| list);
    let texts = lists.filter_map(Value::as_array).flatten().filter_map(Value::as_str);
    let texts = texts.filter_map(|text| serde_json::from_str::<String>(text.strip_prefix("299 - ")?).ok());
    let foreign =
        |text: &String| text.contains("unknown field") || text.contains("v1 Endpoints is deprecated");
    texts.filter(|text| !foreign(text)).collect()
}

#[test]
fn warnings() {
    for group in ["defaulting", "validation"] {
        for (id, steps) in cases(group) {
            let (request, response) = (&steps[0]["request"], &steps[0]["response"]);
            if request.text("method") != "POST" || response["status"] != 201 {
                continue;
            }
            let object = defaulted_in("kg", &request["body"]);
            let ours = strategy_of(group_of(&object), object.text("kind")).warnings(&object, None);
            assert_eq!(ours, recorded_warnings(response), "{group} {id}");
        }
    }
}
