//! The ServiceAccount `default` in every namespace.

use crate::Controller;
use crate::plan::{Context, Plan, Write};
use crate::view::{Changed, KindId, View};
use kedge_api::resource::SERVICE_ACCOUNTS;
use kedge_machinery::ObjectKey;
use serde_json::json;

pub struct ServiceAccountController;

impl Controller for ServiceAccountController {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn account(&self) -> &'static str {
        "service-account-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::Namespace, KindId::ServiceAccount]
    }

    fn keys(&self, change: &Changed, _view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::Namespace { key, .. } => vec![key.clone()],
            Changed::ServiceAccount { key, new: None, .. } => vec![ObjectKey::new("", key.namespace.clone())],
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, _context: &Context) -> Plan {
        let mut plan = Plan::nothing();
        let Some(namespace) = view.namespaces.get("", &key.name) else {
            return plan;
        };
        let active = namespace.metadata.deletion_timestamp.is_none();
        if active && view.service_accounts.get(&key.name, "default").is_none() {
            let object = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": key.name},
            });
            plan.push(Write::create(SERVICE_ACCOUNTS, &key.name, object));
        }
        plan
    }
}
