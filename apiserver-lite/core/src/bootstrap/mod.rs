//! Objects that a new cluster starts with: roles and bindings, system namespaces, system priority classes, flow control.
//!
//! Roles and bindings are a table (`roles.txt`, `controllers.txt`), not code: their names and rules are interface facts that
//! clients and audits compare with upstream's.

mod flowcontrol;
mod text;

use crate::authorization::rule::{Rule, rules_of};
use serde_json::{Value, json};
use std::sync::LazyLock;

const TABLES: [&str; 2] = [include_str!("roles.txt"), include_str!("controllers.txt")];

/// Everything, in the order of creation (namespaces first), each object complete but for what the registry fills in.
pub fn objects() -> Vec<Value> {
    let mut objects = namespaces();
    objects.extend(priority_classes());
    objects.extend(roles_and_bindings());
    objects.extend(flowcontrol::objects());
    objects
}

/// ClusterRoles, Roles and their bindings; aggregating roles carry their collected rules.
pub fn roles_and_bindings() -> Vec<Value> {
    let mut objects: Vec<Value> = TABLES.iter().flat_map(|table| text::parse(table)).collect();
    for (name, rules) in crate::authorization::aggregation::plan(&objects) {
        if let Some(role) =
            objects.iter_mut().find(|o| o["kind"] == "ClusterRole" && o["metadata"]["name"] == *name)
        {
            role["rules"] = json!(rules);
        }
    }
    objects
}

/// An aggregating role as it was created, its rules owned by the controller that collects them.
pub fn collected(mut role: Value) -> Value {
    let mut own = Value::Null;
    for entry in role["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
        if let Some(fields) = entry["fieldsV1"].as_object_mut()
            && let Some(rules) = fields.remove("f:rules")
        {
            own = json!({
                "manager": "clusterrole-aggregation-controller", "operation": "Apply", "apiVersion": entry["apiVersion"],
                "time": entry["time"], "fieldsType": "FieldsV1", "fieldsV1": {"f:rules": rules},
            });
        }
    }
    if let Some(entries) = role["metadata"]["managedFields"].as_array_mut().filter(|_| !own.is_null()) {
        entries.push(own);
    }
    role
}

/// The rules of ClusterRole `system:node`, which the Node authorizer uses itself: no binding gives them to anybody.
pub fn node_rules() -> &'static [Rule] {
    static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
        let roles = text::parse(TABLES[0]);
        roles.iter().find(|role| role["metadata"]["name"] == "system:node").map(rules_of).unwrap_or_default()
    });
    &RULES
}

/// `default`, `kube-node-lease`, `kube-public`, `kube-system`.
fn namespaces() -> Vec<Value> {
    let namespace = |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    ["kube-system", "kube-public", "kube-node-lease", "default"].map(namespace).to_vec()
}

fn priority_classes() -> Vec<Value> {
    let class = |name: &str, value: i64, what: &str| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "preemptionPolicy": "PreemptLowerPriority", "description": format!("Used for system critical pods that {what}")})
    };
    vec![
        class(
            "system-cluster-critical",
            2_000_000_000,
            "must run in the cluster, but can be moved to another node if necessary.",
        ),
        class("system-node-critical", 2_000_001_000, "must not be moved from their current node."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../../../tests/golden/upstream/api/bootstrap.json");

    /// What the server adds to a stored object.
    fn strip(mut object: Value) -> Value {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            for field in ["creationTimestamp", "managedFields", "resourceVersion", "uid", "generation"] {
                metadata.remove(field);
            }
        }
        object
    }

    #[test]
    fn roles_bindings_and_flow_control_are_the_recorded_ones() {
        let golden: Value = serde_json::from_str(GOLDEN).unwrap();
        let ours = objects();
        let mut compared = 0;
        let mut check = |recorded: &Value, kind: &str| {
            let mut recorded = strip(recorded.clone());
            let name = recorded["metadata"]["name"].clone();
            let own = ours.iter().find(|o| o["kind"] == *kind && o["metadata"]["name"] == name);
            let own = own.unwrap_or_else(|| panic!("{kind} {name} is missing"));
            recorded["kind"] = own["kind"].clone();
            recorded["apiVersion"] = own["apiVersion"].clone();
            if kind == "FlowSchema" || kind == "PriorityLevelConfiguration" {
                recorded.as_object_mut().unwrap().remove("status");
            }
            assert_eq!(strip(own.clone()), recorded, "{kind} {name}");
            compared += 1;
        };
        for step in golden["cases"].as_object().unwrap().values().flat_map(|case| case.as_array().unwrap()) {
            let body = &step["response"]["body"];
            match body["kind"].as_str() {
                Some("FlowSchemaList") => {
                    body["items"].as_array().unwrap().iter().for_each(|o| check(o, "FlowSchema"))
                }
                Some("PriorityLevelConfigurationList") => body["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .for_each(|o| check(o, "PriorityLevelConfiguration")),
                Some(kind) => check(body, kind),
                None => panic!("a recorded answer without a kind"),
            }
        }
        assert!(compared > 25, "{compared}");
    }
}
