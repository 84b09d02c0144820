//! The runtime with a clock: how long each operation took and how often it failed, for `/metrics`, under upstream's names.

use std::time::Instant;

use kedge_cri_api::{
    AttachRequest, ContainerConfig, ContainerId, ContainerStats, ContainerStatus, EventReceiver, ExecRequest,
    ExecStreams, ExecSyncResponse, LinuxContainerResources, PodSandboxConfig, PodSandboxStatus, Result,
    Runtime, RuntimeStatus, RuntimeVersion, SandboxId,
};
use kedge_serving::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    operation_type: &'static str,
}

const BUCKETS_S: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

pub(crate) struct Timed {
    runtime: Arc<dyn Runtime>,
    seconds: Family<Labels, Histogram>,
    errors: Family<Labels, Counter>,
}

impl Timed {
    pub fn new(runtime: Arc<dyn Runtime>, metrics: &Metrics) -> Timed {
        let seconds = Family::new_with_constructor((|| Histogram::new(BUCKETS_S)) as fn() -> Histogram);
        let errors = Family::default();
        metrics.register(|registry| {
            registry.register(
                "kubelet_runtime_operations_duration_seconds",
                "Duration of runtime operations",
                seconds.clone(),
            );
            registry.register(
                "kubelet_runtime_operations_errors",
                "Runtime operations that failed",
                errors.clone(),
            );
        });
        Timed { runtime, seconds, errors }
    }

    async fn time<T>(
        &self,
        operation_type: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (started, labels) = (Instant::now(), Labels { operation_type });
        let result = work.await;
        self.seconds.get_or_create(&labels).observe(started.elapsed().as_secs_f64());
        if result.is_err() {
            self.errors.get_or_create(&labels).inc();
        }
        result
    }
}

#[async_trait::async_trait]
impl Runtime for Timed {
    async fn version(&self) -> Result<RuntimeVersion> {
        self.time("version", self.runtime.version()).await
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        self.time("status", self.runtime.status()).await
    }

    async fn run_pod_sandbox(&self, config: PodSandboxConfig) -> Result<SandboxId> {
        self.time("run_podsandbox", self.runtime.run_pod_sandbox(config)).await
    }

    async fn stop_pod_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.time("stop_podsandbox", self.runtime.stop_pod_sandbox(id)).await
    }

    async fn remove_pod_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.time("remove_podsandbox", self.runtime.remove_pod_sandbox(id)).await
    }

    async fn pod_sandbox_status(&self, id: &SandboxId) -> Result<PodSandboxStatus> {
        self.time("podsandbox_status", self.runtime.pod_sandbox_status(id)).await
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<PodSandboxStatus>> {
        self.time("list_podsandbox", self.runtime.list_pod_sandboxes()).await
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: ContainerConfig,
        sandbox_config: &PodSandboxConfig,
    ) -> Result<ContainerId> {
        let created = self.runtime.create_container(sandbox, config, sandbox_config);
        self.time("create_container", created).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        self.time("start_container", self.runtime.start_container(id)).await
    }

    async fn stop_container(&self, id: &ContainerId, timeout_s: i64) -> Result<()> {
        self.time("stop_container", self.runtime.stop_container(id, timeout_s)).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.time("remove_container", self.runtime.remove_container(id)).await
    }

    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        self.time("container_status", self.runtime.container_status(id)).await
    }

    async fn list_containers(&self) -> Result<Vec<ContainerStatus>> {
        self.time("list_containers", self.runtime.list_containers()).await
    }

    async fn update_container_resources(
        &self,
        id: &ContainerId,
        resources: LinuxContainerResources,
    ) -> Result<()> {
        self.time("update_container", self.runtime.update_container_resources(id, resources)).await
    }

    async fn reopen_container_log(&self, id: &ContainerId) -> Result<()> {
        self.time("reopen_container_log", self.runtime.reopen_container_log(id)).await
    }

    async fn exec_sync(
        &self,
        id: &ContainerId,
        cmd: Vec<String>,
        timeout_s: i64,
    ) -> Result<ExecSyncResponse> {
        self.time("exec_sync", self.runtime.exec_sync(id, cmd, timeout_s)).await
    }

    async fn exec(&self, id: &ContainerId, request: ExecRequest) -> Result<ExecStreams> {
        self.time("exec", self.runtime.exec(id, request)).await
    }

    async fn attach(&self, id: &ContainerId, request: AttachRequest) -> Result<ExecStreams> {
        self.time("attach", self.runtime.attach(id, request)).await
    }

    async fn port_forward(&self, id: &SandboxId, port: u16) -> Result<Box<dyn kedge_cri_api::ByteStream>> {
        self.time("port_forward", self.runtime.port_forward(id, port)).await
    }

    async fn container_stats(&self, id: &ContainerId) -> Result<ContainerStats> {
        self.time("container_stats", self.runtime.container_stats(id)).await
    }

    fn events(&self) -> EventReceiver {
        self.runtime.events()
    }
}
