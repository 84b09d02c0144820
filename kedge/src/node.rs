//! The node's half: network, images, runtime, kubelet, proxy, DNS, put together.

use crate::components::Board;
use crate::embed;
use crate::failure::{Failure, Outcome};
use crate::identities::Way;
use crate::options::{NodeOptions, Part};
use crate::site::Site;
use kedge_api::Node;
use kedge_client::{Cache, Client, WatchOptions};
use kedge_cni::BuiltIn;
use kedge_cri::images::{ImportOptions, Store};
use kedge_cri_api::{Images, Runtime};
use kedge_machinery::Roots;
use kedge_proxy::Datapath;
use rustix::mount::MountFlags;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

const TMPFS_MAGIC: i64 = 0x0102_1994;

/// What a node is started with.
pub struct NodePlan {
    pub site: Site,
    pub way: Way,
    pub node: NodeOptions,
    pub cluster_domain: String,
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_cidr: ipnet::Ipv4Net,
    pub service_cidr: ipnet::Ipv4Net,
    pub disable: Vec<Part>,
}

/// What others in the process may use of a running node.
pub struct Started {
    pub runtime: Arc<dyn Runtime>,
    pub images: Arc<Store>,
    pub network: Arc<BuiltIn>,
}

/// What a start has made for its node to stand on.
pub struct Ground {
    /// In the order of making.
    folders: Vec<PathBuf>,
    is_run_mounted: bool,
}

/// Folders that everything else stands on. `<run>` must vanish with a reboot: it is a tmpfs, ours where `/run` is none.
pub fn prepare(roots: &Roots) -> Result<Ground, Failure> {
    let mut ground = Ground { folders: Vec::new(), is_run_mounted: false };
    match ground.prepare(roots) {
        Ok(()) => Ok(ground),
        Err(failure) => {
            ground.take_back(roots);
            Err(failure)
        }
    }
}

impl Ground {
    fn prepare(&mut self, roots: &Roots) -> Outcome {
        for folder in
            [&roots.run, &roots.state, &roots.log, &roots.config, &roots.pod_logs, &roots.container_logs]
        {
            let missing: Vec<PathBuf> =
                folder.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
            self.folders.extend(missing.into_iter().rev());
            std::fs::create_dir_all(folder)
                .map_err(|error| Failure::new(format!("cannot create {}: {error}", folder.display())))?;
        }
        if is_tmpfs(&roots.run)? {
            return Ok(());
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount("tmpfs", &roots.run, "tmpfs", flags, c"mode=0711").map_err(|error| {
            Failure::new(format!("cannot mount a tmpfs on {}: {error}", roots.run.display()))
        })?;
        self.is_run_mounted = true;
        Ok(())
    }

    /// After a start that has failed: the run folder, its mounts and the folders made go. What was there already, and with it
    /// the pods of an earlier kedge, stays; so do files, such as the log that tells of the failure, the PKI and the database.
    pub fn take_back(self, roots: &Roots) {
        let is_ours = self.is_run_mounted || self.folders.contains(&roots.run);
        if is_ours && let Err(failure) = crate::stop::remove_run(roots) {
            tracing::warn!(why = failure.text, "a trace of the failed start stays behind");
        }
        for folder in self.folders.iter().rev() {
            // Not empty: somebody's files are in it.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

pub fn is_tmpfs(path: &Path) -> Result<bool, Failure> {
    let stat = rustix::fs::statfs(path)
        .map_err(|error| Failure::new(format!("cannot look at {}: {error}", path.display())))?;
    Ok(stat.f_type == TMPFS_MAGIC)
}

/// Starts everything and returns once the parts are under way; the node gets Ready later.
pub async fn start(
    plan: NodePlan,
    shutdown: watch::Receiver<bool>,
    board: &Board,
) -> Result<Started, Failure> {
    let roots = Arc::clone(&plan.site.roots);
    let failed = |error: &dyn std::error::Error| Failure::of(error);
    let datapath = Arc::new(Datapath::open(&roots.bpffs, None).map_err(|error| failed(&error))?);
    let network =
        Arc::new(BuiltIn::open(&roots, Arc::clone(&datapath) as _).await.map_err(|error| failed(&error))?);
    let registries = kedge_cri::images::load_registries(&roots).map_err(|error| failed(&error))?;
    let images = Store::open(Arc::clone(&roots), registries).map_err(|error| failed(&error))?;
    import_hello(&images).await?;
    let runtime: Arc<dyn Runtime> = kedge_cri::Cri::open(
        Arc::clone(&roots),
        Arc::clone(&network) as _,
        Arc::clone(&images) as _,
        embed::PAUSE,
    )
    .await
    .map_err(|error| failed(&error))?;

    let node_client = plan.way.node(&plan.site.node_name).await.map_err(|error| failed(&error))?;
    take_known_ranges(&node_client, &plan.site.node_name, &network).await;
    tokio::spawn(give_ranges(node_client.clone(), plan.site.node_name.clone(), Arc::clone(&network)));
    start_kubelet(&plan, node_client, &runtime, &images, &shutdown, board);
    start_proxy(&plan, &datapath, &shutdown, board).await?;
    start_dns(&plan, &shutdown, board).await?;
    Ok(Started { runtime, images, network })
}

async fn import_hello(images: &Arc<Store>) -> Outcome {
    let known = images.image_status("kedge.local/hello:1").await.map_err(|error| Failure::of(&error))?;
    if known.is_some() {
        return Ok(());
    }
    images
        .import(embed::HELLO_IMAGE, ImportOptions::default())
        .await
        .map(drop)
        .map_err(|error| Failure::new(format!("the demo image cannot be imported: {error}")))
}

fn start_kubelet(
    plan: &NodePlan,
    client: Client,
    runtime: &Arc<dyn Runtime>,
    images: &Arc<Store>,
    shutdown: &watch::Receiver<bool>,
    board: &Board,
) {
    let config = kedge_kubelet::Config {
        roots: Arc::clone(&plan.site.roots),
        node_name: plan.site.node_name.clone(),
        node_ip: plan.site.roots.node_ip.unwrap_or(IpAddr::from([127, 0, 0, 1])),
        cluster_dns: plan.cluster_dns.clone(),
        cluster_domain: plan.cluster_domain.clone(),
        seccomp_default: plan.node.seccomp_default,
        pod_cidr: None,
        labels: labels(&plan.node.node_labels),
        resolv_conf: plan.node.resolv_conf.clone(),
        version: crate::version::VERSION.to_owned(),
    };
    let (runtime, images) = (Arc::clone(runtime), Arc::clone(images) as Arc<dyn Images>);
    let stop = shutdown.clone();
    tokio::spawn(board.clone().keep("kubelet", shutdown.clone(), move || {
        kedge_kubelet::run(
            config.clone(),
            client.clone(),
            Arc::clone(&runtime),
            Arc::clone(&images),
            stop.clone(),
        )
    }));
}

fn labels(given: &[String]) -> std::collections::BTreeMap<String, String> {
    given
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// A node that was here before has its ranges already: with them it is never unready in between.
async fn take_known_ranges(client: &Client, node_name: &str, network: &BuiltIn) {
    let known: Result<Node, kedge_client::Error> =
        client.get(kedge_api::resource::NODES, "", node_name).await;
    let ranges = known.map(|node| ranges(&node)).unwrap_or_default();
    if !ranges.is_empty()
        && let Err(error) = network.set_ranges(ranges).await
    {
        tracing::error!(%error, "the node's podCIDR cannot be used");
    }
}

fn ranges(node: &Node) -> Vec<ipnet::IpNet> {
    node.spec.pod_cidrs.iter().filter_map(|text| text.parse().ok()).collect()
}

/// The node's podCIDRs come from the API; pods can be attached from then on.
async fn give_ranges(client: Client, node_name: String, network: Arc<BuiltIn>) {
    let options =
        WatchOptions { field_selector: format!("metadata.name={node_name}"), ..WatchOptions::default() };
    let nodes: Arc<Cache<Node>> = Cache::start(client, options);
    let mut changes = nodes.subscribe();
    let mut given = Vec::new();
    loop {
        changes.changes().await;
        let Some(node) = nodes.get("", &node_name) else { continue };
        let ranges = ranges(&node);
        if ranges.is_empty() || ranges == given {
            continue;
        }
        match network.set_ranges(ranges.clone()).await {
            Ok(()) => given = ranges,
            Err(error) => tracing::error!(%error, "the node's podCIDR cannot be used"),
        }
    }
}

async fn start_proxy(
    plan: &NodePlan,
    datapath: &Arc<Datapath>,
    shutdown: &watch::Receiver<bool>,
    board: &Board,
) -> Outcome {
    if plan.disable.contains(&Part::Proxy) {
        return Ok(());
    }
    let client = plan.way.proxy().await.map_err(|error| Failure::of(&error))?;
    let mut settings = kedge_proxy::Settings::new(Arc::clone(&plan.site.roots), &plan.site.node_name);
    settings.cluster_cidrs = vec![plan.cluster_cidr.into()];
    settings.service_cidrs = vec![plan.service_cidr.into()];
    let (datapath, stop) = (Arc::clone(datapath), shutdown.clone());
    tokio::spawn(board.clone().keep("proxy", shutdown.clone(), move || {
        kedge_proxy::run(settings.clone(), client.clone(), Arc::clone(&datapath), stop.clone())
    }));
    Ok(())
}

async fn start_dns(plan: &NodePlan, shutdown: &watch::Receiver<bool>, board: &Board) -> Outcome {
    let Some(&cluster_ip) = plan.cluster_dns.first().filter(|_| !plan.disable.contains(&Part::Dns)) else {
        return Ok(());
    };
    let client = plan.way.dns().await.map_err(|error| Failure::of(&error))?;
    let settings = kedge_dns::Settings {
        domain: plan.cluster_domain.clone(),
        cluster_ip,
        node_name: plan.site.node_name.clone(),
        node_ip: plan.site.roots.node_ip.unwrap_or(IpAddr::from([127, 0, 0, 1])),
        port: plan.site.roots.ports.dns,
        cluster_cidrs: vec![plan.cluster_cidr.into()],
        upstream: Vec::new(),
    };
    let stop = shutdown.clone();
    tokio::spawn(board.clone().keep("dns", shutdown.clone(), move || {
        kedge_dns::run(settings.clone(), client.clone(), stop.clone())
    }));
    Ok(())
}
