//! Nobody grants through a role or a binding what they do not hold themselves.
//!
//! Two verbs open a way around, as upstream: `escalate` on roles and clusterroles, `bind` on the role that a binding refers to.

use super::rbac::GROUP;
use super::rule::{Rule, go_list, rules_of, uncovered};
use super::{Authorizer, is_master, join_errors};
use crate::attributes::Attributes;
use crate::status::ApiError;
use serde_json::Value;

/// Called by the registry for a create or update of the four RBAC kinds, after defaulting, before admission. `old` is the
/// stored object of an update. Other resources pass.
pub fn confirm_no_escalation(
    authorizer: &Authorizer,
    attributes: &Attributes,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let relevant = attributes.group == GROUP && attributes.subresource.is_empty();
    if !relevant || is_master(&attributes.user) || old.is_some_and(|old| only_gc_fields_differ(object, old)) {
        return Ok(());
    }
    let write = Write { authorizer, attributes, object };
    match attributes.resource.as_str() {
        "roles" | "clusterroles" => write.role(old),
        "rolebindings" | "clusterrolebindings" => write.binding(),
        _ => Ok(()),
    }
}

struct Write<'a> {
    authorizer: &'a Authorizer,
    attributes: &'a Attributes,
    object: &'a Value,
}

impl Write<'_> {
    fn role(&self, old: Option<&Value>) -> Result<(), ApiError> {
        let a = self.attributes;
        if self.holds("escalate", &a.resource, &a.name) {
            return Ok(());
        }
        self.covers(&rules_of(self.object))?;
        let aggregates = |role: &Value| {
            role["aggregationRule"]["clusterRoleSelectors"]
                .as_array()
                .is_some_and(|selectors| !selectors.is_empty())
        };
        // An aggregate may gather anything, so it takes everything to set one, or to change one.
        if (aggregates(self.object) || old.is_some_and(aggregates)) && self.covers(&everything()).is_err() {
            return Err(self.forbidden("must have cluster-admin privileges to use the aggregationRule"));
        }
        Ok(())
    }

    fn binding(&self) -> Result<(), ApiError> {
        let text = |field: &str| self.object["roleRef"][field].as_str().unwrap_or_default();
        let (kind, name) = (text("kind"), text("name"));
        let resource = match kind {
            "ClusterRole" => "clusterroles",
            "Role" => "roles",
            _ => "",
        };
        if !resource.is_empty() && self.holds("bind", resource, name) {
            return Ok(());
        }
        match self.authorizer.role_rules(kind, name, &self.attributes.namespace) {
            Some(rules) => self.covers(rules),
            None => Err(ApiError::not_found(GROUP, resource.trim_end_matches('s'), name)),
        }
    }

    fn holds(&self, verb: &str, resource: &str, name: &str) -> bool {
        let attributes = Attributes {
            user: self.attributes.user.clone(),
            verb: verb.to_owned(),
            is_resource: true,
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: resource.to_owned(),
            namespace: self.attributes.namespace.clone(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        self.authorizer.authorize(&attributes).allowed
    }

    fn covers(&self, wanted: &[Rule]) -> Result<(), ApiError> {
        let user = &self.attributes.user;
        let (held, unresolved) = self.authorizer.rules_for(user, &self.attributes.namespace);
        let missing = uncovered(&held, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<String> = missing.iter().map(Rule::compact).collect();
        lines.sort();
        lines.dedup();
        let mut why = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.user,
            go_list(&user.groups),
            lines.join("\n")
        );
        if !unresolved.is_empty() {
            why.push_str(&format!("; resolution errors: [{}]", join_errors(&unresolved)));
        }
        Err(self.forbidden(&why))
    }

    fn forbidden(&self, why: &str) -> ApiError {
        let name = self.object["metadata"]["name"].as_str().unwrap_or_default();
        ApiError::forbidden(GROUP, &self.attributes.resource, name, why)
    }
}

fn everything() -> [Rule; 2] {
    let star = || vec!["*".to_owned()];
    [
        Rule { verbs: star(), api_groups: star(), resources: star(), ..Rule::default() },
        Rule { verbs: star(), non_resource_urls: star(), ..Rule::default() },
    ]
}

/// The garbage collector may drop owners and finalizers of roles that it could not create.
fn only_gc_fields_differ(object: &Value, old: &Value) -> bool {
    let rest = |value: &Value| {
        let mut value = value.clone();
        if let Some(metadata) = value["metadata"].as_object_mut() {
            for field in ["ownerReferences", "finalizers", "managedFields", "selfLink"] {
                metadata.remove(field);
            }
        }
        value
    };
    rest(object) == rest(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_api::Identity;
    use serde_json::json;

    /// Jane manages roles and bindings in `a` and may read pods there; she may bind the ClusterRole `open`.
    fn world() -> Authorizer {
        let mut authorizer = Authorizer::default();
        let mut put = |plural: &str, namespace: &str, name: &str, object: Value| {
            authorizer.observe(GROUP, plural, namespace, name, Some(&object));
        };
        let jane = json!([{"kind": "User", "name": "jane"}]);
        put(
            "roles",
            "a",
            "mgr",
            json!({"rules": [
            {"apiGroups": [GROUP], "resources": ["roles", "rolebindings"], "verbs": ["*"], "resourceNames": ["mine"]},
            {"apiGroups": [GROUP], "resources": ["roles"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["open"], "verbs": ["bind"]}]}),
        );
        put(
            "rolebindings",
            "a",
            "mgr",
            json!({"roleRef": {"kind": "Role", "name": "mgr"}, "subjects": jane}),
        );
        let all = json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
        put("clusterroles", "", "open", all.clone());
        put("clusterroles", "", "closed", all);
        authorizer
    }

    fn check(resource: &str, object: Value, old: Option<&Value>, want: Result<(), &str>) {
        let attributes = Attributes {
            user: Identity::new("jane", &["dev"]),
            verb: "create".into(),
            is_resource: true,
            group: GROUP.into(),
            resource: resource.into(),
            namespace: "a".into(),
            ..Attributes::default()
        };
        let got = confirm_no_escalation(&world(), &attributes, &object, old).map_err(|error| error.message);
        assert_eq!(got, want.map_err(str::to_owned), "{object}");
    }

    fn role(resources: &[&str], verbs: &[&str]) -> Value {
        json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": resources, "verbs": verbs}]})
    }

    #[test]
    fn only_held_rules_are_granted() {
        check("roles", role(&["pods"], &["get"]), None, Ok(()));
        check(
            "roles",
            role(&["pods", "secrets"], &["get", "list"]),
            None,
            Err(concat!(
                r#"roles.rbac.authorization.k8s.io "r" is forbidden: user "jane" (groups=["dev" "system:authenticated"]) "#,
                "is attempting to grant RBAC permissions not currently held:\n",
                "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}\n",
                "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}",
            )),
        );
    }

    #[test]
    fn the_collector_may_touch_what_it_could_not_create() {
        let old = role(&["secrets"], &["get"]);
        let mut object = old.clone();
        object["metadata"]["finalizers"] = json!(["x"]);
        check("roles", object, Some(&old), Ok(()));
    }

    #[test]
    fn bindings() {
        let binding = |kind: &str, name: &str| json!({"metadata": {"name": "b"}, "roleRef": {"kind": kind, "name": name}});
        check("rolebindings", binding("ClusterRole", "open"), None, Ok(()));
        check(
            "rolebindings",
            binding("ClusterRole", "closed"),
            None,
            Err(concat!(
                r#"rolebindings.rbac.authorization.k8s.io "b" is forbidden: user "jane" (groups=["dev" "system:authenticated"]) "#,
                "is attempting to grant RBAC permissions not currently held:\n",
                r#"{APIGroups:["*"], Resources:["*"], Verbs:["*"]}"#,
            )),
        );
        check(
            "rolebindings",
            binding("Role", "nope"),
            None,
            Err(r#"role.rbac.authorization.k8s.io "nope" not found"#),
        );
        check("rolebindings", binding("Role", "mgr"), None, Ok(()));
    }

    #[test]
    fn an_aggregate_takes_everything() {
        let mut object = role(&["pods"], &["get"]);
        object["aggregationRule"] = json!({"clusterRoleSelectors": [{}]});
        check(
            "clusterroles",
            object,
            None,
            Err(concat!(
                r#"clusterroles.rbac.authorization.k8s.io "r" is forbidden: "#,
                "must have cluster-admin privileges to use the aggregationRule",
            )),
        );
    }
}
