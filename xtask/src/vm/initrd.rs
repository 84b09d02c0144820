//! The first file system of the guest: a static busybox, the modules that reach the host's files, and the init script.

use std::fs;
use std::path::{Path, PathBuf};

use super::command;
use super::kernel::Unpacked;

const INIT: &str = include_str!("init.sh");

/// Loaded before the host's files are there; whatever else is needed loads itself by modprobe.
const FIRST: &[&str] = &["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// Writes the archive into `folder` and gives its path.
pub fn write(kernel: &Unpacked, folder: &Path) -> Result<PathBuf, String> {
    let tree = folder.join("initrd");
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(|error| format!("{}: {error}", tree.display()))?;
    }
    for made in ["bin", "mods", "dev", "proc", "sys"] {
        fs::create_dir_all(tree.join(made)).map_err(|error| format!("{}: {error}", tree.display()))?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.ok_or("busybox is missing: install busybox-static")?;
    copy(Path::new(busybox), &tree.join("bin/busybox"))?;
    write_file(&tree.join("init"), INIT)?;
    make_executable(&tree.join("init"))?;
    write_file(&tree.join("modules-folder"), &kernel.modules.display().to_string())?;
    modules(kernel, &tree.join("mods"))?;
    let archive = folder.join("initrd.cpio");
    let pack = "find . | cpio --quiet -o -H newc > \"$0\"";
    command("sh", &tree).arg("-c").arg(pack).arg(&archive).run()?;
    Ok(archive)
}

/// Unpacks the modules and what they depend on, numbered in the order in which they load.
fn modules(kernel: &Unpacked, folder: &Path) -> Result<(), String> {
    let base = kernel.modules.parent().and_then(Path::parent).expect("modules lie in lib/modules");
    let mut order: Vec<PathBuf> = Vec::new();
    for module in FIRST {
        let shown = command("modprobe", folder)
            .arg("-d")
            .arg(base)
            .args(["-S", &kernel.version, "--show-depends", module])
            .output()?;
        order.extend(loads(&shown).filter(|path| !order.contains(path)).collect::<Vec<_>>());
    }
    let mut names = String::new();
    for (index, path) in order.iter().enumerate() {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{index}-{}", file.trim_end_matches(".xz"));
        if file.ends_with(".xz") {
            let unpack = "xz -dc \"$0\" > \"$1\"";
            command("sh", folder).arg("-c").arg(unpack).arg(path).arg(folder.join(&name)).run()?;
        } else {
            copy(path, &folder.join(&name))?;
        }
        names.push_str(&name);
        names.push('\n');
    }
    write_file(&folder.join("order"), &names)
}

/// The files of `modprobe --show-depends`; a `builtin` line needs none.
fn loads(shown: &str) -> impl Iterator<Item = PathBuf> {
    shown
        .lines()
        .filter_map(|line| line.strip_prefix("insmod "))
        .filter_map(|line| line.split_whitespace().next())
        .map(PathBuf::from)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(drop).map_err(|error| format!("copying {}: {error}", from.display()))
}

fn write_file(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn make_executable(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_not_loaded() {
        let shown = "builtin virtio\ninsmod /m/netfs.ko.xz \ninsmod /m/9p.ko.xz key=1\n";
        let files: Vec<PathBuf> = loads(shown).collect();
        assert_eq!(files, [PathBuf::from("/m/netfs.ko.xz"), PathBuf::from("/m/9p.ko.xz")]);
    }
}
