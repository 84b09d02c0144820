//! Unpacks one layer into a directory that serves as an overlayfs lower.
//!
//! A layer comes from a stranger and is written by root, so that no name is ever resolved by the plain path walk: each
//! parent is opened by openat2 with `RESOLVE_IN_ROOT` below the layer's own directory (a symlink of the layer leads to
//! a place inside the layer, wherever it points), and the last component is made relative to that descriptor without
//! following anything.

use super::Error;
use super::tarball::{Tarball, decompress};
use kedge_cri_core::images::layer::{self, EntryName, EntryPath};
use kedge_cri_core::images::tar::{Entry, Kind};
use kedge_cri_core::images::{self, Digest, Limits};
use rustix::fs::{
    self, AtFlags, CWD, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(super) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// What unpacking a layer found out.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// Digest of the uncompressed stream.
    pub diff_id: Digest,
    /// Directories that the layer uses but does not describe; the layers below may.
    pub implied: Vec<PathBuf>,
}

/// Unpacks `from` (plain, gzip or zstd) into the directory `into`, which must be empty.
pub(super) fn unpack(from: impl Read + Send, into: &Path, limits: &Limits) -> Result<Unpacked, Error> {
    let plain = decompress(from).map_err(Error::reading)?;
    let mut hashing = Hashing { from: plain, hash: Sha256::new() };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = fs::open(into, flags, Mode::empty()).map_err(Error::errno("opening", into))?;
    let mut unpacker = Unpacker { root, parent: None, directories: Vec::new(), implied: Vec::new() };
    let mut tarball = Tarball::new(&mut hashing, *limits);
    while let Some(entry) = tarball.next_entry()? {
        unpacker.apply(&entry, &mut tarball.body()).map_err(|error| error.at(&entry.path))?;
    }
    tarball.drain()?;
    unpacker.finish()?;
    Ok(Unpacked { diff_id: Digest::from_sha256(hashing.hash.finalize().into()), implied: unpacker.implied })
}

/// Gives the directories that a layer implied the owner and mode they have in the nearest layer below (topmost first);
/// else the merged view would show them as root's, 0755.
pub(super) fn inherit(layer: &Path, implied: &[PathBuf], lower: &[PathBuf]) -> Result<(), Error> {
    for directory in implied {
        let found = lower.iter().find_map(|layer| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = fs::open(layer, flags, Mode::empty()).ok()?;
            let directory = fs::openat2(&root, directory, flags, Mode::empty(), RESOLVE).ok()?;
            fs::fstat(&directory).ok()
        });
        let Some(stat) = found else { continue };
        let path = layer.join(directory);
        let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        fs::chownat(CWD, &path, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Error::errno("changing the owner of", &path))?;
        fs::chmodat(CWD, &path, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())
            .map_err(Error::errno("changing the mode of", &path))?;
    }
    Ok(())
}

const RESOLVE: ResolveFlags =
    ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

struct Hashing<R> {
    from: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.hash.update(&into[..read]);
        Ok(read)
    }
}

struct Unpacker {
    root: OwnedFd,
    /// The parent of the last entry: entries come directory by directory.
    parent: Option<(Vec<Vec<u8>>, OwnedFd)>,
    /// Times of directories are set last, since every entry made in one changes them.
    directories: Vec<(PathBuf, Timestamps)>,
    implied: Vec<PathBuf>,
}

/// What went wrong with one entry; [`EntryError::at`] adds its path.
enum EntryError {
    Errno(&'static str, Errno),
    Io(&'static str, io::Error),
    Refused(images::Error),
}

impl EntryError {
    fn at(self, path: &[u8]) -> Error {
        let path = Path::new(OsStr::from_bytes(path));
        match self {
            EntryError::Errno(doing, errno) => Error::errno(doing, path)(errno),
            EntryError::Io(doing, error) => Error::io(doing, path)(error),
            EntryError::Refused(error) => error.into(),
        }
    }
}

impl From<images::Error> for EntryError {
    fn from(error: images::Error) -> EntryError {
        EntryError::Refused(error)
    }
}

fn errno(doing: &'static str) -> impl Fn(Errno) -> EntryError {
    move |error| EntryError::Errno(doing, error)
}

type EntryResult<T> = Result<T, EntryError>;

impl Unpacker {
    fn apply(&mut self, entry: &Entry, body: &mut dyn Read) -> EntryResult<()> {
        match layer::classify(&entry.path)? {
            EntryName::Skip => Ok(()),
            EntryName::Opaque(directory) => {
                self.enter(&directory)?;
                let at = self.at(OsStr::new("."));
                set_opaque(&at)
            }
            EntryName::Whiteout(EntryPath { parents, name }) => {
                self.enter(&parents)?;
                self.whiteout(OsStr::from_bytes(&name.unwrap_or_default()))
            }
            EntryName::Make(EntryPath { parents, name: None }) if parents.is_empty() => {
                self.enter(&[])?;
                self.describe(entry, OsStr::new("."))
            }
            EntryName::Make(EntryPath { parents, name }) => {
                self.enter(&parents)?;
                self.make(entry, OsStr::from_bytes(&name.unwrap_or_default()), body)
            }
        }
    }

    /// Makes `parents` the directory at hand, creating what is missing.
    fn enter(&mut self, parents: &[Vec<u8>]) -> EntryResult<()> {
        if self.parent.as_ref().is_some_and(|(at, _)| at == parents) {
            return Ok(());
        }
        let directory = match self.open_directory(parents) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR) => self.create_directories(parents)?,
            Err(error) => return Err(errno("opening the parent of")(error)),
        };
        self.parent = Some((parents.to_vec(), directory));
        Ok(())
    }

    fn open_directory(&self, components: &[Vec<u8>]) -> Result<OwnedFd, Errno> {
        let path = if components.is_empty() { b".".to_vec() } else { components.join(&b'/') };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::openat2(&self.root, OsStr::from_bytes(&path), flags, Mode::empty(), RESOLVE)
    }

    fn create_directories(&mut self, components: &[Vec<u8>]) -> EntryResult<OwnedFd> {
        let mut parent = self.open_directory(&[]).map_err(errno("opening the root for"))?;
        for depth in 1..=components.len() {
            let name = OsStr::from_bytes(&components[depth - 1]);
            parent = match self.open_directory(&components[..depth]) {
                Ok(directory) => directory,
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    // The layer's own whiteout, and then something below it: the directory begins empty.
                    let hidden = is_whiteout(&parent, name);
                    if hidden {
                        fs::unlinkat(&parent, name, AtFlags::empty())
                            .map_err(errno("replacing the whiteout above"))?;
                    }
                    let mode = Mode::from_raw_mode(0o755);
                    fs::mkdirat(&parent, name, mode).map_err(errno("creating a parent of"))?;
                    if hidden {
                        set_opaque(&through(&parent, name))?;
                    }
                    self.implied.push(PathBuf::from(OsStr::from_bytes(&components[..depth].join(&b'/'))));
                    self.open_directory(&components[..depth]).map_err(errno("opening a parent of"))?
                }
                Err(error) => return Err(errno("opening a parent of")(error)),
            };
        }
        Ok(parent)
    }

    fn here(&self) -> &OwnedFd {
        let (_, directory) = self.parent.as_ref().expect("enter ran before");
        directory
    }

    fn at(&self, name: &OsStr) -> PathBuf {
        through(self.here(), name)
    }

    /// A whiteout is about the layers below: what this layer itself has made under the name stays.
    fn whiteout(&mut self, name: &OsStr) -> EntryResult<()> {
        match fs::statat(self.here(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                set_opaque(&self.at(name))
            }
            Ok(_) => Ok(()),
            Err(Errno::NOENT) => fs::mknodat(self.here(), name, FileType::CharacterDevice, Mode::empty(), 0)
                .map_err(errno("making the whiteout for")),
            Err(error) => Err(errno("looking at")(error)),
        }
    }

    fn make(&mut self, entry: &Entry, name: &OsStr, body: &mut dyn Read) -> EntryResult<()> {
        let was_hidden = match fs::statat(self.here(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => false,
            Err(error) => return Err(errno("looking at")(error)),
            Ok(stat) => {
                let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                if is_directory && entry.kind == Kind::Directory {
                    return self.describe(entry, name);
                }
                let hidden = is_whiteout(self.here(), name);
                self.remove(name, is_directory)?;
                hidden
            }
        };
        let here = self.here();
        let node = |kind| {
            let device = fs::makedev(entry.device.0, entry.device.1);
            fs::mknodat(here, name, kind, Mode::from_raw_mode(0o600), device)
                .map_err(errno("making the node"))
        };
        match entry.kind {
            Kind::Regular => self.write_file(name, body)?,
            Kind::Directory => {
                fs::mkdirat(here, name, Mode::from_raw_mode(0o700)).map_err(errno("making the directory"))?;
                if was_hidden {
                    set_opaque(&self.at(name))?;
                }
            }
            Kind::Symlink => fs::symlinkat(OsStr::from_bytes(&entry.link), here, name)
                .map_err(errno("making the symlink"))?,
            Kind::Hardlink => return self.hardlink(entry, name),
            Kind::CharDevice => node(FileType::CharacterDevice)?,
            Kind::BlockDevice => node(FileType::BlockDevice)?,
            Kind::Fifo => node(FileType::Fifo)?,
        }
        self.describe(entry, name)
    }

    fn write_file(&self, name: &OsStr, body: &mut dyn Read) -> EntryResult<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            fs::openat(self.here(), name, flags, Mode::from_raw_mode(0o600)).map_err(errno("creating"))?;
        let mut file = File::from(file);
        io::copy(body, &mut file).map_err(|error| EntryError::Io("writing", error))?;
        Ok(())
    }

    fn hardlink(&self, entry: &Entry, name: &OsStr) -> EntryResult<()> {
        let target = layer::entry_path(&entry.link)?;
        let Some(target_name) = target.name else {
            return Err(images::Error::Tar("a hard link to the root".to_owned()).into());
        };
        let directory =
            self.open_directory(&target.parents).map_err(errno("opening the link target's parent of"))?;
        fs::linkat(&directory, OsStr::from_bytes(&target_name), self.here(), name, AtFlags::empty())
            .map_err(errno("linking"))
    }

    fn remove(&mut self, name: &OsStr, is_directory: bool) -> EntryResult<()> {
        if is_directory {
            std::fs::remove_dir_all(self.at(name))
                .map_err(|error| EntryError::Io("replacing the directory", error))
        } else {
            fs::unlinkat(self.here(), name, AtFlags::empty()).map_err(errno("replacing"))
        }
    }

    /// Owner, mode, attributes and time, in an order in which none undoes another (a chown clears setuid and capabilities).
    fn describe(&mut self, entry: &Entry, name: &OsStr) -> EntryResult<()> {
        let here = self.here();
        let owner = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        fs::chownat(here, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(errno("changing the owner of"))?;
        if entry.kind != Kind::Symlink {
            // Not a symlink: it was made by us in this directory a moment ago, or is the directory itself.
            fs::chmodat(here, name, Mode::from_raw_mode(entry.mode as RawMode), AtFlags::empty())
                .map_err(errno("changing the mode of"))?;
        }
        for (attribute, value) in
            entry.xattrs.iter().filter(|(attribute, _)| layer::is_xattr_allowed(attribute))
        {
            let set =
                fs::lsetxattr(self.at(name), OsStr::from_bytes(attribute), value, fs::XattrFlags::empty());
            match set {
                // A filesystem without such attributes, or a symlink, which has no user attributes.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(error) => return Err(errno("setting an extended attribute of")(error)),
            }
        }
        let time = Timespec { tv_sec: entry.mtime_s, tv_nsec: entry.mtime_ns.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        if entry.kind == Kind::Directory {
            let (parents, _) = self.parent.as_ref().expect("enter ran before");
            let path = Path::new(OsStr::from_bytes(&parents.join(&b'/'))).join(name);
            self.implied.retain(|implied| *implied != path);
            self.directories.push((path, times));
            return Ok(());
        }
        fs::utimensat(here, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(errno("setting the time of"))
    }

    fn finish(&mut self) -> Result<(), Error> {
        for (path, times) in self.directories.drain(..).rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match fs::openat2(&self.root, &path, flags, Mode::empty(), RESOLVE) {
                Ok(directory) => {
                    fs::futimens(&directory, &times).map_err(Error::errno("setting the time of", &path))?
                }
                // A later entry of the same layer has replaced it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(Error::errno("setting the time of", &path)(error)),
            }
        }
        Ok(())
    }
}

/// A path for the calls that know no directory descriptor. Only the last component is the archive's.
fn through(directory: &OwnedFd, name: &OsStr) -> PathBuf {
    Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name)
}

fn is_whiteout(directory: &OwnedFd, name: &OsStr) -> bool {
    let stat = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
    })
}

fn set_opaque(path: &Path) -> EntryResult<()> {
    fs::lsetxattr(path, OPAQUE_XATTR, b"y", fs::XattrFlags::empty()).map_err(errno("marking as opaque"))
}
