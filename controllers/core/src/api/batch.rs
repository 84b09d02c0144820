//! Jobs and CronJobs.

use kedge_api::{ObjectMeta, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;

kinds! {
    Job { metadata: ObjectMeta, spec: JobSpec, status: JobStatus, }
    JobSpec {
        parallelism: Option<i64>,
        completions: Option<i64>,
        active_deadline_seconds: Option<i64>,
        pod_failure_policy: Option<PodFailurePolicy>,
        success_policy: Option<SuccessPolicy>,
        backoff_limit: Option<i64>,
        backoff_limit_per_index: Option<i64>,
        max_failed_indexes: Option<i64>,
        selector: Value,
        template: Value,
        ttl_seconds_after_finished: Option<i64>,
        completion_mode: String,
        suspend: bool,
        pod_replacement_policy: String,
        managed_by: Option<String>,
    }
    PodFailurePolicy { rules: Vec<PodFailureRule>, }
    PodFailureRule {
        action: String,
        on_exit_codes: Option<OnExitCodes>,
        on_pod_conditions: Vec<OnPodCondition>,
    }
    OnExitCodes { container_name: Option<String>, operator: String, values: Vec<i32>, }
    OnPodCondition { r#type: String, status: String, }
    SuccessPolicy { rules: Vec<SuccessRule>, }
    SuccessRule { succeeded_indexes: Option<String>, succeeded_count: Option<i64>, }
    JobStatus {
        conditions: Vec<JobCondition>,
        start_time: Option<Time>,
        completion_time: Option<Time>,
        active: i64,
        succeeded: i64,
        failed: i64,
        terminating: Option<i64>,
        completed_indexes: String,
        failed_indexes: Option<String>,
        uncounted_terminated_pods: Option<UncountedTerminatedPods>,
        ready: Option<i64>,
    }
    JobCondition {
        r#type: String,
        status: String,
        last_probe_time: Option<Time>,
        last_transition_time: Option<Time>,
        reason: String,
        message: String,
    }
    /// uids of pods that are not in the counts yet, because their finalizer is still on.
    UncountedTerminatedPods { succeeded: Vec<String>, failed: Vec<String>, }
    CronJob { metadata: ObjectMeta, spec: CronJobSpec, status: CronJobStatus, }
    CronJobSpec {
        schedule: String,
        time_zone: Option<String>,
        starting_deadline_seconds: Option<i64>,
        concurrency_policy: String,
        suspend: bool,
        job_template: Value,
        successful_jobs_history_limit: Option<i64>,
        failed_jobs_history_limit: Option<i64>,
    }
    CronJobStatus {
        active: Vec<ObjectReference>,
        last_schedule_time: Option<Time>,
        last_successful_time: Option<Time>,
    }
    ObjectReference {
        api_version: String,
        kind: String,
        namespace: String,
        name: String,
        uid: String,
        resource_version: String,
    }
}

objects!(Job, CronJob);

impl Job {
    pub fn condition(&self, r#type: &str) -> Option<&JobCondition> {
        self.status.conditions.iter().find(|condition| condition.r#type == r#type)
    }

    /// `Complete` or `Failed`, if one of them is true.
    pub fn finished(&self) -> Option<&JobCondition> {
        let is_final = |c: &&JobCondition| matches!(c.r#type.as_str(), "Complete" | "Failed");
        self.status.conditions.iter().filter(is_final).find(|condition| condition.status == "True")
    }
}
