//! A root file system out of Debian or Ubuntu packages, without running anything in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{fresh, told, tool};

/// What the specs call inside agnhost, nginx and the image with glibc's resolver.
const PACKAGES: [&str; 17] = [
    "base-files",
    "bash",
    "bind9-dnsutils",
    "coreutils",
    "curl",
    "dash",
    "findutils",
    "grep",
    "hostname",
    "iproute2",
    "libc-bin",
    "mawk",
    "ncurses-base",
    "netcat-openbsd",
    "nginx-light",
    "sed",
    "util-linux",
];

/// Dependencies that only installation scripts need, and alternatives of what is there.
const DROPPED: [&str; 12] = [
    "cdebconf",
    "debconf",
    "dpkg",
    "gawk",
    "gcc-12-base",
    "install-info",
    "libdebian-installer4",
    "libelogind0",
    "libnewt0.52",
    "libslang2",
    "libtextwrap1",
    "original-awk",
];

/// Parts of packages that no program reads.
const PRUNED: [&str; 8] = ["bash-completion", "doc", "gdb", "info", "lintian", "locale", "man", "zoneinfo"];

pub fn unpack(packages: &Path, root: &Path) -> Result<(), String> {
    fresh(packages)?;
    download(packages)?;
    fresh(root)?;
    for folder in ["bin", "sbin", "lib", "lib64"] {
        let below = root.join("usr").join(folder);
        fs::create_dir_all(&below).map_err(told("creating", &below))?;
        link(&format!("usr/{folder}"), &root.join(folder))?;
    }
    let mut files: Vec<_> = fs::read_dir(packages)
        .map_err(told("reading", packages))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    for file in files {
        extract(&file, root)?;
    }
    for folder in PRUNED.iter().map(|name| root.join("usr/share").join(name)) {
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(told("removing", &folder))?;
        }
    }
    // What installation scripts would have linked.
    for (name, program) in [("sh", "dash"), ("nc", "nc.openbsd"), ("awk", "mawk")] {
        let name = root.join("usr/bin").join(name);
        if name.symlink_metadata().is_err() {
            link(program, &name)?;
        }
    }
    Ok(())
}

fn download(packages: &Path) -> Result<(), String> {
    let mut depends = Command::new("apt-cache");
    depends.args([
        "depends",
        "--recurse",
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
    ]);
    let listed = tool(depends.args(["--no-replaces", "--no-enhances"]).args(PACKAGES))?;
    let mut download = Command::new("apt-get");
    tool(download.current_dir(packages).args(["--quiet", "download"]).args(names(&listed))).map(drop)
}

/// `apt-cache depends` prints each package at the start of a line, its dependencies indented below; names in brackets are
/// virtual.
fn names(listed: &str) -> BTreeSet<&str> {
    let names = listed.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_alphanumeric()));
    names.map(|name| name.split(':').next().unwrap_or(name)).filter(|name| !DROPPED.contains(name)).collect()
}

/// `dpkg-deb --extract` would replace the links of a merged /usr by folders.
fn extract(package: &Path, root: &Path) -> Result<(), String> {
    let mut read = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("running dpkg-deb: {error}"))?;
    let stream = read.stdout.take().ok_or("dpkg-deb has no standard output")?;
    let mut untar = Command::new("tar");
    untar.args(["--keep-directory-symlink", "--extract", "--file=-", "--directory"]).arg(root);
    tool(untar.stdin(stream))?;
    let status = read.wait().map_err(|error| format!("waiting for dpkg-deb: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("dpkg-deb could not read {}", package.display())) }
}

pub fn link(to: &str, at: &Path) -> Result<(), String> {
    std::os::unix::fs::symlink(to, at).map_err(told("linking", at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_the_lines_that_are_not_indented() {
        let listed =
            "curl\n  Depends: libc6\n |Depends: debconf\n<virtual>\nlibc6\n  Depends: gawk\ngawk\ndebconf\n";
        assert_eq!(names(listed).into_iter().collect::<Vec<_>>(), ["curl", "libc6"]);
    }
}
