//! The decoded caches that all controllers share.

use kedge_api::{EndpointSlice, Node, Pod, Resource, Service, resource};
use kedge_client::{Cache, Client, Subscription, WatchOptions};
use kedge_controllers_core::api::{
    ConfigMap, ControllerRevision, CronJob, DaemonSet, Deployment, Endpoints, Job, Lease, Namespace,
    PersistentVolume, PersistentVolumeClaim, PodDisruptionBudget, ReplicaSet, ReplicationController,
    ResourceQuota, ServiceAccount, StatefulSet, StorageClass,
};
use kedge_controllers_core::{Changed, KindId, Lister, View};
use kedge_machinery::Change;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Caches that the process keeps for others too.
#[derive(Clone)]
pub struct Shared {
    pub pods: Arc<Cache<Pod>>,
    pub nodes: Arc<Cache<Node>>,
}

/// A cache as the core wants to read it.
struct Reader<T>(Arc<Cache<T>>);

impl<T: kedge_client::Cached> Lister<T> for Reader<T> {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.0.get(namespace, name)
    }

    fn list(&self, namespace: Option<&str>) -> Vec<Arc<T>> {
        namespace.map_or_else(|| self.0.list(), |namespace| self.0.list_namespace(namespace))
    }
}

macro_rules! caches {
    ($($field:ident: $kind:ident = $resource:ident;)*) => {
        pub struct Caches {
            $($field: Reader<$kind>,)*
        }

        impl Caches {
            pub fn view(&self) -> View<'_> {
                View { $($field: &self.$field,)* }
            }

            /// Waits until every cache is complete.
            pub async fn synced(&self) {
                $(self.$field.0.synced().await;)*
            }

            /// Waits until the cache of `of` has seen this revision; at once for kinds without a cache.
            pub async fn saw(&self, of: Resource, revision: u64, deadline: Duration) -> bool {
                match of {
                    $(resource::$resource => self.$field.0.saw(revision, deadline).await,)*
                    _ => true,
                }
            }

            /// Forwards the changes of a kind for as long as the receiver lives.
            pub fn forward(&self, kind: KindId, sender: mpsc::Sender<Vec<Changed>>) {
                match kind {
                    $(KindId::$kind => {
                        let subscription = self.$field.0.subscribe();
                        tokio::spawn(forward(subscription, sender, |change| {
                            let Change { key, old, new } = change;
                            Changed::$kind { key, old, new }
                        }));
                    })*
                }
            }
        }
    };
}

caches! {
    pods: Pod = PODS;
    nodes: Node = NODES;
    services: Service = SERVICES;
    endpoint_slices: EndpointSlice = ENDPOINT_SLICES;
    endpoints: Endpoints = ENDPOINTS;
    deployments: Deployment = DEPLOYMENTS;
    replica_sets: ReplicaSet = REPLICA_SETS;
    namespaces: Namespace = NAMESPACES;
    service_accounts: ServiceAccount = SERVICE_ACCOUNTS;
    config_maps: ConfigMap = CONFIG_MAPS;
    leases: Lease = LEASES;
    replication_controllers: ReplicationController = REPLICATION_CONTROLLERS;
    controller_revisions: ControllerRevision = CONTROLLER_REVISIONS;
    daemon_sets: DaemonSet = DAEMON_SETS;
    stateful_sets: StatefulSet = STATEFUL_SETS;
    jobs: Job = JOBS;
    cron_jobs: CronJob = CRON_JOBS;
    claims: PersistentVolumeClaim = PERSISTENT_VOLUME_CLAIMS;
    volumes: PersistentVolume = PERSISTENT_VOLUMES;
    storage_classes: StorageClass = STORAGE_CLASSES;
    budgets: PodDisruptionBudget = POD_DISRUPTION_BUDGETS;
    quotas: ResourceQuota = RESOURCE_QUOTAS;
}

impl Caches {
    pub fn start(client: Client, shared: Shared) -> Caches {
        fn own<T: kedge_client::Cached>(of: Resource, client: &Client) -> Reader<T> {
            Reader(Cache::start_of(of, client.clone(), WatchOptions::default()))
        }
        Caches {
            pods: Reader(shared.pods),
            nodes: Reader(shared.nodes),
            services: own(resource::SERVICES, &client),
            endpoint_slices: own(resource::ENDPOINT_SLICES, &client),
            endpoints: own(resource::ENDPOINTS, &client),
            deployments: own(resource::DEPLOYMENTS, &client),
            replica_sets: own(resource::REPLICA_SETS, &client),
            namespaces: own(resource::NAMESPACES, &client),
            service_accounts: own(resource::SERVICE_ACCOUNTS, &client),
            config_maps: own(resource::CONFIG_MAPS, &client),
            leases: own(resource::LEASES, &client),
            replication_controllers: own(resource::REPLICATION_CONTROLLERS, &client),
            controller_revisions: own(resource::CONTROLLER_REVISIONS, &client),
            daemon_sets: own(resource::DAEMON_SETS, &client),
            stateful_sets: own(resource::STATEFUL_SETS, &client),
            jobs: own(resource::JOBS, &client),
            cron_jobs: own(resource::CRON_JOBS, &client),
            claims: own(resource::PERSISTENT_VOLUME_CLAIMS, &client),
            volumes: own(resource::PERSISTENT_VOLUMES, &client),
            storage_classes: own(resource::STORAGE_CLASSES, &client),
            budgets: own(resource::POD_DISRUPTION_BUDGETS, &client),
            quotas: own(resource::RESOURCE_QUOTAS, &client),
        }
    }
}

async fn forward<T>(
    mut subscription: Subscription<T>,
    sender: mpsc::Sender<Vec<Changed>>,
    wrap: impl Fn(Change<T>) -> Changed,
) {
    loop {
        let changes = subscription.changes().await.into_iter().map(&wrap).collect();
        if sender.send(changes).await.is_err() {
            return;
        }
    }
}
