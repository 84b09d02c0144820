//! The ConfigMap `kube-root-ca.crt` in every namespace: how a pod knows the API server.

use crate::Controller;
use crate::api::ROOT_CA_KEY;
use crate::plan::{Context, Plan, Write};
use crate::view::{Changed, KindId, View};
use kedge_api::resource::CONFIG_MAPS;
use kedge_machinery::ObjectKey;
use serde_json::json;

const NAME: &str = "kube-root-ca.crt";
const NOTE: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as \
                    the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of \
                    Kubernetes clusters.";

pub struct RootCaPublisher {
    pub ca_pem: String,
}

impl Controller for RootCaPublisher {
    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher-controller"
    }

    fn account(&self) -> &'static str {
        "root-ca-cert-publisher"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::Namespace, KindId::ConfigMap]
    }

    fn keys(&self, change: &Changed, _view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::Namespace { key, .. } => vec![key.clone()],
            Changed::ConfigMap { key, .. } if key.name == NAME => {
                vec![ObjectKey::new("", key.namespace.clone())]
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, _context: &Context) -> Plan {
        let mut plan = Plan::nothing();
        let Some(namespace) = view.namespaces.get("", &key.name) else {
            return plan;
        };
        if namespace.metadata.deletion_timestamp.is_some() {
            return plan;
        }
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": NAME, "namespace": key.name, "annotations": {"kubernetes.io/description": NOTE},
            },
            "data": {ROOT_CA_KEY: self.ca_pem},
        });
        match view.config_maps.get(&key.name, NAME) {
            None => plan.push(Write::create(CONFIG_MAPS, &key.name, object)),
            Some(map) => {
                let same_data = map.data.get(ROOT_CA_KEY) == Some(&self.ca_pem);
                let same_note = map
                    .metadata
                    .annotations
                    .get("kubernetes.io/description")
                    .is_some_and(|note| note == NOTE);
                if !same_data || !same_note {
                    plan.push(Write::replace(CONFIG_MAPS, &key.name, NAME, object));
                }
            }
        }
        plan
    }
}
