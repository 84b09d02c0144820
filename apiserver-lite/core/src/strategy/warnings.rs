//! What the server accepts and still speaks about, in `Warning` headers: deprecated fields, and values that hide each other.

use super::access::Read;
use super::field::Path;
use kedge_api::{Quantity, names};
use serde_json::Value;

/// Labels that were renamed.
const RENAMED_LABELS: [(&str, &str); 5] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
];

/// Volume sources on their way out, or gone from the kubelet.
const OLD_SOURCES: [(&str, &str, &str); 9] = [
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

pub(super) fn of_pod(pod: &Value) -> Vec<String> {
    let name = pod["metadata"].text("name");
    let wrong = if name.is_empty() { Vec::new() } else { names::dns_label(name) };
    let mut warnings = Vec::new();
    if !wrong.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            wrong.join(" ")
        ));
    }
    warnings.extend(of_pod_spec(&pod["spec"], &Path::new("spec")));
    warnings
}

/// The pod template of a workload.
pub(super) fn of_template(object: &Value) -> Vec<String> {
    let path = Path::new("spec").child("template.spec");
    of_pod_spec(&object["spec"]["template"]["spec"], &path)
}

fn of_pod_spec(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (label, _) in spec.entries("nodeSelector") {
        if let Some((_, why)) = RENAMED_LABELS.iter().find(|(old, _)| *old == label) {
            warnings.push(format!("{}: {why}", path.child("nodeSelector").key(label)));
        }
    }
    for (index, constraint) in spec.list("topologySpreadConstraints").iter().enumerate() {
        let at = path.child("topologySpreadConstraints").index(index);
        let key = constraint.text("topologyKey");
        if let Some((_, why)) = RENAMED_LABELS.iter().find(|(old, _)| *old == key) {
            warnings.push(format!("{}: {key} is {why}", at.child("topologyKey")));
        }
        if !constraint.has("labelSelector") {
            let at = at.child("labelSelector");
            warnings.push(format!("{at}: a null labelSelector results in matching no pod"));
        }
    }
    for (index, volume) in spec.list("volumes").iter().enumerate() {
        warnings.extend(of_source(volume, &path.child("volumes").index(index)));
    }
    for volume in spec.list("volumes").iter().filter(|volume| volume.has("projected")) {
        if volume["projected"]
            .list("sources")
            .iter()
            .any(|source| source.as_object().is_some_and(|s| s.is_empty()))
        {
            warnings.push(format!("volume {:?} (Projected) has no sources provided", volume.text("name")));
        }
    }
    warnings.extend(of_lists(spec, path));
    let containers = all_containers(spec, path);
    for (container, at) in &containers {
        warnings.extend(of_amounts(container, at));
        warnings.extend(of_env(container, at));
    }
    warnings.extend(of_ports(&containers));
    if spec.number("terminationGracePeriodSeconds").is_some_and(|period| period < 0) {
        let at = path.child("terminationGracePeriodSeconds");
        warnings.push(format!("{at}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    warnings
}

fn all_containers<'a>(spec: &'a Value, path: &Path) -> Vec<(&'a Value, Path)> {
    let mut containers = Vec::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let named = spec.list(list).iter().enumerate();
        containers.extend(named.map(|(index, container)| (container, path.child(list).index(index))));
    }
    containers
}

/// The old sources of a volume, of a pod or persistent.
pub(super) fn of_source(holder: &Value, path: &Path) -> Vec<String> {
    let old = OLD_SOURCES.iter().filter(|(source, ..)| holder.has(source));
    old.map(|(_, shown, why)| format!("{}: {why}", path.child(shown))).collect()
}

fn of_lists(spec: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (list, field, what) in [("hostAliases", "ip", "ip"), ("imagePullSecrets", "name", "name")] {
        let mut seen: Vec<&str> = Vec::new();
        for (index, item) in spec.list(list).iter().enumerate() {
            let (at, value) = (path.child(list).index(index).child(field), item.text(field));
            if seen.contains(&value) {
                warnings.push(format!("{at}: duplicate {what} {value:?}"));
            }
            seen.push(value);
        }
    }
    for (index, _) in
        spec.list("imagePullSecrets").iter().enumerate().filter(|(_, s)| s.text("name").is_empty())
    {
        let at = path.child("imagePullSecrets").index(index).child("name");
        warnings.push(format!("{at}: invalid empty name \"\""));
    }
    warnings
}

/// Parts of a byte mean a mistake: `100m` was meant as `100M`.
fn of_amounts(container: &Value, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for resource in ["memory", "ephemeral-storage"] {
        for list in ["limits", "requests"] {
            let text = container["resources"][list].text(resource);
            if text.parse().is_ok_and(|amount: Quantity| !amount.is_whole()) {
                let at = path.child("resources").child(list).key(resource);
                warnings.push(format!("{at}: fractional byte value {text:?} is invalid, must be an integer"));
            }
        }
    }
    warnings
}

/// A second definition is fine where it builds on the first.
fn of_env(container: &Value, path: &Path) -> Vec<String> {
    let env = container.list("env");
    let mut warnings = Vec::new();
    for (index, variable) in env.iter().enumerate() {
        let name = variable.text("name");
        if !env[..index].iter().any(|earlier| earlier.text("name") == name) {
            continue;
        }
        let reference = format!("$({name})");
        let value = variable.text("value");
        if variable.has("valueFrom") || value == reference || !value.contains(&reference) {
            let at = path.child("env").index(index);
            warnings.push(format!(
                "{at}: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
    warnings
}

fn of_ports(containers: &[(&Value, Path)]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut earlier: Vec<(&Value, Path)> = Vec::new();
    for (container, path) in containers {
        for (index, port) in container.list("ports").iter().enumerate() {
            let at = path.child("ports").index(index);
            let (host_ip, host_port) = (port.text("hostIP"), port.number("hostPort").unwrap_or_default());
            if !host_ip.is_empty() && host_port == 0 {
                warnings.push(format!(
                    "{at}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{host_ip}}}",
                    port.text("name"),
                    port.number("containerPort").unwrap_or_default(),
                    port.text("protocol"),
                ));
            }
            for (other, other_at) in &earlier {
                if let Some(how) = port_overlap(port, other) {
                    warnings.push(format!("{at}: {how} port definition with {other_at}"));
                }
            }
            earlier.push((port, at));
        }
    }
    warnings.extend(of_port_names(&earlier));
    warnings
}

fn port_overlap(port: &Value, other: &Value) -> Option<&'static str> {
    let same = |field: &str| port[field] == other[field];
    let host_port = |port: &Value| port.number("hostPort").unwrap_or_default();
    if !same("containerPort") || !same("protocol") {
        return None;
    }
    let (one, two) = (port.text("hostIP"), other.text("hostIP"));
    if one == two && host_port(port) == host_port(other) {
        Some("duplicate")
    } else if host_port(port) == 0 || host_port(other) == 0 {
        Some("overlapping")
    } else if host_port(port) == host_port(other) && one.is_empty() != two.is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

fn of_port_names(ports: &[(&Value, Path)]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, (port, at)) in ports.iter().enumerate() {
        let name = port.text("name");
        let first =
            ports[..index].iter().find(|(earlier, _)| !name.is_empty() && earlier.text("name") == name);
        if let Some((_, other)) = first {
            warnings.push(format!(
                "{at}: duplicate port name {name:?} with {other}, services and probes that select ports by name will use \
                 {other}"
            ));
        }
    }
    warnings
}

pub(super) fn of_persistent_volume(object: &Value) -> Vec<String> {
    const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    let mut warnings = Vec::new();
    if object["metadata"]["annotations"].has(OLD_CLASS) {
        let at = Path::new("metadata.annotations").key(OLD_CLASS);
        warnings.push(format!("{at}: deprecated since v1.8; use \"storageClassName\" attribute instead"));
    }
    if object["spec"].text("persistentVolumeReclaimPolicy") == "Recycle" {
        warnings.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended \
             approach is to use dynamic provisioning."
                .to_owned(),
        );
    }
    warnings.extend(of_source(&object["spec"], &Path::new("spec")));
    warnings
}

pub(super) fn of_ingress(object: &Value) -> Vec<String> {
    let is_old = object["metadata"]["annotations"].has("kubernetes.io/ingress.class");
    let text = "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
    if is_old { vec![text.to_owned()] } else { Vec::new() }
}

pub(super) fn of_endpoint_slice(object: &Value) -> Vec<String> {
    let is_old = object.text("addressType") == "FQDN";
    if is_old { vec!["spec.addressType: FQDN endpoints are deprecated".to_owned()] } else { Vec::new() }
}

pub(super) fn of_service_account(object: &Value) -> Vec<String> {
    const MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";
    if !object["metadata"]["annotations"].has(MOUNTABLE) {
        return Vec::new();
    }
    let at = Path::new("metadata.annotations").key(MOUNTABLE);
    vec![format!(
        "{at}: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    )]
}

pub(super) fn of_csi_driver(object: &Value) -> Vec<String> {
    let spec = &object["spec"];
    if spec.lacks("tokenRequests") || spec.has("serviceAccountTokenInSecrets") {
        return Vec::new();
    }
    let text = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent \
                possible logging of tokens in volume attributes";
    vec![text.to_owned()]
}
