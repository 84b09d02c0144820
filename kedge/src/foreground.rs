//! The process that runs: what `kedge start --foreground` and the single components do until they are told to stop.
//!
//! Runtimes: `control` (API server, controllers, scheduler) and `node` (kubelet, runtime, proxy, DNS), so that a busy one
//! does not starve the other; the store has a committer thread of its own.

use crate::background::Herald;
use crate::check;
use crate::components::Board;
use crate::control::{self, Control, Stop};
use crate::failure::{Exit, Failure, Outcome};
use crate::first_objects;
use crate::identities::Way;
use crate::node::{self, NodePlan};
use crate::options::{
    ApiserverOptions, Cli, ClientOptions, ClusterOptions, ControllersOptions, KubeletOptions, Part,
    ServerOptions, StartOptions,
};
use crate::site::Site;
use crate::{log, stop};
use kedge_apiserver::Server;
use kedge_client::{Cache, WatchOptions};
use kedge_machinery::Roots;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long parts get to end after shutdown.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

pub fn start(cli: &Cli, options: &StartOptions) -> Outcome {
    let herald = Herald::new();
    let ended = run_node(cli, options, &herald);
    if let Err(failure) = &ended {
        herald.failed(&failure.text);
    }
    ended
}

fn run_node(cli: &Cli, options: &StartOptions, herald: &Herald) -> Outcome {
    let unknown = kedge_controllers::unknown_names(&options.cluster.controllers);
    if !unknown.is_empty() {
        let text = format!(
            "--controllers: no controller is called {}; there are {}",
            unknown.join(", "),
            kedge_controllers::names().join(", ")
        );
        return Err(Failure::with(Exit::Usage, text));
    }
    let mut site = cli.site.site()?;
    set_ports(&mut site, &options.server);
    if !herald.is_background() {
        // Else the parent has asked, before it made our log.
        check::refuse(&site.roots, options)?;
    }
    init_log(cli, &site.roots, herald)?;
    let ground = node::prepare(&site.roots)?;
    match bring_up(&site, options, herald) {
        Ok(running) => running.until_stopped(&site, herald),
        Err(failure) => {
            ground.take_back(&site.roots);
            Err(failure)
        }
    }
}

/// A node of which every part is under way.
struct Running {
    control_runtime: Runtime,
    node_runtime: Runtime,
    server: Server,
    way: Way,
    parts: Parts,
    /// None where the kubelet is left to another program.
    started: Option<node::Started>,
    not_ready: watch::Sender<String>,
    stop: watch::Receiver<Option<Stop>>,
}

fn bring_up(site: &Site, options: &StartOptions, herald: &Herald) -> Result<Running, Failure> {
    let (control_runtime, node_runtime) = (runtime("control")?, runtime("node")?);
    let parts = Parts { shutdown: watch::Sender::new(false), board: Board::default() };
    let (stop_sender, stop) = watch::channel(None);
    let (not_ready, not_ready_seen) = watch::channel("starting".to_owned());

    herald.say("starting the API server");
    let server = control_runtime.block_on(start_server(
        site,
        &options.server,
        &options.cluster.cluster_domain,
        &parts,
    ))?;
    let way = Way::InProcess(tower::util::BoxCloneSyncService::new(tower::ServiceExt::map_err(
        server.service(),
        |error| match error {},
    )));
    control_runtime.block_on(async {
        let admin = way.admin().await.map_err(|error| Failure::of(&error))?;
        first_objects::ensure(&admin).await?;
        keep_server(&server, &parts);
        start_control(&way, &server, options, &parts).await
    })?;

    let mut started = None;
    if !options.disable.contains(&Part::Kubelet) {
        herald.say("starting the node");
        let plan = node_plan(site, options, &way);
        started = Some(node_runtime.block_on(node::start(plan, parts.shutdown.subscribe(), &parts.board))?);
    }
    let control = Control {
        node: site.node_name.clone(),
        board: parts.board.clone(),
        not_ready: not_ready_seen,
        stop: stop_sender,
        images: started.as_ref().map(|started| Arc::clone(&started.images)),
    };
    node_runtime.block_on(async {
        let listener = Control::listen(&site.roots)?;
        tokio::spawn(control.serve(listener));
        Ok::<(), Failure>(())
    })?;
    Ok(Running { control_runtime, node_runtime, server, way, parts, started, not_ready, stop })
}

fn node_plan(site: &Site, options: &StartOptions, way: &Way) -> NodePlan {
    NodePlan {
        site: site.clone(),
        way: way.clone(),
        node: options.node.clone(),
        cluster_domain: options.cluster.cluster_domain.clone(),
        cluster_dns: vec![dns_address(&options.server)],
        cluster_cidr: options.cluster.cluster_cidr,
        service_cidr: options.server.service_cluster_ip_range,
        disable: options.disable.clone(),
    }
}

impl Running {
    fn until_stopped(self, site: &Site, herald: &Herald) -> Outcome {
        let wait_for_node = self.started.is_some();
        let stopped = until_stopped(site, &self.way, herald, wait_for_node, self.not_ready, self.stop);
        let how = self.node_runtime.block_on(stopped)?;
        tracing::info!(?how, "stopping");
        self.parts.shutdown.send_replace(true);
        if how == Stop::EndPods
            && let Some(started) = self.started
        {
            self.node_runtime.block_on(async {
                stop::end_pods(started.runtime.as_ref()).await;
                if let Err(error) = started.network.remove().await {
                    tracing::warn!(%error, "routes of the pod network stay behind");
                }
            });
        }
        self.control_runtime.block_on(async {
            if tokio::time::timeout(SHUTDOWN_LIMIT, ended(&self.server)).await.is_err() {
                tracing::warn!("some parts of the API server did not end in time");
            }
        });
        self.node_runtime.shutdown_timeout(SHUTDOWN_LIMIT);
        self.control_runtime.shutdown_timeout(SHUTDOWN_LIMIT);
        // What answers on the socket is running; nobody does any more.
        if let Err(error) = std::fs::remove_file(control::path(&site.roots)) {
            tracing::debug!(%error, "control socket was gone");
        }
        Ok(())
    }
}

/// What every part is given.
struct Parts {
    shutdown: watch::Sender<bool>,
    board: Board,
}

fn runtime(name: &'static str) -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start threads: {error}")))
}

fn require_root() -> Outcome {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new("a node needs root (namespaces, cgroups, eBPF): run it with sudo"))
}

fn set_ports(site: &mut Site, options: &ServerOptions) {
    let mut roots = Roots::clone(&site.roots);
    roots.ports.api = options.secure_port;
    site.roots = Arc::new(roots);
}

fn init_log(cli: &Cli, roots: &Roots, herald: &Herald) -> Outcome {
    let file = roots.log.join("kedge.log");
    log::init(cli, herald.is_background().then_some(file.as_path()))
}

/// The tenth service address is the cluster DNS.
fn dns_address(options: &ServerOptions) -> IpAddr {
    IpAddr::V4((u32::from(options.service_cluster_ip_range.network()) + 10).into())
}

async fn start_server(
    site: &Site,
    options: &ServerOptions,
    cluster_domain: &str,
    parts: &Parts,
) -> Result<Server, Failure> {
    let advertise = site.roots.node_ip.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let mut config = kedge_apiserver::Config::new(Arc::clone(&site.roots), &site.node_name, advertise);
    config.listen = SocketAddr::new(options.bind_address, options.secure_port);
    config.service_cidr = options.service_cluster_ip_range;
    config.cluster_domain = cluster_domain.to_owned();
    config.extra_names.clone_from(&options.tls_san);
    config.token_auth_file.clone_from(&options.token_auth_file);
    Server::start(config, parts.shutdown.subscribe()).await.map_err(|error| Failure::of(&error))
}

async fn start_control(way: &Way, server: &Server, options: &StartOptions, parts: &Parts) -> Outcome {
    let clients = way.controllers().await.map_err(|error| Failure::of(&error))?;
    let shared = kedge_controllers::Shared {
        pods: Cache::start(clients(""), WatchOptions::default()),
        nodes: Cache::start(clients(""), WatchOptions::default()),
    };
    if !options.disable.contains(&Part::Controllers) {
        let settings = settings(&options.cluster, &server.pki().ca);
        keep_controllers(settings, options.cluster.controllers.clone(), clients, shared.clone(), parts);
    }
    if !options.disable.contains(&Part::Scheduler) {
        let client = way.scheduler().await.map_err(|error| Failure::of(&error))?;
        keep_scheduler(client, shared.pods, shared.nodes, parts);
    }
    Ok(())
}

/// The server starts its own parts again; here they are counted and shown.
fn keep_server(server: &Server, parts: &Parts) {
    let (server, shutdown) = (server.clone(), parts.shutdown.subscribe());
    tokio::spawn(parts.board.clone().keep("apiserver", shutdown, move || {
        let server = server.clone();
        async move { server.wait().await }
    }));
}

fn keep_controllers(
    settings: kedge_controllers::Settings,
    controllers: Vec<String>,
    clients: kedge_controllers::Clients,
    shared: kedge_controllers::Shared,
    parts: &Parts,
) {
    let shutdown = parts.shutdown.subscribe();
    tokio::spawn(parts.board.clone().keep("controllers", parts.shutdown.subscribe(), move || {
        let config =
            kedge_controllers::Config { settings: settings.clone(), controllers: controllers.clone() };
        let run = kedge_controllers::run(config, Arc::clone(&clients), shared.clone(), shutdown.clone());
        async move {
            run.await;
            Ok::<(), std::io::Error>(())
        }
    }));
}

fn keep_scheduler(
    client: kedge_client::Client,
    pods: Arc<Cache<kedge_api::Pod>>,
    nodes: Arc<Cache<kedge_api::Node>>,
    parts: &Parts,
) {
    let shutdown = parts.shutdown.subscribe();
    tokio::spawn(parts.board.clone().keep("scheduler", parts.shutdown.subscribe(), move || {
        let run = kedge_scheduler::run(client.clone(), pods.clone(), nodes.clone(), shutdown.clone());
        async move {
            run.await;
            Ok::<(), std::io::Error>(())
        }
    }));
}

fn settings(options: &ClusterOptions, ca_pem: &str) -> kedge_controllers::Settings {
    kedge_controllers::Settings {
        ca_pem: ca_pem.to_owned(),
        cluster_cidr: options.cluster_cidr.to_string(),
        node_prefix: options.cluster_cidr.prefix_len().max(24),
    }
}

/// Reports readiness as it comes and goes, until a signal or `kedge stop`. SIGTERM leaves the pods running: an init system
/// that restarts us must not end them.
async fn until_stopped(
    site: &Site,
    way: &Way,
    herald: &Herald,
    wait_for_node: bool,
    not_ready: watch::Sender<String>,
    mut stop: watch::Receiver<Option<Stop>>,
) -> Result<Stop, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let client = way.admin().await.map_err(|error| Failure::of(&error))?;
    let options = WatchOptions {
        field_selector: format!("metadata.name={}", site.node_name),
        ..WatchOptions::default()
    };
    let nodes: Arc<Cache<kedge_api::Node>> = Cache::start(client, options);
    let mut changes = nodes.subscribe();
    let mut told = false;
    if !wait_for_node {
        not_ready.send_replace(String::new());
        herald.ready();
        told = true;
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(Stop::KeepPods),
            _ = interrupt.recv() => return Ok(Stop::KeepPods),
            wanted = stop.wait_for(Option::is_some) => {
                // The sender lives in the control socket's task, as long as this process.
                return Ok(wanted.ok().and_then(|wanted| *wanted).unwrap_or(Stop::KeepPods));
            }
            _ = changes.changes(), if wait_for_node => {
                let why = readiness(nodes.get("", &site.node_name).as_deref());
                if why.is_empty() && !told {
                    herald.ready();
                    told = true;
                } else if !told {
                    herald.say(&format!("waiting for the node: {why}"));
                }
                not_ready.send_replace(why);
            }
        }
    }
}

fn readiness(node: Option<&kedge_api::Node>) -> String {
    match node.map(|node| node.status.condition("Ready")) {
        None => "it is not registered yet".to_owned(),
        Some(None) => "it has not reported yet".to_owned(),
        Some(Some(condition)) if condition.is_true() => String::new(),
        Some(Some(condition)) => condition.message.clone(),
    }
}

/// Waits for SIGTERM or SIGINT, then lets the parts end.
async fn serve_until_signal(shutdown: &watch::Sender<bool>) -> Outcome {
    let failed = |error: std::io::Error| Failure::new(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    shutdown.send_replace(true);
    Ok(())
}

/// Waits for the end of every part after the shutdown; ends before it have been told by the board.
async fn ended(server: &Server) {
    while server.wait().await.is_err() {}
}

pub fn apiserver(cli: &Cli, options: &ApiserverOptions) -> Outcome {
    let mut site = cli.site.site()?;
    set_ports(&mut site, &options.server);
    log::init(cli, None)?;
    let parts = Parts { shutdown: watch::Sender::new(false), board: Board::default() };
    runtime("control")?.block_on(async {
        let server = start_server(&site, &options.server, &options.cluster_domain, &parts).await?;
        keep_server(&server, &parts);
        serve_until_signal(&parts.shutdown).await?;
        ended(&server).await;
        Ok(())
    })
}

pub fn scheduler(cli: &Cli, options: &ClientOptions) -> Outcome {
    log::init(cli, None)?;
    let way = Way::Kubeconfig(options.kubeconfig.clone());
    let parts = Parts { shutdown: watch::Sender::new(false), board: Board::default() };
    runtime("control")?.block_on(async {
        let client = way.scheduler().await.map_err(|error| Failure::of(&error))?;
        let pods = Cache::start(client.clone(), WatchOptions::default());
        let nodes = Cache::start(client.clone(), WatchOptions::default());
        keep_scheduler(client, pods, nodes, &parts);
        serve_until_signal(&parts.shutdown).await
    })
}

pub fn controllers(cli: &Cli, options: &ControllersOptions) -> Outcome {
    log::init(cli, None)?;
    let way = Way::Kubeconfig(options.client.kubeconfig.clone());
    let ca = match &options.root_ca_file {
        Some(path) => read(path)?,
        None => ca_of_kubeconfig(&options.client.kubeconfig)?,
    };
    let parts = Parts { shutdown: watch::Sender::new(false), board: Board::default() };
    runtime("control")?.block_on(async {
        let clients = way.controllers().await.map_err(|error| Failure::of(&error))?;
        let shared = kedge_controllers::Shared {
            pods: Cache::start(clients(""), WatchOptions::default()),
            nodes: Cache::start(clients(""), WatchOptions::default()),
        };
        let names = options.cluster.controllers.clone();
        keep_controllers(settings(&options.cluster, &ca), names, clients, shared, &parts);
        serve_until_signal(&parts.shutdown).await
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
}

fn ca_of_kubeconfig(path: &Path) -> Result<String, Failure> {
    let entry = kedge_apiserver::pki::kubeconfig::parse(&read(path)?)
        .map_err(|error| Failure::new(format!("{}: {error}; give --root-ca-file", path.display())))?;
    Ok(entry.authority)
}

pub fn kubelet(cli: &Cli, options: &KubeletOptions) -> Outcome {
    require_root()?;
    let site = cli.site.site()?;
    let roots = Arc::clone(&site.roots);
    log::init(cli, None)?;
    let ground = node::prepare(&roots)?;
    let shutdown = watch::Sender::new(false);
    let board = Board::default();
    let plan = NodePlan {
        site,
        way: Way::Kubeconfig(options.client.kubeconfig.clone()),
        node: options.node.clone(),
        cluster_domain: options.cluster_domain.clone(),
        cluster_dns: options.cluster_dns.clone(),
        cluster_cidr: options.cluster_cidr,
        service_cidr: options.service_cluster_ip_range,
        disable: options.disable.clone(),
    };
    let runtime = runtime("node")?;
    if let Err(failure) = runtime.block_on(node::start(plan, shutdown.subscribe(), &board)) {
        // Outside of the runtime: taking back waits for the network with one of its own.
        ground.take_back(&roots);
        return Err(failure);
    }
    runtime.block_on(serve_until_signal(&shutdown))
}
