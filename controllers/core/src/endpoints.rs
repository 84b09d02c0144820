//! Endpoints, the older face of EndpointSlices: one object per Service with a selector, at most 1,000 addresses.

use crate::Controller;
use crate::plan::{Context, Plan, Write};
use crate::service_pods;
use crate::view::{Changed, KindId, View};
use kedge_api::resource::ENDPOINTS;
use kedge_api::{Pod, Service};
use kedge_machinery::ObjectKey;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const ADDRESSES_MAX: usize = 1000;
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const HEADLESS: &str = "service.kubernetes.io/headless";

pub struct EndpointsController;

impl Controller for EndpointsController {
    fn name(&self) -> &'static str {
        "endpoints-controller"
    }

    fn account(&self) -> &'static str {
        "endpoint-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::Service, KindId::Pod, KindId::Endpoints]
    }

    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::Endpoints { key, .. } => vec![key.clone()],
            other => service_pods::keys(other, view),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, _context: &Context) -> Plan {
        let mut plan = Plan::nothing();
        let existing = view.endpoints.get(&key.namespace, &key.name);
        let Some(service) = view.services.get(&key.namespace, &key.name) else {
            if let Some(orphan) =
                existing.filter(|endpoints| endpoints.metadata.labels.contains_key(MANAGED_BY))
            {
                plan.push(Write::delete(ENDPOINTS, &key.namespace, &key.name, &orphan.metadata.uid));
            }
            return plan;
        };
        if service_pods::selector(&service).is_none() {
            return plan;
        }
        let pods = service_pods::pods(&service, view);
        let subsets = subsets(&service, &pods);
        let labels = labels(&service);
        match existing {
            None => {
                let mut object = json!({
                    "apiVersion": "v1", "kind": "Endpoints",
                    "metadata": {"name": key.name, "namespace": key.namespace, "labels": labels},
                });
                set_subsets(&mut object, subsets);
                plan.push(Write::create(ENDPOINTS, &key.namespace, object));
            }
            Some(endpoints) => {
                let standing = endpoints.subsets.clone().unwrap_or(Value::Null);
                let standing_labels = json!(endpoints.metadata.labels);
                if normalized(&standing) == normalized(&subsets) && standing_labels == json!(labels) {
                    return plan;
                }
                let patch = json!({"metadata": {"labels": labels}, "subsets": subsets});
                plan.push(Write::merge(ENDPOINTS, &key.namespace, &key.name, "", patch));
            }
        }
        if pods.len() > ADDRESSES_MAX {
            let patch = json!({"metadata": {"annotations": {OVER_CAPACITY: "truncated"}}});
            plan.push(Write::merge(ENDPOINTS, &key.namespace, &key.name, "", patch));
        }
        plan
    }
}

fn set_subsets(object: &mut Value, subsets: Value) {
    if !subsets.is_null() {
        object["subsets"] = subsets;
    }
}

fn normalized(subsets: &Value) -> String {
    match subsets.as_array() {
        None => "[]".to_owned(),
        Some(list) => json!(list).to_string(),
    }
}

fn labels(service: &Service) -> Map<String, Value> {
    let mut labels: Map<String, Value> =
        service.metadata.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    labels.insert(MANAGED_BY.to_owned(), "endpoint-controller".into());
    if service.is_headless() {
        labels.insert(HEADLESS.to_owned(), "".into());
    }
    labels
}

/// Addresses grouped by their resolved ports; null when there are none, as upstream leaves the field out.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Value {
    type Group = (Vec<Value>, Vec<Value>, Vec<Value>);
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let v6 = service.spec.ip_families.first().is_some_and(|family| family == "IPv6");
    for pod in pods.iter().filter(|pod| is_published(service, pod)).take(ADDRESSES_MAX) {
        let Some(address) = service_pods::address(pod, v6) else {
            continue;
        };
        let ports = ports(service, pod);
        if ports.is_empty() && !service.spec.ports.is_empty() {
            continue;
        }
        let group = groups.entry(json!(ports).to_string()).or_insert_with(|| (ports, Vec::new(), Vec::new()));
        let ready = service.spec.publish_not_ready_addresses || pod.is_ready();
        let entry = endpoint_address(service, pod, &address);
        if ready { group.1.push(entry) } else { group.2.push(entry) }
    }
    let list: Vec<Value> =
        groups.into_values().map(|(ports, ready, not_ready)| subset(ports, ready, not_ready)).collect();
    if list.is_empty() { Value::Null } else { list.into() }
}

/// A terminating pod keeps its place only where the service wants unready ones.
fn is_published(service: &Service, pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() || service.spec.publish_not_ready_addresses
}

fn ports(service: &Service, pod: &Pod) -> Vec<Value> {
    let resolved = service.spec.ports.iter().filter_map(|port| {
        let number = service_pods::target_port(port, pod)?;
        let mut value = json!({"port": number, "protocol": port.protocol});
        if !port.name.is_empty() {
            value["name"] = port.name.as_str().into();
        }
        if let Some(app) = &port.app_protocol {
            value["appProtocol"] = app.as_str().into();
        }
        Some(value)
    });
    resolved.collect()
}

fn endpoint_address(service: &Service, pod: &Pod, address: &str) -> Value {
    let mut entry = json!({"ip": address, "targetRef": service_pods::target_ref(pod)});
    if !pod.spec.node_name.is_empty() {
        entry["nodeName"] = pod.spec.node_name.as_str().into();
    }
    if let Some(hostname) = service_pods::hostname(service, pod) {
        entry["hostname"] = hostname.into();
    }
    entry
}

fn subset(ports: Vec<Value>, ready: Vec<Value>, not_ready: Vec<Value>) -> Value {
    let mut subset = Map::new();
    for (key, list) in [("addresses", ready), ("notReadyAddresses", not_ready), ("ports", ports)] {
        if !list.is_empty() {
            subset.insert(key.to_owned(), list.into());
        }
    }
    subset.into()
}
