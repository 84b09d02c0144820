//! What upstream fills into a pod spec, in a Pod and in the templates of the kinds that make pods.

use super::super::access::{Fill, Read};
use super::resources;
use kedge_api::Quantity;
use serde_json::Value;

/// The defaults of every pod spec, also of a template's.
fn default_pod_spec(spec: &mut Value) {
    drop_disabled_fields(spec);
    spec.fill_text("dnsPolicy", "ClusterFirst");
    spec.fill_text("restartPolicy", "Always");
    spec.child("securityContext");
    spec.fill("terminationGracePeriodSeconds", 30);
    spec.fill_text("schedulerName", "default-scheduler");
    mirror_service_account(spec);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        spec.each(list, default_container);
    }
    spec.each("volumes", default_volume);
    spec.with("resources", default_amounts);
    spec.canonical_resources("overhead");
}

/// Fields behind feature gates that are off by default in 1.36 are not there for anybody.
fn drop_disabled_fields(spec: &mut Value) {
    spec.each("volumes", |volume| {
        volume.with("projected", |projected| {
            projected.each("sources", |source| source.drop_field("clusterTrustBundle"));
        })
    });
    for list in ["initContainers", "containers"] {
        spec.each(list, |container| container.with("lifecycle", |hooks| hooks.drop_field("stopSignal")));
    }
}

/// A `PodTemplateSpec`: its metadata is always there.
pub(in super::super) fn default_template(template: &mut Value) {
    template.child("metadata");
    default_pod_spec(template.child("spec"));
}

/// What only a Pod gets, so that templates stay as they were written.
pub(super) fn default_pod(pod: &mut Value) {
    let spec = pod.child("spec");
    default_pod_spec(spec);
    for list in ["containers", "initContainers"] {
        spec.each(list, |container| requests_from_limits(container.child("resources")));
    }
    default_pod_level_resources(spec);
    spec.fill("enableServiceLinks", true);
    if spec.flag("hostNetwork") {
        for list in ["containers", "initContainers"] {
            spec.each(list, |container| container.each("ports", host_port_from_container_port));
        }
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are always written.
fn mirror_service_account(spec: &mut Value) {
    let name = match spec.text("serviceAccountName") {
        "" => spec.text("serviceAccount").to_owned(),
        name => name.to_owned(),
    };
    if !name.is_empty() {
        spec["serviceAccountName"] = name.as_str().into();
        spec["serviceAccount"] = name.into();
    }
}

fn default_container(container: &mut Value) {
    let policy = pull_policy(container.text("image"));
    container.fill_text("imagePullPolicy", policy);
    container.fill_text("terminationMessagePath", "/dev/termination-log");
    container.fill_text("terminationMessagePolicy", "File");
    default_amounts(container.child("resources"));
    container.each("ports", |port| port.fill_text("protocol", "TCP"));
    container.each("env", |variable| {
        variable.with("valueFrom", |source| {
            source.with("fieldRef", default_field_ref);
            source.with("resourceFieldRef", default_divisor);
            source.with("fileKeyRef", |file| file.fill("optional", false));
        })
    });
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        container.with(probe, default_probe);
    }
    container.with("lifecycle", |lifecycle| {
        for hook in ["postStart", "preStop"] {
            lifecycle.with(hook, |hook| hook.with("httpGet", default_http_get));
        }
    });
    container.with("securityContext", |context| {
        // The default proc mount is written down where a context is given at all, since 1.12 clients expect it.
        if context.has("procMount") && context.text("procMount").is_empty() {
            context.drop_field("procMount");
        }
    });
}

/// `Always` for the tag latest, said or meant; a digest is never latest.
fn pull_policy(image: &str) -> &'static str {
    if is_latest(image) { "Always" } else { "IfNotPresent" }
}

fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.split_once(':') {
        Some((_, tag)) => tag == "latest",
        // An image that is no reference at all has no tag; validation speaks about it.
        None => !name.is_empty(),
    }
}

fn default_probe(probe: &mut Value) {
    probe.fill_number("timeoutSeconds", 1);
    probe.fill_number("periodSeconds", 10);
    probe.fill_number("successThreshold", 1);
    probe.fill_number("failureThreshold", 3);
    probe.with("httpGet", default_http_get);
    probe.with("grpc", |grpc| grpc.fill("service", ""));
}

fn default_http_get(action: &mut Value) {
    action.fill_text("path", "/");
    action.fill_text("scheme", "HTTP");
}

fn default_field_ref(reference: &mut Value) {
    reference.fill_text("apiVersion", "v1");
}

/// The divisor is a quantity without a pointer: zero is written out.
fn default_divisor(reference: &mut Value) {
    reference.fill("divisor", "0");
    reference.canonical_quantity("divisor");
}

fn default_amounts(resources: &mut Value) {
    resources.canonical_resources("limits");
    resources.canonical_resources("requests");
}

fn requests_from_limits(resources: &mut Value) {
    let limits = resources["limits"].clone();
    if limits.is_null() {
        return;
    }
    for (name, amount) in limits.as_object().into_iter().flatten() {
        resources.child("requests").fill(name, amount.clone());
    }
}

fn host_port_from_container_port(port: &mut Value) {
    let number = port.number("containerPort").unwrap_or_default();
    port.fill_number("hostPort", number);
}

/// KEP-2837: requests of the pod follow from its containers, then from its own limits.
fn default_pod_level_resources(spec: &mut Value) {
    if !spec.has("resources") {
        return;
    }
    if spec["resources"].lacks("limits") && spec["resources"].lacks("requests") {
        return;
    }
    for (name, amount) in resources::of_containers(spec, "limits") {
        let asked = spec["resources"]["requests"].has(&name);
        if name.starts_with("hugepages-") && !asked {
            spec.child("resources").child("limits").fill(&name, amount.to_string());
        }
    }
    if spec["resources"].lacks("limits") {
        return;
    }
    let is_supported = |name: &str| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
    let sums: Vec<(String, Quantity)> = resources::of_containers(spec, "requests").into_iter().collect();
    for (name, amount) in sums {
        if matches!(name.as_str(), "cpu" | "memory") {
            spec.child("resources").child("requests").fill(&name, amount.to_string());
        }
    }
    let limits = spec["resources"]["limits"].clone();
    for (name, amount) in limits.as_object().into_iter().flatten().filter(|(name, _)| is_supported(name)) {
        spec.child("resources").child("requests").fill(name, amount.clone());
    }
}

/// A volume without a source is an empty directory; sources have defaults of their own.
fn default_volume(volume: &mut Value) {
    let names: Vec<String> = volume.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    if names.iter().all(|name| name == "name" || !volume.has(name)) {
        volume.child("emptyDir");
    }
    default_volume_source(volume);
    volume.with("emptyDir", |source| source.canonical_quantity("sizeLimit"));
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        volume.with(source, |source| source.fill("defaultMode", 0o644));
    }
    volume.with("downwardAPI", default_downward_items);
    volume.with("projected", |projected| projected.each("sources", default_projection));
    volume.with("image", |source| {
        let policy = pull_policy(source.text("reference"));
        source.fill_text("pullPolicy", policy);
    });
    volume.with("ephemeral", |source| {
        source.with("volumeClaimTemplate", |template| {
            template.child("metadata");
            super::super::storage::default_claim_spec(template.child("spec"));
        })
    });
}

/// Sources that pods and persistent volumes share.
pub(in super::super) fn default_volume_source(holder: &mut Value) {
    holder.with("hostPath", |source| source.fill("type", ""));
    holder.with("iscsi", |source| source.fill_text("iscsiInterface", "default"));
    holder.with("rbd", |source| {
        source.fill_text("pool", "rbd");
        source.fill_text("user", "admin");
        source.fill_text("keyring", "/etc/ceph/keyring");
    });
    holder.with("azureDisk", |source| {
        source.fill("cachingMode", "ReadWrite");
        source.fill("kind", "Shared");
        source.fill("fsType", "ext4");
        source.fill("readOnly", false);
    });
    holder.with("scaleIO", |source| {
        source.fill_text("storageMode", "ThinProvisioned");
        source.fill_text("fsType", "xfs");
        source.fill("secretRef", Value::Null);
    });
}

fn default_downward_items(source: &mut Value) {
    source.each("items", |item| {
        item.with("fieldRef", default_field_ref);
        item.with("resourceFieldRef", default_divisor);
    });
}

fn default_projection(projection: &mut Value) {
    projection.with("serviceAccountToken", |token| token.fill("expirationSeconds", 3600));
    projection.with("downwardAPI", default_downward_items);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn latest_is_pulled_always() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1", "IfNotPresent"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:aa", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn limits_become_requests_in_pods_only() {
        let spec = json!({"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]});
        let mut template = json!({"spec": spec});
        default_template(&mut template);
        assert!(!template["spec"]["containers"][0]["resources"].has("requests"));
        let mut pod = json!({"spec": spec});
        default_pod(&mut pod);
        assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"], json!({"cpu": "1"}));
    }

    #[test]
    fn a_volume_without_source_is_an_empty_directory() {
        let mut volume = json!({"name": "v"});
        default_volume(&mut volume);
        assert_eq!(volume, json!({"name": "v", "emptyDir": {}}));
    }
}
