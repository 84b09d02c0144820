//! Finished jobs with `ttlSecondsAfterFinished` go when that time is over.

use crate::Controller;
use crate::api::Job;
use crate::plan::{Context, Plan, Write};
use crate::view::{Changed, KindId, View};
use kedge_api::Time;
use kedge_api::resource::JOBS;
use kedge_machinery::ObjectKey;

pub struct TtlAfterFinished;

impl Controller for TtlAfterFinished {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn account(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::Job]
    }

    fn keys(&self, change: &Changed, _view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::Job { key, new: Some(job), .. } if expiry(job).is_some() => vec![key.clone()],
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, context: &Context) -> Plan {
        let mut plan = Plan::nothing();
        let Some(job) = view.jobs.get(&key.namespace, &key.name) else {
            return plan;
        };
        match expiry(&job) {
            Some(at) if at > context.now => plan.requeue(at),
            Some(_) => {
                plan.push(Write::delete(JOBS, &key.namespace, &key.name, &job.metadata.uid));
            }
            None => {}
        }
        plan
    }
}

fn expiry(job: &Job) -> Option<Time> {
    let ttl_s = job.spec.ttl_seconds_after_finished?;
    if job.metadata.deletion_timestamp.is_some() {
        return None;
    }
    Some(Time(job.finished()?.last_transition_time?.0 + ttl_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use serde_json::json;

    #[test]
    fn a_finished_job_goes_in_time() {
        let mut cluster = Cluster::at(Time(100));
        let key = ObjectKey::new("d", "j");
        let condition = json!({"type": "Complete", "status": "True", "lastTransitionTime": Time(95)});
        let job = json!({"metadata": {"name": "j"}, "spec": {"ttlSecondsAfterFinished": 10},
            "status": {"conditions": [condition]}});
        cluster.create(JOBS, "d", job).unwrap();
        let plan = cluster.settle(&TtlAfterFinished, &key).unwrap();
        assert_eq!(plan.requeue_at, Some(Time(105)));
        cluster.now = Time(105);
        cluster.settle(&TtlAfterFinished, &key).unwrap();
        assert!(cluster.get(JOBS, "d", "j").is_none());
    }
}
