//! The Node authorizer: what a kubelet may do, by name and by the graph.
//!
//! It never denies: what it does not allow is left to RBAC, with the reason kept for the answer.

use super::graph::{NodeGraph, Vertex};
use crate::attributes::Attributes;
use crate::bootstrap;
use kedge_api::Identity;

const NODE_PREFIX: &str = "system:node:";

/// The node's name when the user is a kubelet: in `system:nodes` and called `system:node:NAME`.
pub fn node_name(user: &Identity) -> Option<&str> {
    let name = user.user.strip_prefix(NODE_PREFIX)?;
    user.groups.iter().any(|group| group == "system:nodes").then_some(name)
}

/// `Ok` allows; `Err` is a reason, empty where upstream gives none.
pub type Answer = Result<(), String>;

fn no(reason: &str) -> Answer {
    Err(reason.to_owned())
}

/// None: the user is no node.
pub fn authorize(graph: &NodeGraph, attributes: &Attributes) -> Option<Answer> {
    let node = node_name(&attributes.user)?;
    if node.is_empty() {
        return Some(Err(format!("unknown node for user {:?}", attributes.user.user)));
    }
    Some(Request { graph, attributes, node }.decide())
}

struct Request<'a> {
    graph: &'a NodeGraph,
    attributes: &'a Attributes,
    node: &'a str,
}

impl Request<'_> {
    fn decide(&self) -> Answer {
        let a = self.attributes;
        if !a.is_resource {
            return self.by_role();
        }
        match (a.group.as_str(), a.resource.as_str()) {
            ("", "secrets") => self.read(Vertex::Secret),
            ("", "configmaps") => self.read(Vertex::ConfigMap),
            ("", "persistentvolumeclaims") if a.subresource == "status" => match a.verb.as_str() {
                "update" | "patch" => self.related(Vertex::PersistentVolumeClaim),
                _ => no("can only get/update/patch this type"),
            },
            ("", "persistentvolumeclaims") => self.get(Vertex::PersistentVolumeClaim),
            ("", "persistentvolumes") => self.get(Vertex::PersistentVolume),
            ("resource.k8s.io", "resourceclaims") => self.get(Vertex::ResourceClaim),
            ("storage.k8s.io", "volumeattachments") => self.get(Vertex::VolumeAttachment),
            ("", "serviceaccounts") => self.service_account(),
            ("coordination.k8s.io", "leases") => self.lease(),
            ("storage.k8s.io", "csinodes") => self.csi_node(),
            ("resource.k8s.io", "resourceslices") => self.resource_slice(),
            ("", "nodes") => self.own_node(),
            ("", "pods") => self.pod(),
            ("certificates.k8s.io", "podcertificaterequests") => self.pod_certificate_request(),
            _ => self.by_role(),
        }
    }

    /// Everything that is not divided by node follows the rules of the role `system:node`.
    fn by_role(&self) -> Answer {
        match bootstrap::node_rules().iter().any(|rule| rule.allows(self.attributes)) {
            true => Ok(()),
            false => no(""),
        }
    }

    fn related(&self, vertex: Vertex) -> Answer {
        let a = self.attributes;
        if a.name.is_empty() {
            return no("No Object name found");
        }
        self.reached(vertex)
    }

    fn reached(&self, vertex: Vertex) -> Answer {
        let a = self.attributes;
        match self.graph.reaches(self.node, vertex, &a.namespace, &a.name) {
            true => Ok(()),
            false => Err(format!("no relationship found between node '{}' and this object", self.node)),
        }
    }

    fn get(&self, vertex: Vertex) -> Answer {
        match (self.attributes.verb.as_str(), self.attributes.subresource.as_str()) {
            ("get", "") => self.related(vertex),
            ("get", _) => no("cannot get subresource"),
            _ => no("can only get individual resources of this type"),
        }
    }

    fn read(&self, vertex: Vertex) -> Answer {
        let a = self.attributes;
        match a.verb.as_str() {
            "get" | "list" | "watch" if !a.subresource.is_empty() => no("cannot read subresource"),
            "get" | "list" | "watch" if a.namespace.is_empty() => {
                no("can only read namespaced object of this type")
            }
            "get" | "list" | "watch" => self.related(vertex),
            _ => no("can only read resources of this type"),
        }
    }

    fn service_account(&self) -> Answer {
        let a = self.attributes;
        match (a.verb.as_str(), a.subresource.as_str()) {
            ("get", "") => self.read(Vertex::ServiceAccount),
            ("create", _) if a.name.is_empty() => {
                no("can only create tokens for individual service accounts")
            }
            ("create", "token") => self.reached(Vertex::ServiceAccount),
            ("create", _) => no("can only create token subresource of serviceaccount"),
            _ => no("can only create tokens for individual service accounts"),
        }
    }

    fn lease(&self) -> Answer {
        let a = self.attributes;
        match a.verb.as_str() {
            "get" | "create" | "update" | "patch" | "delete" if a.namespace != "kube-node-lease" => {
                no("can only access leases in the \"kube-node-lease\" system namespace")
            }
            // The name of a created lease is NodeRestriction's to check.
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" if a.name == self.node => Ok(()),
            "get" | "update" | "patch" | "delete" => {
                no("can only access node lease with the same name as the requesting node")
            }
            _ => no("can only get, create, update, patch, or delete a node lease"),
        }
    }

    fn csi_node(&self) -> Answer {
        let a = self.attributes;
        match a.verb.as_str() {
            "get" | "create" | "update" | "patch" | "delete" if !a.subresource.is_empty() => {
                no("cannot authorize CSINode subresources")
            }
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" if a.name == self.node => Ok(()),
            "get" | "update" | "patch" | "delete" => {
                no("can only access CSINode with the same name as the requesting node")
            }
            _ => no("can only get, create, update, patch, or delete a CSINode"),
        }
    }

    fn resource_slice(&self) -> Answer {
        let a = self.attributes;
        match a.verb.as_str() {
            _ if !a.subresource.is_empty() => no("cannot authorize ResourceSlice subresources"),
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(Vertex::ResourceSlice),
            "watch" | "list" | "deletecollection" if self.selects_own("spec.nodeName") => Ok(()),
            "watch" | "list" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(concat!(
                "only the following verbs are allowed for a ResourceSlice: ",
                "get, watch, list, create, update, patch, delete, deletecollection"
            )),
        }
    }

    fn pod_certificate_request(&self) -> Answer {
        let a = self.attributes;
        match a.verb.as_str() {
            _ if !a.subresource.is_empty() => {
                no("nodes may not access the status subresource of PodCertificateRequests")
            }
            "create" => Ok(()),
            "get" => self.related(Vertex::PodCertificateRequest),
            "list" | "watch" if self.selects_own("spec.nodeName") => Ok(()),
            "list" | "watch" => no("can only list/watch podcertificaterequests with nodeName field selector"),
            verb => Err(format!("nodes may not {verb} podcertificaterequests")),
        }
    }

    fn own_node(&self) -> Answer {
        let a = self.attributes;
        match (a.subresource.as_str(), a.verb.as_str()) {
            // Which node is written is NodeRestriction's to check.
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
            ("", "get" | "list" | "watch") if a.name == self.node => Ok(()),
            ("", "get" | "list" | "watch") if a.name.is_empty() => {
                Err(format!("node '{}' cannot read all nodes, only its own Node object", self.node))
            }
            ("", "get" | "list" | "watch") => {
                Err(format!("node '{}' cannot read '{}', only its own Node object", self.node, a.name))
            }
            _ => no(""),
        }
    }

    fn pod(&self) -> Answer {
        let a = self.attributes;
        match (a.subresource.as_str(), a.verb.as_str()) {
            ("", "get") => self.related(Vertex::Pod),
            ("", "list" | "watch") if self.selects_own("spec.nodeName") => Ok(()),
            ("", "list" | "watch") if !a.name.is_empty() => self.related(Vertex::Pod),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            // Mirror pods, own statuses, own evictions: NodeRestriction checks whose.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => no(""),
        }
    }

    fn selects_own(&self, field: &str) -> bool {
        self.attributes.field_selector.split(',').any(|requirement| {
            requirement
                .split_once("==")
                .or_else(|| requirement.split_once('='))
                .is_some_and(|(name, value)| name.trim() == field && value.trim() == self.node)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(line: &str, want: Answer) {
        let mut graph = NodeGraph::default();
        let pod = json!({"spec": {"nodeName": "n", "serviceAccountName": "sa",
            "volumes": [{"name": "v", "secret": {"secretName": "s"}}]}});
        graph.observe("pods", "a", "p", Some(&pod));
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or("").trim_matches('-').to_owned();
        let (verb, group, resource, namespace, name, selector) =
            (next(), next(), next(), next(), next(), next());
        let (resource, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
        let attributes = Attributes {
            user: Identity::new("system:node:n", &["system:nodes"]),
            verb,
            is_resource: true,
            group,
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace,
            name,
            field_selector: selector,
            ..Attributes::default()
        };
        assert_eq!(authorize(&graph, &attributes), Some(want), "{line}");
    }

    #[test]
    fn what_a_node_may_do() {
        let no = |text: &str| Err(text.to_owned());
        let unrelated = || no("no relationship found between node 'n' and this object");
        check("get - secrets a s", Ok(()));
        check("watch - secrets a s", Ok(()));
        check("get - secrets a other", unrelated());
        check("get - secrets b s", unrelated());
        check("list - secrets a -", no("No Object name found"));
        check("create - secrets a s", no("can only read resources of this type"));
        check("get - pods a p", Ok(()));
        check("get - pods a -", no("No Object name found"));
        check("list - pods - - spec.nodeName=n", Ok(()));
        check(
            "list - pods - - spec.nodeName=m",
            no("can only list/watch pods with spec.nodeName field selector"),
        );
        check("delete - pods a p", Ok(()));
        check("update - pods a p", no(""));
        check("create - serviceaccounts/token a sa", Ok(()));
        check("create - serviceaccounts/token a default", unrelated());
        check("get - nodes - n", Ok(()));
        check("get - nodes - m", no("node 'n' cannot read 'm', only its own Node object"));
        check("list - nodes - -", no("node 'n' cannot read all nodes, only its own Node object"));
        check("delete - nodes - n", no(""));
        check("update coordination.k8s.io leases kube-node-lease n", Ok(()));
        check("create coordination.k8s.io leases kube-node-lease -", Ok(()));
        check(
            "update coordination.k8s.io leases kube-node-lease m",
            no("can only access node lease with the same name as the requesting node"),
        );
        check(
            "get coordination.k8s.io leases kube-system n",
            no("can only access leases in the \"kube-node-lease\" system namespace"),
        );
        check("get storage.k8s.io csinodes - n", Ok(()));
        check("list - services - -", Ok(()));
        check("create - events a -", Ok(()));
        check("create authentication.k8s.io tokenreviews - -", Ok(()));
        check("delete - services a x", no(""));
    }

    #[test]
    fn others_are_no_nodes() {
        assert_eq!(node_name(&Identity::new("system:node:n", &["system:masters"])), None);
        assert_eq!(node_name(&Identity::new("jane", &["system:nodes"])), None);
    }
}
