//! `tools`: the Go programs that the tests hold Kedge against, built from pinned modules into the cache. What is there with
//! the same pins is not built again.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

const MODULE: &str = "tests/tools/k8s";
/// What the modules ask for; an older Go fetches it as a module.
const GO: &str = "go1.26.8";

struct Tool {
    name: &'static str,
    package: &'static str,
    /// A test program (`go test -c`), not an ordinary one.
    is_test: bool,
}

const fn tool(name: &'static str, package: &'static str, is_test: bool) -> Tool {
    Tool { name, package, is_test }
}

const ALWAYS: &[Tool] = &[tool("kubectl", "k8s.io/kubernetes/cmd/kubectl", false)];

const CONFORMANCE: &[Tool] = &[
    tool("agnhost", "k8s.io/kubernetes/test/images/agnhost", false),
    tool("ginkgo", "github.com/onsi/ginkgo/v2/ginkgo", false),
    tool("e2e.test", "k8s.io/kubernetes/test/e2e", true),
];

pub fn run(root: &Path, with_conformance: bool) -> Result<(), String> {
    if with_conformance { conformance(root).map(drop) } else { build(root, ALWAYS).map(drop) }
}

/// Everything that the conformance suite needs; gives the archive of its images.
pub fn conformance(root: &Path) -> Result<PathBuf, String> {
    build(root, ALWAYS)?;
    let pins = build(root, CONFORMANCE)?;
    crate::images::ensure(&pins)
}

/// Gives the hash of the pins that the tools are built with.
fn build(root: &Path, tools: &[Tool]) -> Result<String, String> {
    let folder = folder()?;
    std::fs::create_dir_all(&folder).map_err(|error| format!("creating {}: {error}", folder.display()))?;
    let pins = std::fs::read(root.join(MODULE).join("go.sum"))
        .map_err(|error| format!("{MODULE}/go.sum: {error}"))?;
    let pins = hex(&Sha256::digest(pins));
    for tool in tools {
        ensure(root, &folder, tool, &pins)?;
    }
    Ok(pins)
}

/// Where the tools lie.
pub fn folder() -> Result<PathBuf, String> {
    cache().map(|cache| cache.join("tools/bin"))
}

/// What is kept between clones and outside of them.
pub fn cache() -> Result<PathBuf, String> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = cache.or_else(home).ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("kedge"))
}

/// PATH with the tools first: a machine's own kubectl may be a wrapper or of another version.
pub fn search_path() -> std::ffi::OsString {
    let mut path = folder().unwrap_or_default().into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

fn ensure(root: &Path, folder: &Path, tool: &Tool, pins: &str) -> Result<(), String> {
    let (built, mark) = (folder.join(tool.name), folder.join(format!(".{}.pins", tool.name)));
    let is_current = built.exists() && std::fs::read_to_string(&mark).is_ok_and(|old| old == *pins);
    if is_current {
        return Ok(());
    }
    println!("building {} (minutes, once)", tool.name);
    let status = Command::new("go")
        .args(arguments(tool))
        .arg("-o")
        .arg(&built)
        .arg(tool.package)
        .current_dir(root.join(MODULE))
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly")
        .env("GOCACHE", cache()?.join("go/build"))
        .env("GOMODCACHE", cache()?.join("go/mod"))
        .env("GOTOOLCHAIN", format!("{GO}+auto"))
        .status()
        .map_err(|error| format!("running go: {error}: install Go 1.21 or newer"))?;
    if !status.success() {
        return Err(format!("building {} failed ({status})", tool.name));
    }
    std::fs::write(&mark, pins).map_err(|error| format!("{}: {error}", mark.display()))
}

fn arguments(tool: &Tool) -> Vec<String> {
    let version = "k8s.io/component-base/version";
    let flags =
        format!("-s -w -X {version}.gitVersion=v1.36.2 -X {version}.gitMajor=1 -X {version}.gitMinor=36");
    let verb: &[&str] = if tool.is_test { &["test", "-c", "-vet=off"] } else { &["build"] };
    let verb = verb.iter().map(|word| (*word).to_owned());
    verb.chain(["-trimpath".to_owned(), "-buildvcs=false".to_owned(), "-ldflags".to_owned(), flags]).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_with_the_same_pins_is_not_built_again() {
        let folder = std::env::temp_dir().join(format!("kedge-tools-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("kubectl"), "").expect("a file");
        std::fs::write(folder.join(".kubectl.pins"), "pins").expect("a file");
        // The module's folder does not exist: any attempt to build fails.
        let current = ensure(Path::new("/nowhere"), &folder, &ALWAYS[0], "pins");
        let changed = ensure(Path::new("/nowhere"), &folder, &ALWAYS[0], "other pins");
        std::fs::remove_dir_all(&folder).expect("our folder");
        assert!(current.is_ok() && changed.is_err());
    }

    #[test]
    fn test_programs_are_compiled_by_go_test() {
        assert_eq!(arguments(&CONFORMANCE[2])[..3], ["test", "-c", "-vet=off"]);
        assert_eq!(arguments(&ALWAYS[0])[0], "build");
    }
}
