//! `cargo xtask embed`: makes what the binary carries, in `<target>/embed`: the static `pause` and the demo image.

use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-musl";

pub fn run(root: &Path) -> Result<(), String> {
    let folder = target(root).join("embed");
    std::fs::create_dir_all(&folder).map_err(|error| format!("creating {}: {error}", folder.display()))?;
    cargo(root, &["build", "--quiet", "--profile", "pause", "--target", TARGET, "-p", "kedge-pause"])?;
    let built = target(root).join(TARGET).join("pause/pause");
    let wanted = folder.join("pause");
    copy_if_changed(&built, &wanted)?;
    let image = folder.join("hello.tar");
    crate::hello_image::run(root, Some(image.display().to_string())).map_err(|error| error.to_string())
}

/// Where cargo builds: outside the clone if the environment says so.
pub fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

pub fn cargo(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .status()
        .map_err(|error| format!("running cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed ({status})", arguments.join(" "))) }
}

/// An unchanged file keeps its time, so that nothing is built again for it.
fn copy_if_changed(from: &Path, to: &Path) -> Result<(), String> {
    let fresh = std::fs::read(from).map_err(|error| format!("reading {}: {error}", from.display()))?;
    if std::fs::read(to).is_ok_and(|old| old == fresh) {
        return Ok(());
    }
    std::fs::write(to, fresh).map_err(|error| format!("writing {}: {error}", to.display()))
}
