//! Sandboxes, containers and their states.

use std::collections::BTreeMap;

/// The id of a pod sandbox: 64 hexadecimal digits here, opaque for foreign runtimes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SandboxId(pub String);

/// The id of a container: 64 hexadecimal digits here, opaque for foreign runtimes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(pub String);

pub type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// `kedge`, `containerd`, …
    pub runtime_name: String,
    pub runtime_version: String,
    pub runtime_api_version: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeStatus {
    pub runtime_ready: bool,
    pub runtime_message: String,
    pub network_ready: bool,
    /// Why the network is not ready, in words for the node's Ready condition.
    pub network_message: String,
    pub supplemental_groups_policy: bool,
    pub recursive_read_only_mounts: bool,
    pub user_namespaces: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PodSandboxConfig {
    pub name: String,
    pub uid: String,
    pub namespace: String,
    pub attempt: u32,
    /// Host name inside; empty with host network (the node's name is used).
    pub hostname: String,
    /// `/var/log/pods/<namespace>_<name>_<uid>`.
    pub log_directory: String,
    pub dns: DnsConfig,
    pub port_mappings: Vec<PortMapping>,
    pub labels: Labels,
    pub annotations: Labels,
    /// The pod's cgroup, relative to the cgroup root: `kubepods/besteffort/pod<uid>`.
    pub cgroup_parent: String,
    pub namespaces: NamespaceOptions,
    pub sysctls: BTreeMap<String, String>,
    pub privileged: bool,
    pub seccomp: SeccompProfile,
    pub resources: LinuxContainerResources,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DnsConfig {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PortMapping {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    pub container_port: u16,
    pub host_port: u16,
    pub host_ip: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum NamespaceMode {
    #[default]
    Pod,
    Container,
    Node,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NamespaceOptions {
    pub network: NamespaceMode,
    pub pid: NamespaceMode,
    pub ipc: NamespaceMode,
    /// The container whose PID namespace is joined (ephemeral containers).
    pub target_id: Option<String>,
    /// Present for `hostUsers: false`: the pod has a user namespace of its own with this mapping.
    pub userns: Option<UserNamespace>,
}

impl Default for NamespaceOptions {
    fn default() -> Self {
        NamespaceOptions {
            network: NamespaceMode::Pod,
            pid: NamespaceMode::Container,
            ipc: NamespaceMode::Pod,
            target_id: None,
            userns: None,
        }
    }
}

/// One contiguous mapping, as the kubelet allots them: container ids `0..length` are host ids `host_id..`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UserNamespace {
    pub host_id: u32,
    pub length: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SeccompProfile {
    #[default]
    RuntimeDefault,
    Unconfined,
    /// Absolute path of a profile on the node.
    Localhost(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodSandboxStatus {
    pub id: String,
    pub name: String,
    pub uid: String,
    pub namespace: String,
    pub attempt: u32,
    /// True while the sandbox is ready, false once it was stopped or has died.
    pub ready: bool,
    pub created_at_ns: i64,
    /// The pod's addresses, the primary one first; empty with host network.
    pub ips: Vec<String>,
    pub labels: Labels,
    pub annotations: Labels,
    pub network: NamespaceMode,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ContainerConfig {
    pub name: String,
    pub attempt: u32,
    /// The image id to run (`sha256:…`), resolved by the kubelet through `Images`.
    pub image_id: String,
    /// The image as the user wrote it.
    pub user_image: String,
    /// Replaces the image's Entrypoint when not empty.
    pub command: Vec<String>,
    /// Replaces the image's Cmd when not empty (or when `command` is given).
    pub args: Vec<String>,
    pub working_dir: String,
    pub envs: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    pub labels: Labels,
    pub annotations: Labels,
    /// Relative to the sandbox's log directory: `<container>/<attempt>.log`.
    pub log_path: String,
    pub stdin: bool,
    pub stdin_once: bool,
    pub tty: bool,
    /// `SIGTERM` form; empty is the image's StopSignal, else SIGTERM.
    pub stop_signal: String,
    pub resources: LinuxContainerResources,
    pub security: ContainerSecurity,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ContainerSecurity {
    pub privileged: bool,
    pub add_capabilities: Vec<String>,
    pub drop_capabilities: Vec<String>,
    pub namespaces: NamespaceOptions,
    pub run_as_user: Option<i64>,
    /// Only where the API gave a name (`USER app` of the image): resolved against the image's /etc/passwd.
    pub run_as_username: String,
    pub run_as_group: Option<i64>,
    pub supplemental_groups: Vec<i64>,
    /// False is `Merge`: groups of the image's /etc/group are added.
    pub supplemental_groups_strict: bool,
    pub readonly_rootfs: bool,
    pub no_new_privs: bool,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
    pub seccomp: SeccompProfile,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum MountPropagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Mount {
    pub container_path: String,
    pub host_path: String,
    /// A place beneath `host_path` instead of itself. The pod may change what lies there, so it is resolved when it is
    /// mounted, and no link leads out.
    #[cfg_attr(feature = "serde", serde(default))]
    pub sub_path: String,
    pub readonly: bool,
    pub recursive_read_only: bool,
    pub propagation: MountPropagation,
    pub selinux_relabel: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Device {
    pub container_path: String,
    pub host_path: String,
    /// A subset of `rwm`.
    pub permissions: String,
}

/// Zero means "not set", as on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LinuxContainerResources {
    pub cpu_period_us: i64,
    pub cpu_quota_us: i64,
    pub cpu_shares: i64,
    pub memory_limit_bytes: i64,
    pub memory_swap_limit_bytes: i64,
    pub oom_score_adj: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    /// (`2MB`, bytes).
    pub hugepage_limits: Vec<(String, u64)>,
    pub pids_limit: i64,
    pub unified: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerState {
    #[default]
    Created,
    Running,
    Exited,
    Unknown,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerStatus {
    pub id: String,
    pub sandbox_id: String,
    pub name: String,
    pub attempt: u32,
    pub state: ContainerState,
    pub created_at_ns: i64,
    pub started_at_ns: i64,
    pub finished_at_ns: i64,
    /// 128 + signal for a killed process.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, …
    pub reason: String,
    pub message: String,
    /// The image as the user wrote it.
    pub image: String,
    pub image_id: String,
    /// Repository digest where the image has one, else the id.
    pub image_ref: String,
    pub labels: Labels,
    pub annotations: Labels,
    pub mounts: Vec<Mount>,
    /// Absolute.
    pub log_path: String,
    pub pid: Option<i32>,
    pub resources: LinuxContainerResources,
    /// (uid, gid, supplementary groups) of the first process, once it was started.
    pub user: Option<(u32, u32, Vec<u32>)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerStats {
    pub timestamp_ns: i64,
    pub cpu_usage_core_ns: u64,
    pub memory_working_set_bytes: u64,
    pub memory_usage_bytes: u64,
    pub memory_rss_bytes: u64,
    pub memory_page_faults: u64,
    pub memory_major_page_faults: u64,
    pub writable_layer_bytes: u64,
    pub writable_layer_inodes: u64,
}

/// What changed; the reader asks for the status, so a lost event costs nothing but a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeEvent {
    pub pod_uid: String,
    pub sandbox_id: String,
    /// None for an event of the sandbox itself.
    pub container_id: Option<String>,
    pub kind: RuntimeEventKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeEventKind {
    Created,
    Started,
    Stopped,
    Deleted,
}
