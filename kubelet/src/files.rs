//! Writes the files of a volume so that a reader sees all old or all new ones: a dated folder, and one rename of the link
//! `..data`. Names at the top of the volume are links through `..data`.
//!
//! ```text
//! ..2026_11_25_00_23_55.123456789/{a,dir/b}     ..data → ..2026_…     a → ..data/a     dir → ..data/dir
//! ```

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use kedge_kubelet_core::volumes::payload::top_names;
use kedge_kubelet_core::volumes::{Payload, PayloadFile, fs_group_bits};

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";

/// Brings the folder to hold exactly `payload`. Does nothing where it does already. True if something changed.
pub(crate) fn write(folder: &Path, payload: &Payload, fs_group: Option<i64>) -> io::Result<bool> {
    if holds(folder, payload) {
        return Ok(false);
    }
    let dated = dated_folder(folder)?;
    for (path, file) in payload {
        write_file(&folder.join(&dated), path, file, fs_group)?;
    }
    if let Some(group) = fs_group {
        give_folders(&folder.join(&dated), group)?;
    }
    let old = fs::read_link(folder.join(DATA)).ok();
    let next = folder.join(DATA_NEXT);
    remove_if_there(&next)?;
    symlink(&dated, &next)?;
    fs::rename(&next, folder.join(DATA))?;
    link_names(folder, payload)?;
    own_links(folder, payload)?;
    if let Some(old) = old.filter(|old| *old != dated) {
        fs::remove_dir_all(folder.join(old))?;
    }
    Ok(true)
}

/// The link to a file that is for one user alone is that user's too.
fn own_links(folder: &Path, payload: &Payload) -> io::Result<()> {
    for (path, file) in payload {
        let owner = file.owner.and_then(|uid| u32::try_from(uid).ok());
        if owner.is_some() && !path.contains('/') {
            lchown(folder.join(path), owner, None)?;
        }
    }
    Ok(())
}

fn holds(folder: &Path, payload: &Payload) -> bool {
    let data = folder.join(DATA);
    if !data.exists() {
        return false;
    }
    let same = |(path, file): (&String, &PayloadFile)| {
        let at = data.join(path);
        let mode = fs::metadata(&at).map(|meta| meta.permissions().mode() & 0o777);
        // fsGroup may have added bits, never taken any.
        mode.is_ok_and(|mode| mode & file.mode == file.mode)
            && fs::read(&at).is_ok_and(|data| data == file.data)
    };
    payload.iter().all(same) && count(&data) == payload.len()
}

fn count(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let of = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => count(&entry.path()),
        _ => 1,
    };
    entries.flatten().map(of).sum()
}

/// A new folder with a name that no reader has open.
fn dated_folder(folder: &Path) -> io::Result<PathBuf> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = kedge_api::Time(i64::try_from(since.as_secs()).unwrap_or(0)).to_string();
    let stamp: String =
        text.trim_end_matches('Z').chars().map(|c| if c.is_ascii_digit() { c } else { '_' }).collect();
    let name = PathBuf::from(format!("..{stamp}.{:09}", since.subsec_nanos()));
    DirBuilder::new().mode(0o755).create(folder.join(&name))?;
    // The umask does not decide about what a container may read.
    fs::set_permissions(folder.join(&name), Permissions::from_mode(0o755))?;
    Ok(name)
}

fn write_file(folder: &Path, path: &str, file: &PayloadFile, fs_group: Option<i64>) -> io::Result<()> {
    let at = folder.join(path);
    if let Some(parent) = at.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    File::create_new(&at)?.write_all(&file.data)?;
    let owner = file.owner.and_then(|uid| u32::try_from(uid).ok());
    let group = fs_group.and_then(|gid| u32::try_from(gid).ok());
    if owner.is_some() || group.is_some() {
        chown(&at, owner, group)?;
    }
    let added = if group.is_some() { fs_group_bits(false, true) } else { 0 };
    fs::set_permissions(&at, Permissions::from_mode(file.mode | added))
}

fn give_folders(folder: &Path, group: i64) -> io::Result<()> {
    chown(folder, None, u32::try_from(group).ok())?;
    let mode = fs::metadata(folder)?.permissions().mode() & 0o7777;
    fs::set_permissions(folder, Permissions::from_mode(mode | fs_group_bits(true, true)))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give_folders(&entry.path(), group)?;
        }
    }
    Ok(())
}

fn link_names(folder: &Path, payload: &Payload) -> io::Result<()> {
    let wanted = top_names(payload);
    for name in &wanted {
        let at = folder.join(name);
        if fs::symlink_metadata(&at).is_err() {
            symlink(Path::new(DATA).join(name), at)?;
        }
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if !text.starts_with("..") && !wanted.contains(text.as_ref()) {
            remove_if_there(&folder.join(&name))?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |data: &str| PayloadFile { data: data.as_bytes().to_vec(), mode: 0o640, owner: None };
        files.iter().map(|(path, data)| ((*path).to_owned(), file(data))).collect()
    }

    #[test]
    fn an_update_replaces_everything_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        assert!(write(at, &payload(&[("a", "1"), ("d/b", "2")]), None).unwrap());
        assert!(!write(at, &payload(&[("a", "1"), ("d/b", "2")]), None).unwrap(), "nothing to do");
        assert_eq!(fs::read_to_string(at.join("d/b")).unwrap(), "2");
        assert_eq!(fs::metadata(at.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        let held = fs::canonicalize(at.join("a")).unwrap();
        assert!(write(at, &payload(&[("a", "3"), ("c", "4")]), None).unwrap());
        assert_eq!(fs::read_to_string(at.join("a")).unwrap(), "3");
        assert!(!held.exists() && fs::symlink_metadata(at.join("d")).is_err());
        let visible = fs::read_dir(at)
            .unwrap()
            .flatten()
            .filter(|e| !e.file_name().to_string_lossy().starts_with(".."));
        assert_eq!(visible.count(), 2);
        assert!(write(at, &payload(&[]), None).unwrap());
        assert!(at.join(DATA).exists() && !at.join("a").exists());
    }
}
