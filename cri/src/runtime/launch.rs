//! From a plan to a `LaunchSpec`: the named things are opened, and handed over as descriptors.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kedge_cri_api::{Error, NamespaceMode, PodSandboxConfig, Result, SeccompProfile};
use kedge_cri_core::devices::{self, Rule};
use kedge_cri_core::launch::{self as core, MountKind, NodeFacts, Plan, PlannedMount};
use kedge_cri_core::user::TABLE_MAX;
use kedge_pause_wire::{CgroupJoin, Descriptor, DeviceNode, LaunchSpec, MountSource, MountStep, MountTarget};
use kedge_sys::mount::attr;
use kedge_sys::path::{self, Links};

use super::records::{self, ContainerRecord};
use super::{Container, Cri, Sandbox, cgroups, internal, lock, mounts, sandboxes};
use crate::rootfs::ImageMount;

/// A profile is a few kilobytes of JSON; more than this is a mistake or worse.
const PROFILE_MAX: u64 = 1024 * 1024;

pub fn c_string(text: &str, field: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::InvalidArgument(format!("{field} holds a NUL byte")))
}

/// What this node can give: its own capabilities and its devices.
pub fn node_facts(is_cgroup_v2: bool) -> NodeFacts {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    let capabilities = permitted.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    let mut devices = Vec::new();
    collect_devices(Path::new("/dev"), &mut devices);
    NodeFacts { capabilities, devices, is_cgroup_v2 }
}

/// The node's device files, without the folders that a container has of its own.
fn collect_devices(directory: &Path, devices: &mut Vec<DeviceNode>) {
    const OWN: [&str; 5] = ["pts", "shm", "mqueue", "fd", "console"];
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let is_own = directory == Path::new("/dev") && OWN.iter().any(|own| entry.file_name() == *own);
        let Ok(kind) = entry.file_type() else { continue };
        if is_own || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            collect_devices(&entry.path(), devices);
        } else if kind.is_char_device() || kind.is_block_device() {
            devices.extend(device_node(&entry.path(), &entry.path()));
        }
    }
}

/// The node's device `host`, to be made at `inside`.
fn device_node(host: &Path, inside: &Path) -> Option<DeviceNode> {
    let metadata = fs::metadata(host).ok()?;
    let kind = metadata.file_type();
    let number = metadata.rdev();
    (kind.is_char_device() || kind.is_block_device()).then_some(DeviceNode {
        path: CString::new(inside.to_str()?).ok()?,
        mode: metadata.mode(),
        major: rustix::fs::major(number),
        minor: rustix::fs::minor(number),
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// A record in the making: descriptors and their indices.
#[derive(Default)]
pub struct Handed(Vec<OwnedFd>);

impl Handed {
    fn push(&mut self, descriptor: OwnedFd) -> Descriptor {
        self.0.push(descriptor);
        (self.0.len() - 1) as Descriptor
    }

    pub fn borrowed(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd).collect()
    }

    pub fn join(&mut self, entrance: cgroups::Entrance) -> CgroupJoin {
        let procs = entrance.procs.into_iter().map(|procs| self.push(procs)).collect();
        CgroupJoin { unified: entrance.unified.map(|unified| self.push(unified)), procs }
    }

    pub fn add(&mut self, descriptor: OwnedFd) -> Descriptor {
        self.push(descriptor)
    }
}

/// A launch that only needs to be sent.
pub struct Prepared {
    pub spec: LaunchSpec,
    pub handed: Handed,
    pub plan: Plan,
}

impl Cri {
    pub(super) fn layers(&self, id: &str) -> PathBuf {
        self.roots.state.join("containers").join(id)
    }

    /// Opens and makes everything a container needs. Blocks.
    pub(super) fn prepare(
        &self,
        container: &Container,
        image: &ImageMount,
        users: Option<&OwnedFd>,
    ) -> Result<Prepared> {
        let record = lock(&container.record).clone();
        let sandbox = &container.sandbox;
        let pod = lock(&sandbox.record).config.clone();
        let users = users.map(AsFd::as_fd);
        let root = self.writable_root(&container.id, image, &pod, users)?;
        let plan = self.plan(&record, &pod, image, root.as_fd())?;
        let mut handed = Handed::default();
        let group = container.group();
        self.limit(container, &record).map_err(internal("set up the cgroup"))?;
        let entrance = self.cgroups.entrance(&group, &group).map_err(internal("open the cgroup"))?;
        let mut mounts = Vec::new();
        for planned in &plan.mounts {
            let steps = self.mount_steps(container, planned, users, &mut handed);
            mounts.extend(steps.map_err(internal(format_args!("mount {}", planned.path)))?);
        }
        let mut devices = plan.devices.clone();
        for device in &record.config.devices {
            devices.extend(device_node(Path::new(&device.host_path), Path::new(&device.container_path)));
        }
        let folder: OwnedFd =
            fs::File::open(&container.directory).map_err(internal("open the run directory"))?.into();
        let log = open_log(&pod, &record).map_err(internal("open the log file"))?;
        let spec = LaunchSpec {
            id: c_string(&container.id, "id")?,
            process: plan.process.clone(),
            pid: plan.pid,
            pid_target: c_string(
                record.config.security.namespaces.target_id.as_deref().unwrap_or_default(),
                "target_id",
            )?,
            cgroup_namespace: self.facts.is_cgroup_v2,
            cgroup: handed.join(entrance),
            root: handed.add(root),
            root_readonly: plan.root_readonly,
            mounts,
            devices,
            links: plan.links.clone(),
            masked: plan.masked.clone(),
            readonly: plan.readonly.clone(),
            null: handed.add(mounts::null().map_err(internal("open /dev/null"))?),
            state_directory: handed.add(folder),
            log: log.map(|log| handed.add(log)),
            stdin: record.config.stdin,
        };
        Ok(Prepared { spec, handed, plan })
    }

    /// The image's layers below a directory of the container's own.
    fn writable_root(
        &self,
        id: &str,
        image: &ImageMount,
        pod: &PodSandboxConfig,
        users: Option<BorrowedFd<'_>>,
    ) -> Result<OwnedFd> {
        let layers = self.layers(id);
        let (upper, work) = (layers.join("upper"), layers.join("work"));
        let made = (|| {
            for directory in [&upper, &work] {
                fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
                if let Some(users) = &pod.namespaces.userns {
                    std::os::unix::fs::chown(directory, Some(users.host_id), Some(users.host_id))?;
                }
            }
            mounts::overlay(&image.lower, &upper, &work, users)
        })();
        made.map_err(internal("make the root filesystem"))
    }

    fn plan(
        &self,
        record: &ContainerRecord,
        pod: &PodSandboxConfig,
        image: &ImageMount,
        root: BorrowedFd<'_>,
    ) -> Result<Plan> {
        let hostname = match pod.namespaces.network {
            NamespaceMode::Node => sandboxes::node_name().map_err(internal("read the host name"))?,
            NamespaceMode::Pod | NamespaceMode::Container => pod.hostname.clone(),
        };
        let profile = match &record.config.security.seccomp {
            SeccompProfile::Localhost(path) => Some(read_profile(path)?),
            SeccompProfile::RuntimeDefault | SeccompProfile::Unconfined => None,
        };
        let input = core::Input {
            sandbox: pod,
            container: &record.config,
            image: &image.config,
            node: &self.facts,
            hostname: &hostname,
            passwd: &read_table(root, c"/etc/passwd"),
            group: &read_table(root, c"/etc/group"),
            seccomp_profile: profile.as_deref(),
            seccomp_defaults: &self.seccomp_defaults,
        };
        let mut plan = core::plan(&input).map_err(|error| Error::InvalidArgument(error.to_string()))?;
        plan.process.oom_score_adj = plan.process.oom_score_adj.map(|wanted| self.possible_oom_score(wanted));
        Ok(plan)
    }

    /// Without CAP_SYS_RESOURCE a score can only rise above this daemon's own.
    fn possible_oom_score(&self, wanted: i32) -> i32 {
        const SYS_RESOURCE: u64 = 1 << 24;
        if self.facts.capabilities & SYS_RESOURCE != 0 {
            return wanted;
        }
        let own =
            fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse().ok());
        wanted.max(own.unwrap_or(0))
    }

    fn limit(&self, container: &Container, record: &ContainerRecord) -> io::Result<()> {
        let group = container.group();
        self.cgroups.create(&group)?;
        self.cgroups.limit(&group, &record.config.resources)?;
        if record.config.security.privileged {
            return Ok(());
        }
        let own = record.config.devices.iter().filter_map(|device| {
            let node = device_node(Path::new(&device.host_path), Path::new(&device.container_path))?;
            Some(Rule {
                is_block: node.mode & libc::S_IFMT == libc::S_IFBLK,
                major: Some(node.major),
                minor: Some(node.minor),
                access: devices::access_of(&device.permissions),
            })
        });
        let rules: Vec<Rule> = devices::DEFAULT.into_iter().chain(own).collect();
        self.cgroups.limit_devices(&group, &rules);
        Ok(())
    }

    fn mount_steps(
        &self,
        container: &Container,
        planned: &PlannedMount,
        users: Option<BorrowedFd<'_>>,
        handed: &mut Handed,
    ) -> io::Result<Vec<MountStep>> {
        let folder = &container.sandbox.directory;
        let detached =
            |path: &str, mount: OwnedFd, is_file: bool, handed: &mut Handed| -> io::Result<MountStep> {
                Ok(MountStep {
                    source: MountSource::Detached,
                    descriptor: handed.push(mount),
                    path: CString::new(path)?,
                    target: if is_file { MountTarget::File } else { MountTarget::Directory },
                    no_symlinks: planned.no_symlinks,
                    ..MountStep::default()
                })
            };
        let path = planned.path.as_str();
        let step = match &planned.kind {
            MountKind::New { fstype, options, attributes } => MountStep {
                fstype: CString::new(*fstype)?,
                options: options.clone(),
                attributes: *attributes,
                path: CString::new(path)?,
                no_symlinks: planned.no_symlinks,
                ..MountStep::default()
            },
            MountKind::Bind(mount) => {
                let (tree, is_file) = mounts::bind(mount, users)?;
                detached(path, tree, is_file, handed)?
            }
            MountKind::SharedMemory => {
                let own = folder.join("shm");
                let source = if own.exists() { own } else { "/dev/shm".into() };
                detached(path, mounts::copy(&source, 0)?, false, handed)?
            }
            MountKind::SandboxFile(name) => {
                let set = if planned.readonly { attr::RDONLY } else { 0 };
                detached(path, mounts::copy(&folder.join(name), set)?, true, handed)?
            }
            MountKind::Device(device) => detached(path, mounts::copy(Path::new(device), 0)?, true, handed)?,
            MountKind::Cgroups => {
                let mut steps = Vec::new();
                for (controller, directory) in self.cgroups.v1_directories(&container.group()) {
                    let quiet = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
                    let tree = mounts::copy(&directory, quiet)?;
                    steps.push(detached(&format!("{path}/{controller}"), tree, false, handed)?);
                }
                return Ok(steps);
            }
        };
        Ok(vec![step])
    }
}

pub(super) fn read_profile(path: &str) -> Result<Vec<u8>> {
    let read = (|| {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() || metadata.len() > PROFILE_MAX {
            return Err(io::Error::other("not a regular file of at most 1 MiB"));
        }
        fs::read(path)
    })();
    read.map_err(|error| Error::InvalidArgument(format!("cannot load seccomp profile {path:?}: {error}")))
}

/// At most `TABLE_MAX` bytes of a regular file inside the root; anything else is an empty table.
fn read_table(root: BorrowedFd<'_>, name: &std::ffi::CStr) -> Vec<u8> {
    use std::io::Read;
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let Ok(file) = path::open_in_root(root, name, flags, Links::InRoot).map(fs::File::from) else {
        return Vec::new();
    };
    let mut table = Vec::new();
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        let _ = file.take(TABLE_MAX as u64).read_to_end(&mut table);
    }
    table
}

/// The path of a container's log; `None` without one.
pub fn log_path(pod: &PodSandboxConfig, record: &ContainerRecord) -> Option<PathBuf> {
    let is_set = !pod.log_directory.is_empty() && !record.config.log_path.is_empty();
    is_set.then(|| Path::new(&pod.log_directory).join(&record.config.log_path))
}

pub fn open_log(pod: &PodSandboxConfig, record: &ContainerRecord) -> io::Result<Option<OwnedFd>> {
    let Some(path) = log_path(pod, record) else {
        return Ok(None);
    };
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    let options = fs::OpenOptions::new().create(true).append(true).mode(0o640).open(&path);
    options.map(|file| Some(file.into()))
}

impl Sandbox {
    pub(super) fn record_of(&self, container: &Container) -> io::Result<()> {
        let record = lock(&container.record).clone();
        records::write_json(&container.directory, "container.json", &record)
    }
}
