//! The caches as a directory, with an index from addresses to names.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use kedge_api::{EndpointSlice, Service};
use kedge_client::{Cache, Client, PartialObject, WatchOptions};

use crate::answer::{Directory, endpoint_label};

pub struct Caches {
    services: Arc<Cache<Service>>,
    slices: Arc<Cache<EndpointSlice>>,
    namespaces: Arc<Cache<PartialObject>>,
}

impl Caches {
    pub async fn start(client: &Client) -> Caches {
        let metadata_only = WatchOptions { metadata_only: true, ..WatchOptions::default() };
        let caches = Caches {
            services: Cache::start(client.clone(), WatchOptions::default()),
            slices: Cache::start(client.clone(), WatchOptions::default()),
            namespaces: Cache::start_of(kedge_api::resource::NAMESPACES, client.clone(), metadata_only),
        };
        caches.services.synced().await;
        caches.slices.synced().await;
        caches.namespaces.synced().await;
        caches
    }
}

impl Directory for Caches {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(namespace, name)
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        let mut slices = self.slices.list_namespace(namespace);
        slices.retain(|slice| slice.service_name() == Some(service));
        slices
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.get("", namespace).is_some()
    }

    /// A walk over all services: reverse questions are rare, and an index would have to be kept for every change.
    fn names_of(&self, ip: IpAddr) -> Vec<String> {
        let full = |service: &Service| format!("{}.{}", service.metadata.name, service.metadata.namespace);
        let services = self.services.list();
        if let Some(service) = services.iter().find(|service| service.cluster_addresses().contains(&ip)) {
            return vec![full(service)];
        }
        let text = ip.to_string();
        let mut names = BTreeSet::new();
        for service in services.iter().filter(|service| service.is_headless()) {
            for slice in self.slices(&service.metadata.namespace, &service.metadata.name) {
                let endpoints = slice.endpoints.iter().filter(|endpoint| endpoint.addresses.contains(&text));
                names.extend(
                    endpoints.map(|endpoint| format!("{}.{}", endpoint_label(endpoint, ip), full(service))),
                );
            }
        }
        names.into_iter().collect()
    }
}
