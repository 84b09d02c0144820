//! `Service` and `EndpointSlice`, projected to the fields that the service proxy, cluster DNS and the endpoint controllers
//! read. Field meaning is the Kubernetes API's own; absent and empty are one thing here, because the API server has
//! applied the defaults before anybody reads; `null` is absent too, as in Go.

use serde::{Deserialize, Serialize};

use crate::meta::null_as_default;
use crate::{IntOrString, ObjectMeta};

/// `v1.Service`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ServiceSpec,
    #[serde(deserialize_with = "null_as_default")]
    pub status: ServiceStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    #[serde(rename = "type")]
    #[serde(deserialize_with = "null_as_default")]
    pub type_: ServiceType,
    #[serde(rename = "clusterIP", skip_serializing_if = "String::is_empty")]
    #[serde(deserialize_with = "null_as_default")]
    pub cluster_ip: String,
    /// One address per family; the first equals `cluster_ip`. `["None"]` for a headless service.
    #[serde(rename = "clusterIPs", skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "null_as_default")]
    pub cluster_ips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "null_as_default")]
    pub ip_families: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Vec<ServicePort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub selector: Option<std::collections::BTreeMap<String, String>>,
    #[serde(rename = "externalIPs", skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "null_as_default")]
    pub external_ips: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[serde(deserialize_with = "null_as_default")]
    pub external_name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub session_affinity: SessionAffinity,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub session_affinity_config: Option<SessionAffinityConfig>,
    #[serde(deserialize_with = "null_as_default")]
    pub internal_traffic_policy: TrafficPolicy,
    #[serde(deserialize_with = "null_as_default")]
    pub external_traffic_policy: TrafficPolicy,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "null_as_default")]
    pub load_balancer_source_ranges: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub publish_not_ready_addresses: bool,
    #[serde(deserialize_with = "null_as_default")]
    pub health_check_node_port: u16,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
    ExternalName,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionAffinity {
    #[default]
    None,
    ClientIP,
}

/// `Cluster` uses every endpoint, `Local` only those on the node where the packet is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrafficPolicy {
    #[default]
    Cluster,
    Local,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// The API's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    #[serde(skip_serializing_if = "String::is_empty")]
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: Protocol,
    #[serde(deserialize_with = "null_as_default")]
    pub port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub target_port: Option<IntOrString>,
    /// 0 where the port has none.
    #[serde(skip_serializing_if = "is_zero")]
    #[serde(deserialize_with = "null_as_default")]
    pub node_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub app_protocol: Option<String>,
}

fn is_zero(port: &u16) -> bool {
    *port == 0
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionAffinityConfig {
    #[serde(rename = "clientIP")]
    #[serde(deserialize_with = "null_as_default")]
    pub client_ip: ClientIpConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientIpConfig {
    #[serde(deserialize_with = "null_as_default")]
    pub timeout_seconds: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    #[serde(deserialize_with = "null_as_default")]
    pub load_balancer: LoadBalancerStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadBalancerStatus {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "null_as_default")]
    pub ingress: Vec<LoadBalancerIngress>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerIngress {
    #[serde(skip_serializing_if = "String::is_empty")]
    #[serde(deserialize_with = "null_as_default")]
    pub ip: String,
    /// `VIP` (also when absent) or `Proxy`; a proxy's address is never short-cut in the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub ip_mode: Option<String>,
}

impl Service {
    /// A service without a virtual address of its own: its name resolves to its endpoints.
    pub fn is_headless(&self) -> bool {
        self.spec.type_ != ServiceType::ExternalName && self.spec.cluster_ip == "None"
    }

    /// The virtual addresses, one per family; empty for headless and `ExternalName` services.
    pub fn cluster_addresses(&self) -> Vec<std::net::IpAddr> {
        if self.spec.type_ == ServiceType::ExternalName {
            return Vec::new();
        }
        let listed = self.spec.cluster_ips.iter().map(String::as_str);
        let single = self.spec.cluster_ips.is_empty().then_some(self.spec.cluster_ip.as_str());
        listed.chain(single).filter_map(|text| text.parse().ok()).collect()
    }
}

/// `discovery.k8s.io/v1.EndpointSlice`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(deserialize_with = "null_as_default")]
    pub address_type: String,
    #[serde(deserialize_with = "null_as_default")]
    pub endpoints: Vec<Endpoint>,
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Vec<EndpointPort>,
}

/// The label that names an endpoint slice's service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

impl EndpointSlice {
    /// The name of the service in the same namespace that this slice belongs to.
    pub fn service_name(&self) -> Option<&str> {
        self.metadata.labels.get(SERVICE_NAME_LABEL).map(String::as_str).filter(|name| !name.is_empty())
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    #[serde(deserialize_with = "null_as_default")]
    pub addresses: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub conditions: EndpointConditions,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub node_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub target_ref: Option<TargetRef>,
}

/// An absent condition means: ready and serving yes, terminating no.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub ready: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub serving: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub terminating: Option<bool>,
}

impl EndpointConditions {
    pub fn is_ready(&self) -> bool {
        self.ready.unwrap_or(true)
    }

    pub fn is_serving(&self) -> bool {
        self.serving.or(self.ready).unwrap_or(true)
    }

    pub fn is_terminating(&self) -> bool {
        self.terminating.unwrap_or(false)
    }
}

/// The object behind an endpoint, normally a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    #[serde(deserialize_with = "null_as_default")]
    pub kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: String,
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub uid: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPort {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub name: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: Protocol,
    /// `None`: every port of the address.
    #[serde(deserialize_with = "null_as_default")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "null_as_default")]
    pub app_protocol: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_reads_from_the_wire() {
        let service: Service = serde_json::from_str(
            r#"{"metadata":{"name":"web","namespace":"default"},"spec":{"type":"NodePort","clusterIP":"10.96.0.20",
            "clusterIPs":["10.96.0.20"],"ports":[{"port":80,"targetPort":"http","nodePort":30080,"protocol":"TCP"}],
            "sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10}},
            "externalTrafficPolicy":"Local","unknown":1},"status":{"loadBalancer":{}}}"#,
        )
        .unwrap();
        assert_eq!(service.cluster_addresses(), ["10.96.0.20".parse::<std::net::IpAddr>().unwrap()]);
        assert_eq!(service.spec.ports[0].node_port, 30080);
        assert_eq!(service.spec.session_affinity_config.unwrap().client_ip.timeout_seconds, Some(10));
        assert_eq!(service.spec.external_traffic_policy, TrafficPolicy::Local);
        assert_eq!(service.spec.internal_traffic_policy, TrafficPolicy::Cluster);
    }

    /// Conformance spec "DNS should provide DNS for ExternalName services": one such service stopped every reader.
    #[test]
    fn null_is_absent() {
        let text = r#"{"metadata":{"name":"a","labels":null},"spec":{"ports":null,"selector":null,"type":"ExternalName"}}"#;
        assert!(serde_json::from_str::<Service>(text).unwrap().spec.ports.is_empty());
        let text = r#"{"endpoints":[{"addresses":null,"conditions":null,"targetRef":null}],"ports":null}"#;
        assert_eq!(serde_json::from_str::<EndpointSlice>(text).unwrap().endpoints.len(), 1);
    }

    #[test]
    fn headless_and_external_name_have_no_cluster_address() {
        for spec in [
            r#"{"clusterIP":"None","clusterIPs":["None"]}"#,
            r#"{"type":"ExternalName","externalName":"a.example"}"#,
        ] {
            let service = Service { spec: serde_json::from_str(spec).unwrap(), ..Default::default() };
            assert!(service.cluster_addresses().is_empty(), "{spec}");
        }
    }

    #[test]
    fn conditions_default_as_the_api_says() {
        for (text, ready, serving, terminating) in [
            ("{}", true, true, false),
            (r#"{"ready":false}"#, false, false, false),
            (r#"{"ready":false,"serving":true,"terminating":true}"#, false, true, true),
        ] {
            let conditions: EndpointConditions = serde_json::from_str(text).unwrap();
            let seen = (conditions.is_ready(), conditions.is_serving(), conditions.is_terminating());
            assert_eq!(seen, (ready, serving, terminating), "{text}");
        }
    }

    #[test]
    fn a_slice_without_endpoints_is_null_on_the_wire() {
        let slice: EndpointSlice = serde_json::from_str(
            r#"{"metadata":{"name":"a"},"addressType":"IPv4","endpoints":null,"ports":null}"#,
        )
        .unwrap();
        assert!(slice.endpoints.is_empty() && slice.ports.is_empty());
    }
}
