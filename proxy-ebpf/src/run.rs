//! The proxy's loop. One task owns the image and the map writes.
//!
//! Tasks: `run` itself (service and slice changes in, map writes out), `uplinks::follow` (links and addresses in, uplink
//! attachments out), `health::serve`. Each ends with `shutdown`; `run` ends when one of them fails.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use kedge_api::{EndpointSlice, Service};
use kedge_client::{Cache, Cached, Client, WatchOptions};
use kedge_machinery::{Change, Roots};
use kedge_proxy_core::{Image, ServiceName, frontends};
use tokio::sync::watch;

use crate::{Datapath, Error, cgroup2, health, settings, uplinks};

/// Everything is compared and written again this often, as a guard against our own mistakes.
const AUDIT: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
pub struct Settings {
    pub roots: Arc<Roots>,
    pub node_name: String,
    /// Pods of the whole cluster.
    pub cluster_cidrs: Vec<IpNet>,
    pub service_cidrs: Vec<IpNet>,
    /// Host order, inclusive.
    pub node_ports: (u16, u16),
    /// The cgroup2 directory for the socket programs; none: found or mounted.
    pub cgroup2: Option<PathBuf>,
}

impl Settings {
    /// The documented defaults.
    pub fn new(roots: Arc<Roots>, node_name: &str) -> Settings {
        let cidr = |text: &str| text.parse().expect("a literal prefix");
        Settings {
            roots,
            node_name: node_name.to_owned(),
            cluster_cidrs: vec![cidr("10.244.0.0/16")],
            service_cidrs: vec![cidr("10.96.0.0/16")],
            node_ports: (30000, 32767),
            cgroup2: None,
        }
    }
}

/// Serves until `shutdown`. The datapath stays attached and keeps carrying traffic afterwards.
pub async fn run(
    settings: Settings,
    client: Client,
    datapath: Arc<Datapath>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), Error> {
    datapath.configure(&settings::config(&settings)?)?;
    match cgroup2::find(&settings) {
        Ok(cgroup) => datapath.attach_sockets(&cgroup)?,
        Err(error) => tracing::warn!(%error, "processes of this node cannot reach services"),
    }
    let health = health::Health::default();
    let mut uplinks = tokio::spawn(uplinks::follow(datapath.clone()));
    let mut healthz = tokio::spawn(health::serve(settings.roots.ports.proxy_health, health.clone()));
    let outcome = tokio::select! {
        result = follow(&settings, client, &datapath, &health) => result,
        result = &mut uplinks => result.unwrap_or_else(|panic| Err(Error::Ended(panic.to_string()))),
        result = &mut healthz => result.unwrap_or_else(|panic| Err(Error::Ended(panic.to_string()))),
        _ = shutdown.wait_for(|stop| *stop) => Ok(()),
    };
    uplinks.abort();
    healthz.abort();
    outcome
}

/// Keeps the maps like the services; ends only with an error.
async fn follow(
    settings: &Settings,
    client: Client,
    datapath: &Datapath,
    health: &health::Health,
) -> Result<(), Error> {
    let services = Cache::<Service>::start(client.clone(), WatchOptions::default());
    let slices = Cache::<EndpointSlice>::start(client, WatchOptions::default());
    services.synced().await;
    slices.synced().await;
    let (mut service_news, mut slice_news) = (services.subscribe(), slices.subscribe());
    let mut tables = Tables::new(&settings.node_name, Image::restore(&datapath.pinned()?));
    // The first look is at everything, because its sweep removes what has no service. The news repeat it harmlessly.
    tables.note_services(services.list().into_iter().map(appeared).collect());
    tables.note_slices(slices.list().into_iter().map(appeared).collect());
    let started = Instant::now();
    let mut audit = tokio::time::interval(AUDIT);
    loop {
        // Each arm only takes news out of a queue that keeps them; a dropped one loses nothing.
        let touched = tokio::select! {
            changes = service_news.changes() => tables.note_services(changes),
            changes = slice_news.changes() => tables.note_slices(changes),
            _ = audit.tick() => {
                tables.sweeps = true;
                tables.all()
            }
        };
        let now_ms = started.elapsed().as_millis() as u64;
        let changes = tables.sync(touched, now_ms);
        datapath.apply(&changes)?;
        health.updated();
        if !changes.is_empty() {
            tracing::debug!(writes = changes.len(), took = ?(started.elapsed().as_millis() as u64 - now_ms), "maps written");
        }
    }
}

fn appeared<T: Cached>(object: Arc<T>) -> Change<T> {
    Change { key: object.key(), old: None, new: Some(object) }
}

/// What is known, by service.
struct Tables {
    node_name: String,
    image: Image,
    services: BTreeMap<ServiceName, Arc<Service>>,
    slices: BTreeMap<ServiceName, BTreeMap<String, Arc<EndpointSlice>>>,
    /// The next sync is followed by a sweep.
    sweeps: bool,
    /// Map that was full, so that it is said once and not with every change.
    full: BTreeSet<&'static str>,
}

impl Tables {
    fn new(node_name: &str, image: Image) -> Tables {
        Tables {
            node_name: node_name.to_owned(),
            image,
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            sweeps: false,
            full: BTreeSet::new(),
        }
    }

    fn note_services(&mut self, changes: Vec<Change<Service>>) -> BTreeSet<ServiceName> {
        let mut touched = BTreeSet::new();
        for change in changes {
            let name = (change.key.namespace, change.key.name);
            match change.new {
                Some(service) => drop(self.services.insert(name.clone(), service)),
                None => drop(self.services.remove(&name)),
            }
            touched.insert(name);
        }
        touched
    }

    /// A slice may change its service; both are touched.
    fn note_slices(&mut self, changes: Vec<Change<EndpointSlice>>) -> BTreeSet<ServiceName> {
        let mut touched = BTreeSet::new();
        for change in changes {
            let owner = |slice: &EndpointSlice| {
                slice.service_name().map(|service| (change.key.namespace.clone(), service.to_owned()))
            };
            if let Some(name) = change.old.as_deref().and_then(owner) {
                if let Some(slices) = self.slices.get_mut(&name) {
                    slices.remove(&change.key.name);
                }
                touched.insert(name);
            }
            if let Some(slice) = &change.new
                && let Some(name) = owner(slice)
            {
                self.slices.entry(name.clone()).or_default().insert(change.key.name.clone(), slice.clone());
                touched.insert(name);
            }
        }
        self.slices.retain(|_, slices| !slices.is_empty());
        touched
    }

    fn all(&self) -> BTreeSet<ServiceName> {
        self.services.keys().chain(self.image.services()).cloned().collect()
    }

    fn sync(&mut self, touched: BTreeSet<ServiceName>, now_ms: u64) -> Vec<kedge_proxy_core::Change> {
        let mut changes = Vec::new();
        let mut full = BTreeSet::new();
        for name in touched {
            let slices: Vec<_> =
                self.slices.get(&name).into_iter().flat_map(|slices| slices.values().cloned()).collect();
            let wanted = match self.services.get(&name) {
                Some(service) => frontends(service, &slices, &self.node_name),
                None => Vec::new(),
            };
            let (more, filled) = self.image.sync(&name, &wanted, now_ms);
            changes.extend(more);
            full.extend(filled);
        }
        if std::mem::take(&mut self.sweeps) {
            changes.extend(self.image.sweep(now_ms));
        }
        for map in full.difference(&self.full) {
            tracing::warn!(map, "a datapath map is full; some services have no or old backends");
        }
        self.full = full;
        changes
    }
}
