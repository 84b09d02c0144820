//! Objects that are ours and not upstream's: the rights of the cluster DNS, which announces itself.

use crate::failure::{Failure, Outcome};
use kedge_api::Resource;
use kedge_client::Client;
use serde_json::{Value, json};

const fn rbac(plural: &'static str, kind: &'static str, namespaced: bool) -> Resource {
    Resource { group: "rbac.authorization.k8s.io", version: "v1", plural, kind, namespaced }
}

const CLUSTER_ROLES: Resource = rbac("clusterroles", "ClusterRole", false);
const CLUSTER_ROLE_BINDINGS: Resource = rbac("clusterrolebindings", "ClusterRoleBinding", false);
const ROLES: Resource = rbac("roles", "Role", true);
const ROLE_BINDINGS: Resource = rbac("rolebindings", "RoleBinding", true);

pub async fn ensure(admin: &Client) -> Outcome {
    for (of, namespace, object) in dns_rights() {
        let created: Result<Value, _> = admin.create(of, namespace, &object).await;
        match created {
            Err(error) if !error.is_already_exists() => return Err(Failure::of(&error)),
            _ => {}
        }
    }
    Ok(())
}

fn dns_rights() -> Vec<(Resource, &'static str, Value)> {
    let read = ["get", "list", "watch"];
    let subject = json!([{"kind": "ServiceAccount", "name": "kube-dns", "namespace": "kube-system"}]);
    let group = "rbac.authorization.k8s.io";
    let role = |kind: &str, rules: Value| json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": "system:kedge:dns"}, "rules": rules});
    let binding = |kind: &str, role: &str| {
        json!({
            "apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": "system:kedge:dns"},
            "roleRef": {"apiGroup": group, "kind": role, "name": "system:kedge:dns"}, "subjects": subject,
        })
    };
    let reads = json!([
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces", "nodes"], "verbs": read},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
    ]);
    let writes = json!([
        {"apiGroups": [""], "resources": ["services"], "verbs": ["create", "get", "update", "patch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["create", "get", "update", "patch", "delete"]},
    ]);
    vec![
        (CLUSTER_ROLES, "", role("ClusterRole", reads)),
        (CLUSTER_ROLE_BINDINGS, "", binding("ClusterRoleBinding", "ClusterRole")),
        (ROLES, "kube-system", role("Role", writes)),
        (ROLE_BINDINGS, "kube-system", binding("RoleBinding", "Role")),
    ]
}
