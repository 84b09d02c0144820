//! Jobs from start to end, as scripts.

use super::*;
use crate::cluster::Cluster;

fn key() -> ObjectKey {
    ObjectKey::new("d", "j")
}

fn job(spec: Value) -> Value {
    let mut object = json!({"metadata": {"name": "j"}, "spec": {
        "parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
        "podReplacementPolicy": "TerminatingOrFailed", "selector": {"matchLabels": {"job": "j"}},
        "template": {"metadata": {"labels": {"job": "j"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    crate::plan::merge(&mut object["spec"], &spec);
    object
}

fn world(spec: Value) -> Cluster {
    let mut cluster = Cluster::at(Time(1000));
    cluster.create(JOBS, "d", job(spec)).unwrap();
    cluster.settle(&JobController, &key()).unwrap();
    cluster
}

fn turn(cluster: &mut Cluster) -> Plan {
    cluster.settle(&JobController, &key()).unwrap()
}

/// Names of the pods that have not ended and are not going, by index where there is one.
fn active(cluster: &Cluster) -> Vec<(String, String)> {
    let pods = cluster
        .list(PODS)
        .filter(|pod| pod["status"]["phase"] == "Pending" && pod["metadata"]["deletionTimestamp"].is_null());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    pods.map(|pod| (text(&pod["metadata"]["name"]), text(&pod["metadata"]["annotations"][INDEX]))).collect()
}

fn indexes(cluster: &Cluster) -> String {
    let mut indexes: Vec<String> = active(cluster).into_iter().map(|(_, index)| index).collect();
    indexes.sort();
    indexes.join(",")
}

/// The oldest active pod (of this index) ends; the controller has its say.
fn end(cluster: &mut Cluster, index: &str, exit_code: i32) -> Plan {
    let (name, _) = active(cluster).into_iter().find(|(_, i)| index.is_empty() || i == index).unwrap();
    let phase = if exit_code == 0 { "Succeeded" } else { "Failed" };
    let terminated = json!({"exitCode": exit_code, "finishedAt": cluster.now});
    let statuses = json!([{"name": "c", "state": {"terminated": terminated}}]);
    let patch = json!({"status": {"phase": phase, "containerStatuses": statuses}});
    cluster.patch(PODS, "d", &name, &patch).unwrap();
    turn(cluster)
}

fn status(cluster: &Cluster) -> Value {
    cluster.get(JOBS, "d", "j").unwrap()["status"].clone()
}

/// `succeeded/failed: the true conditions with their reasons`.
fn summary(cluster: &Cluster) -> String {
    let status = status(cluster);
    let conditions: Vec<String> = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|condition| condition["status"] == "True")
        .map(|c| format!(" {}={}", c["type"].as_str().unwrap(), c["reason"].as_str().unwrap()))
        .collect();
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    format!("{}/{}:{}", count("succeeded"), count("failed"), conditions.concat())
}

fn pods_tracked(cluster: &Cluster) -> usize {
    cluster.list(PODS).filter(|pod| pod["metadata"]["finalizers"][0] == FINALIZER).count()
}

#[test]
fn parallel_until_the_completions_are_reached() {
    let mut cluster = world(json!({"parallelism": 2, "completions": 3}));
    assert_eq!(active(&cluster).len(), 2);
    end(&mut cluster, "", 0);
    assert_eq!((active(&cluster).len(), summary(&cluster)), (2, "1/0:".to_owned()));
    end(&mut cluster, "", 0);
    assert_eq!(active(&cluster).len(), 1, "no more than are missing");
    end(&mut cluster, "", 0);
    assert_eq!(summary(&cluster), "3/0: SuccessCriteriaMet=CompletionsReached Complete=CompletionsReached");
    assert_eq!(pods_tracked(&cluster), 0);
    assert!(!status(&cluster)["completionTime"].is_null());
    assert_eq!(status(&cluster)["uncountedTerminatedPods"], json!({}));
}

#[test]
fn failures_wait_longer_each_time_and_end_the_job_beyond_the_limit() {
    let mut cluster = world(json!({"backoffLimit": 2}));
    let mut waits = Vec::new();
    for _ in 0..2 {
        let at = end(&mut cluster, "", 1).requeue_at.unwrap();
        waits.push(at.0 - cluster.now.0);
        assert!(active(&cluster).is_empty());
        cluster.now = at;
        turn(&mut cluster);
        assert_eq!(active(&cluster).len(), 1);
    }
    assert_eq!(waits, [10, 20]);
    end(&mut cluster, "", 1);
    assert_eq!(summary(&cluster), "0/3: FailureTarget=BackoffLimitExceeded Failed=BackoffLimitExceeded");
    assert_eq!(pods_tracked(&cluster), 0);
}

#[test]
fn a_deadline_ends_what_runs() {
    let mut cluster = world(json!({"activeDeadlineSeconds": 5, "parallelism": 2, "completions": 2}));
    cluster.now.0 += 5;
    turn(&mut cluster);
    assert_eq!(summary(&cluster), "0/2: FailureTarget=DeadlineExceeded Failed=DeadlineExceeded");
    assert_eq!(cluster.list(PODS).count(), 0);
}

#[test]
fn every_index_once() {
    let mut cluster = world(json!({"completionMode": "Indexed", "completions": 3, "parallelism": 2}));
    assert_eq!(indexes(&cluster), "0,1");
    let pod = cluster.list(PODS).next().unwrap();
    assert_eq!(pod["spec"]["hostname"], "j-0");
    assert_eq!(pod["spec"]["containers"][0]["env"][0]["name"], "JOB_COMPLETION_INDEX");
    end(&mut cluster, "1", 0);
    assert_eq!((indexes(&cluster), &status(&cluster)["completedIndexes"]), ("0,2".into(), &json!("1")));
    end(&mut cluster, "0", 0);
    end(&mut cluster, "2", 0);
    assert_eq!(status(&cluster)["completedIndexes"], "0-2");
    assert!(summary(&cluster).ends_with("Complete=CompletionsReached"), "{}", summary(&cluster));
}

#[test]
fn an_index_has_its_own_limit() {
    let mut cluster = world(json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2,
        "backoffLimit": 2147483647, "backoffLimitPerIndex": 1}));
    let at = end(&mut cluster, "0", 1).requeue_at.unwrap();
    assert_eq!((at.0 - cluster.now.0, pods_tracked(&cluster)), (10, 2), "the count is handed on first");
    cluster.now = at;
    turn(&mut cluster);
    assert_eq!((indexes(&cluster), summary(&cluster)), ("0,1".into(), "0/1:".into()));
    end(&mut cluster, "0", 1);
    assert_eq!((indexes(&cluster), &status(&cluster)["failedIndexes"]), ("1".into(), &json!("0")));
    end(&mut cluster, "1", 0);
    assert_eq!(summary(&cluster), "1/2: FailureTarget=FailedIndexes Failed=FailedIndexes");
}

#[test]
fn rules_for_failures() {
    let rule = |action: &str, code: i64| json!({"action": action, "onExitCodes": {"operator": "In", "values": [code]}});
    let rules = json!([rule("Ignore", 3), rule("FailJob", 4)]);
    let mut cluster = world(json!({"backoffLimit": 0, "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": rules}}));
    cluster.now = end(&mut cluster, "", 3).requeue_at.unwrap();
    turn(&mut cluster);
    assert_eq!((active(&cluster).len(), summary(&cluster)), (1, "0/0:".to_owned()));
    end(&mut cluster, "", 4);
    assert_eq!(summary(&cluster), "0/1: FailureTarget=PodFailurePolicy Failed=PodFailurePolicy");
    let message = status(&cluster)["conditions"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.ends_with("failed with exit code 4 matching FailJob rule at index 1"), "{message}");
}

#[test]
fn enough_indexes_are_a_success() {
    let mut cluster = world(json!({"completionMode": "Indexed", "completions": 4, "parallelism": 4,
        "successPolicy": {"rules": [{"succeededIndexes": "0,2-3", "succeededCount": 2}]}}));
    end(&mut cluster, "1", 0);
    assert_eq!(indexes(&cluster), "0,2,3");
    end(&mut cluster, "3", 0);
    end(&mut cluster, "0", 0);
    assert_eq!(summary(&cluster), "3/0: SuccessCriteriaMet=SuccessPolicy Complete=SuccessPolicy");
    assert_eq!(cluster.list(PODS).count(), 3, "the last one was ended");
}

#[test]
fn suspended_and_resumed() {
    let mut cluster = world(json!({"suspend": true}));
    assert_eq!((active(&cluster).len(), summary(&cluster)), (0, "0/0: Suspended=JobSuspended".to_owned()));
    cluster.now.0 += 100;
    cluster.patch(JOBS, "d", "j", &json!({"spec": {"suspend": false}})).unwrap();
    turn(&mut cluster);
    assert_eq!((active(&cluster).len(), summary(&cluster)), (1, "0/0:".to_owned()));
    assert_eq!(status(&cluster)["startTime"], json!(Time(1100)));
    cluster.patch(JOBS, "d", "j", &json!({"spec": {"suspend": true}})).unwrap();
    turn(&mut cluster);
    assert_eq!(cluster.list(PODS).count(), 0);
}

#[test]
fn a_job_of_another_controller_is_left_alone() {
    let cluster = world(json!({"managedBy": "acme.io/jobs"}));
    assert_eq!((active(&cluster).len(), status(&cluster)), (0, Value::Null));
}

#[test]
fn pods_of_a_job_that_is_gone_are_let_go() {
    let mut cluster = world(json!({}));
    let name = active(&cluster)[0].0.clone();
    cluster.delete(JOBS, "d", "j", true).unwrap();
    cluster.delete(PODS, "d", &name, false).unwrap();
    assert_eq!(cluster.list(PODS).count(), 1, "the finalizer holds it");
    let keys: Vec<ObjectKey> = {
        let change = cluster.news().pop().unwrap();
        JobController.keys(&change, &cluster.objects.view())
    };
    assert_eq!(keys, [key()]);
    turn(&mut cluster);
    assert_eq!(cluster.list(PODS).count(), 0);
}

/// The three writes of a count, with a crash after each.
#[test]
fn a_crash_between_any_two_writes_counts_a_pod_once() {
    for crash_after in 0..6 {
        let mut cluster = world(json!({"parallelism": 3, "completions": 3}));
        for (name, _) in active(&cluster) {
            cluster.pod_status("d", &name, "Succeeded", false).unwrap();
        }
        let context = Context { now: cluster.now, last_failure: None };
        let plan = JobController.reconcile(&cluster.objects.view(), &key(), &context);
        for write in plan.writes.iter().take(crash_after) {
            cluster.perform(write).unwrap();
        }
        turn(&mut cluster);
        assert!(summary(&cluster).starts_with("3/0:"), "{crash_after}: {}", summary(&cluster));
        assert!(summary(&cluster).contains("Complete="), "{crash_after}");
    }
}
