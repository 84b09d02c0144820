//! What a launch hands over as detached mounts: the root, volumes, devices. Nothing is mounted in the node's own tree.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kedge_cri_api::{Mount, MountPropagation};
use kedge_sys::mount::{self, Fs, Propagation, SetAttributes, attr};
use kedge_sys::namespace;
use kedge_sys::path::{Links, open_in_root};
use rustix::fs::{Mode, OFlags};

fn context(doing: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{doing}: {error}"))
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

fn through(fd: &OwnedFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).expect("digits hold no NUL")
}

/// An overlay of image layers (topmost first) below a writable directory, not mounted anywhere.
pub fn overlay(
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    users: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    let plain = |path: &PathBuf| open_path(path).map_err(context(path.display()));
    match users {
        // Before Linux 6.15 overlayfs takes layers only from mounts of the caller's namespace, and an idmapped copy is
        // detached: it is put over its own layer where nobody else sees it. The overlay keeps what it needs of that namespace.
        Some(users) => namespace::with_private_mounts(|| {
            let mapped = |path: &PathBuf| over_itself(path, users).map_err(context(path.display()));
            stack(&lower.iter().map(mapped).collect::<io::Result<Vec<_>>>()?, upper, work)
        })?,
        None if has_legacy_options() => namespace::with_private_mounts(|| {
            stack(&lower.iter().map(plain).collect::<io::Result<Vec<_>>>()?, upper, work)
        })?,
        None => stack(&lower.iter().map(plain).collect::<io::Result<Vec<_>>>()?, upper, work),
    }
}

/// Layers go in through descriptors: a string parameter takes 255 bytes.
fn stack(layers: &[OwnedFd], upper: &Path, work: &Path) -> io::Result<OwnedFd> {
    let (upper, work) = (open_path(upper)?, open_path(work)?);
    let fs = Fs::open(c"overlay").map_err(io::Error::from).map_err(context("overlayfs"))?;
    if has_legacy_options() {
        // One string for all layers: only names relative to the descriptors' folder leave room for sixty. The working
        // directory is this thread's own, since `overlay` runs it in mounts of its own.
        rustix::process::chdir("/proc/thread-self/fd")?;
        let names: Vec<String> = layers.iter().map(|layer| layer.as_raw_fd().to_string()).collect();
        fs.set_string(c"lowerdir", &CString::new(names.join(":"))?)?;
    } else {
        append(&fs, layers)?;
    }
    fs.set_string(c"upperdir", &through(&upper))?;
    fs.set_string(c"workdir", &through(&work))?;
    fs.mount(0).map_err(io::Error::from).map_err(context("mount the overlay"))
}

fn append(fs: &Fs, layers: &[OwnedFd]) -> io::Result<()> {
    let names: Vec<CString> = layers.iter().map(through).collect();
    if names.iter().any(|name| fs.set_string(c"lowerdir+", name).is_err()) {
        // Linux 6.5 and 6.6 parse each option, but know only the joined one.
        let joined = names.iter().map(|name| name.to_bytes()).collect::<Vec<_>>().join(&b':');
        fs.set_string(c"lowerdir", &CString::new(joined)?)?;
    }
    Ok(())
}

/// Before Linux 6.5 the options of overlayfs are an uninterpreted string until the mount: any key is taken.
fn has_legacy_options() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| Fs::open(c"overlay").is_ok_and(|fs| fs.set_flag(c"no_such_option").is_ok()))
}

/// Mounts the idmapped copy of a layer on the layer, and opens what is seen there afterwards.
fn over_itself(path: &Path, users: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let plain = open_path(path)?;
    mount::attach(idmapped(plain.as_fd(), users)?.as_fd(), plain.as_fd())?;
    open_path(path)
}

/// A copy of the mount whose ids are those of the user namespace.
fn idmapped(source: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let tree = mount::clone_tree(source, c"", false)?;
    let change = SetAttributes { user_namespace: Some(users), ..SetAttributes::default() };
    mount::set_attributes(tree.as_fd(), &change)?;
    Ok(tree)
}

/// A detached bind of a node's file or directory. True in the second place for a file.
pub fn bind(request: &Mount, users: Option<BorrowedFd<'_>>) -> io::Result<(OwnedFd, bool)> {
    let path = Path::new(&request.host_path);
    let source = open_source(request)?;
    check_propagation(request, &source)?;
    let is_file = !rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&source)?.st_mode).is_dir();
    let tree = mount::clone_tree(source.as_fd(), c"", true)
        .map_err(io::Error::from)
        .map_err(context(path.display()))?;
    let propagation = match request.propagation {
        MountPropagation::Private => Some(Propagation::Private),
        MountPropagation::HostToContainer => Some(Propagation::Slave),
        MountPropagation::Bidirectional => None,
    };
    let change = SetAttributes { propagation, is_recursive: true, ..SetAttributes::default() };
    mount::set_attributes(tree.as_fd(), &change)?;
    if request.readonly {
        let is_recursive = request.recursive_read_only;
        let change = SetAttributes { set: attr::RDONLY, is_recursive, ..SetAttributes::default() };
        mount::set_attributes(tree.as_fd(), &change)?;
    }
    if let Some(users) = users {
        let change = SetAttributes { user_namespace: Some(users), ..SetAttributes::default() };
        if let Err(error) = mount::set_attributes(tree.as_fd(), &change) {
            tracing::debug!(path = %path.display(), %error, "the filesystem takes no idmapped mounts");
        }
    }
    Ok((tree, is_file))
}

fn open_source(request: &Mount) -> io::Result<OwnedFd> {
    let path = Path::new(&request.host_path);
    if request.sub_path.is_empty() {
        if !path.exists() {
            // As every runtime does for a hostPath without a type.
            fs::create_dir_all(path).map_err(context(format_args!("make {}", path.display())))?;
        }
        return open_path(path).map_err(context(path.display()));
    }
    let folder = open_path(path).map_err(context(path.display()))?;
    let sub_path = CString::new(request.sub_path.as_str())?;
    // The cause goes to the pod's owner: not a word about where a link leads.
    open_in_root(folder.as_fd(), &sub_path, libc::O_PATH, Links::Beneath)
        .map_err(io::Error::from)
        .map_err(context(format_args!("subPath {:?}", request.sub_path)))
}

/// Refuses what [`bind`] would refuse because of propagation.
pub fn check(request: &Mount) -> io::Result<()> {
    match open_path(Path::new(&request.host_path)) {
        Ok(source) => check_propagation(request, &source),
        Err(_) => Ok(()),
    }
}

/// A plain detached copy with these attributes (`MOUNT_ATTR_*`), for what the runtime itself owns.
pub fn copy(path: &Path, set: u64) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let tree = mount::clone_tree(rustix::fs::CWD, &name, false)
        .map_err(io::Error::from)
        .map_err(context(path.display()))?;
    let change = SetAttributes { set, propagation: Some(Propagation::Private), ..SetAttributes::default() };
    mount::set_attributes(tree.as_fd(), &change)?;
    Ok(tree)
}

/// The node's /dev/null, known by its number and not by its name (CVE-2025-31133).
pub fn null() -> io::Result<OwnedFd> {
    let file = open_path(Path::new("/dev/null"))?;
    if !mount::is_char_device(&file, 1, 3)? {
        return Err(io::Error::other("/dev/null of this node is not the null device"));
    }
    Ok(mount::clone_tree(file.as_fd(), c"", false)?)
}

/// A tmpfs for the pod's /dev/shm, mounted at `path` so that it survives the daemon.
pub fn mount_shm(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    let quiet = attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let tmpfs = mount::new_detached(c"tmpfs", &[(c"mode", c"1777"), (c"size", c"67108864")], quiet)?;
    Ok(mount::attach(tmpfs.as_fd(), open_path(path)?.as_fd())?)
}

pub fn unmount(path: &Path) {
    if let Ok(path) = CString::new(path.as_os_str().as_bytes()) {
        // Not mounted, or not there, is what was wanted.
        let _ = mount::unmount_lazily(&path);
    }
}

/// A mount that is private on the node cannot propagate; the kubelet shows this sentence to the user.
fn check_propagation(request: &Mount, source: &OwnedFd) -> io::Result<()> {
    if request.propagation == MountPropagation::Private {
        return Ok(());
    }
    let real = fs::read_link(format!("/proc/self/fd/{}", source.as_raw_fd()))?;
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let (point, tags) = mount_of(&table, &real).ok_or_else(|| io::Error::other("no mount holds the path"))?;
    let is_shared = tags.iter().any(|tag| tag.starts_with("shared:"));
    let is_slave = tags.iter().any(|tag| tag.starts_with("master:"));
    let (path, point) = (&request.host_path, point.display());
    match request.propagation {
        MountPropagation::Bidirectional if !is_shared => Err(io::Error::other(format!(
            "path {path:?} is mounted on {point:?} but it is not a shared mount",
            point = point.to_string()
        ))),
        MountPropagation::HostToContainer if !is_shared && !is_slave => Err(io::Error::other(format!(
            "path {path:?} is mounted on {point:?} but it is not a shared or slave mount",
            point = point.to_string()
        ))),
        _ => Ok(()),
    }
}

/// The innermost mount point that holds `path`, and its optional fields.
fn mount_of<'a>(table: &'a str, path: &Path) -> Option<(&'a Path, Vec<&'a str>)> {
    let mounts = table.lines().filter_map(|line| {
        let (left, _) = line.split_once(" - ")?;
        let mut fields = left.split(' ');
        let point = Path::new(fields.nth(4)?);
        Some((point, fields.skip(1).collect()))
    });
    // Of two mounts on one point the later one is on top.
    mounts.filter(|(point, _)| path.starts_with(point)).max_by_key(|(point, _)| point.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_innermost_mount() {
        let table = "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/a rw\n\
                     2 1 0:5 / /var/lib rw - tmpfs tmpfs rw\n\
                     3 2 0:6 / /var/lib/x rw shared:9 master:2 - tmpfs tmpfs rw\n";
        let see = |path: &str| {
            mount_of(table, Path::new(path)).map(|(point, tags)| (point.to_str().unwrap(), tags))
        };
        assert_eq!(see("/etc"), Some(("/", vec!["shared:1"])));
        assert_eq!(see("/var/library"), Some(("/", vec!["shared:1"])));
        assert_eq!(see("/var/lib/y"), Some(("/var/lib", vec![])));
        assert_eq!(see("/var/lib/x/z"), Some(("/var/lib/x", vec!["shared:9", "master:2"])));
    }
}
