//! What one tar entry of a layer means for the directory it is unpacked to: whiteouts become what overlayfs reads, and
//! no name leads outside.

use super::Error;

const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Names of aufs's own bookkeeping; nothing a container should see.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";

/// Longest path below the root that is taken, and the longest link target (`PATH_MAX`).
pub const PATH_LENGTH_MAX: usize = 4096;

/// A path below the layer's root: its directories and its last name. The root itself has neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPath {
    pub parents: Vec<Vec<u8>>,
    pub name: Option<Vec<u8>>,
}

/// What an entry asks for, by its name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryName {
    /// Something is made at this path.
    Make(EntryPath),
    /// What lower layers have at this path is hidden: a character device 0:0.
    Whiteout(EntryPath),
    /// What lower layers have below this directory is hidden: the xattr `trusted.overlay.opaque`.
    Opaque(Vec<Vec<u8>>),
    /// Bookkeeping of aufs: left out.
    Skip,
}

/// Splits a name into components. A leading `/` and `.` are dropped, as every unpacker does; `..` is refused rather than
/// resolved, since no honest archive needs it.
pub fn components(path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let shown = || String::from_utf8_lossy(path).into_owned();
    if path.len() > PATH_LENGTH_MAX {
        return Err(Error::Tar(format!("a path of {} bytes is too long", path.len())));
    }
    if path.contains(&0) {
        return Err(Error::Tar(format!("the path {:?} contains a NUL", shown())));
    }
    let mut components = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(Error::Tar(format!("the path {:?} contains \"..\"", shown()))),
            name if name.len() > 255 => {
                return Err(Error::Tar(format!("a name in {:?} is too long", shown())));
            }
            name => components.push(name.to_vec()),
        }
    }
    Ok(components)
}

pub fn entry_path(path: &[u8]) -> Result<EntryPath, Error> {
    let mut parents = components(path)?;
    let name = parents.pop();
    Ok(EntryPath { parents, name })
}

pub fn classify(path: &[u8]) -> Result<EntryName, Error> {
    let EntryPath { parents, name } = entry_path(path)?;
    let Some(name) = name else {
        return Ok(EntryName::Make(EntryPath { parents, name: None }));
    };
    if parents.iter().any(|parent| parent.starts_with(AUFS_PREFIX)) {
        return Ok(EntryName::Skip);
    }
    if name == OPAQUE_MARKER {
        return Ok(EntryName::Opaque(parents));
    }
    if name.starts_with(AUFS_PREFIX) {
        return Ok(EntryName::Skip);
    }
    match name.strip_prefix(WHITEOUT_PREFIX) {
        Some(b"" | b"." | b"..") => {
            Err(Error::Tar(format!("{:?} hides nothing", String::from_utf8_lossy(path))))
        }
        Some(hidden) => Ok(EntryName::Whiteout(EntryPath { parents, name: Some(hidden.to_vec()) })),
        None => Ok(EntryName::Make(EntryPath { parents, name: Some(name) })),
    }
}

/// Extended attributes an image may set. Those of overlayfs would forge whiteouts and redirects.
pub fn is_xattr_allowed(name: &[u8]) -> bool {
    let prefixed = |prefix: &[u8]| name.starts_with(prefix);
    let overlay = prefixed(b"trusted.overlay.") || prefixed(b"user.overlay.");
    !overlay && (prefixed(b"user.") || prefixed(b"security.capability") || prefixed(b"trusted."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(name: &EntryName) -> String {
        let join = |parts: &[Vec<u8>]| String::from_utf8(parts.join(&b'/')).unwrap();
        let path = |path: &EntryPath| {
            let mut all = path.parents.clone();
            all.extend(path.name.clone());
            join(&all)
        };
        match name {
            EntryName::Make(at) => format!("make {}", path(at)),
            EntryName::Whiteout(at) => format!("whiteout {}", path(at)),
            EntryName::Opaque(at) => format!("opaque {}", join(at)),
            EntryName::Skip => "skip".to_owned(),
        }
    }

    #[test]
    fn names_become_actions() {
        for (name, expected) in [
            ("./", "make "),
            ("etc/passwd", "make etc/passwd"),
            ("/abs//x/./y", "make abs/x/y"),
            ("etc/.wh.passwd", "whiteout etc/passwd"),
            (".wh.a", "whiteout a"),
            ("etc/.wh..wh..opq", "opaque etc"),
            (".wh..wh..opq", "opaque "),
            (".wh..wh.plnk/123", "skip"),
            (".wh..wh.aufs", "skip"),
            ("a/.whx", "make a/.whx"),
        ] {
            assert_eq!(show(&classify(name.as_bytes()).unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn names_that_lead_outside_are_refused() {
        for bad in ["..", "../x", "a/../../x", "a/..", ".wh.", ".wh...", "x/.wh..", "nul\0"] {
            assert!(classify(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(classify("a/".repeat(3000).as_bytes()).is_err());
        assert!(classify("a".repeat(300).as_bytes()).is_err());
    }

    #[test]
    fn overlay_attributes_cannot_be_forged() {
        assert!(is_xattr_allowed(b"security.capability"));
        assert!(is_xattr_allowed(b"user.x"));
        assert!(!is_xattr_allowed(b"trusted.overlay.redirect"));
        assert!(!is_xattr_allowed(b"user.overlay.opaque"));
        assert!(!is_xattr_allowed(b"system.posix_acl_access"));
    }
}
