//! The container images that upstream's conformance specs run, made from pinned Go modules and the machine's own Debian or
//! Ubuntu packages, under the names that e2e.test asks for. One archive holds all of them, so that a layer that several
//! share is stored and loaded once. It lies in the cache under a key of everything that goes into it.
//!
//! ```text
//!   folders ── tar ── layers ── Recipe (names, layers, configuration) ── docker-archive
//! ```

mod archive;
mod busybox;
mod debian;
mod layers;
mod recipes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::tools;

/// What decides the archive's content: the recipes as they are written here.
const SOURCES: [&str; 5] = [
    include_str!("archive.rs"),
    include_str!("busybox.rs"),
    include_str!("debian.rs"),
    include_str!("layers.rs"),
    include_str!("recipes.rs"),
];

/// The archive, made if the cache has none of this key. `pins` are those of the Go programs inside.
pub fn ensure(pins: &str) -> Result<PathBuf, String> {
    let release = release(&fs::read_to_string("/etc/os-release").unwrap_or_default());
    let folder = tools::cache()?.join("tools/images");
    let parts: Vec<&str> = SOURCES.iter().copied().chain([pins, &release]).collect();
    let archive = folder.join(format!("conformance-{}.tar", key(&parts)));
    if archive.exists() {
        return Ok(archive);
    }
    println!("making the images of the conformance suite (about 2 minutes, once)");
    // Another clone of the project may be making its own.
    let work = folder.join(format!("work-{}", std::process::id()));
    fresh(&work)?;
    let busybox = busybox::ensure(&folder, &release)?;
    let layers = layers::make(&work, &busybox, &tools::folder()?.join("agnhost"))?;
    let made = work.join("conformance.tar");
    archive::write(&work, &recipes::all(&layers), &made)?;
    remove_old(&folder)?;
    fs::rename(&made, &archive).map_err(told("writing", &archive))?;
    fs::remove_dir_all(&work).map_err(told("removing", &work))?;
    Ok(archive)
}

/// Archives that nobody has made for this long serve nobody: a clone at another commit may still use a younger one.
const OLD: Duration = Duration::from_secs(14 * 24 * 3600);

fn remove_old(folder: &Path) -> Result<(), String> {
    for entry in fs::read_dir(folder).map_err(told("reading", folder))?.flatten() {
        let made = entry.metadata().and_then(|about| about.modified());
        let is_old = made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > OLD));
        if is_old && entry.file_name().to_string_lossy().starts_with("conformance-") {
            fs::remove_file(entry.path()).map_err(told("removing", &entry.path()))?;
        }
    }
    Ok(())
}

fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    tools::hex(&hash.finalize()[..8])
}

/// The release whose packages go in: `bookworm`, `noble`.
fn release(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.unwrap_or("unknown").trim_matches('"').to_owned()
}

fn fresh(folder: &Path) -> Result<(), String> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(told("removing", folder))?;
    }
    fs::create_dir_all(folder).map_err(told("creating", folder))
}

/// Runs a tool of the machine, silent unless it fails; gives what it printed.
fn tool(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("running {name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let words: Vec<String> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    Err(format!("`{name} {}` failed ({}): {}", words.join(" "), output.status, said.trim()))
}

fn told(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> String {
    let path = path.display().to_string();
    move |error| format!("{doing} {path}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_pins_or_another_release_make_other_images() {
        let one = key(&["pins", "bookworm"]);
        assert_eq!(one, key(&["pins", "bookworm"]));
        assert_ne!(one, key(&["other pins", "bookworm"]));
        assert_ne!(one, key(&["pins", "noble"]));
    }

    #[test]
    fn the_release_is_the_code_name() {
        assert_eq!(release("ID=debian\nVERSION_CODENAME=bookworm\n"), "bookworm");
        assert_eq!(release("VERSION_CODENAME=\"noble\""), "noble");
        assert_eq!(release(""), "unknown");
    }
}
