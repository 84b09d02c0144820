//! Aggregated ClusterRoles: rules collected from the roles that a selector chooses.

use super::rule::{Rule, rules_of};
use serde_json::Value;

/// The rules that each aggregating ClusterRole among `roles` should have, where they differ from those it has.
///
/// Selected roles are taken in the order of their names and a rule that is there already is not taken again. A role that is
/// itself an aggregate gives what it collects, so that one call settles chains (edit → admin).
pub fn plan(roles: &[Value]) -> Vec<(String, Vec<Rule>)> {
    let mut cluster_roles: Vec<&Value> = roles.iter().filter(|role| role["kind"] == "ClusterRole").collect();
    cluster_roles.sort_by_key(|role| name(role));
    let aggregating = cluster_roles.iter().filter(|role| !selectors(role).is_empty());
    aggregating
        .map(|role| (name(role).to_owned(), collect(role, &cluster_roles, &mut Vec::new())))
        .filter(|(own, rules)| cluster_roles.iter().any(|role| name(role) == own && rules_of(role) != *rules))
        .collect()
}

fn name(role: &Value) -> &str {
    role["metadata"]["name"].as_str().unwrap_or_default()
}

fn selectors(role: &Value) -> &[Value] {
    role["aggregationRule"]["clusterRoleSelectors"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn collect(role: &Value, all: &[&Value], above: &mut Vec<String>) -> Vec<Rule> {
    let own = name(role).to_owned();
    let mut rules: Vec<Rule> = Vec::new();
    above.push(own.clone());
    for selector in selectors(role) {
        for source in all.iter().filter(|source| selects(selector, source)) {
            if above.iter().any(|above| above == name(source)) {
                continue;
            }
            let found = match selectors(source).is_empty() {
                true => rules_of(source),
                false => collect(source, all, above),
            };
            for rule in found {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
    }
    above.pop();
    rules
}

/// A `metav1.LabelSelector` against the role's labels.
fn selects(selector: &Value, role: &Value) -> bool {
    let label = |key: &str| role["metadata"]["labels"].get(key).and_then(Value::as_str);
    let mut labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    labels.all(|(key, value)| label(key) == value.as_str())
        && expressions.all(|expression| expression_matches(expression, label))
}

fn expression_matches<'a>(expression: &Value, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let found = label(expression["key"].as_str().unwrap_or_default());
    let listed = || {
        let values = expression["values"].as_array().map(Vec::as_slice).unwrap_or_default();
        found.is_some_and(|found| values.iter().any(|value| value == found))
    };
    match expression["operator"].as_str() {
        Some("In") => listed(),
        Some("NotIn") => !listed(),
        Some("Exists") => found.is_some(),
        Some("DoesNotExist") => found.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn role(name: &str, label: &str, selects: Option<&str>, verb: &str) -> Value {
        let mut role = json!({"kind": "ClusterRole", "metadata": {"name": name, "labels": {label: "true"}},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]});
        if let Some(key) = selects {
            role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {key: "true"}}]});
            role["rules"] = json!([]);
        }
        role
    }

    fn verbs(plan: &[(String, Vec<Rule>)]) -> Vec<String> {
        let list =
            |rules: &[Rule]| rules.iter().map(|rule| rule.verbs.join("+")).collect::<Vec<_>>().join(",");
        plan.iter().map(|(name, rules)| format!("{name}={}", list(rules))).collect()
    }

    #[test]
    fn chains_settle_in_one_call_and_nothing_is_taken_twice() {
        let mut roles = vec![
            role("admin", "x", Some("to-admin"), ""),
            role("edit", "to-admin", Some("to-edit"), ""),
            role("a", "to-edit", None, "get"),
            role("b", "to-admin", None, "list"),
            role("c", "to-admin", None, "get"),
        ];
        assert_eq!(verbs(&plan(&roles)), ["admin=list,get", "edit=get"]);
        for (name, rules) in plan(&roles) {
            roles
                .iter_mut()
                .filter(|r| r["metadata"]["name"] == *name)
                .for_each(|r| r["rules"] = json!(rules));
        }
        assert!(plan(&roles).is_empty());
    }

    #[test]
    fn a_circle_ends() {
        let roles =
            [role("a", "x", Some("y"), ""), role("b", "y", Some("x"), ""), role("c", "x", None, "get")];
        assert_eq!(verbs(&plan(&roles)), ["a=get", "b=get"]);
    }
}
