//! What controllers see: the cached kinds, through one small trait.

use crate::api::{
    ConfigMap, ControllerRevision, CronJob, DaemonSet, Deployment, Endpoints, Job, Lease, Namespace,
    PersistentVolume, PersistentVolumeClaim, PodDisruptionBudget, ReplicaSet, ReplicationController,
    ResourceQuota, ServiceAccount, StatefulSet, StorageClass,
};
use kedge_api::{EndpointSlice, Node, Pod, Service};
use kedge_machinery::{ObjectCache, ObjectKey};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Objects of one kind, by key and by namespace.
pub trait Lister<T> {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>>;
    /// `namespace` None: of all namespaces. In key order.
    fn list(&self, namespace: Option<&str>) -> Vec<Arc<T>>;
}

impl<T> Lister<T> for ObjectCache<T> {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        ObjectCache::get(self, &ObjectKey::new(namespace, name))
    }

    fn list(&self, namespace: Option<&str>) -> Vec<Arc<T>> {
        namespace.map_or_else(|| ObjectCache::list(self), |namespace| self.list_namespace(namespace))
    }
}

macro_rules! kinds {
    ($($field:ident: $kind:ident;)*) => {
        /// Every kind that some controller reads.
        #[derive(Clone, Copy)]
        pub struct View<'a> {
            $(pub $field: &'a dyn Lister<$kind>,)*
        }

        /// Names a kind of the view.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum KindId {
            $($kind,)*
        }

        /// One object changed: as it was and as it is (absent: not there).
        #[derive(Debug, Clone)]
        pub enum Changed {
            $($kind { key: ObjectKey, old: Option<Arc<$kind>>, new: Option<Arc<$kind>> },)*
        }

        /// Every kind in memory: what the controllers are shown where no server runs, in tests and in the simulation.
        #[derive(Debug, Default)]
        pub struct Objects {
            $(pub $field: ObjectCache<$kind>,)*
        }

        impl Objects {
            pub fn view(&self) -> View<'_> {
                View { $($field: &self.$field,)* }
            }

            /// Puts an object in place, or takes it away (None). Kinds that no controller reads change nothing.
            pub fn set(
                &mut self,
                kind: &str,
                key: ObjectKey,
                object: Option<&Value>,
            ) -> Result<Option<Changed>, serde_json::Error> {
                match kind {
                    $(stringify!($kind) => {
                        let old = self.$field.get(&key);
                        match object {
                            Some(object) => self.$field.apply(key.clone(), $kind::deserialize(object)?),
                            None => self.$field.delete(&key),
                        }
                        let new = self.$field.get(&key);
                        Ok(Some(Changed::$kind { key, old, new }))
                    })*
                    _ => Ok(None),
                }
            }
        }
    };
}

kinds! {
    pods: Pod;
    nodes: Node;
    services: Service;
    endpoint_slices: EndpointSlice;
    endpoints: Endpoints;
    deployments: Deployment;
    replica_sets: ReplicaSet;
    namespaces: Namespace;
    service_accounts: ServiceAccount;
    config_maps: ConfigMap;
    leases: Lease;
    replication_controllers: ReplicationController;
    controller_revisions: ControllerRevision;
    daemon_sets: DaemonSet;
    stateful_sets: StatefulSet;
    jobs: Job;
    cron_jobs: CronJob;
    claims: PersistentVolumeClaim;
    volumes: PersistentVolume;
    storage_classes: StorageClass;
    budgets: PodDisruptionBudget;
    quotas: ResourceQuota;
}
