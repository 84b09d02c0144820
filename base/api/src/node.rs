//! Node: what the scheduler, the kubelet, the controllers and the datapath read.

use crate::meta::{Condition, ObjectMeta, Time, api_struct};
use crate::pod::{ResourceList, Toleration};

api_struct! {
    pub struct Node {
        metadata: ObjectMeta,
        spec: NodeSpec,
        status: NodeStatus,
    }

    pub struct NodeSpec {
        #[serde(rename = "podCIDR")]
        pod_cidr: String,
        #[serde(rename = "podCIDRs")]
        pod_cidrs: Vec<String>,
        #[serde(rename = "providerID")]
        provider_id: String,
        unschedulable: bool,
        taints: Vec<Taint>,
    }

    pub struct Taint {
        value: String,
        time_added: Option<Time>,
    } always {
        key: String,
        effect: String,
    }

    pub struct NodeStatus {
        capacity: ResourceList,
        allocatable: ResourceList,
        phase: String,
        conditions: Vec<Condition>,
        addresses: Vec<NodeAddress>,
        daemon_endpoints: NodeDaemonEndpoints,
        node_info: NodeSystemInfo,
        images: Vec<ContainerImage>,
        volumes_in_use: Vec<String>,
        runtime_handlers: Vec<NodeRuntimeHandler>,
        features: Option<NodeFeatures>,
        declared_features: Vec<String>,
    }

    pub struct NodeAddress {
        r#type: String,
        address: String,
    }

    pub struct NodeDaemonEndpoints {
        kubelet_endpoint: DaemonEndpoint,
    }

    pub struct DaemonEndpoint {
        #[serde(rename = "Port")]
        port: i32,
    }

    pub struct NodeSystemInfo {
        swap: Option<NodeSwapStatus>,
    } always {
        #[serde(rename = "machineID")]
        machine_id: String,
        #[serde(rename = "systemUUID")]
        system_uuid: String,
        #[serde(rename = "bootID")]
        boot_id: String,
        kernel_version: String,
        os_image: String,
        container_runtime_version: String,
        kubelet_version: String,
        kube_proxy_version: String,
        operating_system: String,
        architecture: String,
    }

    pub struct NodeSwapStatus {
        capacity: i64,
    }

    pub struct ContainerImage {
        names: Vec<String>,
        size_bytes: i64,
    }

    pub struct NodeRuntimeHandler {
        features: Option<NodeRuntimeHandlerFeatures>,
    } always {
        name: String,
    }

    pub struct NodeRuntimeHandlerFeatures {
        recursive_read_only_mounts: Option<bool>,
        user_namespaces: Option<bool>,
    }

    pub struct NodeFeatures {
        supplemental_groups_policy: Option<bool>,
    }
}

impl Node {
    pub fn is_ready(&self) -> bool {
        self.status.condition("Ready").is_some_and(Condition::is_true)
    }
}

impl NodeStatus {
    pub fn condition(&self, r#type: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.r#type == r#type)
    }

    /// The first address of this type (`InternalIP`, `Hostname`).
    pub fn address(&self, r#type: &str) -> Option<&str> {
        self.addresses.iter().find(|address| address.r#type == r#type).map(|address| address.address.as_str())
    }
}

pub fn is_tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.is_empty() || toleration.effect == taint.effect;
    let key = toleration.key.is_empty() || toleration.key == taint.key;
    let value = match toleration.operator.as_str() {
        "Exists" => true,
        "" | "Equal" => toleration.value == taint.value,
        // Lt and Gt are alpha upstream and refused by validation.
        _ => false,
    };
    effect && key && value
}
