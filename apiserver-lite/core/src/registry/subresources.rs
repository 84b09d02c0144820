//! Subresources that are more than a part of the object: scale, binding, eviction.

use super::delete;
use super::encode::decode;
use super::options::DeleteOptions;
use super::write::{Body, Call, Step, change};
use crate::status::{ApiError, Finding, FindingKind};
use kedge_api::Selector;
use kedge_api::kinds::Kind;
use serde_json::{Value, json};

/// Where a scalable kind keeps its numbers.
fn selector_text(kind: &Kind, object: &Value) -> String {
    let selector = &object["spec"]["selector"];
    match kind.kind {
        "ReplicationController" => Selector::from_map(selector).to_string(),
        _ => Selector::from_object(selector).map(|s| s.to_string()).unwrap_or_default(),
    }
}

/// The `autoscaling/v1` Scale of a stored object.
pub fn scale_of(kind: &Kind, object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "creationTimestamp": metadata["creationTimestamp"]},
        "spec": {},
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)},
    });
    if !metadata["resourceVersion"].is_null() {
        scale["metadata"]["resourceVersion"] = metadata["resourceVersion"].clone();
    }
    // Zero is left out, as everywhere in this version.
    if let Some(replicas) = object["spec"]["replicas"].as_i64().filter(|replicas| *replicas != 0) {
        scale["spec"]["replicas"] = replicas.into();
    }
    let selector = selector_text(kind, object);
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// Writes a Scale into the object that it scales. `make` gives the wanted Scale from the present one.
pub fn update_scale(
    call: &Call<'_>,
    make: &dyn Fn(&Value) -> Result<Value, ApiError>,
) -> Result<Step, ApiError> {
    let entry = call.entry()?;
    let old = decode(&entry);
    let kind = call.kind();
    let scale = make(&scale_of(kind, &old))?;
    let given = scale["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if !given.is_empty() && given != "0" && old["metadata"]["resourceVersion"] != given {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        return Err(call.conflict(why));
    }
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let finding = Finding {
            kind: FindingKind::Invalid,
            field: "spec.replicas".to_owned(),
            message: format!("Invalid value: {replicas}: must be greater than or equal to 0"),
        };
        return Err(ApiError::invalid("autoscaling", "Scale", &call.target.name, &[finding]));
    }
    let mut body = old.clone();
    if let Some(metadata) = body["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    body["spec"]["replicas"] = replicas.into();
    change(call, &entry, &old, body)
}

/// Gives a pod its node. The reply is a Status.
pub fn bind(call: &Call<'_>, binding: &Value) -> Result<Step, ApiError> {
    let entry = call.entry()?;
    let old = decode(&entry);
    let name = &call.target.name;
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    check_binding(binding, name)?;
    let conflict = |why: &str| ApiError::conflict("", "pods/binding", name, why);
    let wanted_uid = binding["metadata"]["uid"].as_str().unwrap_or_default();
    let uid = old["metadata"]["uid"].as_str().unwrap_or_default();
    if !wanted_uid.is_empty() && wanted_uid != uid {
        return Err(conflict(&format!(
            "Precondition failed: UID in precondition: {wanted_uid}, UID in object meta: {uid}"
        )));
    }
    if !old["metadata"]["deletionTimestamp"].is_null() {
        return Err(conflict(&format!("pod {name} is being deleted, cannot be assigned to a host")));
    }
    let present = old["spec"]["nodeName"].as_str().unwrap_or_default();
    if !present.is_empty() {
        return Err(conflict(&format!("pod {name} is already assigned to node {present:?}")));
    }
    let mut body = old.clone();
    body["spec"]["nodeName"] = node.into();
    for (key, value) in binding["metadata"]["annotations"].as_object().into_iter().flatten() {
        body["metadata"]["annotations"][key.as_str()] = value.clone();
    }
    for (key, value) in binding["metadata"]["labels"].as_object().into_iter().flatten() {
        body["metadata"]["labels"][key.as_str()] = value.clone();
    }
    set_condition(&mut body, "PodScheduled", &call.now.to_string());
    let encoded = super::encode::Encoded::of(&body);
    let key = entry.key.to_string();
    let step = Step::reply(201, Body::Plain(success(201)), Vec::new());
    if call.options.dry_run {
        return Ok(step);
    }
    let guard = kedge_store::Guard { key: key.clone(), mod_revision: entry.mod_revision };
    Ok(step.commit(guard, kedge_store::Op::Put { key, value: encoded.bytes }))
}

fn check_binding(binding: &Value, name: &str) -> Result<(), ApiError> {
    let target = &binding["target"];
    let text = |key: &str| target[key].as_str().unwrap_or_default();
    let mut findings = Vec::new();
    if !["", "Node"].contains(&text("kind")) {
        findings.push(Finding {
            kind: FindingKind::NotSupported,
            field: "target.kind".to_owned(),
            message: format!(
                "Unsupported value: {:?}: supported values: \"Node\", \"<empty>\"",
                text("kind")
            ),
        });
    }
    if text("name").is_empty() {
        findings.push(Finding {
            kind: FindingKind::Required,
            field: "target.name".to_owned(),
            message: "Required value".to_owned(),
        });
    }
    match findings.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid("", "Binding", name, &findings)),
    }
}

fn set_condition(pod: &mut Value, kind: &str, now: &str) {
    let condition = json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    let conditions = pod["status"]["conditions"].as_array_mut().expect("it was made a list above");
    match conditions.iter_mut().find(|c| c["type"] == kind) {
        Some(present) => {
            if present["status"] != "True" {
                *present = condition;
            }
        }
        None => conditions.push(condition),
    }
}

/// A Status that says that it was done.
pub fn success(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code})
}

/// Deletes a pod if no PodDisruptionBudget forbids it.
pub fn evict(call: &Call<'_>, eviction: &Value) -> Result<Step, ApiError> {
    let entry = call.entry()?;
    let pod = decode(&entry);
    let name = eviction["metadata"]["name"].as_str().unwrap_or_default();
    if !name.is_empty() && name != call.target.name {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = match &eviction["deleteOptions"] {
        Value::Null => DeleteOptions::default(),
        body => DeleteOptions::from_body(body)?,
    };
    // Pods that no longer or not yet run disturb nobody.
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    let idle = matches!(phase, "Succeeded" | "Failed" | "Pending")
        || !pod["metadata"]["deletionTimestamp"].is_null();
    let budgets = if idle { Vec::new() } else { budgets_of(call, &pod) };
    match budgets.as_slice() {
        [] => {}
        [budget] => check_budget(budget, &pod)?,
        _ => {
            let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not \
                           support.";
            return Err(ApiError::new(500, "InternalError", message));
        }
    }
    let options = DeleteOptions { dry_run: options.dry_run || call.options.dry_run, ..options };
    let mut step = delete::delete(call, &options)?;
    step.reply.code = 201;
    step.reply.body = Body::Plain(success(201));
    if let Some(txn) = &mut step.txn {
        tell_disruption(call, txn);
    }
    if let ([budget], Some(txn)) = (budgets.as_slice(), &mut step.txn) {
        spend(call, budget, txn)?;
    }
    Ok(step)
}

fn budgets_of(call: &Call<'_>, pod: &Value) -> Vec<Value> {
    let budgets = call.objects.list("policy", "poddisruptionbudgets", Some(&call.target.namespace));
    let selects = |budget: &Value| {
        Selector::from_object(&budget["spec"]["selector"])
            .is_ok_and(|s| s.matches(&pod["metadata"]["labels"]))
    };
    budgets.iter().filter(|budget| selects(budget)).map(|budget| (**budget).clone()).collect()
}

fn check_budget(budget: &Value, pod: &Value) -> Result<(), ApiError> {
    let ready = pod["status"]["conditions"]
        .as_array()
        .is_some_and(|conditions| conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
    let status = &budget["status"];
    let healthy =
        status["currentHealthy"].as_i64().unwrap_or(0) >= status["desiredHealthy"].as_i64().unwrap_or(0);
    let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
    if !ready && (always || (healthy && status["desiredHealthy"].as_i64().unwrap_or(0) > 0)) {
        return Ok(());
    }
    if status["disruptionsAllowed"].as_i64().unwrap_or(0) > 0 {
        return Ok(());
    }
    let name = budget["metadata"]["name"].as_str().unwrap_or_default();
    let message = format!(
        "The disruption budget {name} needs {} healthy pods and has {} currently",
        status["desiredHealthy"].as_i64().unwrap_or(0),
        status["currentHealthy"].as_i64().unwrap_or(0),
    );
    Err(ApiError {
        details: json!({"causes": [{"reason": "DisruptionBudget", "message": message}]}),
        ..ApiError::new(
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.",
        )
    })
}

/// A pod that goes slowly says who sent it away; failure policies of Jobs ask.
fn tell_disruption(call: &Call<'_>, txn: &mut kedge_store::Txn) {
    for op in &mut txn.ops {
        let kedge_store::Op::Put { value, .. } = op else { continue };
        let Ok(mut pod) = serde_json::from_slice::<Value>(value) else { continue };
        set_condition(&mut pod, "DisruptionTarget", &call.now.to_string());
        let conditions = pod["status"]["conditions"].as_array_mut().into_iter().flatten();
        for condition in conditions.filter(|condition| condition["type"] == "DisruptionTarget") {
            condition["reason"] = "EvictionByEvictionAPI".into();
            condition["message"] = "Eviction API: evicting".into();
        }
        *value = super::encode::Encoded::of(&pod).bytes;
    }
}

/// Takes one disruption from the budget in the same transaction as the deletion.
fn spend(call: &Call<'_>, budget: &Value, txn: &mut kedge_store::Txn) -> Result<(), ApiError> {
    let kind = kedge_api::kinds::stored("policy", "poddisruptionbudgets").expect("the table has budgets");
    let name = budget["metadata"]["name"].as_str().unwrap_or_default();
    let key = super::route::key(kind, &call.target.namespace, name);
    let Some(entry) = call.store.get(&key) else { return Ok(()) };
    let mut budget = decode(&entry);
    let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
    budget["status"]["disruptionsAllowed"] = (allowed - 1).max(0).into();
    budget["status"]["disruptedPods"][call.target.name.as_str()] = call.now.to_string().into();
    txn.guards.push(kedge_store::Guard { key: key.clone(), mod_revision: entry.mod_revision });
    let value = super::encode::Encoded::of(&budget).bytes;
    txn.ops.push(kedge_store::Op::Put { key, value });
    Ok(())
}
