//! Who may do what: `system:masters`, then the Node authorizer, then RBAC. Whoever is not allowed is forbidden.
//!
//! An [`Authorizer`] is a value that follows the store: the shell calls [`Authorizer::observe`] for every committed change of the
//! resources in [`OBSERVED`] (and once for each object at start), in the order of the commits.

pub mod aggregation;
mod escalation;
pub(crate) mod graph;
mod node;
mod rbac;
pub mod reviews;
pub mod rule;

pub use escalation::confirm_no_escalation;
pub use node::node_name;

use crate::attributes::Attributes;
use crate::objects::Objects;
use crate::status::ApiError;
use kedge_api::Identity;
use rule::Rule;
use serde_json::{Value, json};

/// Members may do anything; RBAC cannot lock them out.
pub const MASTERS: &str = "system:masters";

/// Group and plural of what decisions depend on.
pub const OBSERVED: [(&str, &str); 9] = [
    (rbac::GROUP, "clusterroles"),
    (rbac::GROUP, "clusterrolebindings"),
    (rbac::GROUP, "roles"),
    (rbac::GROUP, "rolebindings"),
    ("", "pods"),
    ("", "persistentvolumes"),
    ("storage.k8s.io", "volumeattachments"),
    ("resource.k8s.io", "resourceslices"),
    ("certificates.k8s.io", "podcertificaterequests"),
];

#[derive(Debug, Default, Clone)]
pub struct Authorizer {
    rbac: rbac::RbacIndex,
    graph: graph::NodeGraph,
}

/// A decision with its reason as a SubjectAccessReview shows it (often empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
}

impl Authorizer {
    /// Knows all that `objects` holds.
    pub fn of(objects: &dyn Objects) -> Authorizer {
        let mut authorizer = Authorizer::default();
        for (group, plural) in OBSERVED {
            for object in objects.list(group, plural, None) {
                let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                authorizer.observe(group, plural, namespace, name, Some(&object));
            }
        }
        authorizer
    }

    /// Follows one committed change; `None` means deleted. Resources that are not observed are ignored.
    pub fn observe(
        &mut self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
        object: Option<&Value>,
    ) {
        if !OBSERVED.contains(&(group, plural)) {
            return;
        }
        match group {
            rbac::GROUP => self.rbac.observe(plural, namespace, name, object),
            _ => self.graph.observe(plural, namespace, name, object),
        }
    }

    pub fn authorize(&self, attributes: &Attributes) -> Decision {
        let allow = |reason: String| Decision { allowed: true, reason };
        if is_master(&attributes.user) {
            return allow(String::new());
        }
        let mut reasons = Vec::new();
        match node::authorize(&self.graph, attributes) {
            Some(Ok(())) => return allow(String::new()),
            Some(Err(reason)) if !reason.is_empty() => reasons.push(reason),
            Some(Err(_)) | None => {}
        }
        match self.rbac.authorize(attributes) {
            Ok(reason) => return allow(reason),
            Err(unresolved) if unresolved.is_empty() => {}
            Err(unresolved) => reasons.push(format!("RBAC: {}", join_errors(&unresolved))),
        }
        Decision { allowed: false, reason: reasons.join("\n") }
    }

    /// The 403 answer when the request is not allowed.
    pub fn check(&self, attributes: &Attributes) -> Result<(), ApiError> {
        let decision = self.authorize(attributes);
        if decision.allowed { Ok(()) } else { Err(forbidden(attributes, &decision.reason)) }
    }

    /// The RBAC rules that apply to a user in a namespace, and what could not be resolved.
    pub fn rules_for(&self, user: &Identity, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        self.rbac.rules_for(user, namespace)
    }

    fn role_rules(&self, kind: &str, name: &str, namespace: &str) -> Option<&[Rule]> {
        self.rbac.role_rules(kind, name, namespace).ok()
    }
}

pub fn is_master(user: &Identity) -> bool {
    user.groups.iter().any(|group| group == MASTERS)
}

/// Several errors as upstream prints an aggregate.
fn join_errors(errors: &[String]) -> String {
    let mut unique: Vec<&str> = Vec::new();
    for error in errors {
        if !unique.contains(&error.as_str()) {
            unique.push(error);
        }
    }
    match unique.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// The 403 for a request. `reason` follows after a colon where the authorizers gave one.
pub fn forbidden(attributes: &Attributes, reason: &str) -> ApiError {
    let a = attributes;
    let mut why = describe(a);
    if !reason.is_empty() {
        why = format!("{why}: {reason}");
    }
    match a.is_resource {
        true => ApiError::forbidden(&a.group, &a.resource, &a.name, &why),
        false => {
            ApiError { details: json!({}), ..ApiError::new(403, "Forbidden", format!("forbidden: {why}")) }
        }
    }
}

/// `User "jane" cannot get resource "pods/log" in API group "" in the namespace "a"`.
fn describe(a: &Attributes) -> String {
    let user = &a.user.user;
    if !a.is_resource {
        return format!("User {user:?} cannot {} path {:?}", a.verb, a.path);
    }
    let resource = match a.subresource.as_str() {
        "" => a.resource.clone(),
        subresource => format!("{}/{subresource}", a.resource),
    };
    let place = match a.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    format!("User {user:?} cannot {} resource {resource:?} in API group {:?} {place}", a.verb, a.group)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../../../tests/golden/upstream/api/auth.json");

    /// A new cluster's roles and bindings.
    pub fn bootstrapped() -> Authorizer {
        let mut authorizer = Authorizer::default();
        for object in crate::bootstrap::roles_and_bindings() {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
            let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
            authorizer.observe(rbac::GROUP, &plural, text("namespace"), text("name"), Some(&object));
        }
        authorizer
    }

    /// Shows each recorded step of a case; answers their number.
    pub fn replay(case: &str, mut check: impl FnMut(&Value, &Value)) -> usize {
        let golden: Value = serde_json::from_str(GOLDEN).unwrap();
        let steps = golden["cases"][case].as_array().unwrap();
        steps.iter().for_each(|step| check(&step["request"], &step["response"]));
        steps.len()
    }

    /// The facts of a recorded request, as the shell derives them.
    fn attributes(user: Identity, request: &Value) -> Attributes {
        let (path, query) = {
            let path = request["path"].as_str().unwrap();
            path.split_once('?').unwrap_or((path, ""))
        };
        let method = request["method"].as_str().unwrap();
        let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (group, rest) = match words.as_slice() {
            ["api", "v1", rest @ ..] if !rest.is_empty() => ("", rest),
            ["apis", group, _, rest @ ..] if !rest.is_empty() => (*group, rest),
            _ => {
                let (verb, path) = (method.to_lowercase(), path.to_owned());
                return Attributes { user, verb, path, ..Attributes::default() };
            }
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace] => (*namespace, rest),
            ["namespaces", namespace, rest @ ..] => (*namespace, rest),
            rest => ("", rest),
        };
        let selected = query.strip_prefix("fieldSelector=metadata.name%3D");
        let name = rest.get(1).copied().or(selected).unwrap_or_default();
        let verb = match (method, rest.len() > 1) {
            ("GET", _) if query.contains("watch=true") => "watch",
            ("GET", true) => "get",
            ("GET", false) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            (_, true) => "delete",
            (_, false) => "deletecollection",
        };
        Attributes {
            user,
            verb: verb.to_owned(),
            is_resource: true,
            group: group.to_owned(),
            resource: rest[0].to_owned(),
            subresource: rest.get(2).copied().unwrap_or_default().to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        }
    }

    fn check(case: &str, authorizer: &Authorizer, user: &Identity) {
        let compared = replay(case, |request, response| {
            let attributes = attributes(user.clone(), request);
            let reviews = attributes.group.starts_with("auth") && attributes.user.user != "system:anonymous";
            if response["status"] == 401 || reviews && response["status"] != 403 {
                return;
            }
            match authorizer.check(&attributes) {
                Ok(()) => assert_ne!(response["status"], 403, "{request}"),
                Err(error) => assert_eq!(error.to_status(), response["body"], "{request}"),
            }
        });
        assert!(compared > 9);
    }

    #[test]
    fn recorded_answers_for_others() {
        let mut authorizer = bootstrapped();
        let anonymous = Identity {
            user: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            ..Identity::default()
        };
        check("anonymous", &authorizer, &anonymous);
        let account = |namespace: &str| {
            let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
            Identity::new(&format!("system:serviceaccount:{namespace}:u"), &groups)
        };
        check("forbidden", &authorizer, &account("kg-auth-forbidden"));

        let namespace = "kg-auth-rbac-allow";
        let role = json!({"rules": [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["only"], "verbs": ["get", "update"]},
            {"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["*"]}]});
        let binding = json!({"roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "u", "namespace": namespace}]});
        authorizer.observe(rbac::GROUP, "roles", namespace, "r", Some(&role));
        authorizer.observe(rbac::GROUP, "rolebindings", namespace, "r", Some(&binding));
        check("rbac-allow", &authorizer, &account(namespace));
    }

    #[test]
    fn masters_may_do_anything_and_a_broken_binding_says_so() {
        let mut authorizer = Authorizer::default();
        let request = |user: Identity| Attributes {
            user,
            verb: "x".into(),
            path: "/y".into(),
            ..Attributes::default()
        };
        assert!(authorizer.authorize(&request(Identity::new("a", &[MASTERS]))).allowed);
        let binding = json!({"roleRef": {"kind": "ClusterRole", "name": "gone"}, "subjects": [{"kind": "User", "name": "b"}]});
        authorizer.observe(rbac::GROUP, "clusterrolebindings", "", "b", Some(&binding));
        let error = authorizer.check(&request(Identity::new("b", &[]))).unwrap_err();
        let want = r#"forbidden: User "b" cannot x path "/y": RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found"#;
        assert_eq!(error.message, want);
    }
}
