//! What becomes of a layer's entries, honest and hostile ones.

use super::*;
use crate::images::unpack::{inherit, unpack};

type Entry<'a> = (tar::EntryType, &'a str, &'a str, u32);

/// A tar of (type, path, link or content, mode), with names written raw: the builder would refuse the hostile ones.
fn raw(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, path, text, mode) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_mtime(1_000_000_000);
        header.set_uid(1000);
        header.set_gid(2000);
        let content = if kind.is_file() { text.as_bytes() } else { b"" };
        header.set_size(content.len() as u64);
        if !kind.is_file() {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

struct Layer(tempfile::TempDir, Result<Vec<PathBuf>, Error>);

fn unpacked(bytes: &[u8]) -> Layer {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("layer")).unwrap();
    let result = unpack(bytes, &folder.path().join("layer"), &Limits::default());
    Layer(folder, result.map(|unpacked| unpacked.implied))
}

impl Layer {
    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join("layer").join(path)
    }

    fn stat(&self, path: &str) -> std::fs::Metadata {
        std::fs::symlink_metadata(self.at(path)).unwrap()
    }

    fn is_whiteout(&self, path: &str) -> bool {
        let stat = self.stat(path);
        stat.file_type().is_char_device() && stat.rdev() == 0
    }

    fn is_opaque(&self, path: &str) -> bool {
        let mut value = [0u8; 8];
        rustix::fs::lgetxattr(self.at(path), OPAQUE_XATTR, &mut value[..])
            .is_ok_and(|size| value[..size] == *b"y")
    }
}

use tar::EntryType as T;

const FILE: T = T::Regular;
const DIRECTORY: T = T::Directory;

/// Making devices and trusted attributes needs root; without it these tests say so and pass.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

#[test]
fn entries_keep_what_the_layer_says() {
    if !is_root() {
        return;
    }
    let layer = unpacked(&raw(&[
        (DIRECTORY, "./", "", 0o755),
        (DIRECTORY, "tmp/", "", 0o1777),
        (FILE, "bin/su", "x", 0o4755),
        (T::Link, "bin/sudo", "bin/su", 0o4755),
        (T::Symlink, "lib", "usr/lib", 0o777),
        (T::Char, "dev/null", "", 0o666),
        (T::Fifo, "run/pipe", "", 0o600),
        (FILE, "tmp/last", "", 0o600),
    ]));
    assert_eq!(layer.1.as_ref().unwrap(), &["bin", "dev", "run"].map(PathBuf::from));
    let su = layer.stat("bin/su");
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.mtime()), (0o4755, 1000, 2000, 1_000_000_000));
    assert_eq!(layer.stat("bin/sudo").ino(), su.ino());
    let tmp = layer.stat("tmp");
    assert_eq!((tmp.mode() & 0o7777, tmp.mtime()), (0o1777, 1_000_000_000));
    assert_eq!(std::fs::read_link(layer.at("lib")).unwrap(), Path::new("usr/lib"));
    assert_eq!(layer.stat("lib").mtime(), 1_000_000_000);
    assert_eq!(layer.stat("dev/null").rdev(), rustix::fs::makedev(1, 3));
    assert!(layer.stat("run/pipe").file_type().is_fifo());
}

#[test]
fn whiteouts_become_overlay_ones() {
    if !is_root() {
        return;
    }
    let layer = unpacked(&raw(&[
        (FILE, "etc/.wh.gone", "", 0),
        (FILE, "var/.wh..wh..opq", "", 0),
        (FILE, "var/kept", "", 0o644),
        (FILE, ".wh..wh.plnk/1", "", 0),
        // Hidden below and made anew: nothing of the old directory may shine through.
        (FILE, ".wh.opt", "", 0),
        (FILE, "opt/mine", "", 0o644),
        (FILE, ".wh.srv", "", 0),
        (DIRECTORY, "srv", "", 0o755),
        (DIRECTORY, "home", "", 0o755),
        (FILE, ".wh.home", "", 0),
    ]));
    assert!(layer.1.is_ok());
    assert!(layer.is_whiteout("etc/gone"));
    assert!(!layer.at(".wh..wh.plnk").exists());
    for opaque in ["var", "opt", "srv", "home"] {
        assert!(layer.is_opaque(opaque), "{opaque}");
    }
    assert!(!layer.is_opaque("etc"));
    assert!(layer.at("var/kept").exists() && layer.at("opt/mine").exists());
}

/// Each archive tries to write, link or read beside the layer's directory.
#[test]
fn nothing_escapes() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let outside = outside.path().to_str().unwrap();
    let secret = secret.to_str().unwrap();
    let up = "../../../../../../../..";
    let climb = format!("{up}{outside}");
    let through_up = format!("{climb}/new");
    for entries in [
        vec![(FILE, through_up.as_str(), "x", 0o644)],
        vec![(T::Symlink, "a", outside, 0), (FILE, "a/new", "x", 0o644)],
        vec![(T::Symlink, "a", climb.as_str(), 0), (FILE, "a/new", "x", 0o644)],
        vec![(T::Symlink, "a", secret, 0), (FILE, "a", "x", 0o644)],
        vec![(T::Link, "a", secret, 0)],
        vec![(T::Link, "a", climb.as_str(), 0)],
        vec![(T::Symlink, "a", outside, 0), (T::Link, "b", "a/secret", 0)],
        vec![(T::Symlink, "a", outside, 0), (FILE, "a/.wh.secret", "", 0)],
        vec![(T::Symlink, "a", outside, 0), (FILE, "a/.wh..wh..opq", "", 0)],
        vec![(T::Symlink, "a", outside, 0), (DIRECTORY, "a", "", 0o777)],
        vec![(T::Symlink, "a", "/proc/self/root", 0), (FILE, "a/new", "x", 0o644)],
        vec![(DIRECTORY, "a/..", "", 0o777)],
        vec![(T::Symlink, "a", "b", 0), (T::Symlink, "b", "a", 0), (FILE, "a/x", "", 0o644)],
    ] {
        let layer = unpacked(&raw(&entries));
        // Refused, or done inside: both are right.
        let made = std::fs::read_dir(outside).unwrap().count();
        assert_eq!(made, 1, "{entries:?} wrote outside");
        assert_eq!(std::fs::read_to_string(secret).unwrap(), "secret", "{entries:?}");
        assert_eq!(std::fs::metadata(secret).unwrap().nlink(), 1, "{entries:?} linked outside");
        assert_ne!(std::fs::metadata(outside).unwrap().permissions().mode() & 0o777, 0o777, "{entries:?}");
        assert_eq!(
            std::fs::read_dir(layer.0.path()).unwrap().count(),
            1,
            "{entries:?} wrote beside the layer"
        );
    }
}

#[test]
fn a_symlink_of_the_layer_leads_inside() {
    let layer = unpacked(&raw(&[
        (DIRECTORY, "usr/bin", "", 0o755),
        (T::Symlink, "bin", "/usr/bin", 0),
        (FILE, "bin/tool", "x", 0o755),
    ]));
    assert!(layer.1.is_ok(), "{:?}", layer.1);
    assert_eq!(std::fs::read(layer.at("usr/bin/tool")).unwrap(), b"x");
}

#[test]
fn limits_hold() {
    let check = |limits: Limits, words: &str| {
        let folder = tempfile::tempdir().unwrap();
        let bytes = raw(&[(FILE, "a", "0123456789", 0o644), (FILE, "b", "0123456789", 0o644)]);
        let error = unpack(gzip(&bytes).as_slice(), folder.path(), &limits).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    check(Limits { entries: 1, ..Limits::default() }, "number of entries is larger than the limit of 1");
    check(
        Limits { unpacked_bytes: 1100, ..Limits::default() },
        "unpacked size is larger than the limit of 1100",
    );
}

#[test]
fn an_implied_directory_takes_after_the_layer_below() {
    if !is_root() {
        return;
    }
    let below = unpacked(&raw(&[(DIRECTORY, "tmp", "", 0o1777)]));
    let above = unpacked(&raw(&[(FILE, "tmp/x", "", 0o644)]));
    inherit(&above.at(""), above.1.as_ref().unwrap(), &[below.at("")]).unwrap();
    let tmp = above.stat("tmp");
    assert_eq!((tmp.mode() & 0o7777, tmp.uid()), (0o1777, 1000));
}
