//! `cargo xtask generate-kinds`: writes the tables of the built-in API from recorded facts.
//!
//! Sources: discovery, Tables and OpenAPI of a real API server (`tests/golden/upstream/api`), and protobuf field numbers from the
//! struct tags in the Go modules `k8s.io/{api,apimachinery,apiextensions-apiserver,kube-aggregator}` (fetch them once with
//! `go mod download`). What it writes is committed, so that a build needs none of this.

mod gosource;
mod kinds;
mod types;

use serde_json::Value;
use std::path::{Path, PathBuf};

/// What went wrong, with the file or fact that is to blame.
#[derive(Debug)]
pub struct Error(pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// Regenerates every table below `root`, the workspace's folder.
pub fn run(root: &Path) -> Result<()> {
    let facts = root.join("tests/golden/upstream/api");
    let discovery = cases(&facts.join("discovery.json"))?;
    let tables = cases(&facts.join("tables.json"))?;
    let kinds = kinds::generate(&discovery, &tables)?;
    write(root.join("base/api/src/kinds/kinds.tbl"), &kinds)?;
    let openapi = cases(&facts.join("openapi.json"))?;
    let types = types::generate(&openapi, &go_modules()?)?;
    write(root.join("apiserver-lite/core/src/schema/types.tbl"), &types)
}

/// Where `go mod download` puts modules: `GOMODCACHE`, else Kedge's own cache.
fn go_modules() -> Result<PathBuf> {
    let cache = |key: &str, rest: &str| std::env::var_os(key).map(|home| PathBuf::from(home).join(rest));
    cache("GOMODCACHE", "")
        .or_else(|| cache("XDG_CACHE_HOME", "kedge/go/mod"))
        .or_else(|| cache("HOME", ".cache/kedge/go/mod"))
        .ok_or_else(|| Error("set GOMODCACHE to the folder of the Go modules".to_owned()))
}

/// The `cases` of a recording.
fn cases(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).map_err(|e| Error(format!("read {}: {e}", path.display())))?;
    let mut file: Value =
        serde_json::from_slice(&bytes).map_err(|e| Error(format!("parse {}: {e}", path.display())))?;
    Ok(file["cases"].take())
}

fn write(path: PathBuf, text: &str) -> Result<()> {
    std::fs::write(&path, text).map_err(|e| Error(format!("write {}: {e}", path.display())))?;
    println!("{}: {} bytes", path.display(), text.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The type table also needs Go modules, which a fresh clone does not have.
    #[test]
    fn the_committed_kind_table_is_what_the_recordings_give() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
        let facts = root.join("tests/golden/upstream/api");
        let discovery = cases(&facts.join("discovery.json")).expect("recorded discovery");
        let tables = cases(&facts.join("tables.json")).expect("recorded Tables");
        let committed =
            std::fs::read_to_string(root.join("base/api/src/kinds/kinds.tbl")).expect("the kind table");
        assert!(
            kinds::generate(&discovery, &tables).expect("generates") == committed,
            "cargo xtask generate-kinds"
        );
    }
}
