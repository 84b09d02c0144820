//! Facts about a Service's pods that EndpointSlices and Endpoints share.

use crate::view::{Changed, View};
use kedge_api::{IntOrString, Pod, Selector, Service, ServicePort};
use kedge_machinery::ObjectKey;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

/// The services whose pods or ports a change of a pod or service may have changed.
pub fn keys(change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
    match change {
        Changed::Service { key, .. } => vec![key.clone()],
        Changed::Pod { key, old, new } => {
            if let (Some(old), Some(new)) = (old, new)
                && !concerns_endpoints(old, new)
            {
                return Vec::new();
            }
            let services = view.services.list(Some(&key.namespace));
            let selects = |service: &&Arc<Service>| {
                selector(service).is_some_and(|s| {
                    [old, new].into_iter().flatten().any(|pod| s.matches(&pod.metadata.labels))
                })
            };
            services.iter().filter(selects).map(|service| service_key(service)).collect()
        }
        _ => Vec::new(),
    }
}

fn service_key(service: &Service) -> ObjectKey {
    ObjectKey::new(service.metadata.namespace.clone(), service.metadata.name.clone())
}

/// None for services without a selector: their endpoints are somebody else's.
pub fn selector(service: &Service) -> Option<Selector> {
    let labels = service.spec.selector.as_ref().filter(|labels| !labels.is_empty())?;
    Some(Selector::from_map(&json!(labels)))
}

fn concerns_endpoints(old: &Pod, new: &Pod) -> bool {
    old.status.pod_ips != new.status.pod_ips
        || old.is_ready() != new.is_ready()
        || old.is_terminal() != new.is_terminal()
        || old.metadata.labels != new.metadata.labels
        || old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        || old.spec.node_name != new.spec.node_name
        || old.metadata.uid != new.metadata.uid
}

/// The pods that the service selects and that have an address.
pub fn pods(service: &Service, view: &View<'_>) -> Vec<Arc<Pod>> {
    let Some(selector) = selector(service) else {
        return Vec::new();
    };
    let mut pods = view.pods.list(Some(&service.metadata.namespace));
    pods.retain(|pod| {
        selector.matches(&pod.metadata.labels) && !pod.is_terminal() && !pod.status.pod_ip.is_empty()
    });
    pods
}

/// The pod's address of a family.
pub fn address(pod: &Pod, v6: bool) -> Option<String> {
    let fits = |text: &&str| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == v6);
    let all = pod.status.pod_ips.iter().map(|ip| ip.ip.as_str());
    all.chain([pod.status.pod_ip.as_str()]).find(|text| fits(text)).map(str::to_owned)
}

/// The number behind a service port on this pod; None where the pod has no port of that name.
pub fn target_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => {
            let sidecars = pod.spec.init_containers.iter().filter(|container| container.is_sidecar());
            let mut ports = pod.spec.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
            let found = ports.find(|candidate| {
                let protocol = if candidate.protocol.is_empty() { "TCP" } else { &candidate.protocol };
                candidate.name == *name && protocol == port.protocol.as_str()
            })?;
            u16::try_from(found.container_port).ok()
        }
    }
}

/// Does the pod have the host name by which a headless service names it?
pub fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let named = !pod.spec.hostname.is_empty() && pod.spec.subdomain == service.metadata.name;
    named.then(|| pod.spec.hostname.clone())
}

pub fn target_ref(pod: &Pod) -> Value {
    json!({"kind": "Pod", "namespace": pod.metadata.namespace, "name": pod.metadata.name, "uid": pod.metadata.uid})
}
