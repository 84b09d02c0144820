//! The node agent: registers the node, runs its pods through the [`Runtime`] port, and says how they are.
//!
//! Tasks: [`run`] starts the node's own (lease, status), one dispatcher that hands pods and runtime events to workers, one
//! [`worker`] per pod, and the log rotation. A worker owns its pod's state; others send it messages.

mod agent;
mod disk;
mod dispatcher;
mod events;
mod files;
mod health;
mod hooks;
mod http_client;
mod logs;
pub mod lookup;
mod machine;
mod mirrors;
mod mounts;
mod node;
mod patch;
mod prober;
mod pull;
pub mod server;
mod sources;
mod start;
mod static_pods;
mod timed;
mod tokens;
mod userns;
mod volume_paths;
mod worker;
mod writer;

use std::net::IpAddr;
use std::sync::Arc;

use kedge_client::Client;
use kedge_cri_api::{Images, Runtime};
use kedge_machinery::Roots;
use tokio::sync::watch;

pub use lookup::{ContainerPlace, Lookup};

/// What the node agent is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    pub roots: Arc<Roots>,
    pub node_name: String,
    pub node_ip: IpAddr,
    /// Of every pod with `dnsPolicy: ClusterFirst`; empty without a cluster DNS.
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
    /// An unset seccomp profile means RuntimeDefault.
    pub seccomp_default: bool,
    /// Written into the Node at registration; None leaves it to the node IPAM controller.
    pub pod_cidr: Option<String>,
    pub labels: std::collections::BTreeMap<String, String>,
    /// The node's resolv.conf.
    pub resolv_conf: std::path::PathBuf,
    /// `v1.36.2+kedge.1`
    pub version: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("asking the runtime for {what}: {cause}")]
    Runtime { what: &'static str, cause: kedge_cri_api::Error },
    #[error("making {}: {cause}", path.display())]
    Folder { path: std::path::PathBuf, cause: std::io::Error },
    #[error("listening on {address}: {cause}")]
    Listen { address: std::net::SocketAddr, cause: std::io::Error },
    #[error("reading {what} of this machine: {cause}")]
    Machine { what: String, cause: std::io::Error },
}

/// Runs the node agent until `shutdown` turns true. Pods keep running: the next start adopts them.
pub async fn run(
    config: Config,
    client: Client,
    runtime: Arc<dyn Runtime>,
    images: Arc<dyn Images>,
    shutdown: watch::Receiver<bool>,
) -> Result<(), Error> {
    let agent = agent::Agent::new(config, client, runtime, images)?;
    agent::run(agent, shutdown).await
}
