//! Debian's kernels for the virtual machine, fetched and unpacked into the cache. The machine's own package sources are not
//! touched: apt works on lists of its own, with the mirror that the machine uses.

use std::fs;
use std::path::{Path, PathBuf};

use super::command;

/// A kernel of Debian 12 or of its backports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kernel {
    /// 6.1: no tcx, cgroup v2
    #[value(name = "6.1")]
    V6_1,
    /// 6.12: tcx, cgroup v2, AppArmor
    #[value(name = "6.12")]
    V6_12,
}

/// An unpacked kernel package.
pub struct Unpacked {
    pub version: String,
    pub image: PathBuf,
    /// The folder that is `/lib/modules` in the guest.
    pub modules: PathBuf,
}

impl Kernel {
    pub fn name(self) -> &'static str {
        match self {
            Kernel::V6_1 => "6.1",
            Kernel::V6_12 => "6.12",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Kernel::V6_1 => "bookworm",
            Kernel::V6_12 => "bookworm-backports",
        }
    }
}

/// The kernel from the cache, fetched if it is not there yet.
pub fn ensure(kernel: Kernel, cache: &Path) -> Result<Unpacked, String> {
    let folder = cache.join(kernel.name());
    let unpacked = folder.join("root");
    if !folder.join("complete").exists() {
        fetch(kernel, &folder, &unpacked)?;
        fs::write(folder.join("complete"), "").map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let modules = unpacked.join("lib/modules");
    let version = only_entry(&modules)?;
    Ok(Unpacked { image: unpacked.join(format!("boot/vmlinuz-{version}")), version, modules })
}

fn fetch(kernel: Kernel, folder: &Path, unpacked: &Path) -> Result<(), String> {
    println!("fetching Debian's kernel {} (once)", kernel.name());
    for made in ["lists/partial", "cache/archives/partial", "root"] {
        let made = folder.join(made);
        fs::create_dir_all(&made).map_err(|error| format!("creating {}: {error}", made.display()))?;
    }
    let source = format!("{}\n", source_line(&own_sources()?, kernel.suite())?);
    let list = folder.join("sources.list");
    fs::write(&list, source).map_err(|error| format!("{}: {error}", list.display()))?;
    let options = apt_options(folder, &list);
    command("apt-get", folder).args(&options).args(["-q", "update"]).run()?;
    let depends =
        command("apt-cache", folder).args(&options).args(["depends", "linux-image-amd64"]).output()?;
    let package = newest_image(&depends).ok_or("Debian's linux-image-amd64 names no kernel package")?;
    command("apt-get", folder).args(&options).args(["-q", "download", &package]).run()?;
    let file = entry_starting_with(folder, &package)?;
    command("dpkg", folder).arg("-x").arg(file).arg(unpacked).run()?;
    let modules = unpacked.join("lib/modules");
    // Newer packages have it below /usr; one place is enough for us.
    if !modules.exists() {
        std::os::unix::fs::symlink("usr/lib", unpacked.join("lib"))
            .map_err(|error| format!("linking {}: {error}", modules.display()))?;
    }
    command("depmod", folder).arg("-b").arg(unpacked).arg(only_entry(&modules)?).run()
}

fn apt_options(folder: &Path, list: &Path) -> Vec<String> {
    let path = |below: &str| folder.join(below).display().to_string();
    [
        format!("Dir::Etc::sourcelist={}", list.display()),
        "Dir::Etc::sourceparts=-".to_owned(),
        format!("Dir::State::lists={}", path("lists")),
        format!("Dir::Cache={}", path("cache")),
        "APT::Sandbox::User=root".to_owned(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect()
}

/// What the machine's own source files say, old and new form.
fn own_sources() -> Result<String, String> {
    let mut text = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut parts: Vec<PathBuf> = parts.map(|part| part.path()).collect();
    parts.sort();
    for part in
        parts.iter().filter(|part| part.extension().is_some_and(|end| end == "sources" || end == "list"))
    {
        text.push_str(&fs::read_to_string(part).map_err(|error| format!("{}: {error}", part.display()))?);
    }
    Ok(text)
}

/// One line in the old form, for the suite, at the mirror that serves the machine its Debian.
fn source_line(sources: &str, suite: &str) -> Result<String, String> {
    const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let words = sources.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mirror = words
        .flat_map(|line| line.split_whitespace().skip(1))
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"));
    let mirror = mirror.ok_or("the apt sources name no Debian mirror: the kernels are Debian's")?;
    Ok(format!("deb [signed-by={KEYS}] {mirror} {suite} main"))
}

/// The package that the meta package depends on.
fn newest_image(depends: &str) -> Option<String> {
    let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.find(|name| name.starts_with("linux-image-")).map(str::to_owned)
}

fn entry_starting_with(folder: &Path, start: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let found = entries.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with(start));
    found.map(|entry| entry.path()).ok_or_else(|| format!("no {start}* in {}", folder.display()))
}

fn only_entry(folder: &Path) -> Result<String, String> {
    let entry = entry_starting_with(folder, "")?;
    Ok(entry.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_of_the_machine_serves_the_kernel() {
        let old = "# deb http://old/debian x\ndeb http://security/debian-security s main\ndeb http://m/debian bookworm main\n";
        let new = "Types: deb\nURIs: http://m/debian\nSuites: bookworm\n";
        for sources in [old, new] {
            let line = source_line(sources, "bookworm-backports").expect("a mirror");
            assert!(line.ends_with("http://m/debian bookworm-backports main"), "{line}");
        }
        assert!(source_line("deb http://m/ubuntu noble main", "bookworm").is_err());
    }

    #[test]
    fn the_meta_package_names_the_kernel() {
        let depends =
            "linux-image-amd64\n  Depends: linux-image-6.12.1+deb12-amd64\n  Recommends: firmware\n";
        assert_eq!(newest_image(depends).as_deref(), Some("linux-image-6.12.1+deb12-amd64"));
    }
}
