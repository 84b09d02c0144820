//! A runtime with one running container, a pod port that echoes, and nothing else.

use kedge_cri_api::*;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) struct Fake {
    pub is_running: AtomicBool,
    pub events: tokio::sync::broadcast::Sender<RuntimeEvent>,
    pub reopened: std::sync::Mutex<Vec<ContainerId>>,
}

impl Default for Fake {
    fn default() -> Fake {
        Fake {
            is_running: AtomicBool::new(true),
            events: tokio::sync::broadcast::channel(8).0,
            reopened: std::sync::Mutex::default(),
        }
    }
}

impl Fake {
    pub(super) fn stop(&self, id: &str) {
        self.is_running.store(false, Ordering::SeqCst);
        let event = RuntimeEvent {
            pod_uid: String::new(),
            sandbox_id: String::new(),
            container_id: Some(id.to_owned()),
            kind: RuntimeEventKind::Stopped,
        };
        self.events.send(event).unwrap();
    }
}

fn no<T>() -> Result<T> {
    Err(Error::Unimplemented("not here".to_owned()))
}

#[async_trait::async_trait]
impl Runtime for Fake {
    async fn container_status(&self, id: &ContainerId) -> Result<ContainerStatus> {
        let is_running = self.is_running.load(Ordering::SeqCst);
        let state = if is_running { ContainerState::Running } else { ContainerState::Exited };
        Ok(ContainerStatus { id: id.0.clone(), state, ..ContainerStatus::default() })
    }

    async fn port_forward(&self, _: &SandboxId, port: u16) -> Result<Box<dyn ByteStream>> {
        if port != 8080 {
            return Err(Error::Internal("dial tcp4 127.0.0.1:9999: connect: connection refused".to_owned()));
        }
        let (near, mut far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut buffer = [0u8; 512];
            while let Ok(read @ 1..) = far.read(&mut buffer).await {
                far.write_all(&buffer[..read]).await.unwrap();
            }
        });
        Ok(Box::new(near))
    }

    fn events(&self) -> EventReceiver {
        self.events.subscribe()
    }

    async fn version(&self) -> Result<RuntimeVersion> {
        no()
    }
    async fn status(&self) -> Result<RuntimeStatus> {
        no()
    }
    async fn run_pod_sandbox(&self, _: PodSandboxConfig) -> Result<SandboxId> {
        no()
    }
    async fn stop_pod_sandbox(&self, _: &SandboxId) -> Result<()> {
        no()
    }
    async fn remove_pod_sandbox(&self, _: &SandboxId) -> Result<()> {
        no()
    }
    async fn pod_sandbox_status(&self, _: &SandboxId) -> Result<PodSandboxStatus> {
        no()
    }
    async fn list_pod_sandboxes(&self) -> Result<Vec<PodSandboxStatus>> {
        no()
    }
    async fn create_container(
        &self,
        _: &SandboxId,
        _: ContainerConfig,
        _: &PodSandboxConfig,
    ) -> Result<ContainerId> {
        no()
    }
    async fn start_container(&self, _: &ContainerId) -> Result<()> {
        no()
    }
    async fn stop_container(&self, _: &ContainerId, _: i64) -> Result<()> {
        no()
    }
    async fn remove_container(&self, _: &ContainerId) -> Result<()> {
        no()
    }
    async fn list_containers(&self) -> Result<Vec<ContainerStatus>> {
        no()
    }
    async fn update_container_resources(&self, _: &ContainerId, _: LinuxContainerResources) -> Result<()> {
        no()
    }
    async fn reopen_container_log(&self, id: &ContainerId) -> Result<()> {
        self.reopened.lock().unwrap().push(id.clone());
        Ok(())
    }
    async fn exec_sync(&self, _: &ContainerId, _: Vec<String>, _: i64) -> Result<ExecSyncResponse> {
        no()
    }
    async fn exec(&self, _: &ContainerId, _: ExecRequest) -> Result<ExecStreams> {
        no()
    }
    async fn attach(&self, _: &ContainerId, _: AttachRequest) -> Result<ExecStreams> {
        no()
    }
    async fn container_stats(&self, _: &ContainerId) -> Result<ContainerStats> {
        no()
    }
}
