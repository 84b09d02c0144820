//! CronJob: a Job at every due time, as the concurrency policy allows, and no more old ones than the limits say.
//!
//! A Job's name is made from its due time, so a second look at the same due time cannot make a second Job.

mod schedule;

use crate::Controller;
use crate::api::{CronJob, CronJobStatus, Job, ObjectReference};
use crate::owners::owner_reference;
use crate::plan::{Context, EventSpec, Plan, Write, reference};
use crate::pods;
use crate::view::{Changed, KindId, View};
use kedge_api::Time;
use kedge_api::resource::{CRON_JOBS, JOBS};
use kedge_machinery::ObjectKey;
use schedule::Schedule;
use serde_json::{Value, json};
use std::sync::Arc;

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// More missed times than this are a broken clock or a schedule that nobody looked at.
const MISSED_MAX: i64 = 100;

pub struct CronJobController;

impl Controller for CronJobController {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn account(&self) -> &'static str {
        "cronjob-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::CronJob, KindId::Job]
    }

    fn keys(&self, change: &Changed, _view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::CronJob { key, .. } => vec![key.clone()],
            Changed::Job { old, new, .. } => {
                let (old, new) = (old.as_ref().map(|j| &j.metadata), new.as_ref().map(|j| &j.metadata));
                pods::concerned(old, new, "CronJob", |_| Vec::new())
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, context: &Context) -> Plan {
        let Some(cron) = view.cron_jobs.get(&key.namespace, &key.name) else {
            return Plan::nothing();
        };
        let owned = |job: &Arc<Job>| job.metadata.controller().is_some_and(|o| o.uid == cron.metadata.uid);
        let jobs: Vec<Arc<Job>> = view.jobs.list(Some(&key.namespace)).into_iter().filter(owned).collect();
        let about = reference(CRON_JOBS, &cron.metadata);
        let mut scene = Scene { status: cron.status.clone(), cron, jobs, about, now: context.now };
        let mut plan = Plan::nothing();
        scene.look_after_active(view, &mut plan);
        if scene.cron.metadata.deletion_timestamp.is_none() {
            scene.trim_history(&mut plan);
            scene.run(&mut plan);
        }
        scene.write_status(&mut plan);
        plan
    }
}

struct Scene {
    cron: Arc<CronJob>,
    jobs: Vec<Arc<Job>>,
    status: CronJobStatus,
    about: Value,
    now: Time,
}

/// The last due time that is over, and how many were missed before.
struct Due {
    at: Time,
    too_many: bool,
}

impl Scene {
    /// Finished jobs leave the list of active ones, and so do those that are gone.
    fn look_after_active(&mut self, view: &View<'_>, plan: &mut Plan) {
        for job in &self.jobs {
            let name = &job.metadata.name;
            let listed = self.status.active.iter().position(|active| active.uid == job.metadata.uid);
            match (job.finished(), listed) {
                (Some(condition), Some(at)) => {
                    self.status.active.remove(at);
                    let message = format!("Saw completed job: {name}, condition: {}", condition.r#type);
                    plan.events.push(EventSpec::normal(&self.about, "SawCompletedJob", message));
                }
                // Its creation was stored, the list was not: a crash between the two writes.
                (None, None) if job.metadata.deletion_timestamp.is_none() => {
                    self.status.active.push(job_reference(job));
                }
                (None, _) | (Some(_), None) => {}
            }
            let completed = job.finished().filter(|condition| condition.r#type == "Complete");
            if completed.is_some() {
                self.status.last_successful_time =
                    self.status.last_successful_time.max(job.status.completion_time);
            }
        }
        let namespace = &self.cron.metadata.namespace;
        let about = &self.about;
        self.status.active.retain(|active| {
            let there = view.jobs.get(namespace, &active.name).is_some_and(|j| j.metadata.uid == active.uid);
            if !there {
                let message = format!("Active job went missing: {}", active.name);
                plan.events.push(EventSpec::normal(about, "MissingJob", message));
            }
            there
        });
    }

    fn trim_history(&self, plan: &mut Plan) {
        let spec = &self.cron.spec;
        for (kind, limit) in
            [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)]
        {
            let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { continue };
            let is_kind = |job: &&Arc<Job>| {
                job.metadata.deletion_timestamp.is_none() && job.finished().is_some_and(|c| c.r#type == kind)
            };
            let mut finished: Vec<&Arc<Job>> = self.jobs.iter().filter(is_kind).collect();
            finished.sort_by_key(|job| (job.status.start_time, job.metadata.name.clone()));
            for job in finished.iter().take(finished.len().saturating_sub(limit)) {
                plan.push(self.delete(job));
            }
        }
    }

    fn delete(&self, job: &Job) -> Write {
        let meta = &job.metadata;
        let done = format!("Deleted job {}", meta.name);
        Write::delete(JOBS, &meta.namespace, &meta.name, &meta.uid)
            .telling(EventSpec::normal(&self.about, "SuccessfulDelete", done))
            .or_telling(EventSpec::warning(&self.about, "FailedDelete", "Deleted job: {error}"))
    }

    fn schedule(&self, plan: &mut Plan) -> Option<Schedule> {
        let spec = &self.cron.spec;
        let name = spec.time_zone.as_deref().unwrap_or_default();
        let Some(zone) = schedule::zone(name) else {
            let message = format!("invalid timeZone: {name:?}: unknown time zone {name}");
            plan.events.push(EventSpec::warning(&self.about, "UnknownTimeZone", message));
            return None;
        };
        match Schedule::parse(&spec.schedule, zone) {
            Ok(schedule) => Some(schedule),
            Err(why) => {
                let message = format!("unparseable schedule: {:?} : {why}", spec.schedule);
                plan.events.push(EventSpec::warning(&self.about, "UnparseableSchedule", message));
                None
            }
        }
    }

    fn run(&mut self, plan: &mut Plan) {
        if self.cron.spec.suspend {
            return;
        }
        let Some(schedule) = self.schedule(plan) else { return };
        let due = self.due(&schedule);
        if let Some(next) = schedule.next(due.as_ref().map_or(self.now, |due| due.at)) {
            plan.requeue(next.max(Time(self.now.0 + 1)));
        }
        let Some(due) = due else { return };
        if due.too_many {
            let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check \
                           clock skew";
            plan.events.push(EventSpec::warning(&self.about, "TooManyMissedTimes", message));
        }
        let name = format!("{}-{}", self.cron.metadata.name, due.at.0.div_euclid(60));
        let done_before = self.status.last_schedule_time == Some(due.at)
            || self.jobs.iter().any(|job| job.metadata.name == name);
        let deadline_s = self.cron.spec.starting_deadline_seconds;
        if done_before {
            self.status.last_schedule_time = self.status.last_schedule_time.max(Some(due.at));
        } else if deadline_s.is_some_and(|deadline_s| due.at.0 + deadline_s < self.now.0) {
            let message = format!("Missed scheduled time to start a job: {}", due.at);
            plan.events.push(EventSpec::warning(&self.about, "MissSchedule", message));
        } else if self.cron.spec.concurrency_policy == "Forbid" && !self.status.active.is_empty() {
            let message =
                "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.events.push(EventSpec::normal(&self.about, "JobAlreadyActive", message));
        } else {
            self.start(&name, due.at, plan);
        }
    }

    fn start(&mut self, name: &str, at: Time, plan: &mut Plan) {
        if self.cron.spec.concurrency_policy == "Replace" {
            for active in std::mem::take(&mut self.status.active) {
                let job = self.jobs.iter().find(|job| job.metadata.uid == active.uid);
                plan.writes.extend(job.map(|job| self.delete(job)));
            }
        }
        let meta = &self.cron.metadata;
        let template = &self.cron.spec.job_template;
        let mut annotations = template["metadata"]["annotations"].clone();
        annotations[SCHEDULED] = at.to_string().into();
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": name, "namespace": meta.namespace, "annotations": annotations,
                "labels": template["metadata"]["labels"],
                "ownerReferences": [owner_reference(CRON_JOBS, meta)],
            },
            "spec": template["spec"],
        });
        plan.push(
            Write::create(JOBS, &meta.namespace, job)
                .telling(EventSpec::normal(&self.about, "SuccessfulCreate", format!("Created job {name}")))
                .or_telling(EventSpec::warning(&self.about, "FailedCreate", "Error creating job: {error}")),
        );
        // The job itself enters the list at the next look, when its uid is known.
        self.status.last_schedule_time = Some(at);
    }

    /// The last time that came due since the last one that was served.
    fn due(&self, schedule: &Schedule) -> Option<Due> {
        let created = self.cron.metadata.creation_timestamp.unwrap_or_default();
        let mut since = self.status.last_schedule_time.unwrap_or(created);
        if let Some(deadline_s) = self.cron.spec.starting_deadline_seconds {
            since = since.max(Time(self.now.0 - deadline_s));
        }
        let first = schedule.next(since).filter(|first| *first <= self.now)?;
        let Some(second) = schedule.next(first).filter(|second| *second <= self.now) else {
            return Some(Due { at: first, too_many: false });
        };
        let missed = (self.now.0 - first.0) / (second.0 - first.0).max(1);
        let too_many = missed > MISSED_MAX;
        // Close to now, so that years of missed minutes cost no years of steps.
        let mut at = if too_many { self.closest(schedule, second.0 - first.0, first) } else { second };
        while let Some(next) = schedule.next(at).filter(|next| *next <= self.now) {
            at = next;
        }
        let by_deadline = self.cron.spec.starting_deadline_seconds.is_some();
        Some(Due { at, too_many: too_many && !by_deadline })
    }

    /// A due time at most a few intervals ago.
    fn closest(&self, schedule: &Schedule, interval_s: i64, first: Time) -> Time {
        let mut back_s = 2 * interval_s;
        loop {
            let from = Time((self.now.0 - back_s).max(first.0));
            match schedule.next(from).filter(|next| *next <= self.now) {
                Some(next) => return next,
                None if from == first => return first,
                None => back_s *= 2,
            }
        }
    }

    fn write_status(&mut self, plan: &mut Plan) {
        self.status.active.sort_by(|a, b| a.name.cmp(&b.name));
        if self.status == self.cron.status {
            return;
        }
        let active: Vec<Value> = self
            .status
            .active
            .iter()
            .map(|job| {
                json!({"apiVersion": job.api_version, "kind": job.kind, "namespace": job.namespace,
                    "name": job.name, "uid": job.uid, "resourceVersion": job.resource_version})
            })
            .collect();
        let patch = json!({"status": {
            "active": if active.is_empty() { Value::Null } else { active.into() },
            "lastScheduleTime": self.status.last_schedule_time,
            "lastSuccessfulTime": self.status.last_successful_time,
        }});
        let meta = &self.cron.metadata;
        plan.push(Write::merge(CRON_JOBS, &meta.namespace, &meta.name, "status", patch));
    }
}

fn job_reference(job: &Job) -> ObjectReference {
    let meta = &job.metadata;
    ObjectReference {
        api_version: JOBS.api_version(),
        kind: JOBS.kind.to_owned(),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;

    fn key() -> ObjectKey {
        ObjectKey::new("d", "c")
    }

    /// A job every minute; the clock stands at 12:00:30 of some day.
    fn world(spec: Value) -> Cluster {
        let mut cluster = Cluster::at(Time::parse("2026-01-01T12:00:30Z").unwrap());
        let mut object = json!({"metadata": {"name": "c"}, "spec": {
            "schedule": "* * * * *", "concurrencyPolicy": "Allow",
            "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}}}});
        crate::plan::merge(&mut object["spec"], &spec);
        cluster.create(CRON_JOBS, "d", object).unwrap();
        turn(&mut cluster);
        cluster
    }

    fn turn(cluster: &mut Cluster) -> Plan {
        cluster.settle(&CronJobController, &key()).unwrap()
    }

    fn minutes(cluster: &mut Cluster, count: i64) -> Plan {
        cluster.now.0 += 60 * count;
        turn(cluster)
    }

    fn jobs(cluster: &Cluster) -> usize {
        cluster.list(JOBS).count()
    }

    fn finish(cluster: &mut Cluster, kind: &str) {
        let unfinished = cluster.list(JOBS).find(|job| job["status"].is_null()).unwrap();
        let name = unfinished["metadata"]["name"].as_str().unwrap().to_owned();
        let condition = json!({"type": kind, "status": "True", "lastTransitionTime": cluster.now});
        let status =
            json!({"conditions": [condition], "completionTime": cluster.now, "startTime": cluster.now});
        cluster.patch(JOBS, "d", &name, &json!({"status": status})).unwrap();
        turn(cluster);
    }

    fn active(cluster: &Cluster) -> usize {
        cluster.get(CRON_JOBS, "d", "c").unwrap()["status"]["active"].as_array().map_or(0, Vec::len)
    }

    #[test]
    fn one_job_a_minute() {
        let mut cluster = world(json!({}));
        assert_eq!(jobs(&cluster), 0);
        let plan = minutes(&mut cluster, 1);
        assert_eq!((jobs(&cluster), active(&cluster)), (1, 1));
        assert_eq!(plan.requeue_at.unwrap().to_string(), "2026-01-01T12:02:00Z");
        turn(&mut cluster);
        assert_eq!(jobs(&cluster), 1, "a due time is served once");
        let job = cluster.list(JOBS).next().unwrap();
        assert_eq!(job["metadata"]["annotations"][SCHEDULED], "2026-01-01T12:01:00Z");
        finish(&mut cluster, "Complete");
        assert_eq!(active(&cluster), 0);
        let status = &cluster.get(CRON_JOBS, "d", "c").unwrap()["status"];
        assert_eq!(status["lastSuccessfulTime"], json!(cluster.now));
    }

    #[test]
    fn policies_for_one_that_still_runs() {
        for (policy, expected, reason) in
            [("Allow", 2, ""), ("Forbid", 1, "JobAlreadyActive"), ("Replace", 1, "")]
        {
            let mut cluster = world(json!({"concurrencyPolicy": policy}));
            minutes(&mut cluster, 1);
            let first = cluster.list(JOBS).next().unwrap()["metadata"]["uid"].clone();
            let plan = minutes(&mut cluster, 1);
            assert_eq!((jobs(&cluster), active(&cluster)), (expected, expected), "{policy}");
            assert!(plan.events.iter().all(|event| event.reason == reason), "{policy}");
            let kept = cluster.list(JOBS).any(|job| job["metadata"]["uid"] == first);
            assert_eq!(kept, policy != "Replace", "{policy}");
        }
    }

    #[test]
    fn old_jobs_beyond_the_limits_go() {
        let mut cluster = world(json!({"successfulJobsHistoryLimit": 2}));
        for kind in ["Complete", "Failed", "Complete", "Complete", "Failed"] {
            minutes(&mut cluster, 1);
            finish(&mut cluster, kind);
        }
        assert_eq!(jobs(&cluster), 3);
    }

    #[test]
    fn missed_times() {
        let mut cluster = world(json!({"startingDeadlineSeconds": 10}));
        minutes(&mut cluster, 5);
        assert_eq!(jobs(&cluster), 0, "30 s late, 10 s allowed");
        let mut cluster = world(json!({}));
        cluster.now.0 += 86_400 * 365;
        let context = Context { now: cluster.now, last_failure: None };
        let plan = CronJobController.reconcile(&cluster.objects.view(), &key(), &context);
        assert_eq!(plan.events[0].reason, "TooManyMissedTimes");
        assert_eq!(plan.writes.len(), 2, "the last one is made up for");
    }

    #[test]
    fn suspended_or_wrong_ones_start_nothing() {
        for (spec, reason) in [
            (json!({"suspend": true}), None),
            (json!({"schedule": "x * * * *"}), Some("UnparseableSchedule")),
            (json!({"timeZone": "Mars/Olympus"}), Some("UnknownTimeZone")),
        ] {
            let mut cluster = world(spec.clone());
            let plan = minutes(&mut cluster, 1);
            assert_eq!(jobs(&cluster), 0, "{spec}");
            assert_eq!(plan.events.first().map(|event| event.reason), reason, "{spec}");
            assert_eq!(plan.requeue_at, None, "no hot loop: {spec}");
        }
    }

    #[test]
    fn a_crash_between_the_two_writes_makes_no_second_job() {
        let mut cluster = world(json!({}));
        cluster.now.0 += 60;
        let context = Context { now: cluster.now, last_failure: None };
        let plan = CronJobController.reconcile(&cluster.objects.view(), &key(), &context);
        cluster.perform(&plan.writes[0]).unwrap();
        turn(&mut cluster);
        assert_eq!((jobs(&cluster), active(&cluster)), (1, 1));
    }
}
