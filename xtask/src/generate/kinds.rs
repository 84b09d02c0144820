//! The kind table out of recorded discovery documents and Tables.

use super::{Error, Result};
use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const HEAD: &str = "#\tThe built-in kinds of Kubernetes 1.36. Generated: cargo xtask generate-kinds\n";

/// Writes the text that `kedge_api::kinds::parse` reads.
pub fn generate(discovery: &Value, tables: &Value) -> Result<String> {
    let hashes = storage_hashes(discovery);
    let recorded = recorded_tables(tables);
    let mut texts = Texts::default();
    let mut rows = String::new();
    let resources = resources(discovery)?;
    for r in &resources {
        let key = (r.group.to_owned(), r.version.to_owned(), r.plural.to_owned());
        let hash = hashes.get(&key).map_or("", String::as_str);
        let stored = stored_as(r, hash, &resources);
        kind_row(&mut rows, r, &stored, hash)?;
        for column in recorded.get(&key).into_iter().flatten() {
            column_row(&mut rows, column, &mut texts)?;
        }
    }
    Ok(format!("{HEAD}{}{rows}", texts.lines()))
}

/// A resource as the aggregated discovery lists it.
struct Resource<'a> {
    group: &'a str,
    version: &'a str,
    plural: &'a str,
    kind: &'a str,
    facts: &'a Value,
}

fn resources(discovery: &Value) -> Result<Vec<Resource<'_>>> {
    let mut found = Vec::new();
    for case in ["api-aggregated", "apis-aggregated"] {
        for group in list(&discovery[case][0]["response"]["body"]["items"]) {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            for version in list(&group["versions"]) {
                for facts in list(&version["resources"]) {
                    found.push(Resource {
                        group: name,
                        version: text(&version["version"])?,
                        plural: text(&facts["resource"])?,
                        kind: text(&facts["responseKind"]["kind"])?,
                        facts,
                    });
                }
            }
        }
    }
    Ok(found)
}

type ResourceKey = (String, String, String);

/// `storageVersionHash` of every resource; only the legacy discovery tells them.
fn storage_hashes(discovery: &Value) -> BTreeMap<ResourceKey, String> {
    let mut hashes = BTreeMap::new();
    for case in discovery.as_object().into_iter().flat_map(|cases| cases.values()) {
        let body = &case[0]["response"]["body"];
        let Some(gv) = body["groupVersion"].as_str() else {
            continue;
        };
        let (group, version) = gv.split_once('/').unwrap_or(("", gv));
        for resource in list(&body["resources"]) {
            if let (Some(name), Some(hash)) =
                (resource["name"].as_str(), resource["storageVersionHash"].as_str())
            {
                hashes.insert((group.to_owned(), version.to_owned(), name.to_owned()), hash.to_owned());
            }
        }
    }
    hashes
}

/// The columns of every recorded Table, by the path that it was asked at.
fn recorded_tables(tables: &Value) -> BTreeMap<ResourceKey, Vec<Value>> {
    let mut found = BTreeMap::new();
    for case in tables.as_object().into_iter().flat_map(|cases| cases.values()) {
        let (path, body) =
            (case[0]["request"]["path"].as_str().unwrap_or_default(), &case[0]["response"]["body"]);
        if body["kind"] != "Table" {
            continue;
        }
        let path = path.split('?').next().unwrap_or_default();
        let words: Vec<&str> = path.split('/').skip(1).collect();
        let key = match words.as_slice() {
            ["api", version, .., plural] => (String::new(), (*version).to_owned(), (*plural).to_owned()),
            ["apis", group, version, .., plural] => {
                ((*group).to_owned(), (*version).to_owned(), (*plural).to_owned())
            }
            _ => continue,
        };
        found.entry(key).or_insert_with(|| list(&body["columnDefinitions"]).cloned().collect());
    }
    found
}

/// The version whose name hashes to the recorded hash, if a row of the same kind has it; else the row's own.
fn stored_as(row: &Resource<'_>, hash: &str, all: &[Resource<'_>]) -> String {
    let own = format!("{}/{}", row.group, row.version);
    if hash.is_empty() {
        return own;
    }
    let faces = all.iter().filter(|r| r.kind == row.kind);
    faces
        .map(|r| format!("{}/{}", r.group, r.version))
        .find(|gv| storage_hash(gv, row.kind) == hash)
        .unwrap_or(own)
}

/// `k8s.io/apiserver` `StorageVersionHash`: eight bytes of a SHA-256 over `group/version/kind`.
fn storage_hash(gv: &str, kind: &str) -> String {
    let digest = Sha256::digest(format!("{gv}/{kind}"));
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

fn kind_row(out: &mut String, r: &Resource<'_>, stored: &str, hash: &str) -> Result<()> {
    let scope = if r.facts["scope"] == "Namespaced" { "namespaced" } else { "cluster" };
    let gv = format!("{}/{}", r.group, r.version);
    let singular = text(&r.facts["singularResource"])?;
    line(out, &["kind", &gv, r.kind, r.plural, singular, scope, stored, hash]);
    let verbs = words(&r.facts["verbs"]);
    if verbs.contains(&"list") {
        line(out, &["list", &format!("{}List", r.kind)]);
    }
    for (name, values) in
        [("short", words(&r.facts["shortNames"])), ("categories", words(&r.facts["categories"]))]
    {
        if !values.is_empty() {
            line(out, &[&[name], values.as_slice()].concat());
        }
    }
    line(out, &[&["verbs"], verbs.as_slice()].concat());
    for sub in list(&r.facts["subresources"]) {
        let body = &sub["responseKind"];
        let sub_gv = match text(&body["version"])? {
            "" => gv.clone(),
            version => format!("{}/{version}", text(&body["group"])?),
        };
        let head = ["sub", text(&sub["subresource"])?, sub_gv.as_str(), text(&body["kind"])?];
        line(out, &[&head[..], words(&sub["verbs"]).as_slice()].concat());
    }
    Ok(())
}

fn column_row(out: &mut String, column: &Value, texts: &mut Texts) -> Result<()> {
    let number = texts.number(text(&column["description"])?).to_string();
    let priority = column["priority"].to_string();
    let words = [
        "column",
        &priority,
        text(&column["type"])?,
        text(&column["format"])?,
        text(&column["name"])?,
        &number,
    ];
    line(out, &words);
    Ok(())
}

/// Descriptions, each written once.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn number(&mut self, text: &str) -> usize {
        self.0.iter().position(|t| t == text).unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        })
    }

    fn lines(&self) -> String {
        self.0.iter().fold(String::new(), |mut out, text| {
            let _ = writeln!(out, "text\t{}", text.replace('\n', "\\n").replace('\t', "\\t"));
            out
        })
    }
}

fn line(out: &mut String, words: &[&str]) {
    out.push_str(words.join("\t").trim_end_matches('\t'));
    out.push('\n');
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn words(value: &Value) -> Vec<&str> {
    list(value).filter_map(Value::as_str).collect()
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().ok_or_else(|| Error(format!("a text was expected, found {value}")))
}
