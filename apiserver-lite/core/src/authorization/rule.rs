//! One RBAC policy rule: what it allows, what it covers, how it is printed.

use crate::attributes::Attributes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `rbac.authorization.k8s.io/v1 PolicyRule`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rule {
    pub verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// The rules of a role object; a rule that does not decode allows nothing.
pub fn rules_of(role: &Value) -> Vec<Rule> {
    let rules = role["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    rules.iter().filter_map(|rule| Rule::deserialize(rule).ok()).collect()
}

impl Rule {
    pub fn allows(&self, attributes: &Attributes) -> bool {
        if !has_or_star(&self.verbs, &attributes.verb) {
            return false;
        }
        if !attributes.is_resource {
            return self.non_resource_urls.iter().any(|owner| url_matches(owner, &attributes.path));
        }
        has_or_star(&self.api_groups, &attributes.group)
            && self.allows_resource(&attributes.resource, &attributes.subresource)
            && (self.resource_names.is_empty() || self.resource_names.contains(&attributes.name))
    }

    fn allows_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|rule| match rule.split_once('/') {
            _ if rule == "*" => true,
            None => subresource.is_empty() && rule == resource,
            Some((main, sub)) => {
                !subresource.is_empty() && sub == subresource && (main == "*" || main == resource)
            }
        })
    }

    /// Does this rule grant all that `atom` (from `atoms`) grants?
    fn covers(&self, atom: &Rule) -> bool {
        let names_covered = self.resource_names.is_empty()
            || (!atom.resource_names.is_empty() && has_all(&self.resource_names, &atom.resource_names));
        (has_all(&self.verbs, &atom.verbs) || has(&self.verbs, "*"))
            && (has_all(&self.api_groups, &atom.api_groups) || has(&self.api_groups, "*"))
            && (has(&self.resources, "*") || atom.resources.iter().all(|r| self.covers_resource(r)))
            && atom
                .non_resource_urls
                .iter()
                .all(|url| self.non_resource_urls.iter().any(|own| url_covers(own, url)))
            && names_covered
    }

    fn covers_resource(&self, resource: &str) -> bool {
        has(&self.resources, resource)
            || resource.split_once('/').is_some_and(|(_, sub)| has(&self.resources, &format!("*/{sub}")))
    }

    /// The rule as rules of one verb, one resource and one name each.
    fn atoms(&self) -> Vec<Rule> {
        let mut atoms = Vec::new();
        let one = |text: &String| vec![text.clone()];
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    let atom = Rule {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..Rule::default()
                    };
                    if self.resource_names.is_empty() {
                        atoms.push(atom.clone());
                    }
                    atoms.extend(
                        self.resource_names
                            .iter()
                            .map(|name| Rule { resource_names: one(name), ..atom.clone() }),
                    );
                }
            }
            atoms.extend(self.non_resource_urls.iter().map(|url| Rule {
                verbs: one(verb),
                non_resource_urls: one(url),
                ..Rule::default()
            }));
        }
        atoms
    }

    /// `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`, as escalation errors print it.
    pub fn compact(&self) -> String {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{}", go_list(list)))
            .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

/// A list as Go's `%q` prints it: `["a" "b"]`.
pub fn go_list(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

/// What of `wanted` is not granted by `owned`: atoms, those that differ in the verb only joined.
pub fn uncovered(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut missing: Vec<Rule> = Vec::new();
    for atom in wanted.iter().flat_map(Rule::atoms) {
        if owned.iter().any(|rule| rule.covers(&atom)) {
            continue;
        }
        let same = missing.iter_mut().find(|rule| {
            atom.non_resource_urls.is_empty()
                && rule.non_resource_urls.is_empty()
                && (&rule.api_groups, &rule.resources, &rule.resource_names)
                    == (&atom.api_groups, &atom.resources, &atom.resource_names)
        });
        match same {
            Some(rule) => rule.verbs.extend(atom.verbs),
            None => missing.push(atom),
        }
    }
    missing
}

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|text| text == item)
}

fn has_or_star(list: &[String], item: &str) -> bool {
    list.iter().any(|text| text == "*" || text == item)
}

fn has_all(list: &[String], items: &[String]) -> bool {
    items.iter().all(|item| has(list, item))
}

fn url_matches(rule: &str, path: &str) -> bool {
    match rule.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix.trim_end_matches('*')),
        None => rule == path,
    }
}

fn url_covers(owner: &str, url: &str) -> bool {
    owner == url || (owner.ends_with('*') && url.starts_with(owner.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(groups: &str, resources: &str, names: &str, verbs: &str) -> Rule {
        let split = |text: &str| match text {
            "-" => Vec::new(),
            _ => text.split(',').map(str::to_owned).collect(),
        };
        Rule {
            verbs: split(verbs),
            api_groups: split(groups),
            resources: split(resources),
            resource_names: split(names),
            non_resource_urls: Vec::new(),
        }
    }

    fn request(verb: &str, group: &str, resource: &str, name: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            verb: verb.into(),
            is_resource: true,
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            name: name.into(),
            ..Attributes::default()
        }
    }

    #[test]
    fn what_a_rule_allows() {
        let cases = [
            (rule("", "pods", "-", "get"), request("get", "", "pods", "a"), true),
            (rule("", "pods", "-", "get"), request("list", "", "pods", ""), false),
            (rule("", "pods", "-", "get"), request("get", "apps", "pods", "a"), false),
            (rule("", "pods", "-", "get"), request("get", "", "pods/log", "a"), false),
            (rule("", "pods/log", "-", "get"), request("get", "", "pods/log", "a"), true),
            (rule("", "pods/log", "-", "get"), request("get", "", "pods", "a"), false),
            (rule("apps", "*/scale", "-", "*"), request("get", "apps", "deployments/scale", "d"), true),
            (rule("apps", "*/scale", "-", "*"), request("get", "apps", "deployments", "d"), false),
            (rule("*", "*", "-", "*"), request("patch", "x", "y/z", "d"), true),
            (rule("", "secrets", "only", "get"), request("get", "", "secrets", "only"), true),
            (rule("", "secrets", "only", "get"), request("get", "", "secrets", "other"), false),
            (rule("", "secrets", "only", "get"), request("get", "", "secrets", ""), false),
        ];
        for (rule, request, want) in cases {
            assert_eq!(rule.allows(&request), want, "{rule:?} {request:?}");
        }
    }

    #[test]
    fn paths_match_exactly_or_by_prefix() {
        let urls = |rule: &str, path: &str| {
            let rule =
                Rule { verbs: vec!["get".into()], non_resource_urls: vec![rule.into()], ..Rule::default() };
            rule.allows(&Attributes { verb: "get".into(), path: path.into(), ..Attributes::default() })
        };
        assert!(urls("*", "/x"));
        assert!(urls("/api/*", "/api/v1"));
        assert!(!urls("/api/*", "/api"));
        assert!(!urls("/api", "/api/"));
    }

    #[test]
    fn what_is_missing_is_joined_by_verb() {
        let owned = [rule("", "pods", "-", "get")];
        let wanted = [rule("", "pods,services", "-", "get,list,watch")];
        let missing: Vec<String> = uncovered(&owned, &wanted).iter().map(Rule::compact).collect();
        assert_eq!(
            missing,
            [
                r#"{APIGroups:[""], Resources:["services"], Verbs:["get" "list" "watch"]}"#,
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}"#,
            ]
        );
    }

    #[test]
    fn coverage() {
        let cases = [
            (rule("*", "*", "-", "*"), rule("", "pods/log", "a", "get"), true),
            (rule("", "*/scale", "-", "get"), rule("", "x/scale", "-", "get"), true),
            (rule("", "pods", "a", "get"), rule("", "pods", "-", "get"), false),
            (rule("", "pods", "a,b", "get"), rule("", "pods", "b", "get"), true),
            (rule("", "pods", "-", "get"), rule("", "pods", "-", "*"), false),
        ];
        for (owner, wanted, want) in cases {
            assert_eq!(
                uncovered(std::slice::from_ref(&owner), std::slice::from_ref(&wanted)).is_empty(),
                want
            );
        }
    }
}
