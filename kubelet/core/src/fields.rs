//! Values of the downward API: `fieldRef` and `resourceFieldRef`.

use std::fmt::Write;

use kedge_api::Quantity;
use kedge_api::meta::Labels;
use kedge_api::pod::{Container, Pod, ResourceFieldSelector, ResourceList};

/// What fields a pod can be asked for beyond its own object.
#[derive(Debug, Clone, Default)]
pub struct FieldContext {
    pub node_name: String,
    pub host_ips: Vec<String>,
    pub pod_ips: Vec<String>,
    /// Limits that a container does not set read as the node's allocatable.
    pub allocatable: ResourceList,
}

/// The value of `metadata.name`, `metadata.labels['a']`, `status.podIP` and so on.
pub fn field(path: &str, pod: &Pod, context: &FieldContext) -> Result<String, String> {
    if let Some((map, key)) = subscript(path) {
        return match map {
            "metadata.labels" => Ok(pod.metadata.labels.get(key).cloned().unwrap_or_default()),
            "metadata.annotations" => Ok(pod.metadata.annotations.get(key).cloned().unwrap_or_default()),
            _ => Err(format!("fieldPath {path:?} does not support subscript")),
        };
    }
    let first = |ips: &[String]| ips.first().cloned().unwrap_or_default();
    Ok(match path {
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.metadata.namespace.clone(),
        "metadata.uid" => pod.metadata.uid.clone(),
        "metadata.labels" => map_lines(&pod.metadata.labels),
        "metadata.annotations" => map_lines(&pod.metadata.annotations),
        "spec.nodeName" => context.node_name.clone(),
        "spec.serviceAccountName" => pod.spec.service_account_name.clone(),
        "status.hostIP" => first(&context.host_ips),
        "status.hostIPs" => context.host_ips.join(","),
        "status.podIP" => first(&context.pod_ips),
        "status.podIPs" => context.pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.split_once("['")?;
    Some((map, key.strip_suffix("']")?))
}

/// One `key="value"` a line, sorted by key, without a final newline.
fn map_lines(map: &Labels) -> String {
    let lines: Vec<String> = map.iter().map(|(key, value)| format!("{key}={}", go_quote(value))).collect();
    lines.join("\n")
}

/// A string as Go's `%q` prints it.
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0b' => quoted.push_str("\\v"),
            '\x0c' => quoted.push_str("\\f"),
            c if u32::from(c) < 0x20 || c == '\x7f' => {
                write!(quoted, "\\x{:02x}", u32::from(c)).expect("writing to a String cannot fail");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The value of `limits.cpu`, `requests.memory` and so on, in units of the divisor and rounded up.
pub fn resource(
    selector: &ResourceFieldSelector,
    pod: &Pod,
    own: Option<&Container>,
    context: &FieldContext,
) -> Result<String, String> {
    let named =
        |name: &str| pod.spec.containers.iter().chain(&pod.spec.init_containers).find(|c| c.name == name);
    let container = match own {
        Some(own) if selector.container_name.is_empty() || selector.container_name == own.name => own,
        _ => named(&selector.container_name)
            .ok_or_else(|| format!("container {} not found", selector.container_name))?,
    };
    let (kind, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let limit = || container.resources.limits.get(name).or_else(|| context.allocatable.get(name));
    let text = match kind {
        "limits" => limit(),
        "requests" => container.resources.requests.get(name),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let amount: Quantity = match text {
        Some(text) => text.parse().map_err(|error| format!("{}: {error}", selector.resource))?,
        None => Quantity::ZERO,
    };
    let divisor = selector.divisor.as_deref().filter(|divisor| *divisor != "0").unwrap_or("1");
    let divisor: Quantity = divisor.parse().map_err(|error| format!("divisor {divisor}: {error}"))?;
    let (amount, divisor) = match name {
        "cpu" => (amount.milli_value(), divisor.milli_value()),
        _ => (amount.value(), divisor.value()),
    };
    // Both are non-negative; rounding up is what makes 250m of a cpu read as 1.
    let divisor = divisor.max(1);
    Ok((amount / divisor + i64::from(amount % divisor > 0)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"b": "2", "a": "x\"y\nz"}},
            "spec": {"serviceAccountName": "sa", "containers": [{"name": "c", "resources": {
                "limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "1500m"}}}]}
        }))
        .unwrap()
    }

    fn context() -> FieldContext {
        FieldContext {
            node_name: "node".into(),
            host_ips: vec!["10.0.0.1".into()],
            pod_ips: vec!["10.244.0.2".into(), "fd00::2".into()],
            allocatable: [("ephemeral-storage".to_owned(), "10Gi".to_owned())].into(),
        }
    }

    #[test]
    fn fields() {
        for (path, value) in [
            ("metadata.name", "p"),
            ("metadata.labels['b']", "2"),
            ("metadata.labels['none']", ""),
            ("metadata.labels", "a=\"x\\\"y\\nz\"\nb=\"2\""),
            ("metadata.annotations", ""),
            ("spec.nodeName", "node"),
            ("spec.serviceAccountName", "sa"),
            ("status.hostIP", "10.0.0.1"),
            ("status.podIPs", "10.244.0.2,fd00::2"),
        ] {
            assert_eq!(field(path, &pod(), &context()).unwrap(), value, "{path}");
        }
        assert!(field("spec.containers", &pod(), &context()).is_err());
    }

    #[test]
    fn resources() {
        for (name, divisor, value) in [
            ("limits.cpu", None, "1"),
            ("limits.cpu", Some("1m"), "250"),
            ("requests.cpu", None, "2"),
            ("limits.memory", Some("1Mi"), "64"),
            ("limits.memory", Some("0"), "67108864"),
            ("limits.ephemeral-storage", Some("1Gi"), "10"),
            ("requests.memory", None, "0"),
        ] {
            let pod = pod();
            let selector = ResourceFieldSelector {
                container_name: String::new(),
                resource: name.into(),
                divisor: divisor.map(str::to_owned),
            };
            let seen = resource(&selector, &pod, Some(&pod.spec.containers[0]), &context());
            assert_eq!(seen.unwrap(), value, "{name} / {divisor:?}");
        }
    }
}
