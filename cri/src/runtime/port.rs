//! The trait, one line per call.

use kedge_cri_api::{
    AttachRequest, ByteStream, ContainerConfig, ContainerId, ContainerStats, ContainerStatus, EventReceiver,
    ExecRequest, ExecStreams, ExecSyncResponse, LinuxContainerResources, PodSandboxConfig, PodSandboxStatus,
    Result, Runtime, RuntimeStatus, RuntimeVersion, SandboxId,
};

use super::{Cri, lock};

#[async_trait::async_trait]
impl Runtime for Cri {
    async fn version(&self) -> Result<RuntimeVersion> {
        Ok(RuntimeVersion {
            runtime_name: "kedge".into(),
            runtime_version: env!("CARGO_PKG_VERSION").into(),
            runtime_api_version: "v1".into(),
        })
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        let network = self.network.ready();
        Ok(RuntimeStatus {
            runtime_ready: true,
            runtime_message: String::new(),
            network_ready: network.is_ok(),
            network_message: network.err().map(|error| error.to_string()).unwrap_or_default(),
            supplemental_groups_policy: true,
            recursive_read_only_mounts: true,
            user_namespaces: true,
        })
    }

    async fn run_pod_sandbox(&self, config: PodSandboxConfig) -> Result<SandboxId> {
        self.this().run_sandbox(config).await
    }

    async fn stop_pod_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.this().stop_sandbox(id).await
    }

    async fn remove_pod_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.this().remove_sandbox(id).await
    }

    async fn pod_sandbox_status(&self, id: &SandboxId) -> Result<PodSandboxStatus> {
        Ok(self.sandbox(&id.0)?.status())
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<PodSandboxStatus>> {
        let sandboxes: Vec<_> = lock(&self.state).sandboxes.values().cloned().collect();
        Ok(sandboxes.iter().map(|sandbox| sandbox.status()).collect())
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: ContainerConfig,
        _sandbox_config: &PodSandboxConfig,
    ) -> Result<ContainerId> {
        self.this().create(sandbox, config).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        self.this().start(id).await
    }

    async fn stop_container(&self, id: &ContainerId, timeout_s: i64) -> Result<()> {
        self.this().stop(id, timeout_s).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.this().remove(id).await
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        Ok(self.container(&id.0)?.status())
    }

    async fn list_containers(&self) -> Result<Vec<ContainerStatus>> {
        let containers: Vec<_> = lock(&self.state).containers.values().cloned().collect();
        Ok(containers.iter().map(|container| container.status()).collect())
    }

    async fn update_container_resources(
        &self,
        id: &ContainerId,
        resources: LinuxContainerResources,
    ) -> Result<()> {
        self.update(id, resources).await
    }

    async fn reopen_container_log(&self, id: &ContainerId) -> Result<()> {
        self.reopen_log(id).await
    }

    async fn exec_sync(
        &self,
        id: &ContainerId,
        cmd: Vec<String>,
        timeout_s: i64,
    ) -> Result<ExecSyncResponse> {
        self.this().exec_to_end(id, cmd, timeout_s).await
    }

    async fn exec(&self, id: &ContainerId, request: ExecRequest) -> Result<ExecStreams> {
        self.this().exec_streams(id, request).await
    }

    async fn attach(&self, id: &ContainerId, request: AttachRequest) -> Result<ExecStreams> {
        self.this().attach_streams(id, request).await
    }

    async fn port_forward(&self, id: &SandboxId, port: u16) -> Result<Box<dyn ByteStream>> {
        self.this().forward(id, port).await
    }

    async fn container_stats(&self, id: &ContainerId) -> Result<ContainerStats> {
        self.this().stats(id).await
    }

    fn events(&self) -> EventReceiver {
        self.events.subscribe()
    }
}
