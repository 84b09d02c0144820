//! The Node object: registration and status.

use std::collections::BTreeMap;

use kedge_api::meta::Condition;
use kedge_api::node::{
    ContainerImage, DaemonEndpoint, NodeAddress, NodeDaemonEndpoints, NodeFeatures, NodeRuntimeHandler,
    NodeRuntimeHandlerFeatures, NodeStatus, NodeSystemInfo,
};
use kedge_api::pod::ResourceList;
use kedge_cri_api::{Image, RuntimeStatus};

use crate::Moment;

const PODS_MAX: &str = "110";
/// Images that a status lists, and names of each: the object stays small.
const IMAGES_MAX: usize = 50;
const IMAGE_NAMES_MAX: usize = 5;
/// Reserved for the node's own use before a pod gets it, and before eviction: upstream's default hard thresholds.
const MEMORY_RESERVED_BYTES: i64 = 100 * 1024 * 1024;

/// What was read from the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    pub host_name: String,
    pub node_ips: Vec<String>,
    pub cpus: i64,
    pub memory_bytes: i64,
    pub disk_bytes: i64,
    /// (`hugepages-2Mi`, bytes)
    pub huge_pages: Vec<(String, i64)>,
    pub machine_id: String,
    pub system_uuid: String,
    pub boot_id: String,
    pub kernel_version: String,
    pub os_image: String,
    /// `amd64`
    pub architecture: String,
    pub swap_bytes: i64,
    /// `v1.36.2+kedge.1`
    pub version: String,
    /// `kedge://0.1.0`
    pub runtime_version: String,
    pub kubelet_port: u16,
}

/// What presses on the node at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    pub memory: bool,
    pub disk: bool,
    pub pid: bool,
}

pub fn labels(name: &str, machine: &Machine) -> BTreeMap<String, String> {
    [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", machine.architecture.as_str()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", machine.architecture.as_str()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

pub fn capacity(machine: &Machine) -> ResourceList {
    let mut list: ResourceList = [
        ("cpu", machine.cpus.to_string()),
        ("memory", format!("{}Ki", machine.memory_bytes / 1024)),
        ("ephemeral-storage", format!("{}Ki", machine.disk_bytes / 1024)),
        ("pods", PODS_MAX.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    list.extend(machine.huge_pages.iter().map(|(name, bytes)| {
        (name.clone(), if *bytes == 0 { "0".to_owned() } else { format!("{}Mi", bytes >> 20) })
    }));
    list
}

pub fn allocatable(machine: &Machine) -> ResourceList {
    let mut list = capacity(machine);
    let huge: i64 = machine.huge_pages.iter().map(|(_, bytes)| bytes).sum();
    let memory = (machine.memory_bytes - MEMORY_RESERVED_BYTES - huge).max(0) / 1024;
    list.insert("memory".to_owned(), format!("{memory}Ki"));
    // A tenth of the disk is upstream's eviction threshold.
    list.insert("ephemeral-storage".to_owned(), (machine.disk_bytes / 10 * 9).to_string());
    list
}

/// The whole status. Conditions of others are carried over from `old`.
pub fn status(
    machine: &Machine,
    runtime: &Result<RuntimeStatus, String>,
    images: &[Image],
    pressure: Pressure,
    old: &NodeStatus,
    now: Moment,
) -> NodeStatus {
    let features = runtime.as_ref().ok();
    NodeStatus {
        capacity: capacity(machine),
        allocatable: allocatable(machine),
        phase: String::new(),
        conditions: conditions(runtime, pressure, old, now),
        addresses: addresses(machine),
        daemon_endpoints: NodeDaemonEndpoints {
            kubelet_endpoint: DaemonEndpoint { port: i32::from(machine.kubelet_port) },
        },
        node_info: system_info(machine),
        images: image_list(images),
        volumes_in_use: old.volumes_in_use.clone(),
        runtime_handlers: features.map(|status| vec![handler(status)]).unwrap_or_default(),
        features: features.map(|status| NodeFeatures {
            supplemental_groups_policy: Some(status.supplemental_groups_policy),
        }),
        declared_features: old.declared_features.clone(),
    }
}

fn handler(status: &RuntimeStatus) -> NodeRuntimeHandler {
    NodeRuntimeHandler {
        name: String::new(),
        features: Some(NodeRuntimeHandlerFeatures {
            recursive_read_only_mounts: Some(status.recursive_read_only_mounts),
            user_namespaces: Some(status.user_namespaces),
        }),
    }
}

fn addresses(machine: &Machine) -> Vec<NodeAddress> {
    let address =
        |kind: &str, address: &str| NodeAddress { r#type: kind.to_owned(), address: address.to_owned() };
    let ips = machine.node_ips.iter().map(|ip| address("InternalIP", ip));
    ips.chain([address("Hostname", &machine.host_name)]).collect()
}

fn system_info(machine: &Machine) -> NodeSystemInfo {
    NodeSystemInfo {
        machine_id: machine.machine_id.clone(),
        system_uuid: machine.system_uuid.clone(),
        boot_id: machine.boot_id.clone(),
        kernel_version: machine.kernel_version.clone(),
        os_image: machine.os_image.clone(),
        container_runtime_version: machine.runtime_version.clone(),
        kubelet_version: machine.version.clone(),
        kube_proxy_version: String::new(),
        operating_system: "linux".to_owned(),
        architecture: machine.architecture.clone(),
        swap: (machine.swap_bytes > 0)
            .then_some(kedge_api::node::NodeSwapStatus { capacity: machine.swap_bytes }),
    }
}

/// The largest images first, since ImageLocality scores by size.
fn image_list(images: &[Image]) -> Vec<ContainerImage> {
    let mut sorted: Vec<&Image> = images.iter().collect();
    sorted.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.id.cmp(&b.id)));
    let of = |image: &Image| ContainerImage {
        names: image.repo_digests.iter().chain(&image.repo_tags).take(IMAGE_NAMES_MAX).cloned().collect(),
        size_bytes: i64::try_from(image.size_bytes).unwrap_or(i64::MAX),
    };
    sorted.into_iter().map(of).filter(|image| !image.names.is_empty()).take(IMAGES_MAX).collect()
}

/// Status, reason and message of one condition.
type Verdict = (&'static str, bool, &'static str, String);

fn conditions(
    runtime: &Result<RuntimeStatus, String>,
    pressure: Pressure,
    old: &NodeStatus,
    now: Moment,
) -> Vec<Condition> {
    let verdicts: [Verdict; 4] = [
        if pressure.memory {
            (
                "MemoryPressure",
                true,
                "KubeletHasInsufficientMemory",
                "kubelet has insufficient memory available".into(),
            )
        } else {
            (
                "MemoryPressure",
                false,
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available".into(),
            )
        },
        if pressure.disk {
            ("DiskPressure", true, "KubeletHasDiskPressure", "kubelet has disk pressure".into())
        } else {
            ("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure".into())
        },
        if pressure.pid {
            (
                "PIDPressure",
                true,
                "KubeletHasInsufficientPID",
                "kubelet has insufficient PID available".into(),
            )
        } else {
            ("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available".into())
        },
        ready(runtime),
    ];
    let owned = verdicts.each_ref().map(|verdict| verdict.0);
    let foreign =
        old.conditions.iter().filter(|condition| !owned.contains(&condition.r#type.as_str())).cloned();
    foreign.chain(verdicts.map(|verdict| condition(verdict, old, now))).collect()
}

fn ready(runtime: &Result<RuntimeStatus, String>) -> Verdict {
    let problem = match runtime {
        Err(message) => Some(format!("container runtime is down: {message}")),
        Ok(status) if !status.runtime_ready => {
            Some(format!("container runtime is not ready: {}", status.runtime_message))
        }
        Ok(status) if !status.network_ready => {
            let message = &status.network_message;
            Some(format!(
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:{message}"
            ))
        }
        Ok(_) => None,
    };
    match problem {
        None => ("Ready", true, "KubeletReady", "kubelet is posting ready status".to_owned()),
        Some(message) => ("Ready", false, "KubeletNotReady", message),
    }
}

fn condition((name, on, reason, message): Verdict, old: &NodeStatus, now: Moment) -> Condition {
    let status = if on { "True" } else { "False" };
    let since =
        old.condition(name).filter(|old| old.status == status).and_then(|old| old.last_transition_time);
    Condition {
        r#type: name.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_heartbeat_time: Some(now.to_time()),
        last_transition_time: Some(since.unwrap_or(now.to_time())),
        ..Condition::default()
    }
}

/// True when the two differ in more than heartbeats: only then is the status sent.
pub fn differs(a: &NodeStatus, b: &NodeStatus) -> bool {
    let still = |status: &NodeStatus| {
        let mut status = status.clone();
        status.conditions.iter_mut().for_each(|condition| condition.last_heartbeat_time = None);
        status
    };
    still(a) != still(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            host_name: "n".into(),
            node_ips: vec!["10.0.0.1".into()],
            cpus: 2,
            memory_bytes: 8 << 30,
            disk_bytes: 100 << 30,
            huge_pages: vec![("hugepages-2Mi".into(), 0)],
            architecture: "amd64".into(),
            kubelet_port: 10250,
            ..Machine::default()
        }
    }

    #[test]
    fn capacity_and_allocatable() {
        let (capacity, allocatable) = (capacity(&machine()), allocatable(&machine()));
        assert_eq!((capacity["memory"].as_str(), allocatable["memory"].as_str()), ("8388608Ki", "8286208Ki"));
        assert_eq!(
            (capacity["ephemeral-storage"].as_str(), capacity["hugepages-2Mi"].as_str()),
            ("104857600Ki", "0")
        );
        assert_eq!(allocatable["ephemeral-storage"], "96636764160");
    }

    #[test]
    fn ready_and_not() {
        let fine = RuntimeStatus { runtime_ready: true, network_ready: true, ..RuntimeStatus::default() };
        let no_network =
            RuntimeStatus { network_ready: false, network_message: "no podCIDR".into(), ..fine.clone() };
        let of = |runtime: Result<RuntimeStatus, String>, old: &NodeStatus, at: i64| {
            status(&machine(), &runtime, &[], Pressure::default(), old, Moment(at))
        };
        let first = of(Ok(fine.clone()), &NodeStatus::default(), 1_000);
        let kinds: Vec<_> = first.conditions.iter().map(|c| (c.r#type.as_str(), c.status.as_str())).collect();
        assert_eq!(
            kinds,
            [
                ("MemoryPressure", "False"),
                ("DiskPressure", "False"),
                ("PIDPressure", "False"),
                ("Ready", "True")
            ]
        );
        let second = of(Ok(fine), &first, 9_000);
        assert!(!differs(&first, &second), "a heartbeat alone is not sent");
        let third = of(Ok(no_network), &second, 10_000);
        let ready = third.condition("Ready").unwrap();
        assert!(differs(&second, &third) && ready.reason == "KubeletNotReady");
        assert_eq!(ready.last_transition_time, Some(kedge_api::Time(10)));
        assert!(ready.message.ends_with("message:no podCIDR"), "{}", ready.message);
    }

    #[test]
    fn images_by_size() {
        let image = |id: &str, size_bytes: u64, tag: &str| Image {
            id: id.into(),
            size_bytes,
            repo_tags: if tag.is_empty() { vec![] } else { vec![tag.into()] },
            ..Image::default()
        };
        let list = image_list(&[image("a", 1, "x:1"), image("b", 2, "y:1"), image("c", 3, "")]);
        assert_eq!(list.iter().map(|i| i.names[0].as_str()).collect::<Vec<_>>(), ["y:1", "x:1"]);
    }
}
