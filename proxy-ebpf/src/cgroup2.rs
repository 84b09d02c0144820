//! Where the socket programs attach: the root of the cgroup2 tree, so that every process of the machine is below it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Settings};

/// The configured directory, the machine's own mount, or one of ours where only v1 is mounted.
pub fn find(settings: &Settings) -> Result<PathBuf, Error> {
    if let Some(path) = &settings.cgroup2 {
        return Ok(path.clone());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if let Some(path) = mounted(&mounts) {
        return Ok(path);
    }
    mount(&settings.roots.run.join("cgroup2"))
}

/// The first mount of a whole cgroup2 tree: `… <root> <mount point> … - cgroup2 …`, proc(5).
fn mounted(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (filesystem.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(point))
    })
}

fn mount(path: &Path) -> Result<PathBuf, Error> {
    let fail = |source| Error::Mount { path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(fail)?;
    let flags = rustix::mount::MountFlags::NOSUID
        | rustix::mount::MountFlags::NODEV
        | rustix::mount::MountFlags::NOEXEC;
    rustix::mount::mount("cgroup2", path, "cgroup2", flags, None).map_err(|source| fail(source.into()))?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_whole_tree() {
        let hybrid = "30 23 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 23 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        for (text, expected) in [
            (hybrid, Some("/sys/fs/cgroup/unified")),
            ("31 23 0:27 /a /mnt rw - cgroup2 cgroup2 rw\n", None),
            ("", None),
        ] {
            assert_eq!(mounted(text), expected.map(PathBuf::from));
        }
    }
}
