//! RBAC: roles and bindings indexed by subject.
//!
//! A decision looks at the bindings of the user and of each group, cluster-wide ones and those of the request's namespace,
//! and at nothing else; ten thousand bindings for other people cost nothing. The index follows the store through `observe`.

use super::rule::{Rule, rules_of};
use crate::attributes::Attributes;
use kedge_api::Identity;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub const GROUP: &str = "rbac.authorization.k8s.io";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// ServiceAccounts too, by their user name.
    User(String),
    Group(String),
}

/// Namespace ("" when cluster-wide) and name. Cluster-wide keys sort first, which is also the order of evaluation.
type Key = (String, String);

#[derive(Debug, Clone)]
struct Binding {
    role_kind: String,
    role_name: String,
    /// The subjects in the order of the binding, each with its description in reasons.
    subjects: Vec<(Subject, String)>,
}

#[derive(Debug, Default, Clone)]
pub struct RbacIndex {
    roles: BTreeMap<Key, Vec<Rule>>,
    bindings: BTreeMap<Key, Binding>,
    by_subject: BTreeMap<Subject, BTreeMap<String, BTreeSet<String>>>,
}

/// A rule that applies to a user, and through which binding; or why a binding could not be followed.
pub enum Visit<'a> {
    Rule { rule: &'a Rule, source: &'a dyn Fn() -> String },
    Unresolved(String),
}

impl RbacIndex {
    /// Follows one object; `None` means deleted. Other resources are ignored.
    pub fn observe(&mut self, plural: &str, namespace: &str, name: &str, object: Option<&Value>) {
        let key = (namespace.to_owned(), name.to_owned());
        match plural {
            "roles" | "clusterroles" => {
                match object {
                    Some(object) => self.roles.insert(key, rules_of(object)),
                    None => self.roles.remove(&key),
                };
            }
            "rolebindings" | "clusterrolebindings" => self.observe_binding(key, object),
            _ => {}
        }
    }

    fn observe_binding(&mut self, key: Key, object: Option<&Value>) {
        if let Some(old) = self.bindings.remove(&key) {
            for (subject, _) in old.subjects {
                self.forget(&subject, &key);
            }
        }
        let Some(object) = object else { return };
        let binding = Binding::parse(object, &key.0);
        for (subject, _) in &binding.subjects {
            let namespaces = self.by_subject.entry(subject.clone()).or_default();
            namespaces.entry(key.0.clone()).or_default().insert(key.1.clone());
        }
        self.bindings.insert(key, binding);
    }

    fn forget(&mut self, subject: &Subject, (namespace, name): &Key) {
        let Some(namespaces) = self.by_subject.get_mut(subject) else {
            return;
        };
        if let Some(names) = namespaces.get_mut(namespace) {
            names.remove(name);
            if names.is_empty() {
                namespaces.remove(namespace);
            }
        }
        if namespaces.is_empty() {
            self.by_subject.remove(subject);
        }
    }

    /// The rules behind a roleRef, or the error text of a missing role.
    pub fn role_rules(&self, kind: &str, name: &str, namespace: &str) -> Result<&[Rule], String> {
        let (namespace, resource) = match kind {
            "ClusterRole" => ("", "clusterrole"),
            "Role" => (namespace, "role"),
            other => return Err(format!("unsupported role reference kind: {other:?}")),
        };
        match self.roles.get(&(namespace.to_owned(), name.to_owned())) {
            Some(rules) => Ok(rules),
            None => Err(format!("{resource}.{GROUP} {name:?} not found")),
        }
    }

    /// Shows every rule that applies to the user in the namespace until `visitor` answers false.
    pub fn visit(&self, user: &Identity, namespace: &str, visitor: &mut dyn FnMut(Visit<'_>) -> bool) {
        for key in self.bindings_of(user, namespace) {
            let Some(binding) = self.bindings.get(&key) else {
                continue;
            };
            let rules = match self.role_rules(&binding.role_kind, &binding.role_name, &key.0) {
                Ok(rules) => rules,
                Err(text) => {
                    if !visitor(Visit::Unresolved(text)) {
                        return;
                    }
                    continue;
                }
            };
            let source = || binding.describe(&key, user);
            for rule in rules {
                if !visitor(Visit::Rule { rule, source: &source }) {
                    return;
                }
            }
        }
    }

    fn bindings_of(&self, user: &Identity, namespace: &str) -> BTreeSet<Key> {
        let groups = user.groups.iter().map(|group| Subject::Group(group.clone()));
        let subjects = std::iter::once(Subject::User(user.user.clone())).chain(groups);
        let mut keys = BTreeSet::new();
        for subject in subjects {
            let Some(namespaces) = self.by_subject.get(&subject) else {
                continue;
            };
            let wanted = if namespace.is_empty() { vec![""] } else { vec!["", namespace] };
            for namespace in wanted {
                let names = namespaces.get(namespace).into_iter().flatten();
                keys.extend(names.map(|name| (namespace.to_owned(), name.clone())));
            }
        }
        keys
    }

    /// The reason when a rule allows the request; otherwise what could not be resolved.
    pub fn authorize(&self, attributes: &Attributes) -> Result<String, Vec<String>> {
        let mut allowed = None;
        let mut unresolved = Vec::new();
        self.visit(&attributes.user, &attributes.namespace, &mut |visit| match visit {
            Visit::Rule { rule, source } if rule.allows(attributes) => {
                allowed = Some(format!("RBAC: allowed by {}", source()));
                false
            }
            Visit::Rule { .. } => true,
            Visit::Unresolved(text) => {
                unresolved.push(text);
                true
            }
        });
        allowed.ok_or(unresolved)
    }

    /// All rules that apply to the user, and what could not be resolved.
    pub fn rules_for(&self, user: &Identity, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut rules, mut unresolved) = (Vec::new(), Vec::new());
        self.visit(user, namespace, &mut |visit| {
            match visit {
                Visit::Rule { rule, .. } => rules.push(rule.clone()),
                Visit::Unresolved(text) => unresolved.push(text),
            }
            true
        });
        (rules, unresolved)
    }
}

impl Binding {
    fn parse(object: &Value, namespace: &str) -> Binding {
        let subjects = object["subjects"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Binding {
            role_kind: text(&object["roleRef"]["kind"]),
            role_name: text(&object["roleRef"]["name"]),
            subjects: subjects.iter().filter_map(|subject| parse_subject(subject, namespace)).collect(),
        }
    }

    fn describe(&self, key: &Key, user: &Identity) -> String {
        let applies = |subject: &Subject| match subject {
            Subject::User(name) => *name == user.user,
            Subject::Group(name) => user.groups.contains(name),
        };
        let subject = self.subjects.iter().find(|(subject, _)| applies(subject)).map_or("", |(_, text)| text);
        let (kind, name) = match key.0.as_str() {
            "" => ("ClusterRoleBinding", key.1.clone()),
            namespace => ("RoleBinding", format!("{}/{namespace}", key.1)),
        };
        format!("{kind} {name:?} of {} {:?} to {subject}", self.role_kind, self.role_name)
    }
}

fn parse_subject(subject: &Value, binding_namespace: &str) -> Option<(Subject, String)> {
    let name = subject["name"].as_str()?;
    match subject["kind"].as_str()? {
        "User" => Some((Subject::User(name.to_owned()), format!("User {name:?}"))),
        "Group" => Some((Subject::Group(name.to_owned()), format!("Group {name:?}"))),
        "ServiceAccount" => {
            let namespace =
                subject["namespace"].as_str().filter(|ns| !ns.is_empty()).unwrap_or(binding_namespace);
            if namespace.is_empty() {
                return None;
            }
            let user = format!("system:serviceaccount:{namespace}:{name}");
            Some((Subject::User(user), format!("ServiceAccount \"{name}/{namespace}\"")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn index() -> RbacIndex {
        let mut index = RbacIndex::default();
        let rules = json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
        index.observe("clusterroles", "", "reader", Some(&rules));
        index.observe("roles", "a", "r", Some(&rules));
        let binding = json!({"roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "u"}, {"kind": "User", "name": "jane"}]});
        index.observe("rolebindings", "a", "b", Some(&binding));
        index
    }

    fn check(index: &RbacIndex, user: &str, group: &str, namespace: &str) -> Result<String, Vec<String>> {
        index.authorize(&Attributes {
            user: Identity::new(user, &[group]),
            verb: "get".into(),
            is_resource: true,
            resource: "pods".into(),
            namespace: namespace.into(),
            name: "p".into(),
            ..Attributes::default()
        })
    }

    #[test]
    fn a_role_binding_reaches_its_own_namespace_only() {
        let index = index();
        assert_eq!(
            check(&index, "system:serviceaccount:a:u", "g", "a").unwrap(),
            r#"RBAC: allowed by RoleBinding "b/a" of Role "r" to ServiceAccount "u/a""#
        );
        assert_eq!(
            check(&index, "jane", "g", "a").unwrap(),
            r#"RBAC: allowed by RoleBinding "b/a" of Role "r" to User "jane""#
        );
        assert_eq!(check(&index, "jane", "g", "b"), Err(vec![]));
        assert_eq!(check(&index, "jane", "g", ""), Err(vec![]));
    }

    #[test]
    fn changes_and_deletions_are_followed() {
        let mut index = index();
        let binding = json!({"roleRef": {"kind": "ClusterRole", "name": "reader"}, "subjects": [{"kind": "Group", "name": "g"}]});
        index.observe("clusterrolebindings", "", "c", Some(&binding));
        assert!(check(&index, "joe", "g", "zz").is_ok());
        index.observe("clusterroles", "", "reader", None);
        let missing = r#"clusterrole.rbac.authorization.k8s.io "reader" not found"#.to_owned();
        assert_eq!(check(&index, "joe", "g", "zz"), Err(vec![missing]));
        index.observe("clusterrolebindings", "", "c", None);
        assert_eq!(check(&index, "joe", "g", "zz"), Err(vec![]));
        index.observe("rolebindings", "a", "b", None);
        assert!(index.by_subject.is_empty() && index.bindings.is_empty());
    }
}
