//! Job: pods that run to their end, counted exactly once.
//!
//! Every pod carries a finalizer until it is counted. A pod that ended goes through three writes: its uid into
//! `status.uncountedTerminatedPods`, its finalizer off, its uid out of the list and into the count. A crash between any two
//! leaves it where the next look finds it.
//!
//! ```text
//!   ended pods ─► finished (SuccessCriteriaMet, FailureTarget)? ─yes─► end the rest ─► Complete, Failed
//!                                                              └no─► suspended? too many? too few (with back-off)?
//! ```

mod backoff;
mod finish;
mod indexes;
mod manage;
mod policy;
mod status;

use crate::Controller;
use crate::api::{Job, JobCondition};
use crate::plan::{Context, EventSpec, Plan, Write, reference};
use crate::pods;
use crate::view::{Changed, KindId, View};
use indexes::Indexes;
use kedge_api::resource::{JOBS, PODS};
use kedge_api::{ObjectMeta, Pod, Selector, Time};
use kedge_machinery::ObjectKey;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const OURS: &str = "kubernetes.io/job-controller";

pub struct JobController;

/// A job with what belongs to it.
struct Scene {
    job: Arc<Job>,
    pods: Vec<Arc<Pod>>,
    now: Time,
    about: Value,
    /// uids in the status whose pods still carry the finalizer, and the counts that grew by those that lost it.
    uncounted_succeeded: BTreeSet<String>,
    uncounted_failed: BTreeSet<String>,
    counted_succeeded: i64,
    counted_failed: i64,
    succeeded_indexes: Indexes,
    failed_indexes: Option<Indexes>,
}

impl Controller for JobController {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn account(&self) -> &'static str {
        "job-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::Job, KindId::Pod]
    }

    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::Job { key, .. } => vec![key.clone()],
            Changed::Pod { old, new, .. } => {
                let (old, new) = (old.as_ref().map(|p| &p.metadata), new.as_ref().map(|p| &p.metadata));
                let mut keys = pods::concerned(old, new, "Job", |orphan| {
                    let jobs = view.jobs.list(Some(&orphan.namespace));
                    pods::matching(orphan, jobs.iter().map(|job| (&job.metadata, read(&job.spec.selector))))
                });
                // A finalizer that no job will take off: the key of no job.
                if keys.is_empty() && new.is_some_and(|meta| meta.controller().is_none() && is_tracked(meta))
                {
                    keys.extend(new.map(|meta| ObjectKey::new(meta.namespace.clone(), "")));
                }
                keys
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, context: &Context) -> Plan {
        let Some(job) = view.jobs.get(&key.namespace, &key.name) else {
            return release_strays(&key.namespace, view);
        };
        let foreign = job.spec.managed_by.as_deref().is_some_and(|manager| manager != OURS);
        if foreign || job.finished().is_some() {
            return Plan::nothing();
        }
        let mut plan = Plan::nothing();
        let selector = read(&job.spec.selector);
        let owned = pods::claim((JOBS, &job.metadata), &selector, view, &mut plan, |_| true);
        let scene = stage(job, owned, context.now);
        let end = finish::evaluate(&scene, &mut plan);
        let counts = match end {
            Some(_) => manage::end_active(&scene, &mut plan),
            None if scene.job.metadata.deletion_timestamp.is_some() => manage::count(&scene),
            None => manage::run(&scene, &mut plan),
        };
        let end = end.or_else(|| finish::completions(&scene, counts.active));
        status::update(&scene, end.as_ref(), &counts, &mut plan);
        plan
    }
}

fn read(selector: &Value) -> Selector {
    Selector::from_object(selector).unwrap_or_else(|_| Selector::nothing())
}

fn is_tracked(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
}

fn untrack(meta: &ObjectMeta) -> Write {
    let patch = json!({"metadata": {"uid": meta.uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
    Write::strategic(PODS, &meta.namespace, &meta.name, patch)
}

/// Pods whose job is gone, or that belong to none any more, lose the finalizer that nobody else takes off.
fn release_strays(namespace: &str, view: &View<'_>) -> Plan {
    let mut plan = Plan::nothing();
    let jobs = view.jobs.list(Some(namespace));
    for pod in view.pods.list(Some(namespace)).iter().filter(|pod| is_tracked(&pod.metadata)) {
        let claimed = match pod.metadata.controller() {
            Some(owner) => owner.kind != "Job" || jobs.iter().any(|job| job.metadata.uid == owner.uid),
            None => jobs.iter().any(|job| read(&job.spec.selector).matches(&pod.metadata.labels)),
        };
        if !claimed {
            plan.push(untrack(&pod.metadata));
        }
    }
    plan
}

fn stage(job: Arc<Job>, pods: Vec<Arc<Pod>>, now: Time) -> Scene {
    let tracked: BTreeSet<&str> =
        pods.iter().filter(|p| is_tracked(&p.metadata)).map(|p| p.metadata.uid.as_str()).collect();
    let listed = job.status.uncounted_terminated_pods.clone().unwrap_or_default();
    let split = |uids: Vec<String>| -> (BTreeSet<String>, i64) {
        let (kept, counted): (BTreeSet<String>, BTreeSet<String>) =
            uids.into_iter().partition(|uid| tracked.contains(uid.as_str()));
        (kept, i64::try_from(counted.len()).unwrap_or(0))
    };
    let (uncounted_succeeded, succeeded) = split(listed.succeeded);
    let (uncounted_failed, failed) = split(listed.failed);
    let about = reference(JOBS, &job.metadata);
    let mut scene = Scene {
        counted_succeeded: job.status.succeeded + succeeded,
        counted_failed: job.status.failed + failed,
        succeeded_indexes: Indexes::default(),
        failed_indexes: None,
        job,
        pods,
        now,
        about,
        uncounted_succeeded,
        uncounted_failed,
    };
    if scene.is_indexed() {
        scene.succeeded_indexes = scene.succeeded_now();
        scene.failed_indexes = scene.job.spec.backoff_limit_per_index.map(|limit| scene.failed_now(limit));
    }
    scene
}

impl Scene {
    fn is_indexed(&self) -> bool {
        self.job.spec.completion_mode == "Indexed"
    }

    fn replaces_failed_only(&self) -> bool {
        self.job.spec.pod_replacement_policy == "Failed"
    }

    fn active(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.iter().filter(|pod| pods::is_active(pod))
    }

    fn terminating(&self) -> i64 {
        let going = |pod: &&Arc<Pod>| pod.metadata.deletion_timestamp.is_some() && !pod.is_terminal();
        i64::try_from(self.pods.iter().filter(going).count()).unwrap_or(0)
    }

    /// A pod that is deleted before its end counts as failed, unless the job waits for its end.
    fn is_failed(&self, pod: &Pod) -> bool {
        pod.status.phase == "Failed"
            || (!self.replaces_failed_only()
                && pod.metadata.deletion_timestamp.is_some()
                && pod.status.phase != "Succeeded")
    }

    /// The index of a pod, if the job has it.
    fn index(&self, pod: &Pod) -> Option<i64> {
        let index: i64 = pod.metadata.annotations.get(INDEX)?.parse().ok()?;
        (0..self.job.spec.completions.unwrap_or(0)).contains(&index).then_some(index)
    }

    fn is_counted_failure(&self, pod: &Pod) -> bool {
        policy::verdict(self.job.spec.pod_failure_policy.as_ref(), pod).counts
    }

    /// Pods that ended and are in neither list nor count.
    fn fresh<'a>(&'a self, listed: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Arc<Pod>> {
        self.pods.iter().filter(move |pod| {
            is_tracked(&pod.metadata)
                && !listed.contains(&pod.metadata.uid)
                && (!self.is_indexed() || self.index(pod).is_some())
        })
    }

    fn succeeded(&self) -> i64 {
        if self.is_indexed() {
            return self.succeeded_indexes.total();
        }
        let fresh =
            self.fresh(&self.uncounted_succeeded).filter(|pod| pod.status.phase == "Succeeded").count();
        self.counted_succeeded + i64::try_from(fresh + self.uncounted_succeeded.len()).unwrap_or(0)
    }

    fn failed(&self) -> i64 {
        let fresh = self
            .fresh(&self.uncounted_failed)
            .filter(|pod| self.is_failed(pod) && self.is_counted_failure(pod))
            .count();
        self.counted_failed + i64::try_from(fresh + self.uncounted_failed.len()).unwrap_or(0)
    }

    fn succeeded_now(&self) -> Indexes {
        let completions = self.job.spec.completions.unwrap_or(0);
        let mut indexes = Indexes::parse(&self.job.status.completed_indexes, completions);
        for pod in &self.pods {
            if pod.status.phase == "Succeeded" && is_tracked(&pod.metadata) {
                self.index(pod).into_iter().for_each(|index| indexes.insert(index));
            }
        }
        indexes
    }

    fn failed_now(&self, limit: i64) -> Indexes {
        let completions = self.job.spec.completions.unwrap_or(0);
        let before = self.job.status.failed_indexes.as_deref().unwrap_or_default();
        let mut indexes = Indexes::parse(before, completions);
        for pod in self.pods.iter().filter(|pod| is_tracked(&pod.metadata) && self.is_failed(pod)) {
            let verdict = policy::verdict(self.job.spec.pod_failure_policy.as_ref(), pod);
            let spent = verdict.counts && backoff::failures_of_index(pod) >= limit;
            if verdict.fails_index || spent {
                self.index(pod).into_iter().for_each(|index| indexes.insert(index));
            }
        }
        indexes
    }
}

/// What ends the job: a condition that is written before the last finalizers go.
#[derive(Debug, Clone, PartialEq)]
struct End {
    succeeded: bool,
    reason: String,
    message: String,
}

impl End {
    fn failed(reason: &str, message: impl Into<String>) -> End {
        End { succeeded: false, reason: reason.to_owned(), message: message.into() }
    }

    fn interim(&self) -> &'static str {
        if self.succeeded { "SuccessCriteriaMet" } else { "FailureTarget" }
    }

    fn last(&self) -> &'static str {
        if self.succeeded { "Complete" } else { "Failed" }
    }

    fn event(&self, about: &Value) -> EventSpec {
        // The API knows few reasons; an event's reason is one of them.
        let reason = match self.reason.as_str() {
            "PodFailurePolicy" => "PodFailurePolicy",
            "BackoffLimitExceeded" => "BackoffLimitExceeded",
            "DeadlineExceeded" => "DeadlineExceeded",
            "MaxFailedIndexesExceeded" => "MaxFailedIndexesExceeded",
            "FailedIndexes" => "FailedIndexes",
            _ => "Failed",
        };
        match self.succeeded {
            true => EventSpec::normal(about, "Completed", "Job completed"),
            false => EventSpec::warning(about, reason, self.message.as_str()),
        }
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: &str, now: Time) -> JobCondition {
    JobCondition {
        r#type: kind.to_owned(),
        status: status.to_owned(),
        last_probe_time: Some(now),
        last_transition_time: Some(now),
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
