//! What `cargo metadata` says, as far as the rules read it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
    pub workspace_members: Vec<String>,
    pub resolve: Resolve,
}

#[derive(Deserialize)]
pub struct Package {
    pub id: String,
    pub name: String,
    pub license: Option<String>,
    /// None is a folder of this repository.
    pub source: Option<String>,
    pub manifest_path: String,
}

#[derive(Deserialize)]
pub struct Resolve {
    pub nodes: Vec<Node>,
}

#[derive(Deserialize)]
pub struct Node {
    pub id: String,
    pub deps: Vec<Edge>,
}

#[derive(Deserialize)]
pub struct Edge {
    pub pkg: String,
    pub dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
pub struct EdgeKind {
    /// None is an ordinary dependency.
    pub kind: Option<String>,
}

impl Edge {
    pub fn is_linked(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.is_none())
    }
}

impl Metadata {
    pub fn read(root: &Path) -> Result<Self, String> {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(root)
            .output()
            .map_err(|error| format!("running cargo metadata: {error}"))?;
        if !output.status.success() {
            return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
    }

    /// Names of what each package links, by the package's name; our own packages only.
    pub fn links(&self) -> BTreeMap<&str, Vec<&str>> {
        let names: BTreeMap<&str, &str> =
            self.packages.iter().map(|package| (&*package.id, &*package.name)).collect();
        let ours = self.resolve.nodes.iter().filter(|node| self.workspace_members.contains(&node.id));
        ours.map(|node| {
            let linked = node.deps.iter().filter(|edge| edge.is_linked());
            (names[&*node.id], linked.map(|edge| names[&*edge.pkg]).collect())
        })
        .collect()
    }

    /// Folders of our packages, relative to the root.
    pub fn member_folders(&self, root: &Path) -> Vec<String> {
        let ours = self.packages.iter().filter(|package| self.workspace_members.contains(&package.id));
        let folders =
            ours.filter_map(|package| Path::new(&package.manifest_path).parent()?.strip_prefix(root).ok());
        folders.map(|folder| folder.to_string_lossy().into_owned()).collect()
    }
}
