//! Services.
//!
//! The strategy decides families, policy and which allocated values an update keeps; the registry then allocates the
//! addresses and node ports that are still missing.

use super::access::{Fill, Read};
use super::usual::keep_all_but_status;
use super::{Part, Strategy, service_rules};
use crate::status::Findings;
use serde_json::{Value, json};

pub(super) struct Service;

impl Strategy for Service {
    fn default(&self, object: &mut Value) {
        default_service(object);
    }

    fn prepare_for_create(&self, object: &mut Value) {
        object.drop_field("status");
        object["status"] = json!({"loadBalancer": {}});
        let spec = object.child("spec");
        if !spec.text("clusterIP").is_empty() && spec.lacks("clusterIPs") {
            spec["clusterIPs"] = json!([spec.text("clusterIP")]);
        }
        default_families(spec, &Value::Null);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, part: Part<'_>) {
        match part {
            Part::Main => {
                object.take_from(old, "status");
                keep_allocated(object.child("spec"), &old["spec"]);
                drop_what_the_type_lacks(object.child("spec"), &old["spec"]);
                default_families(object.child("spec"), &old["spec"]);
                if object["spec"].text("type") != "LoadBalancer" {
                    object.child("status")["loadBalancer"] = json!({});
                }
            }
            Part::Status => keep_all_but_status(object, old),
            Part::Subresource(_) => {}
        }
    }

    fn validate_create(&self, object: &Value) -> Findings {
        service_rules::validate(object)
    }

    fn validate_update(&self, object: &Value, old: &Value, part: Part<'_>) -> Findings {
        match part {
            Part::Main => service_rules::validate_update(object, old),
            Part::Status | Part::Subresource(_) => Findings::new(),
        }
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

fn default_service(object: &mut Value) {
    object.child("status").child("loadBalancer");
    let spec = object.child("spec");
    spec.fill_text("sessionAffinity", "None");
    match spec.text("sessionAffinity") {
        "None" => spec.drop_field("sessionAffinityConfig"),
        "ClientIP" => {
            spec.child("sessionAffinityConfig").child("clientIP").fill("timeoutSeconds", 10_800);
        }
        _ => {}
    }
    spec.fill_text("type", "ClusterIP");
    spec.each("ports", |port| {
        port.fill_text("protocol", "TCP");
        let target = &port["targetPort"];
        if target.is_null() || target == &json!(0) || target == &json!("") {
            port["targetPort"] = port["port"].clone();
        }
    });
    if is_externally_accessible(spec) {
        spec.fill_text("externalTrafficPolicy", "Cluster");
    }
    if needs_cluster_ip(spec) {
        spec.fill("internalTrafficPolicy", "Cluster");
    }
    if spec.text("type") != "LoadBalancer" {
        return;
    }
    spec.fill("allocateLoadBalancerNodePorts", true);
    object.child("status").child("loadBalancer").each("ingress", |ingress| {
        if !ingress.text("ip").is_empty() {
            ingress.fill("ipMode", "VIP");
        }
    });
}

pub(super) fn needs_cluster_ip(spec: &Value) -> bool {
    matches!(spec.text("type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn needs_node_port(spec: &Value) -> bool {
    matches!(spec.text("type"), "NodePort" | "LoadBalancer")
}

pub(super) fn needs_health_check_node_port(spec: &Value) -> bool {
    spec.text("type") == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local"
}

pub(super) fn is_externally_accessible(spec: &Value) -> bool {
    needs_node_port(spec) || (spec.text("type") == "ClusterIP" && !spec.lacks("externalIPs"))
}

/// Fills policy and families for a cluster with one family, IPv4 unless the addresses say otherwise.
fn default_families(spec: &mut Value, old: &Value) {
    if !needs_cluster_ip(spec) {
        return;
    }
    let headless_without_selector = spec.text("clusterIP") == "None" && spec.lacks("selector");
    if !spec.has("ipFamilyPolicy") {
        let policy = match old.text("ipFamilyPolicy") {
            "" if headless_without_selector => "RequireDualStack",
            "" => "SingleStack",
            known => known,
        };
        spec["ipFamilyPolicy"] = policy.into();
    }
    if spec.lacks("ipFamilies") {
        let address = spec.text("clusterIP");
        spec["ipFamilies"] = json!([if address.contains(':') { "IPv6" } else { "IPv4" }]);
    }
    let single = spec.text("ipFamilyPolicy") == "SingleStack";
    if headless_without_selector && !single && spec.list("ipFamilies").len() == 1 {
        let other = if spec["ipFamilies"][0] == "IPv4" { "IPv6" } else { "IPv4" };
        spec["ipFamilies"] = json!([spec["ipFamilies"][0], other]);
    }
}

/// A PUT from a manifest does not know what was allocated; it means the same values.
fn keep_allocated(spec: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && needs_cluster_ip(spec) {
        if spec.text("clusterIP").is_empty() {
            spec.take_from(old, "clusterIP");
        }
        let same_address = spec["clusterIP"] == old["clusterIP"];
        if spec.lacks("clusterIPs") && same_address {
            spec.take_from(old, "clusterIPs");
        }
        if !same_address && spec["clusterIPs"] == old["clusterIPs"] {
            // Clients that know only the singular field change it alone.
            spec["clusterIPs"] = json!([spec["clusterIP"]]);
        }
        if spec.lacks("ipFamilies") {
            spec.take_from(old, "ipFamilies");
        }
    }
    if needs_node_port(old) && needs_node_port(spec) {
        keep_node_ports(spec, old);
    }
    if needs_health_check_node_port(old)
        && needs_health_check_node_port(spec)
        && spec.number("healthCheckNodePort").unwrap_or_default() == 0
    {
        spec.take_from(old, "healthCheckNodePort");
    }
}

fn keep_node_ports(spec: &mut Value, old: &Value) {
    let node_port = |port: &Value| port.number("nodePort").unwrap_or_default();
    let mut used: Vec<i64> = spec.list("ports").iter().map(node_port).filter(|port| *port != 0).collect();
    spec.each("ports", |port| {
        if node_port(port) != 0 {
            return;
        }
        let same = |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        let known = old.list("ports").iter().find(same).map(node_port).unwrap_or_default();
        if known != 0 && !used.contains(&known) {
            used.push(known);
            port["nodePort"] = known.into();
        }
    });
}

/// A change of type takes with it the values that only the old type had, unless the request changed them too.
fn drop_what_the_type_lacks(spec: &mut Value, old: &Value) {
    let same = |spec: &Value, field: &str| spec[field] == old[field];
    if needs_cluster_ip(old) && !needs_cluster_ip(spec) {
        if same(spec, "clusterIP") && same(spec, "clusterIPs") {
            spec.drop_field("clusterIP");
            spec.drop_field("clusterIPs");
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if same(spec, field) {
                spec.drop_field(field);
            }
        }
    }
    if needs_node_port(old) && !needs_node_port(spec) && adds_no_node_port(spec, old) {
        spec.each("ports", |port| port.drop_field("nodePort"));
    }
    let lost = [
        ("healthCheckNodePort", needs_health_check_node_port(old) && !needs_health_check_node_port(spec)),
        ("allocateLoadBalancerNodePorts", loses_load_balancer(spec, old)),
        ("loadBalancerClass", loses_load_balancer(spec, old)),
        ("externalTrafficPolicy", is_externally_accessible(old) && !is_externally_accessible(spec)),
    ];
    for (field, is_lost) in lost {
        if is_lost && same(spec, field) {
            spec.drop_field(field);
        }
    }
}

fn loses_load_balancer(spec: &Value, old: &Value) -> bool {
    old.text("type") == "LoadBalancer" && spec.text("type") != "LoadBalancer"
}

fn adds_no_node_port(spec: &Value, old: &Value) -> bool {
    let ports = |spec: &Value| -> Vec<i64> {
        spec.list("ports")
            .iter()
            .filter_map(|port| port.number("nodePort"))
            .filter(|port| *port != 0)
            .collect()
    };
    let known = ports(old);
    ports(spec).iter().all(|port| known.contains(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: Value, request: Value, expected: Value) {
        let (old, mut object) = (json!({"spec": old}), json!({"spec": request}));
        Service.default(&mut object);
        Service.prepare_for_update(&mut object, &old, Part::Main);
        for (field, value) in expected.as_object().expect("fields") {
            assert_eq!(object["spec"][field], *value, "{field}");
        }
    }

    #[test]
    fn a_manifest_keeps_what_was_allocated() {
        let old = json!({
            "type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}],
        });
        let request = json!({"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080}, {"port": 81}]});
        let ports = json!([
            {"port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080},
            {"port": 81, "protocol": "TCP", "targetPort": 81},
        ]);
        check(old, request, json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": ports}));
    }

    #[test]
    fn a_change_of_type_drops_what_only_the_old_type_had() {
        let old = json!({
            "type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30080}],
        });
        let mut request = old.clone();
        request["type"] = "ClusterIP".into();
        let ports = json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]);
        check(old.clone(), request, json!({"ports": ports, "externalTrafficPolicy": null}));
        let mut request = old.clone();
        request["type"] = "ExternalName".into();
        check(
            old,
            request,
            json!({"clusterIP": null, "clusterIPs": null, "ipFamilies": null, "ipFamilyPolicy": null}),
        );
    }
}
