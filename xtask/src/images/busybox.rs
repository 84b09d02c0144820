//! busybox as its authors wrote it, static. Debian's own binary will not do: a patch of Debian's makes its shell drop
//! environment variables whose names are no identifiers (`data-1`), which specs print; bash and dash word an error
//! otherwise than a spec expects. The source comes with Debian's source package, whose first archive is unpatched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{fresh, told, tool};

/// In its default configuration, linked statically; `tc` does not build against the headers of newer kernels, the other
/// one needs an assembler that not every release has.
const SETTINGS: [(&str, &str); 3] = [
    ("# CONFIG_STATIC is not set", "CONFIG_STATIC=y"),
    ("CONFIG_TC=y", "# CONFIG_TC is not set"),
    ("CONFIG_SHA1_HWACCEL=y", "# CONFIG_SHA1_HWACCEL is not set"),
];

/// The program, built when the cache has none of this release by this recipe.
pub fn ensure(cache: &Path, release: &str) -> Result<PathBuf, String> {
    let built = cache.join(format!("busybox-{}", super::key(&[include_str!("busybox.rs"), release])));
    if built.exists() {
        return Ok(built);
    }
    let work = cache.join("work/busybox");
    fresh(&work)?;
    let archive = download(&work, release)?;
    let source = work.join("source");
    fresh(&source)?;
    let mut untar = Command::new("tar");
    tool(
        untar
            .arg("--strip-components=1")
            .arg("--directory")
            .arg(&source)
            .arg("--extract")
            .arg("--file")
            .arg(archive),
    )?;
    make(&source, &["defconfig"])?;
    let config = source.join(".config");
    let mut text = fs::read_to_string(&config).map_err(told("reading", &config))?;
    for (from, to) in SETTINGS {
        text = text.replace(from, to);
    }
    fs::write(&config, text).map_err(told("writing", &config))?;
    let jobs = std::thread::available_parallelism().map_or(2, usize::from);
    make(&source, &[&format!("--jobs={jobs}"), "busybox"])?;
    fs::rename(source.join("busybox"), &built).map_err(told("writing", &built))?;
    Ok(built)
}

/// Asks the machine's own mirror for the sources, whether or not the machine's package sources list them.
fn download(work: &Path, release: &str) -> Result<PathBuf, String> {
    for folder in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(work.join(folder)).map_err(told("creating", work))?;
    }
    let policy = tool(Command::new("apt-cache").args(["policy", "base-files"]))?;
    let mirror = policy.split_whitespace().find(|word| word.starts_with("http"));
    let mirror = mirror.ok_or("apt-cache names no mirror for base-files: run apt-get update")?;
    let list = work.join("sources.list");
    let suite = suite(release);
    fs::write(&list, format!("deb-src {mirror} {suite} main\n")).map_err(told("writing", &list))?;
    apt(work, &["update"])?;
    apt(work, &["source", "--download-only", "busybox"])?;
    let found = fs::read_dir(work).map_err(told("reading", work))?.flatten().map(|entry| entry.path());
    found
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".orig.tar.")))
        .find(|path| path.extension().is_some_and(|end| end != "asc"))
        .ok_or_else(|| "Debian's source package of busybox brought no original archive".to_owned())
}

/// Debian 12 has an older busybox than the one that the specs name; its successor's mirror is the same.
fn suite(release: &str) -> &str {
    if release == "bookworm" { "trixie" } else { release }
}

fn apt(work: &Path, words: &[&str]) -> Result<(), String> {
    let mut apt = Command::new("apt-get");
    apt.current_dir(work).arg("--quiet");
    for (key, value) in [
        ("Dir::Etc::sourcelist", work.join("sources.list")),
        ("Dir::Etc::sourceparts", PathBuf::from("/dev/null")),
        ("Dir::State", work.join("state")),
        ("Dir::State::status", PathBuf::from("/dev/null")),
        ("Dir::Cache", work.join("cache")),
    ] {
        apt.arg("-o").arg(format!("{key}={}", value.display()));
    }
    tool(apt.args(words)).map(drop)
}

fn make(source: &Path, words: &[&str]) -> Result<(), String> {
    let mut make = Command::new("make");
    make.current_dir(source)
        .args(words)
        .env("SOURCE_DATE_EPOCH", "1577836800")
        .env("KCONFIG_NOTIMESTAMP", "1");
    // A parent make's job server and flags are not ours to use.
    tool(make.env_remove("MAKEFLAGS").env_remove("MFLAGS")).map(drop)
}
