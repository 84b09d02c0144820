//! The programs a lab needs, and why a suite is skipped when one is missing.

use std::path::{Path, PathBuf};

/// Programs that every lab calls.
const NEEDED: [&str; 6] = ["ip", "nsenter", "unshare", "mount", "timeout", "curl"];

#[derive(Debug, Clone)]
pub struct Tools {
    pub kedge: PathBuf,
    pub kubectl: PathBuf,
}

impl Tools {
    /// The tools, or the reason to skip.
    pub fn find() -> Result<Tools, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("a lab needs root".to_owned());
        }
        for program in NEEDED {
            if !on_path(program) {
                return Err(format!("{program} is not installed"));
            }
        }
        let kedge = std::env::var_os("KEDGE_BIN").map(PathBuf::from).or_else(beside_this_test);
        let kubectl = std::env::var_os("KEDGE_KUBECTL").map(PathBuf::from).or_else(in_the_cache);
        Ok(Tools { kedge: existing("kedge", kedge)?, kubectl: existing("kubectl", kubectl)? })
    }
}

fn existing(name: &str, path: Option<PathBuf>) -> Result<PathBuf, String> {
    match path {
        Some(path) if path.is_file() => Ok(path),
        Some(path) => Err(format!("there is no {name} at {}", path.display())),
        None => Err(format!("nobody says where {name} is")),
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Cargo puts tests into `<profile>/deps` and programs into `<profile>`.
fn beside_this_test() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    Some(test.parent()?.parent()?.join("kedge"))
}

fn in_the_cache() -> Option<PathBuf> {
    Some(folder()?.join("bin/kubectl"))
}

/// Where `make` puts what only tests use.
pub fn folder() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("kedge/tools"))
}

/// A file of a distribution's package that was unpacked there, because installing it would start it.
pub fn daemon(package: &str, file: &str) -> Option<PathBuf> {
    let path = folder()?.join(package).join(file);
    path.is_file().then_some(path)
}
