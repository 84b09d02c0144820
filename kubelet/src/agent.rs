//! What all parts of the node agent share, and the order in which they start.

use std::sync::Arc;

use kedge_api::{Node, Service};
use kedge_client::{Cache, Client, Recorder, WatchOptions};
use kedge_cri_api::{Images, Runtime};
use kedge_kubelet_core::config::NodeSettings;
use kedge_kubelet_core::dns::{ClusterDns, parse_resolv_conf};
use kedge_kubelet_core::fields::FieldContext;
use kedge_kubelet_core::node::Machine;
use kedge_serving::{Metrics, ServerTls};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use crate::lookup::{Lookup, Table};
use crate::sources::Registry;
use crate::timed::Timed;
use crate::{Config, Error, dispatcher, health, logs, machine, node, server};

/// Pulls that run at once; upstream pulls one after the other by default, which one slow registry makes painful.
const PULLS_MAX: usize = 4;

pub(crate) struct Agent {
    pub config: Config,
    pub settings: NodeSettings,
    pub machine: Machine,
    pub client: Client,
    pub runtime: Arc<dyn Runtime>,
    pub images: Arc<dyn Images>,
    pub metrics: Metrics,
    /// `kedge`, the scheme of container ids.
    pub runtime_name: String,
    /// The runtime can make a mount and all mounts below it read-only.
    pub recursive_read_only: bool,
    pub recorder: Recorder,
    pub services: Arc<Cache<Service>>,
    pub sources: Registry,
    pub pulls: Semaphore,
    /// The Node as the API has it, once it is registered.
    pub node: watch::Sender<Option<Arc<Node>>>,
    /// The node's status should be looked at now (an image came or went).
    pub node_changed: Notify,
    /// What the 10250 server looks pods up in.
    pub table: Arc<Table>,
    /// Jitter of the first probes counts from here.
    pub started: std::time::Instant,
}

impl Agent {
    pub fn new(
        config: Config,
        client: Client,
        runtime: Arc<dyn Runtime>,
        images: Arc<dyn Images>,
    ) -> Result<Agent, Error> {
        let machine = machine::read(&config)?;
        let resolv_conf = std::fs::read_to_string(&config.resolv_conf).unwrap_or_default();
        let settings = NodeSettings {
            node_name: config.node_name.clone(),
            cluster: ClusterDns {
                servers: config.cluster_dns.iter().map(ToString::to_string).collect(),
                domain: config.cluster_domain.clone(),
            },
            host_dns: parse_resolv_conf(&resolv_conf),
            seccomp_default: config.seccomp_default,
            kubelet: config.roots.kubelet.clone(),
            pod_logs: config.roots.pod_logs.clone(),
            memory_capacity: machine.memory_bytes,
        };
        let metrics = Metrics::default();
        let runtime = Arc::new(Timed::new(runtime, &metrics));
        Ok(Agent {
            metrics,
            recorder: Recorder::start(client.clone(), "kubelet", &config.node_name),
            services: Cache::start(client.clone(), WatchOptions::default()),
            sources: Registry::new(client.clone()),
            pulls: Semaphore::new(PULLS_MAX),
            node: watch::Sender::new(None),
            node_changed: Notify::new(),
            table: Arc::new(Table::default()),
            runtime_name: "kedge".to_owned(),
            recursive_read_only: false,
            started: std::time::Instant::now(),
            config,
            settings,
            machine,
            client,
            runtime,
            images,
        })
    }

    pub fn host_ips(&self) -> Vec<String> {
        vec![self.config.node_ip.to_string()]
    }

    pub fn field_context(&self, pod_ips: Vec<String>) -> FieldContext {
        let node = self.node.borrow().clone();
        FieldContext {
            node_name: self.config.node_name.clone(),
            host_ips: self.host_ips(),
            pod_ips,
            allocatable: node.map(|node| node.status.allocatable.clone()).unwrap_or_default(),
        }
    }
}

pub(crate) async fn run(mut agent: Agent, mut shutdown: watch::Receiver<bool>) -> Result<(), Error> {
    let version =
        agent.runtime.version().await.map_err(|cause| Error::Runtime { what: "its version", cause })?;
    agent.machine.runtime_version = format!("{}://{}", version.runtime_name, version.runtime_version);
    agent.runtime_name = version.runtime_name;
    let status =
        agent.runtime.status().await.map_err(|cause| Error::Runtime { what: "its status", cause })?;
    agent.recursive_read_only = status.recursive_read_only_mounts;
    prepare_folders(&agent)?;
    let agent = Arc::new(agent);
    let mut tasks = JoinSet::new();
    health::serve(&agent, &mut tasks).await?;
    serve(&agent, &mut tasks, shutdown.clone());
    tasks.spawn(node::keep_lease(Arc::clone(&agent)));
    tasks.spawn(node::keep_status(Arc::clone(&agent)));
    tasks.spawn(logs::rotate_all(Arc::clone(&agent)));
    tasks.spawn(dispatcher::run(Arc::clone(&agent)));
    tokio::select! {
        // Cancellation is the point: workers own nothing that a restart would not find again.
        _ = shutdown.wait_for(|down| *down) => {}
        ended = tasks.join_next() => {
            if let Some(Err(error)) = ended {
                tracing::error!(%error, "a task of the node agent ended");
            }
        }
    }
    tasks.shutdown().await;
    Ok(())
}

/// The 10250 server, where the cluster's PKI lies beside us. Without it pods run, but nobody can look into them.
fn serve(agent: &Arc<Agent>, tasks: &mut JoinSet<()>, shutdown: watch::Receiver<bool>) {
    let settings = match server_settings(agent) {
        Ok(settings) => settings,
        Err(cause) => {
            return tracing::warn!(cause, "no logs, exec or port-forward: the kubelet port is not served");
        }
    };
    let table = Arc::clone(&agent.table);
    let handlers = server::Handlers {
        runtime: Arc::clone(&agent.runtime),
        lookup: Arc::clone(&table) as Arc<dyn Lookup>,
        node_name: agent.config.node_name.clone(),
        pods: Box::new(move || table.pods()),
        metrics: agent.metrics.clone(),
    };
    let client = agent.client.clone();
    tasks.spawn(async move {
        if let Err(error) = server::run(settings, handlers, client, shutdown).await {
            tracing::error!(%error, "the kubelet port is not served");
        }
    });
}

fn server_settings(agent: &Agent) -> Result<server::Settings, String> {
    let roots = &agent.config.roots;
    let read = |path: std::path::PathBuf| {
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let certificates = read(roots.kubelet.join("pki/kubelet.crt"))?;
    let key = read(roots.kubelet.join("pki/kubelet.key"))?;
    Ok(server::Settings {
        address: (std::net::Ipv4Addr::UNSPECIFIED, roots.ports.kubelet).into(),
        tls: ServerTls::new(&certificates, &key).map_err(|error| error.to_string())?,
        client_authority: read(roots.kubernetes.join("pki/ca.crt"))?,
    })
}

fn prepare_folders(agent: &Agent) -> Result<(), Error> {
    let roots = &agent.config.roots;
    for path in [&roots.kubelet.join("pods"), &roots.pod_logs, &roots.container_logs] {
        std::fs::create_dir_all(path).map_err(|cause| Error::Folder { path: path.clone(), cause })?;
    }
    Ok(())
}
