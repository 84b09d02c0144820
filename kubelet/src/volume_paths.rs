//! Paths inside a volume, which the pod itself may change at any moment: every component is resolved by the kernel beneath
//! the volume's folder, so that no link leads out of it (CVE-2017-1002101, CVE-2021-25741).

use std::ffi::CString;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use kedge_sys::path::{Links, open_in_root};
use rustix::fs::{Mode, OFlags};

/// What a file of environment variables may hold (KEP-3721).
const FILE_BYTES_MAX: u64 = 64 * 1024;

fn open_beneath(folder: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    Ok(open_in_root(folder, &path, flags.bits() as i32, Links::Beneath)?)
}

/// The volume's own folder, which the pod cannot replace.
fn open_volume(volume: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(volume, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Why a subPath cannot be used.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It leads out of the volume, or cannot be reached.
    Prepare,
    Create(io::Error),
}

/// Makes the folders of a subPath that are missing, with the volume's mode. The runtime resolves it again when it mounts.
pub(crate) fn ensure(volume: &Path, relative: &Path) -> Result<(), Refused> {
    let folder = open_volume(volume).map_err(|_| Refused::Prepare)?;
    if open_beneath(folder.as_fd(), relative, OFlags::PATH | OFlags::NOFOLLOW).is_err() {
        make(&folder, relative).map_err(Refused::Create)?;
    }
    open_beneath(folder.as_fd(), relative, OFlags::PATH).map(drop).map_err(|_| Refused::Prepare)
}

fn make(volume: &OwnedFd, relative: &Path) -> io::Result<()> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(volume)?.st_mode & 0o777);
    let mut parent = volume.try_clone()?;
    let mut path = std::path::PathBuf::new();
    for part in relative.components().filter(|part| *part != Component::CurDir) {
        path.push(part);
        if rustix::fs::mkdirat(&parent, Path::new(&part), mode).is_ok() {
            // Past the umask, on what is there by then: a folder of the volume, or an error.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let made = open_beneath(parent.as_fd(), Path::new(&part), flags)?;
            File::from(made).set_permissions(Permissions::from_mode(mode.as_raw_mode()))?;
        }
        parent = open_beneath(volume.as_fd(), &path, OFlags::PATH | OFlags::DIRECTORY)?;
    }
    Ok(())
}

/// A small regular file that the pod has made: neither a pipe that nobody writes to nor one without an end holds us.
pub(crate) fn read_small(volume: &Path, relative: &Path) -> io::Result<String> {
    let folder = open_volume(volume)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(open_beneath(folder.as_fd(), relative, flags)?);
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("not a regular file of at most 64 KiB"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// `fileKeyRef` reads what an init container has left: a pipe, 200 GiB of nothing, a link to a file of the node.
    #[test]
    fn only_small_regular_files_of_the_volume_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(folder.path().join("secret"), "A=node").unwrap();
        fs::write(volume.join("env"), "A=1\n").unwrap();
        File::create(volume.join("huge")).unwrap().set_len(200 << 30).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, volume.join("pipe"), fifo, Mode::RUSR, 0).unwrap();
        symlink("../secret", volume.join("up")).unwrap();
        symlink(folder.path().join("secret"), volume.join("away")).unwrap();
        symlink("env", volume.join("inside")).unwrap();
        let read = |name: &str| read_small(&volume, Path::new(name)).ok();
        assert_eq!(read("env").as_deref(), Some("A=1\n"));
        assert_eq!(read("inside").as_deref(), Some("A=1\n"));
        for name in ["huge", "pipe", "up", "away", "missing", "../secret"] {
            assert_eq!(read(name), None, "{name}");
        }
    }

    #[test]
    fn made_folders_have_the_mode_of_the_volume() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        ensure(folder.path(), Path::new("a/./b")).unwrap();
        let mode = fs::metadata(folder.path().join("a/b")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o777);
    }
}
