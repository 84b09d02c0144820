//! OpenAPI v3 documents out of the kind table and the type table.
//!
//! A document is made when it is asked for and dropped when it is sent: clients keep it by its hash, which the index tells
//! without making any document.

mod paths;
mod schemas;

use bytes::Bytes;
use kedge_api::kinds::{Kind, kinds};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// One document of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Document<'a> {
    /// `api`, `apis`, `version`, `.well-known/openid-configuration`, `openid/v1/jwks`.
    Root(&'static str),
    /// `apis/GROUP`
    Group(&'a str),
    /// `api/v1`, `apis/GROUP/VERSION`
    Version(&'a str, &'a str),
}

const ROOTS: [&str; 5] = [".well-known/openid-configuration", "api", "apis", "openid/v1/jwks", "version"];

/// The paths below `/openapi/v3/`, sorted.
pub fn paths() -> Vec<String> {
    let mut paths: Vec<String> = ROOTS.iter().map(|p| (*p).to_owned()).collect();
    for kind in kinds() {
        paths.push(root(kind.group, kind.version).trim_start_matches('/').to_owned());
        if !kind.group.is_empty() {
            paths.push(format!("apis/{}", kind.group));
        }
    }
    paths.sort();
    paths.dedup();
    paths
}

/// The body of `/openapi/v3`. `version` is the server's: another build may make other documents.
pub fn index(version: &str) -> Value {
    let entry = |path: String| {
        let url = format!("/openapi/v3/{path}?hash={}", hash(&path, version));
        (path, json!({"serverRelativeURL": url}))
    };
    json!({"paths": paths().into_iter().map(entry).collect::<Map<_, _>>()})
}

/// The hash of a document, in upper-case hexadecimal: of everything that it is made from.
pub fn hash(path: &str, version: &str) -> String {
    let mut digest = Sha256::new();
    for part in [path, version, include_str!("../schema/types.tbl")] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    digest.finalize().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02X}");
        out
    })
}

/// The document at a path below `/openapi/v3/`: `api/v1`, `apis/apps/v1`. None: there is none.
pub fn document(path: &str, version: &str) -> Option<Bytes> {
    let document = make(parse(path)?, version);
    Some(Bytes::from(document.to_string()))
}

fn parse(path: &str) -> Option<Document<'_>> {
    let group_exists = |group: &str| kinds().iter().any(|k| k.group == group);
    let version_exists =
        |group: &str, version: &str| kinds().iter().any(|k| k.group == group && k.version == version);
    if let Some(root) = ROOTS.iter().find(|root| **root == path) {
        return Some(Document::Root(root));
    }
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] if version_exists("", version) => Some(Document::Version("", version)),
        ["apis", group] if group_exists(group) => Some(Document::Group(group)),
        ["apis", group, version] if version_exists(group, version) => Some(Document::Version(group, version)),
        _ => None,
    }
}

fn make(document: Document<'_>, version: &str) -> Value {
    let paths = match document {
        Document::Root(root) => paths::of_root(root),
        Document::Group(group) => paths::of_group(group),
        Document::Version(group, version) => paths::of_version(group, version, &of(group, version)),
    };
    let own = match document {
        Document::Version(group, version) => Some((group, version)),
        Document::Root(_) | Document::Group(_) => None,
    };
    let schemas = schemas::reachable(&paths, own);
    let mut components = json!({"securitySchemes": {"BearerToken": {
        "type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header",
    }}});
    if !schemas.is_empty() {
        components["schemas"] = Value::Object(schemas);
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": version}, "paths": paths, "components": components})
}

fn of<'a>(group: &'a str, version: &'a str) -> Vec<&'static Kind> {
    kinds().iter().filter(|k| k.group == group && k.version == version).collect()
}

/// `/api/v1`, `/apis/apps/v1`.
fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

#[cfg(test)]
mod tests;
