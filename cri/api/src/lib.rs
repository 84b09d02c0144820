//! The port between the kubelet and a container runtime: the traits [`Runtime`] and [`Images`] with plain structs.
//!
//! Names and shapes follow `runtime.v1` of `k8s.io/cri-api`, so that a CRI socket of another runtime serves through
//! the same trait. Times are nanoseconds since the Unix epoch, sizes are bytes, CPU shares and quotas are cgroup v1 values
//! (the runtime translates where the node has v2).

mod images;
mod sandbox;
#[cfg(feature = "traits")]
mod streams;

pub use images::*;
pub use sandbox::*;
#[cfg(feature = "traits")]
pub use streams::*;

/// Why a call failed, in the vocabulary of gRPC status codes that the CRI uses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The named sandbox, container or image does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A field of the request is missing, contradictory or hostile; the text names the field.
    #[error("{0}")]
    InvalidArgument(String),
    /// The object is not in the state that the call needs.
    #[error("{0}")]
    FailedPrecondition(String),
    /// The deadline passed (exec timeouts are reported in `ExecSyncResponse`).
    #[error("{0}")]
    DeadlineExceeded(String),
    /// The runtime does not offer this.
    #[error("{0}")]
    Unimplemented(String),
    /// A peer (registry, disk, socket) cannot serve for the moment: try again.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else; the text says what was being done, and the cause.
    #[error("{0}")]
    Internal(String),
}

pub type Result<T> = std::result::Result<T, Error>;

#[cfg(feature = "traits")]
/// Sandboxes and containers. Every stop and remove is idempotent.
#[async_trait::async_trait]
pub trait Runtime: Send + Sync {
    async fn version(&self) -> Result<RuntimeVersion>;
    async fn status(&self) -> Result<RuntimeStatus>;

    /// Creates and starts a pod sandbox; on success the network is up. Returns the sandbox id.
    async fn run_pod_sandbox(&self, config: PodSandboxConfig) -> Result<SandboxId>;
    /// Kills what runs in the sandbox and releases its network.
    async fn stop_pod_sandbox(&self, id: &SandboxId) -> Result<()>;
    async fn remove_pod_sandbox(&self, id: &SandboxId) -> Result<()>;
    async fn pod_sandbox_status(&self, id: &SandboxId) -> Result<PodSandboxStatus>;
    async fn list_pod_sandboxes(&self) -> Result<Vec<PodSandboxStatus>>;

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: ContainerConfig,
        sandbox_config: &PodSandboxConfig,
    ) -> Result<ContainerId>;
    async fn start_container(&self, id: &ContainerId) -> Result<()>;
    /// Sends the stop signal, waits up to `timeout_s` seconds, then SIGKILL. 0 kills at once.
    async fn stop_container(&self, id: &ContainerId, timeout_s: i64) -> Result<()>;
    async fn remove_container(&self, id: &ContainerId) -> Result<()>;
    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus>;
    async fn list_containers(&self) -> Result<Vec<ContainerStatus>>;
    async fn update_container_resources(
        &self,
        id: &ContainerId,
        resources: LinuxContainerResources,
    ) -> Result<()>;
    /// Reopens the log file after the kubelet has renamed it.
    async fn reopen_container_log(&self, id: &ContainerId) -> Result<()>;

    /// Runs a command to its end. Output beyond 16 MiB is cut. A timeout of 0 is none; on timeout the whole exec tree is killed
    /// and `DeadlineExceeded` is returned.
    async fn exec_sync(&self, id: &ContainerId, cmd: Vec<String>, timeout_s: i64)
    -> Result<ExecSyncResponse>;
    /// Starts a command with open streams (kubectl exec).
    async fn exec(&self, id: &ContainerId, request: ExecRequest) -> Result<ExecStreams>;
    /// Connects to the streams of a running container (kubectl attach).
    async fn attach(&self, id: &ContainerId, request: AttachRequest) -> Result<ExecStreams>;
    /// Connects to `port` on loopback inside the sandbox's network namespace.
    async fn port_forward(&self, id: &SandboxId, port: u16) -> Result<Box<dyn ByteStream>>;

    async fn container_stats(&self, id: &ContainerId) -> Result<ContainerStats>;
    /// Every state change of a container or sandbox from now on. A receiver that falls behind gets `Lagged` once and must list.
    fn events(&self) -> EventReceiver;
}

#[cfg(feature = "traits")]
/// Images on this node.
#[async_trait::async_trait]
pub trait Images: Send + Sync {
    /// The image under this name, tag, digest or id; `None` if absent.
    async fn image_status(&self, image: &str) -> Result<Option<Image>>;
    async fn list_images(&self) -> Result<Vec<Image>>;
    /// Pulls by reference and returns the image id (`sha256:…` of its config). The error keeps the registry's own words.
    async fn pull_image(&self, image: &str, auth: Option<AuthConfig>) -> Result<String>;
    async fn remove_image(&self, image: &str) -> Result<()>;
    /// Bytes and inodes used by image layers, and where they lie.
    async fn image_fs_info(&self) -> Result<FsUsage>;
}
