//! What controllers see: the cached kinds, through one small trait.

use crate::api::{ConfigMap, Deployment, Endpoints, Lease, Namespace, ReplicaSet, ServiceAccount};
use kedge_api::{EndpointSlice, Node, Pod, Service};
use kedge_machinery::{ObjectCache, ObjectKey};
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
}
