//! The table of roles and bindings, one object a paragraph, one rule a line.

use serde_json::{Value, json};

/// The tables are part of the program; a line that does not parse is a mistake of ours that every test meets.
pub fn parse(table: &str) -> Vec<Value> {
    let mut objects: Vec<Value> = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match line.strip_prefix("  ") {
            Some(line) => add_line(objects.last_mut().expect("the table starts with an object"), line),
            None => objects.push(object(line)),
        }
    }
    objects
}

/// `ClusterRole NAME`, `Role NAMESPACE/NAME`, `RoleBinding NAMESPACE/NAME KIND:ROLE SUBJECT…`.
fn object(line: &str) -> Value {
    let mut words = line.split(' ');
    let kind = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    let mut metadata = json!({
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        "name": path,
    });
    if let Some((namespace, name)) = path.split_once('/') {
        metadata["namespace"] = namespace.into();
        metadata["name"] = name.into();
    }
    let mut object =
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata});
    match words.next().and_then(|role| role.split_once(':')) {
        None => object["rules"] = json!([]),
        Some((kind, name)) => {
            object["roleRef"] = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
            let subjects: Vec<Value> = words.filter_map(|word| word.split_once(':')).map(subject).collect();
            if !subjects.is_empty() {
                object["subjects"] = subjects.into();
            }
        }
    }
    object
}

fn subject((kind, name): (&str, &str)) -> Value {
    match (kind, name.split_once('/')) {
        ("ServiceAccount", Some((namespace, name))) => {
            json!({"kind": kind, "name": name, "namespace": namespace})
        }
        _ => json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}),
    }
}

fn add_line(object: &mut Value, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["label", pair] => {
            let (key, value) = pair.split_once('=').expect("a label is KEY=VALUE");
            object["metadata"]["labels"][key] = value.into();
        }
        ["aggregate", pair] => {
            let (key, value) = pair.split_once('=').expect("a selector is KEY=VALUE");
            let selector = json!({"matchLabels": {key: value}});
            match object["aggregationRule"]["clusterRoleSelectors"].as_array_mut() {
                Some(selectors) => selectors.push(selector),
                None => object["aggregationRule"] = json!({"clusterRoleSelectors": [selector]}),
            }
        }
        words => {
            let rules = object["rules"].as_array_mut().expect("only roles have rules");
            rules.push(rule(words));
        }
    }
}

fn rule(words: &[&str]) -> Value {
    let list = |text: &str| -> Value {
        text.split(',').map(|item| if item == "core" { "" } else { item }).collect()
    };
    match words {
        [verbs, "url", paths] => json!({"verbs": list(verbs), "nonResourceURLs": list(paths)}),
        [verbs, groups, resources] => {
            json!({"verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources)})
        }
        [verbs, groups, resources, "name", names] => json!({"verbs": list(verbs), "apiGroups": list(groups),
            "resources": list(resources), "resourceNames": list(names)}),
        other => panic!("no rule: {other:?}"),
    }
}
