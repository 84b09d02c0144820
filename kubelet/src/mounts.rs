//! The mounts of a container: its volumes with subPath, /etc/hosts, the termination log.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use kedge_api::pod::{Container, VolumeMount};
use kedge_cri_api::{Mount, MountPropagation};
use kedge_kubelet_core::env::expand_strict;
use kedge_kubelet_core::volumes::VolumePlan;

use crate::volume_paths::{self, Refused};

const HOSTS: &str = "/etc/hosts";

pub(crate) struct Place<'a> {
    pub container: &'a Container,
    /// `/var/lib/kubelet/pods/<uid>`
    pub pod_folder: &'a Path,
    pub volumes: &'a [VolumePlan],
    pub env: &'a [(String, String)],
    pub recursive_read_only: bool,
    pub attempt: u32,
}

/// Err is the message of `CreateContainerConfigError`.
pub(crate) fn of_container(place: &Place<'_>) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for mount in &place.container.volume_mounts {
        mounts.push(of_volume(mount, place)?);
    }
    if !place.container.volume_mounts.iter().any(|mount| mount.mount_path == HOSTS) {
        mounts.push(file_mount(&hosts_path(place.pod_folder), HOSTS));
    }
    if !place.container.termination_message_path.is_empty() {
        let log = termination_log(place.pod_folder, &place.container.name, place.attempt);
        make_log(&log).map_err(|error| format!("termination log {}: {error}", log.display()))?;
        mounts.push(file_mount(&log, &place.container.termination_message_path));
    }
    Ok(mounts)
}

pub(crate) fn hosts_path(pod_folder: &Path) -> PathBuf {
    pod_folder.join("etc-hosts")
}

pub(crate) fn termination_log(pod_folder: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_folder.join("containers").join(container).join(format!("termination-{attempt}"))
}

fn make_log(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o750).create(parent)?;
    }
    File::create(path)?;
    // Whatever user the container runs as may write it.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

fn file_mount(host: &Path, inside: &str) -> Mount {
    Mount {
        container_path: inside.to_owned(),
        host_path: host.to_string_lossy().into_owned(),
        ..Mount::default()
    }
}

fn of_volume(mount: &VolumeMount, place: &Place<'_>) -> Result<Mount, String> {
    let name = &mount.name;
    let volume = place.volumes.iter().find(|volume| volume.name == *name);
    let volume = volume.ok_or_else(|| {
        format!("cannot find volume {name:?} to mount into container {:?}", place.container.name)
    })?;
    let sub_path = match mount.sub_path_expr.as_str() {
        "" => mount.sub_path.clone(),
        expression => expand_strict(expression, place.env)?,
    };
    if !sub_path.is_empty() {
        ensure_sub_path(volume, &sub_path, mount, place)?;
    }
    let read_only = mount.read_only || volume.read_only;
    let recursive = match mount.recursive_read_only.as_deref() {
        Some("Enabled") => true,
        Some("IfPossible") => place.recursive_read_only,
        _ => false,
    };
    Ok(Mount {
        container_path: absolute(&mount.mount_path),
        host_path: volume.path.to_string_lossy().into_owned(),
        sub_path,
        readonly: read_only,
        recursive_read_only: recursive,
        propagation: match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => MountPropagation::HostToContainer,
            Some("Bidirectional") => MountPropagation::Bidirectional,
            _ => MountPropagation::Private,
        },
        selinux_relabel: false,
    })
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Makes the folders of a subPath where they are missing. A link that leads out of the volume is refused without a word
/// about where it leads.
fn ensure_sub_path(
    volume: &VolumePlan,
    sub_path: &str,
    mount: &VolumeMount,
    place: &Place<'_>,
) -> Result<(), String> {
    let relative = Path::new(sub_path);
    if relative.is_absolute() {
        return Err(format!("error SubPath `{sub_path}` must not be an absolute path"));
    }
    if relative.components().any(|part| part == Component::ParentDir) {
        return Err(format!("unable to provision SubPath `{sub_path}`: must not contain '..'"));
    }
    let refused = |what: &str| {
        format!("failed to {what} for volumeMount {:?} of container {:?}", mount.name, place.container.name)
    };
    match volume_paths::ensure(&volume.path, relative) {
        Ok(()) => Ok(()),
        Err(Refused::Prepare) => Err(refused("prepare subPath")),
        Err(Refused::Create(error)) => {
            tracing::warn!(%error, volume = mount.name, sub_path, "subPath folder");
            Err(refused("create subPath directory"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_kubelet_core::volumes::{Content, Medium};

    fn check(sub_path: &str, expected: Result<&str, &str>) {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(root.join("inner")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
        std::os::unix::fs::symlink("inner", root.join("in")).unwrap();
        let content = Content::EmptyDir { medium: Medium::Disk, fs_group: None };
        let volume = VolumePlan { name: "v".into(), path: root.clone(), content, read_only: false };
        let mount = VolumeMount {
            name: "v".into(),
            mount_path: "/v".into(),
            sub_path: sub_path.into(),
            ..VolumeMount::default()
        };
        let container = Container { name: "c".into(), ..Container::default() };
        let place = Place {
            container: &container,
            pod_folder: &root,
            volumes: &[volume],
            env: &[],
            recursive_read_only: false,
            attempt: 0,
        };
        let seen = of_volume(&mount, &place).map(|mount| mount.sub_path);
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(seen, expected, "{sub_path}");
    }

    #[test]
    fn sub_paths() {
        check("inner", Ok("inner"));
        check("new/deep", Ok("new/deep"));
        check("in", Ok("in"));
        check("out", Err("failed to prepare subPath for volumeMount \"v\" of container \"c\""));
        check("out/x", Err("failed to create subPath directory for volumeMount \"v\" of container \"c\""));
        check("/x", Err("error SubPath `/x` must not be an absolute path"));
        check("a/../b", Err("unable to provision SubPath `a/../b`: must not contain '..'"));
    }
}
