//! ServiceAccount: every pod runs as one, with its token mounted and its pull secrets, unless it says otherwise.

use super::{Operation, Plugin, Request, list, text};
use crate::authorization::graph::{Vertex, referenced};
use crate::status::ApiError;
use serde_json::{Value, json};

pub struct ServiceAccount;

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// The lifetime that marks a token as projected for the API; see `authentication::tokens`.
const EXPIRATION_S: i64 = 3607;

impl Plugin for ServiceAccount {
    fn admit(&self, request: Request<'_>, pod: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        if !request.is("", "pods", "") || request.operation != Operation::Create {
            return Ok(());
        }
        if is_mirror(pod) {
            return validate_mirror(request, pod);
        }
        if text(&pod["spec"]["serviceAccountName"]).is_empty() {
            pod["spec"]["serviceAccountName"] = "default".into();
        }
        // The field's older name.
        pod["spec"]["serviceAccount"] = pod["spec"]["serviceAccountName"].clone();
        let name = text(&pod["spec"]["serviceAccountName"]).to_owned();
        let namespace = &request.attributes.namespace;
        let Some(account) = request.objects.get("", "serviceaccounts", namespace, &name) else {
            let why = format!(
                "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
            );
            return Err(request.forbidden(Some(pod), &why));
        };
        let automount = pod["spec"]["automountServiceAccountToken"]
            .as_bool()
            .or_else(|| account["automountServiceAccountToken"].as_bool())
            .unwrap_or(true);
        if automount {
            mount_token(&mut pod["spec"], request.suffix);
        }
        let pull_secrets = account["imagePullSecrets"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !pull_secrets.is_empty() && list(&mut pod["spec"], "imagePullSecrets").is_empty() {
            pod["spec"]["imagePullSecrets"] = pull_secrets.into();
        }
        Ok(())
    }
}

fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some()
}

/// A mirror pod stands for a static one, which cannot use the API's objects.
fn validate_mirror(request: Request<'_>, pod: &Value) -> Result<(), ApiError> {
    let refuse = |why: &str| Err(request.forbidden(Some(pod), why));
    if !text(&pod["spec"]["serviceAccountName"]).is_empty() {
        return refuse("a mirror pod may not reference service accounts");
    }
    if referenced(pod, "", "").iter().any(|(vertex, _, _)| *vertex == Vertex::Secret) {
        return refuse("a mirror pod may not reference secrets");
    }
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let mut sources =
        volumes.flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten());
    if sources.any(|source| !source["serviceAccountToken"].is_null()) {
        return refuse("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

/// Adds the projected volume, and its mount to each container that has nothing at the path yet.
fn mount_token(spec: &mut Value, suffix: &str) {
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let existing = volumes.map(|volume| text(&volume["name"])).find(|name| name.starts_with(VOLUME_PREFIX));
    let existing = existing.map(str::to_owned);
    let name = existing.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{suffix}"));
    let mut mounted = false;
    for field in ["initContainers", "containers"] {
        for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            let mounts = list(container, "volumeMounts");
            if !mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
                mounted = true;
            }
        }
    }
    if mounted && existing.is_none() {
        list(spec, "volumes").push(json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": EXPIRATION_S, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace",
                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}}));
    }
}
