//! Legacy discovery: groups, versions, resources.

use kedge_api::kinds::{self, Kind};
use serde_json::{Value, json};

/// `/api`.
pub fn api_versions(server: &str) -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}],
    })
}

/// The groups in the order of discovery, each with its versions, the preferred one first. Core is left out.
fn group_versions() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
    for kind in kinds::kinds().iter().filter(|kind| !kind.group.is_empty()) {
        match groups.iter_mut().find(|(group, _)| *group == kind.group) {
            Some((_, versions)) if versions.contains(&kind.version) => {}
            Some((_, versions)) => versions.push(kind.version),
            None => groups.push((kind.group, vec![kind.version])),
        }
    }
    groups
}

fn group_document(group: &str, versions: &[&str]) -> Value {
    let entry = |version: &&str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    let entries: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": group, "versions": entries, "preferredVersion": entries[0]})
}

/// `/apis`.
pub fn groups() -> Value {
    let groups: Vec<Value> =
        group_versions().iter().map(|(group, versions)| group_document(group, versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub fn group(group: &str) -> Value {
    let versions =
        group_versions().into_iter().find(|(name, _)| *name == group).map(|(_, v)| v).unwrap_or_default();
    let mut document = if versions.is_empty() { json!({}) } else { group_document(group, &versions) };
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    document
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub fn resources(group: &str, version: &str) -> Value {
    let here = kinds::kinds().iter().filter(|kind| kind.group == group && kind.version == version);
    let mut resources: Vec<Value> = here.flat_map(of_kind).collect();
    resources.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut document =
        json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources});
    // The core group's document is older than the field.
    if !group.is_empty() {
        document["apiVersion"] = "v1".into();
    }
    document
}

fn of_kind(kind: &'static Kind) -> Vec<Value> {
    let mut resource = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": kind.verbs,
    });
    for (key, words) in [("shortNames", kind.short_names), ("categories", kind.categories)] {
        if !words.is_empty() {
            resource[key] = json!(words);
        }
    }
    if kind.is_stored() {
        resource["storageVersionHash"] = kind.storage_version_hash.into();
    }
    let mut all = vec![resource];
    for subresource in kind.subresources {
        let mut resource = json!({
            "name": format!("{}/{}", kind.plural, subresource.name), "singularName": "",
            "namespaced": kind.namespaced, "kind": subresource.kind, "verbs": subresource.verbs,
        });
        if (subresource.group, subresource.version) != (kind.group, kind.version) {
            resource["group"] = subresource.group.into();
            resource["version"] = subresource.version.into();
        }
        all.push(resource);
    }
    all
}

/// The paths that the root names.
pub fn paths() -> Vec<String> {
    let mut paths: Vec<String> = ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/"]
        .iter()
        .map(|path| (*path).to_owned())
        .collect();
    for (group, versions) in group_versions() {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    let more = [
        "/healthz",
        "/healthz/etcd",
        "/healthz/log",
        "/healthz/ping",
        "/livez",
        "/livez/etcd",
        "/livez/log",
        "/livez/ping",
        "/metrics",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/readyz",
        "/readyz/etcd",
        "/readyz/log",
        "/readyz/ping",
        "/readyz/shutdown",
        "/version",
    ];
    paths.extend(more.iter().map(|path| (*path).to_owned()));
    paths.sort();
    paths
}
