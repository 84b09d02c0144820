//! What each controller decides: `reconcile(&View, &ObjectKey, &Context) -> Plan`.
//!
//! A plan is a value: writes in the order in which they must happen, each with the event that tells of it. The runner (crate
//! `kedge-controllers`) performs them, stops at the first failure, waits until its caches have seen its own writes, and only
//! then lets the same key be decided again. So a reconcile never acts on a view older than its last plan, and needs no
//! "expectations".

pub mod api;
pub mod cluster;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod endpointslice;
pub mod garbage;
mod history;
pub mod job;
pub mod namespace;
pub mod node_ipam;
pub mod node_lifecycle;
mod owners;
pub mod plan;
pub mod pod_gc;
mod pods;
pub mod replicaset;
pub mod root_ca;
pub mod service_account;
mod service_pods;
mod share;
pub mod statefulset;
mod template;
pub mod ttl_after_finished;
pub mod view;
pub mod volume_protection;

pub use plan::{Context, EventSpec, Op, Plan, Write};
pub use view::{Changed, KindId, Lister, View};

use kedge_machinery::ObjectKey;

/// One controller: which changes concern it, and what is to be done about a key.
pub trait Controller: Send + Sync {
    /// The name that `--controllers` takes.
    fn name(&self) -> &'static str;
    /// The ServiceAccount in kube-system under which it writes.
    fn account(&self) -> &'static str;
    /// The kinds whose changes it wants to hear of.
    fn watches(&self) -> &'static [KindId];
    /// The keys that a change concerns.
    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey>;
    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, context: &Context) -> Plan;
}

/// Every controller whose decisions need nothing but the cached kinds, in the order of `kedge controllers --help`.
pub fn controllers(settings: &Settings) -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(deployment::DeploymentController),
        Box::new(replicaset::ReplicaSetController),
        Box::new(replicaset::ReplicationControllerController),
        Box::new(daemonset::DaemonSetController::default()),
        Box::new(statefulset::StatefulSetController),
        Box::new(job::JobController),
        Box::new(cronjob::CronJobController),
        Box::new(ttl_after_finished::TtlAfterFinished),
        Box::new(disruption::DisruptionController),
        Box::new(endpointslice::EndpointSliceController),
        Box::new(endpoints::EndpointsController),
        Box::new(service_account::ServiceAccountController),
        Box::new(root_ca::RootCaPublisher { ca_pem: settings.ca_pem.clone() }),
        Box::new(node_ipam::NodeIpam::new(&settings.cluster_cidr, settings.node_prefix)),
        Box::new(node_lifecycle::NodeLifecycle),
        Box::new(pod_gc::PodGc),
        Box::new(volume_protection::ClaimProtection),
        Box::new(volume_protection::VolumeProtection),
    ]
}

/// What the controllers must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cluster CA, published as `kube-root-ca.crt` in every namespace.
    pub ca_pem: String,
    /// `10.244.0.0/16`.
    pub cluster_cidr: String,
    /// Prefix length of one node's podCIDR: 24.
    pub node_prefix: u8,
}
