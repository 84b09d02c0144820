//! A core controller at work: decide, perform, wait until the caches have seen it.

use crate::caches::Caches;
use crate::perform;
use crate::runner::{Outcome, Work, wall_clock};
use kedge_client::{Client, Recorder};
use kedge_controllers_core::{Changed, Context, Controller, KindId, View};
use kedge_machinery::ObjectKey;
use std::sync::Arc;
use std::time::Duration;

/// A cache that has not seen our write by then is broken; the key is decided again all the same.
const SEEN_DEADLINE: Duration = Duration::from_secs(10);

pub struct Planned {
    controller: Box<dyn Controller>,
    client: Client,
    recorder: Recorder,
    caches: Arc<Caches>,
}

impl Planned {
    pub fn new(
        controller: Box<dyn Controller>,
        client: Client,
        recorder: Recorder,
        caches: Arc<Caches>,
    ) -> Planned {
        Planned { controller, client, recorder, caches }
    }
}

#[async_trait::async_trait]
impl Work for Planned {
    fn name(&self) -> &'static str {
        self.controller.name()
    }

    fn watches(&self) -> &'static [KindId] {
        self.controller.watches()
    }

    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
        self.controller.keys(change, view)
    }

    async fn work(&self, key: &ObjectKey, last_failure: Option<String>) -> Outcome {
        let context = Context { now: wall_clock(), last_failure };
        let plan = self.controller.reconcile(&self.caches.view(), key, &context);
        if let Some(why) = &plan.waiting_for {
            tracing::trace!(controller = self.name(), %key, why, "waiting");
        }
        for event in plan.events {
            perform::tell(&self.recorder, event);
        }
        let performed = perform::all(&self.client, &self.recorder, plan.writes).await;
        for (of, revision) in performed.revisions {
            if !self.caches.saw(of, revision, SEEN_DEADLINE).await {
                tracing::warn!(
                    controller = self.name(),
                    kind = of.kind,
                    revision,
                    "cache has not seen our own write"
                );
            }
        }
        Outcome { requeue_at: plan.requeue_at, failure: performed.failure }
    }
}
