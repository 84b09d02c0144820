//! User namespaces of pods with `hostUsers: false`: each pod of the node has 65,536 host ids of its own, kept in a file of
//! its folder so that a restart of the node agent gives it the same.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use kedge_cri_api::UserNamespace;

const LENGTH: u32 = 65_536;
/// Slot 0 would be the host's own ids.
const SLOTS: std::ops::Range<u32> = 1..1024;
const FILE: &str = "userns";

/// Two pods that begin at once must not take the same slot.
static TAKING: Mutex<()> = Mutex::new(());

pub(crate) fn of_pod(pods: &Path, uid: &str) -> Result<UserNamespace, String> {
    let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = pods.join(uid);
    if let Some(slot) = read(&folder) {
        return Ok(mapping(slot));
    }
    let taken: BTreeSet<u32> =
        fs::read_dir(pods).into_iter().flatten().flatten().filter_map(|entry| read(&entry.path())).collect();
    let slot = SLOTS.into_iter().find(|slot| !taken.contains(slot));
    let slot = slot.ok_or("no range of user ids is left on this node")?;
    write(&folder, slot).map_err(|error| format!("user ids of the pod: {error}"))?;
    Ok(mapping(slot))
}

fn mapping(slot: u32) -> UserNamespace {
    UserNamespace { host_id: slot * LENGTH, length: LENGTH }
}

fn read(folder: &Path) -> Option<u32> {
    fs::read_to_string(folder.join(FILE)).ok()?.trim().parse().ok()
}

fn write(folder: &Path, slot: u32) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(FILE), slot.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_disjoint_and_kept() {
        let pods = tempfile::tempdir().unwrap();
        let first = of_pod(pods.path(), "a").unwrap();
        assert_eq!(first.host_id, 65_536);
        assert_eq!(of_pod(pods.path(), "b").unwrap().host_id, 131_072);
        assert_eq!(of_pod(pods.path(), "a").unwrap(), first);
        fs::remove_dir_all(pods.path().join("a")).unwrap();
        assert_eq!(of_pod(pods.path(), "c").unwrap(), first, "a range is used again");
    }
}
