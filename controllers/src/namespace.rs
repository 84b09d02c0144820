//! The end of namespaces: carries out the steps that the core names.

use crate::caches::Caches;
use crate::runner::{Outcome, Work, wall_clock};
use http::Method;
use kedge_api::kinds::{Kind, kinds};
use kedge_api::{ObjectMeta, Resource, Time};
use kedge_client::{Client, ListOptions, PartialObject};
use kedge_controllers_core::garbage::resource;
use kedge_controllers_core::namespace::{Remaining, Step, step};
use kedge_controllers_core::{Changed, KindId, View};
use kedge_machinery::ObjectKey;
use serde_json::{Value, json};
use std::sync::Arc;

pub const NAME: &str = "namespace-controller";

pub struct Namespaces {
    client: Client,
    caches: Arc<Caches>,
}

impl Namespaces {
    pub fn new(client: Client, caches: Arc<Caches>) -> Namespaces {
        Namespaces { client, caches }
    }

    async fn sweep(&self, namespace: &str, pods_only: bool) -> Vec<Remaining> {
        let mut remaining = Vec::new();
        for row in swept(pods_only) {
            let left = self.sweep_one(namespace, resource(row)).await;
            if left.count > 0 || left.failure.is_some() {
                remaining.push(left);
            }
        }
        remaining
    }

    async fn sweep_one(&self, namespace: &str, of: Resource) -> Remaining {
        let mut left = Remaining { resource: qualified(of), ..Remaining::default() };
        match self.list(namespace, of).await {
            Ok(found) if found.is_empty() => return left,
            Ok(_) => {}
            Err(words) => {
                left.failure = Some(words);
                return left;
            }
        }
        let deleted: kedge_client::Result<Value> =
            self.client.call(Method::DELETE, &of.path(Some(namespace)), None, "").await;
        left.failure = deleted.err().map(|error| error.to_string());
        match self.list(namespace, of).await {
            Ok(found) => count(&mut left, &found),
            Err(words) => left.failure = Some(words),
        }
        left
    }

    async fn list(&self, namespace: &str, of: Resource) -> Result<Vec<ObjectMeta>, String> {
        let found: Vec<PartialObject> = self
            .client
            .list(of, Some(namespace), &ListOptions::default())
            .await
            .map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|object| object.metadata).collect())
    }

    async fn apply(&self, name: &str, step: Step) -> Outcome {
        let result: kedge_client::Result<Value> = match step {
            Step::Nothing | Step::Sweep { .. } => return Outcome::default(),
            Step::Finalize(object) => {
                self.client.replace(kedge_api::resource::NAMESPACES, "", name, "finalize", &object).await
            }
            Step::Wait { conditions: None } => return again(),
            Step::Wait { conditions: Some(conditions) } => {
                let patch = json!({"status": {"conditions": conditions}});
                let of = kedge_api::resource::NAMESPACES;
                crate::perform::update(&self.client, of, "", (name, "status"), &patch).await
            }
        };
        match result {
            Ok(object) if object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty()) => {
                again()
            }
            Ok(_) => Outcome::default(),
            Err(error) if error.is_not_found() => Outcome::default(),
            Err(error) => Outcome { failure: Some(error.to_string()), ..Outcome::default() },
        }
    }
}

/// Terminating pods and finalizers take their time; their deletions do not wake us.
fn again() -> Outcome {
    Outcome { requeue_at: Some(Time(wall_clock().0 + 1)), failure: None }
}

/// Pods alone while there are any; then all namespaced kinds that can be deleted. Events go last, they tell of the rest.
fn swept(pods_only: bool) -> Vec<&'static Kind> {
    let mut rows: Vec<&'static Kind> = kinds()
        .iter()
        .filter(|row| row.namespaced && row.is_stored() && row.stored_as == row.group_version())
        .filter(|row| row.has_verb("deletecollection") && row.has_verb("list"))
        .filter(|row| !pods_only || (row.group.is_empty() && row.plural == "pods"))
        .collect();
    rows.sort_by_key(|row| row.plural == "events");
    rows
}

fn qualified(of: Resource) -> String {
    if of.group.is_empty() { format!("{}.", of.plural) } else { format!("{}.{}", of.plural, of.group) }
}

fn count(left: &mut Remaining, found: &[ObjectMeta]) {
    left.count = found.len();
    for finalizer in found.iter().flat_map(|meta| &meta.finalizers) {
        *left.finalizers.entry(finalizer.clone()).or_insert(0) += 1;
    }
}

#[async_trait::async_trait]
impl Work for Namespaces {
    fn name(&self) -> &'static str {
        NAME
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::Namespace]
    }

    fn keys(&self, change: &Changed, _view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::Namespace { key, new: Some(namespace), .. }
                if namespace.metadata.deletion_timestamp.is_some() =>
            {
                vec![key.clone()]
            }
            _ => Vec::new(),
        }
    }

    async fn work(&self, key: &ObjectKey, _last_failure: Option<String>) -> Outcome {
        let view = self.caches.view();
        let Some(namespace) = view.namespaces.get("", &key.name) else {
            return Outcome::default();
        };
        let pods = view.pods.list(Some(&key.name)).len();
        let Step::Sweep { pods_only } = step(&namespace, None, pods, wall_clock()) else {
            return Outcome::default();
        };
        let remaining = self.sweep(&key.name, pods_only).await;
        if pods_only && remaining.is_empty() {
            // The pods are gone: the rest is next, now.
            let remaining = self.sweep(&key.name, false).await;
            return self.apply(&key.name, step(&namespace, Some(&remaining), 0, wall_clock())).await;
        }
        self.apply(&key.name, step(&namespace, Some(&remaining), pods, wall_clock())).await
    }
}
