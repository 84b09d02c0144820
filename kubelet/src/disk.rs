//! Volumes on disk: folders, tmpfs mounts, files, and their removal.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use kedge_kubelet_core::volumes::{Content, HostPathType, Medium, VolumePlan, fs_group_bits};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::{files, machine};

/// Brings one volume to what its plan says. True if the files of a mounted volume changed.
pub(crate) fn set_up(plan: &VolumePlan) -> Result<bool, String> {
    let text = |error: io::Error| format!("{}: {error}", plan.path.display());
    match &plan.content {
        Content::HostPath(kind) => check_host_path(&plan.path, *kind).map(|()| false),
        Content::EmptyDir { medium, fs_group } => {
            empty_dir(&plan.path, *medium, *fs_group).map(|()| false).map_err(text)
        }
        Content::Files { payload, memory, fs_group } => {
            make_folder(&plan.path, 0o777).map_err(text)?;
            if *memory {
                mount_tmpfs(&plan.path, None).map_err(text)?;
            }
            if let Some(group) = fs_group {
                give(&plan.path, *group, true).map_err(text)?;
            }
            files::write(&plan.path, payload, *fs_group).map_err(text)
        }
    }
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o750).create(parent)?;
    }
    DirBuilder::new().mode(mode).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn empty_dir(path: &Path, medium: Medium, fs_group: Option<i64>) -> io::Result<()> {
    let is_new = !path.is_dir();
    make_folder(path, 0o777)?;
    match medium {
        Medium::Disk => {}
        Medium::Memory { size_bytes } => mount_tmpfs(path, size_bytes)?,
        Medium::HugePages { page_bytes } => mount_huge(path, page_bytes)?,
    }
    match fs_group.filter(|_| is_new) {
        Some(group) => give(path, group, false),
        None => Ok(()),
    }
}

fn give(path: &Path, group: i64, read_only: bool) -> io::Result<()> {
    chown(path, None, u32::try_from(group).ok())?;
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    fs::set_permissions(path, Permissions::from_mode(mode | fs_group_bits(true, read_only)))
}

fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| rustix::fs::stat(path).map(|stat| stat.st_dev);
    match (device(path), path.parent().map(device)) {
        (Ok(own), Some(Ok(parent))) => own != parent,
        _ => false,
    }
}

/// As large as asked for, else as the node's memory; never swapped out where the kernel can promise that (6.4). Its mode is
/// tmpfs' own 1777.
fn mount_tmpfs(path: &Path, size_bytes: Option<i64>) -> io::Result<()> {
    if is_mounted(path) {
        return Ok(());
    }
    let size = format!("size={}", size_bytes.map_or_else(machine::memory_bytes, Ok)?);
    let with = |options: &str| {
        let options = std::ffi::CString::new(options)?;
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).map_err(io::Error::from)
    };
    match with(&format!("{size},noswap")) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => with(&size),
        done => done,
    }
}

fn mount_huge(path: &Path, page_bytes: Option<i64>) -> io::Result<()> {
    if is_mounted(path) {
        return Ok(());
    }
    let options = page_bytes.map(|bytes| std::ffi::CString::new(format!("pagesize={bytes}"))).transpose()?;
    mount("nodev", path, "hugetlbfs", MountFlags::empty(), options.as_deref()).map_err(io::Error::from)
}

fn check_host_path(path: &Path, kind: HostPathType) -> Result<(), String> {
    let found = fs::metadata(path).ok().map(|meta| meta.file_type());
    let fits = match kind {
        HostPathType::Unset => return Ok(()),
        HostPathType::DirectoryOrCreate if found.is_none() => {
            return DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|e| e.to_string());
        }
        HostPathType::FileOrCreate if found.is_none() => {
            return File::create_new(path)
                .map(drop)
                .map_err(|error| format!("open {}: {error}", path.display()));
        }
        HostPathType::DirectoryOrCreate | HostPathType::Directory => found.is_some_and(|kind| kind.is_dir()),
        HostPathType::FileOrCreate | HostPathType::File => found.is_some_and(|kind| kind.is_file()),
        HostPathType::Socket => found.is_some_and(|kind| kind.is_socket()),
        HostPathType::CharDevice => found.is_some_and(|kind| kind.is_char_device()),
        HostPathType::BlockDevice => found.is_some_and(|kind| kind.is_block_device()),
    };
    if fits { Ok(()) } else { Err(kind.mismatch(path)) }
}

/// Bytes that the files below a folder take on the disk. Links are not followed, and what vanishes meanwhile counts nothing.
pub(crate) fn usage(folder: &Path) -> u64 {
    let of = |entry: fs::DirEntry| {
        let Ok(meta) = entry.metadata() else { return 0 };
        let below = if meta.is_dir() { usage(&entry.path()) } else { 0 };
        meta.blocks() * 512 + below
    };
    fs::read_dir(folder).into_iter().flatten().flatten().map(of).sum()
}

/// Unmounts everything below a pod's folder and removes it. A mount that is busy is detached: the pod has ended.
pub(crate) fn tear_down(pod_folder: &Path) -> io::Result<()> {
    if !pod_folder.exists() {
        return Ok(());
    }
    for mounted in mounts_below(pod_folder)? {
        unmount(&mounted, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    fs::remove_dir_all(pod_folder)
}

/// Mount points below `folder`, the deepest first.
fn mounts_below(folder: &Path) -> io::Result<Vec<String>> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    let mut found: Vec<String> =
        mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).collect();
    found.retain(|path| Path::new(path).starts_with(folder));
    found.reverse();
    Ok(found)
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(path: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(path.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_paths() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "").unwrap();
        for (name, kind, fits) in [
            ("none", HostPathType::Unset, true),
            ("none", HostPathType::Directory, false),
            ("file", HostPathType::Directory, false),
            ("file", HostPathType::File, true),
            ("file", HostPathType::Socket, false),
            ("made/deep", HostPathType::DirectoryOrCreate, true),
            ("made/file", HostPathType::FileOrCreate, true),
            ("file", HostPathType::DirectoryOrCreate, false),
        ] {
            let seen = check_host_path(&at(name), kind);
            assert_eq!(seen.is_ok(), fits, "{name} {kind:?}: {seen:?}");
        }
        assert!(at("made/deep").is_dir() && at("made/file").is_file());
    }

    #[test]
    fn an_empty_dir_is_for_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volumes/kubernetes.io~empty-dir/v");
        empty_dir(&path, Medium::Disk, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o777);
        empty_dir(&path, Medium::Disk, None).unwrap();
        tear_down(folder.path()).unwrap();
        assert!(!folder.path().exists());
    }
}
