//! EndpointSlices of Services with a selector: at most 100 endpoints a slice, one set of slices per address family and per
//! set of resolved ports (pods may give one port name different numbers).

use crate::Controller;
use crate::plan::{Context, Plan, Write};
use crate::service_pods;
use crate::view::{Changed, KindId, View};
use kedge_api::resource::{ENDPOINT_SLICES, SERVICES};
use kedge_api::{EndpointSlice, Pod, Service};
use kedge_machinery::ObjectKey;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

const ENDPOINTS_PER_SLICE_MAX: usize = 100;
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "service.kubernetes.io/headless";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

pub struct EndpointSliceController;

impl Controller for EndpointSliceController {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn account(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::Service, KindId::Pod, KindId::EndpointSlice]
    }

    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::EndpointSlice { key, old, new } => {
                let slices = [old, new].into_iter().flatten().filter(|slice| is_ours(slice));
                let names = slices.filter_map(|slice| slice.service_name());
                names.map(|name| ObjectKey::new(key.namespace.clone(), name)).collect()
            }
            other => service_pods::keys(other, view),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, _context: &Context) -> Plan {
        // Slices of a service that is gone go by their owner reference.
        let Some(service) = view.services.get(&key.namespace, &key.name) else {
            return Plan::nothing();
        };
        if service.metadata.deletion_timestamp.is_some() || service_pods::selector(&service).is_none() {
            return Plan::nothing();
        }
        let mut existing: Vec<Arc<EndpointSlice>> = view.endpoint_slices.list(Some(&key.namespace));
        existing.retain(|slice| is_ours(slice) && slice.service_name() == Some(&*key.name));
        existing.retain(|slice| slice.metadata.deletion_timestamp.is_none());
        let pods = service_pods::pods(&service, view);
        let mut plan = Plan::nothing();
        for v6 in families(&service) {
            let family: Vec<Arc<EndpointSlice>> =
                existing.iter().filter(|slice| (slice.address_type == "IPv6") == v6).cloned().collect();
            reconcile_family(&service, &pods, v6, family, &mut plan);
        }
        plan
    }
}

fn is_ours(slice: &EndpointSlice) -> bool {
    slice.metadata.labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
}

fn families(service: &Service) -> Vec<bool> {
    if service.spec.ip_families.is_empty() {
        return vec![false];
    }
    service.spec.ip_families.iter().map(|family| family == "IPv6").collect()
}

type Ports = Vec<Value>;

fn reconcile_family(
    service: &Service,
    pods: &[Arc<Pod>],
    v6: bool,
    existing: Vec<Arc<EndpointSlice>>,
    plan: &mut Plan,
) {
    let mut wanted: BTreeMap<String, (Ports, Vec<Value>)> = BTreeMap::new();
    for pod in pods {
        if let Some(address) = service_pods::address(pod, v6) {
            let ports = ports(service, pod);
            let group = wanted.entry(json!(ports).to_string()).or_insert_with(|| (ports, Vec::new()));
            group.1.push(endpoint(service, pod, &address));
        }
    }
    if wanted.is_empty() {
        // One empty slice says that the service is known and has nobody.
        wanted.insert("[]".to_owned(), (Ports::new(), Vec::new()));
    }
    let mut spare: VecDeque<Arc<EndpointSlice>> = existing.into();
    let mut missing = Vec::new();
    for (_, (ports, endpoints)) in wanted {
        let chunks: Vec<&[Value]> = match endpoints.is_empty() {
            true => vec![&[]],
            false => endpoints.chunks(ENDPOINTS_PER_SLICE_MAX).collect(),
        };
        for chunk in chunks {
            let same_ports = |slice: &Arc<EndpointSlice>| json!(slice.ports) == json!(ports);
            match spare.iter().position(same_ports).and_then(|at| spare.remove(at)) {
                Some(slice) => update(service, &slice, &ports, chunk, plan),
                None => missing.push((ports.clone(), chunk.to_vec())),
            }
        }
    }
    for (ports, endpoints) in missing {
        match spare.pop_front() {
            Some(slice) => update(service, &slice, &ports, &endpoints, plan),
            None => plan.push(create(service, v6, &ports, &endpoints)),
        }
    }
    for slice in spare {
        let meta = &slice.metadata;
        plan.push(Write::delete(ENDPOINT_SLICES, &meta.namespace, &meta.name, &meta.uid));
    }
}

fn ports(service: &Service, pod: &Pod) -> Ports {
    let resolved = service.spec.ports.iter().filter_map(|port| {
        let number = service_pods::target_port(port, pod)?;
        let mut value = json!({"name": port.name, "protocol": port.protocol, "port": number});
        if let Some(app) = &port.app_protocol {
            value["appProtocol"] = app.as_str().into();
        }
        Some(value)
    });
    resolved.collect()
}

fn endpoint(service: &Service, pod: &Pod, address: &str) -> Value {
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = pod.is_ready();
    let ready = service.spec.publish_not_ready_addresses || (serving && !terminating);
    let mut endpoint = json!({
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": service_pods::target_ref(pod),
    });
    if !pod.spec.node_name.is_empty() {
        endpoint["nodeName"] = pod.spec.node_name.as_str().into();
    }
    if let Some(hostname) = service_pods::hostname(service, pod) {
        endpoint["hostname"] = hostname.into();
    }
    endpoint
}

fn labels(service: &Service) -> Map<String, Value> {
    let mut labels: Map<String, Value> =
        service.metadata.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    labels.insert(MANAGED_BY.to_owned(), MANAGER.into());
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.as_str().into());
    if service.is_headless() {
        labels.insert(HEADLESS.to_owned(), "".into());
    }
    labels
}

fn create(service: &Service, v6: bool, ports: &Ports, endpoints: &[Value]) -> Write {
    let meta = &service.metadata;
    let mut object = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "generateName": format!("{}-", meta.name), "namespace": meta.namespace, "labels": labels(service),
            "ownerReferences": [crate::owners::owner_reference(SERVICES, meta)],
        },
        "addressType": if v6 { "IPv6" } else { "IPv4" },
        "endpoints": endpoints, "ports": ports,
    });
    if let Some(time) = meta.creation_timestamp {
        object["metadata"]["annotations"] = json!({TRIGGER_TIME: time.to_string()});
    }
    Write::create(ENDPOINT_SLICES, &meta.namespace, object)
}

/// Replaces what differs; a slice that is as wanted is not written.
fn update(service: &Service, slice: &EndpointSlice, ports: &Ports, endpoints: &[Value], plan: &mut Plan) {
    let labels = labels(service);
    let same_endpoints = sorted(&json!(slice.endpoints)) == sorted(&json!(endpoints));
    let same =
        same_endpoints && json!(slice.ports) == json!(ports) && json!(slice.metadata.labels) == json!(labels);
    if same {
        return;
    }
    let mut gone = Map::new();
    for key in slice.metadata.labels.keys().filter(|key| !labels.contains_key(*key)) {
        gone.insert(key.clone(), Value::Null);
    }
    gone.extend(labels);
    let patch = json!({"metadata": {"labels": gone}, "endpoints": endpoints, "ports": ports});
    plan.push(Write::merge(ENDPOINT_SLICES, &slice.metadata.namespace, &slice.metadata.name, "", patch));
}

/// Endpoints in a fixed order, so that the order in which pods are listed is no change.
fn sorted(endpoints: &Value) -> Vec<String> {
    let mut texts: Vec<String> = endpoints.as_array().into_iter().flatten().map(Value::to_string).collect();
    texts.sort();
    texts
}
