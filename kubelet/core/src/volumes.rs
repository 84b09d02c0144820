//! Volumes as plans: which folder, what goes into it, who may read it. The shell makes folders, mounts and files.

pub mod payload;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kedge_api::pod::{Container, Pod, Volume};

use crate::env::Sources;
use crate::fields::FieldContext;
use crate::{resources, security};

pub use payload::{Payload, PayloadFile, TokenRequest, Tokens};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePlan {
    pub name: String,
    /// What a container mounts.
    pub path: PathBuf,
    pub content: Content,
    /// Mounted read-only whatever the container says.
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    EmptyDir {
        medium: Medium,
        fs_group: Option<i64>,
    },
    /// A path of the node, checked but never owned.
    HostPath(HostPathType),
    /// Files written atomically, on tmpfs where they are secret.
    Files {
        payload: Payload,
        memory: bool,
        fs_group: Option<i64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    Disk,
    Memory { size_bytes: Option<i64> },
    HugePages { page_bytes: Option<i64> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPathType {
    Unset,
    DirectoryOrCreate,
    FileOrCreate,
    Directory,
    File,
    Socket,
    CharDevice,
    BlockDevice,
}

impl HostPathType {
    fn parse(name: &str) -> Result<HostPathType, String> {
        Ok(match name {
            "" => HostPathType::Unset,
            "DirectoryOrCreate" => HostPathType::DirectoryOrCreate,
            "FileOrCreate" => HostPathType::FileOrCreate,
            "Directory" => HostPathType::Directory,
            "File" => HostPathType::File,
            "Socket" => HostPathType::Socket,
            "CharDevice" => HostPathType::CharDevice,
            "BlockDevice" => HostPathType::BlockDevice,
            other => return Err(format!("hostPath type check failed: unknown type {other}")),
        })
    }

    /// What a path of another kind (or none at all) is not.
    pub fn mismatch(self, path: &Path) -> String {
        let kind = match self {
            HostPathType::Unset => "there",
            HostPathType::DirectoryOrCreate | HostPathType::Directory => "a directory",
            HostPathType::FileOrCreate | HostPathType::File => "a file",
            HostPathType::Socket => "a socket file",
            HostPathType::CharDevice => "a character device",
            HostPathType::BlockDevice => "a block device",
        };
        format!("hostPath type check failed: {} is not {kind}", path.display())
    }
}

/// What the contents of volumes are computed from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// `/var/lib/kubelet/pods/<uid>`
    pub pod_folder: &'a Path,
    pub sources: &'a Sources,
    pub tokens: &'a Tokens,
    pub context: &'a FieldContext,
}

/// One volume; Err is what follows `MountVolume.SetUp failed for volume "x" : `.
pub fn plan_volume(pod: &Pod, volume: &Volume, inputs: &Inputs<'_>) -> Result<VolumePlan, String> {
    let fs_group = security::fs_group(pod);
    let at = |plugin: &str| {
        inputs.pod_folder.join("volumes").join(format!("kubernetes.io~{plugin}")).join(&volume.name)
    };
    let plan = |path: PathBuf, content: Content, read_only: bool| VolumePlan {
        name: volume.name.clone(),
        path,
        content,
        read_only,
    };
    let files = |plugin: &str, payload: Payload, memory: bool| {
        Ok(plan(at(plugin), Content::Files { payload, memory, fs_group }, true))
    };
    if let Some(source) = &volume.empty_dir {
        let medium = medium(pod, &source.medium, source.size_limit.as_deref());
        return Ok(plan(at("empty-dir"), Content::EmptyDir { medium, fs_group }, false));
    }
    if let Some(source) = &volume.host_path {
        let kind = HostPathType::parse(source.r#type.as_deref().unwrap_or_default())?;
        return Ok(plan(PathBuf::from(&source.path), Content::HostPath(kind), false));
    }
    if let Some(source) = &volume.config_map {
        return files("configmap", payload::config_map(source, inputs.sources)?, false);
    }
    if let Some(source) = &volume.secret {
        return files("secret", payload::secret(source, inputs.sources)?, true);
    }
    if let Some(source) = &volume.downward_api {
        return files("downward-api", payload::downward_api(source, pod, inputs.context)?, true);
    }
    if let Some(source) = &volume.projected {
        return files("projected", payload::projected(source, pod, inputs)?, true);
    }
    Err(unserved(volume))
}

fn unserved(volume: &Volume) -> String {
    let kind = match volume {
        Volume { persistent_volume_claim: Some(_), .. } => "persistentVolumeClaim",
        Volume { ephemeral: Some(_), .. } => "ephemeral",
        Volume { image: Some(_), .. } => "image",
        _ => "this type",
    };
    format!("volumes of {kind} are not served by this node")
}

/// A memory volume is at most as large as the pod's memory limit.
fn medium(pod: &Pod, medium: &str, size_limit: Option<&str>) -> Medium {
    let limit =
        size_limit.and_then(|text| text.parse::<kedge_api::Quantity>().ok()).map(|limit| limit.value());
    match medium {
        "" => Medium::Disk,
        "Memory" => {
            let of_pod = resources::pod_resources(&pod.spec).memory_limit_bytes;
            let of_pod = Some(of_pod).filter(|bytes| *bytes > 0);
            let size_bytes = [limit.filter(|bytes| *bytes > 0), of_pod].into_iter().flatten().min();
            Medium::Memory { size_bytes }
        }
        huge => {
            let page =
                huge.strip_prefix("HugePages-").and_then(|size| size.parse::<kedge_api::Quantity>().ok());
            Medium::HugePages { page_bytes: page.map(|page| page.value()) }
        }
    }
}

/// The owner and mode bits that fsGroup adds to a file or folder of a volume.
pub fn fs_group_bits(is_dir: bool, read_only: bool) -> u32 {
    let rw = if read_only { 0o440 } else { 0o660 };
    if is_dir { rw | 0o2110 } else { rw }
}

/// The ConfigMaps and Secrets that the pod reads, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
    /// Secrets that only pulling an image needs.
    pub pull_secrets: BTreeSet<String>,
}

pub fn references(pod: &Pod) -> References {
    let mut refs = References::default();
    for volume in &pod.spec.volumes {
        volume_references(volume, &mut refs);
    }
    let spec = &pod.spec;
    for container in spec.init_containers.iter().chain(&spec.containers).chain(&spec.ephemeral_containers) {
        env_references(container, &mut refs);
    }
    refs.pull_secrets = spec.image_pull_secrets.iter().map(|secret| secret.name.clone()).collect();
    refs
}

fn volume_references(volume: &Volume, refs: &mut References) {
    if let Some(source) = &volume.config_map {
        refs.config_maps.insert(source.name.clone());
    }
    if let Some(source) = &volume.secret {
        refs.secrets.insert(source.secret_name.clone());
    }
    for source in volume.projected.iter().flat_map(|projected| &projected.sources) {
        refs.config_maps.extend(source.config_map.as_ref().map(|map| map.name.clone()));
        refs.secrets.extend(source.secret.as_ref().map(|secret| secret.name.clone()));
    }
}

fn env_references(container: &Container, refs: &mut References) {
    for from in &container.env_from {
        refs.config_maps.extend(from.config_map_ref.as_ref().map(|map| map.name.clone()));
        refs.secrets.extend(from.secret_ref.as_ref().map(|secret| secret.name.clone()));
    }
    for source in container.env.iter().filter_map(|variable| variable.value_from.as_deref()) {
        refs.config_maps.extend(source.config_map_key_ref.as_ref().map(|key| key.name.clone()));
        refs.secrets.extend(source.secret_key_ref.as_ref().map(|key| key.name.clone()));
    }
}

#[cfg(test)]
mod tests;
