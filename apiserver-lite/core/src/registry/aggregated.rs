//! Aggregated discovery, `apidiscovery.k8s.io/v2`: everything below `/api` or `/apis` in one document.

use kedge_api::kinds::{self, Kind};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

/// The document of `/api` (core) or of `/apis`.
pub fn document(core: bool) -> Value {
    let mut groups: Vec<(&str, Vec<Value>)> = Vec::new();
    let mut versions_done: Vec<(&str, &str)> = Vec::new();
    for kind in kinds::kinds().iter().filter(|kind| kind.group.is_empty() == core) {
        let version = (kind.group, kind.version);
        if versions_done.contains(&version) {
            continue;
        }
        versions_done.push(version);
        let entry = version_entry(kind.group, kind.version);
        match groups.iter_mut().find(|(group, _)| *group == kind.group) {
            Some((_, versions)) => versions.push(entry),
            None => groups.push((kind.group, vec![entry])),
        }
    }
    let items: Vec<Value> = groups
        .into_iter()
        .map(|(group, versions)| {
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn version_entry(group: &str, version: &str) -> Value {
    let here = kinds::kinds().iter().filter(|kind| kind.group == group && kind.version == version);
    let mut resources: Vec<Value> = here.map(resource).collect();
    resources.sort_by(|a, b| a["resource"].as_str().cmp(&b["resource"].as_str()));
    json!({"version": version, "freshness": "Current", "resources": resources})
}

fn resource(kind: &'static Kind) -> Value {
    let mut entry = json!({
        "resource": kind.plural, "singularResource": kind.singular, "verbs": kind.verbs,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "responseKind": response_kind(kind, kind.group, kind.version, kind.kind),
    });
    for (key, words) in [("shortNames", kind.short_names), ("categories", kind.categories)] {
        if !words.is_empty() {
            entry[key] = json!(words);
        }
    }
    if !kind.subresources.is_empty() {
        let subresources: Vec<Value> = kind
            .subresources
            .iter()
            .map(|sub| {
                json!({
                    "subresource": sub.name, "verbs": sub.verbs,
                    "responseKind": response_kind(kind, sub.group, sub.version, sub.kind),
                })
            })
            .collect();
        entry["subresources"] = subresources.into();
    }
    entry
}

/// Group and version are left empty where they are those of the document's version.
fn response_kind(kind: &Kind, group: &str, version: &str, name: &str) -> Value {
    match (group, version) == (kind.group, kind.version) {
        true => json!({"group": "", "version": "", "kind": name}),
        false => json!({"group": group, "version": version, "kind": name}),
    }
}

/// The hash that clients revalidate with.
pub fn hash(document: &str) -> String {
    Sha512::digest(document.as_bytes()).iter().map(|byte| format!("{byte:02X}")).collect()
}
