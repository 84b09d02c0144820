//! The controllers that own pods, among lost writes, lost answers, crashes between any two writes, kubelets that fail pods and
//! users who change their minds. Whatever happens, promises hold:
//!
//! - a node has at most one living pod of a DaemonSet, a ReplicaSet never more living pods than it ever asked for;
//! - a StatefulSet makes no pod before all earlier ones are there;
//! - a Job counts each of its pods once, and a CronJob that forbids it has never two jobs running;
//! - once the trouble stops, everything is as asked and at rest, and no pod of a job that is gone is held by a finalizer.

use std::collections::{BTreeMap, BTreeSet};

use kedge_api::resource::{
    CRON_JOBS, DAEMON_SETS, JOBS, NODES, PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS,
};
use kedge_api::{Resource, Time};
use kedge_controllers_core::cluster::Cluster;
use kedge_controllers_core::{Context, Controller, Settings, controllers};
use kedge_machinery::ObjectKey;
use serde_json::{Value, json};

use crate::random::Random;

const TROUBLE_STEPS: u32 = 400;
const CALM_STEPS: u32 = 2_000;
/// A pod moves at most so often before it rests.
const QUIET_STEPS: u32 = 6;
const NODES_MAX: u64 = 4;
const NAMESPACE: &str = "ns";
const OWNERS: [(Resource, &str); 5] = [
    (REPLICA_SETS, "rs"),
    (REPLICATION_CONTROLLERS, "rc"),
    (STATEFUL_SETS, "sts"),
    (DAEMON_SETS, "ds"),
    (JOBS, "job"),
];

struct Running {
    controller: Box<dyn Controller>,
    queue: BTreeSet<ObjectKey>,
    later: BTreeMap<ObjectKey, Time>,
}

struct World {
    random: Random,
    cluster: Cluster,
    running: Vec<Running>,
    /// Pods of jobs that have succeeded, by uid, with the job's uid.
    succeeded: BTreeMap<String, String>,
    /// The most that was asked of each owner.
    asked: BTreeMap<String, i64>,
    trace: Vec<String>,
}

/// Runs one seed; the error is the story that led to a broken promise.
pub fn run(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed);
    let outcome = world.live();
    outcome.map_err(|what| {
        let from = world.trace.len().saturating_sub(60);
        format!("seed {seed}: {what}\n{}", world.trace[from..].join("\n"))
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn is_going(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn owner_uid(object: &Value) -> String {
    text(&object["metadata"]["ownerReferences"][0]["uid"])
}

fn start() -> Vec<Running> {
    let names = [
        "replicaset-controller",
        "replicationcontroller-controller",
        "statefulset-controller",
        "daemonset-controller",
        "job-controller",
        "cronjob-controller",
    ];
    let settings = Settings { ca_pem: String::new(), cluster_cidr: String::new(), node_prefix: 24 };
    controllers(&settings)
        .into_iter()
        .filter(|controller| names.contains(&controller.name()))
        .map(|controller| Running { controller, queue: BTreeSet::new(), later: BTreeMap::new() })
        .collect()
}

impl World {
    fn new(seed: u64) -> World {
        World {
            random: Random::new(seed),
            cluster: Cluster::at(Time(1_800_000_000)),
            running: start(),
            succeeded: BTreeMap::new(),
            asked: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    fn live(&mut self) -> Result<(), String> {
        for number in 0..NODES_MAX {
            self.make_node(number)?;
        }
        for _ in 0..TROUBLE_STEPS {
            self.cluster.now.0 += i64::from(self.random.below(8) == 0);
            self.disturb()?;
            self.kubelets(4)?;
            self.collect()?;
            self.deliver();
            self.work(6)?;
            self.judge()?;
        }
        let mut quiet = 0;
        for _ in 0..CALM_STEPS {
            self.finish_jobs()?;
            self.kubelets(1)?;
            self.collect()?;
            self.deliver();
            quiet = if self.work(0)? { 0 } else { quiet + 1 };
            self.judge()?;
            let busy = self.running.iter().any(|running| !running.queue.is_empty());
            if busy || quiet < QUIET_STEPS {
                continue;
            }
            // Nothing moves: on to the next time that somebody waits for.
            match self.running.iter().flat_map(|running| running.later.values()).min() {
                Some(at) => self.cluster.now = self.cluster.now.max(*at),
                None => break,
            }
        }
        self.judge_end()
    }

    fn say(&mut self, what: String) {
        self.trace.push(format!("{:>6} {what}", self.cluster.now.0 % 100_000));
    }

    fn make_node(&mut self, number: u64) -> Result<(), String> {
        let node = json!({"metadata": {"name": format!("n{number}"), "labels": {"n": number.to_string()}},
            "spec": {}});
        if self.cluster.get(NODES, "", &format!("n{number}")).is_none() {
            self.cluster.create(NODES, "", node)?;
        }
        Ok(())
    }

    /// A user changes something.
    fn disturb(&mut self) -> Result<(), String> {
        match self.random.below(30) {
            0..=2 => self.make_owner(),
            3 => self.scale(),
            4 => self.new_template(),
            5 if self.random.below(3) == 0 => self.delete_owner(),
            6 => self.delete_pod(),
            7 if self.random.below(4) == 0 => self.make_cron_job(),
            8 => {
                let number = self.random.below(NODES_MAX);
                let effect = if self.random.below(2) == 0 { "NoSchedule" } else { "NoExecute" };
                let taints = match self.random.below(2) {
                    0 => json!([]),
                    _ => json!([{"key": "k", "effect": effect}]),
                };
                self.say(format!("node n{number} taints {taints}"));
                self.cluster.patch(NODES, "", &format!("n{number}"), &json!({"spec": {"taints": taints}}))
            }
            9 if self.random.below(4) == 0 => {
                self.crash();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn make_owner(&mut self) -> Result<(), String> {
        let (of, stem) = OWNERS[self.random.index(OWNERS.len())];
        let name = format!("{stem}{}", self.random.below(2));
        if self.cluster.get(of, NAMESPACE, &name).is_some() {
            return Ok(());
        }
        let replicas = self.random.below(4);
        let labels = json!({"app": name});
        let template =
            json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "a"}]}});
        let mut spec = json!({"template": template, "selector": {"matchLabels": labels},
            "replicas": replicas, "revisionHistoryLimit": 2});
        match of.kind {
            "ReplicationController" => spec["selector"] = labels,
            "StatefulSet" => {
                let parallel = self.random.below(3) == 0;
                spec["podManagementPolicy"] = if parallel { "Parallel" } else { "OrderedReady" }.into();
                spec["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
            }
            "DaemonSet" => {
                spec["updateStrategy"] =
                    json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}});
            }
            "Job" => {
                let indexed = self.random.below(2) == 0;
                spec["completionMode"] = if indexed { "Indexed" } else { "NonIndexed" }.into();
                spec["completions"] = (replicas + 1).into();
                spec["parallelism"] = (1 + self.random.below(3)).into();
                spec["backoffLimit"] = (1 + self.random.below(6)).into();
                spec["podReplacementPolicy"] =
                    if self.random.below(2) == 0 { "Failed" } else { "TerminatingOrFailed" }.into();
            }
            _ => {}
        }
        self.say(format!("new {name}: {replicas}"));
        self.cluster.create(of, NAMESPACE, json!({"metadata": {"name": name}, "spec": spec}))?;
        self.note_asked(of, &name);
        Ok(())
    }

    fn make_cron_job(&mut self) -> Result<(), String> {
        if self.cluster.get(CRON_JOBS, NAMESPACE, "cron").is_some() {
            return Ok(());
        }
        let labels = json!({"app": "cron"});
        let job = json!({"completions": 1, "parallelism": 1, "backoffLimit": 1, "completionMode": "NonIndexed",
            "podReplacementPolicy": "TerminatingOrFailed", "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "a"}]}}});
        let spec = json!({"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1, "jobTemplate": {"spec": job}});
        self.cluster.create(CRON_JOBS, NAMESPACE, json!({"metadata": {"name": "cron"}, "spec": spec}))?;
        Ok(())
    }

    fn note_asked(&mut self, of: Resource, name: &str) {
        let Some(object) = self.cluster.get(of, NAMESPACE, name) else { return };
        let asked = object["spec"]["replicas"].as_i64().unwrap_or(0);
        let most = self.asked.entry(text(&object["metadata"]["uid"])).or_insert(0);
        *most = asked.max(*most);
    }

    fn any_owner(&mut self) -> Option<(Resource, String)> {
        let (of, stem) = OWNERS[self.random.index(OWNERS.len())];
        let name = format!("{stem}{}", self.random.below(2));
        let there = self.cluster.get(of, NAMESPACE, &name).is_some_and(|owner| !is_going(owner));
        there.then_some((of, name))
    }

    fn scale(&mut self) -> Result<(), String> {
        let Some((of, name)) = self.any_owner().filter(|(of, _)| *of != JOBS) else { return Ok(()) };
        let replicas = self.random.below(5);
        self.say(format!("{name} is to have {replicas}"));
        self.cluster.patch(of, NAMESPACE, &name, &json!({"spec": {"replicas": replicas}}))?;
        self.note_asked(of, &name);
        Ok(())
    }

    fn new_template(&mut self) -> Result<(), String> {
        let Some((of, name)) = self.any_owner().filter(|(of, _)| *of != JOBS) else { return Ok(()) };
        let image = ["a", "b", "c"][self.random.index(3)];
        self.say(format!("{name} gets image {image}"));
        let containers = json!([{"name": "c", "image": image}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        self.cluster.patch(of, NAMESPACE, &name, &patch)
    }

    fn delete_owner(&mut self) -> Result<(), String> {
        let Some((of, name)) = self.any_owner() else { return Ok(()) };
        self.say(format!("{name} is deleted"));
        self.cluster.delete(of, NAMESPACE, &name, true)
    }

    fn pods(&self) -> Vec<Value> {
        self.cluster.list(PODS).cloned().collect()
    }

    fn delete_pod(&mut self) -> Result<(), String> {
        let pods = self.pods();
        if pods.is_empty() {
            return Ok(());
        }
        let name = text(&pods[self.random.index(pods.len())]["metadata"]["name"]);
        self.say(format!("a user deletes {name}"));
        self.cluster.delete(PODS, NAMESPACE, &name, false)
    }

    /// Each pod moves one step with a chance of one in `odds`.
    fn kubelets(&mut self, odds: u64) -> Result<(), String> {
        for pod in self.pods() {
            if self.random.below(odds) > 0 {
                continue;
            }
            let name = text(&pod["metadata"]["name"]);
            let is_job = pod["metadata"]["ownerReferences"][0]["kind"] == "Job";
            let troubled = odds > 1;
            let phase = text(&pod["status"]["phase"]);
            if is_going(&pod) {
                if !has_ended(&pod) {
                    self.cluster.pod_status(NAMESPACE, &name, "Failed", false)?;
                }
                self.cluster.delete(PODS, NAMESPACE, &name, true)?;
            } else if pod["spec"]["nodeName"].is_null() {
                let terms = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
                    ["nodeSelectorTerms"];
                let wanted = text(&terms[0]["matchFields"][0]["values"][0]);
                let node = if wanted.is_empty() { "n0".to_owned() } else { wanted };
                self.cluster.patch(PODS, NAMESPACE, &name, &json!({"spec": {"nodeName": node}}))?;
            } else if phase == "Pending" {
                self.cluster.pod_status(NAMESPACE, &name, "Running", true)?;
            } else if phase == "Running" && (is_job || (troubled && self.random.below(12) == 0)) {
                let good = is_job && (!troubled || self.random.below(3) > 0);
                self.say(format!("{name} {}", if good { "succeeds" } else { "fails" }));
                if good {
                    self.succeeded.insert(text(&pod["metadata"]["uid"]), owner_uid(&pod));
                }
                self.cluster.pod_status(
                    NAMESPACE,
                    &name,
                    if good { "Succeeded" } else { "Failed" },
                    false,
                )?;
            }
        }
        Ok(())
    }

    /// The garbage collector: what lost its owner goes.
    fn collect(&mut self) -> Result<(), String> {
        let kinds = OWNERS.iter().map(|(of, _)| *of).chain([CRON_JOBS]);
        let uids: BTreeSet<String> = kinds
            .flat_map(|of| self.cluster.list(of))
            .map(|object| text(&object["metadata"]["uid"]))
            .collect();
        for of in [PODS, JOBS] {
            let gone = |object: &&Value| !owner_uid(object).is_empty() && !uids.contains(&owner_uid(object));
            let names: Vec<String> =
                self.cluster.list(of).filter(gone).map(|object| text(&object["metadata"]["name"])).collect();
            for name in names {
                self.cluster.delete(of, NAMESPACE, &name, false)?;
            }
        }
        Ok(())
    }

    /// The controllers die and come back: they know nothing but what is stored.
    fn crash(&mut self) {
        self.say("crash".to_owned());
        self.running = start();
        let all = self.cluster.replay();
        for running in &mut self.running {
            let view = self.cluster.objects.view();
            running.queue.extend(all.iter().flat_map(|change| running.controller.keys(change, &view)));
        }
    }

    fn deliver(&mut self) {
        let news = self.cluster.news();
        for running in &mut self.running {
            let view = self.cluster.objects.view();
            running.queue.extend(news.iter().flat_map(|change| running.controller.keys(change, &view)));
            let now = self.cluster.now;
            running
                .queue
                .extend(running.later.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()));
            running.later.retain(|_, at| *at > now);
        }
    }

    /// One key of one controller; with a chance of one in `odds`, something goes wrong between two writes. True: it wrote.
    fn work(&mut self, odds: u64) -> Result<bool, String> {
        let busy: Vec<usize> =
            (0..self.running.len()).filter(|at| !self.running[*at].queue.is_empty()).collect();
        if busy.is_empty() {
            return Ok(false);
        }
        let at = busy[self.random.index(busy.len())];
        let keys: Vec<ObjectKey> = self.running[at].queue.iter().cloned().collect();
        let key = keys[self.random.index(keys.len())].clone();
        self.running[at].queue.remove(&key);
        let context = Context { now: self.cluster.now, last_failure: None };
        let plan = self.running[at].controller.reconcile(&self.cluster.objects.view(), &key, &context);
        if let Some(time) = plan.requeue_at {
            self.running[at].later.insert(key.clone(), time);
        }
        let name = self.running[at].controller.name();
        let wrote = !plan.writes.is_empty();
        for write in plan.writes {
            let fate = if odds > 0 { self.random.below(odds * 4) } else { 9 };
            if fate == 0 {
                self.say(format!("{name} {key}: a write is lost"));
                self.running[at].queue.insert(key);
                return Ok(true);
            }
            let done = self.cluster.perform(&write);
            self.judge_write(&write.op, name)?;
            if fate == 1 || done.is_err() {
                self.say(format!("{name} {key}: an answer is lost, or {done:?}"));
                self.running[at].queue.insert(key);
                return Ok(true);
            }
            if fate == 2 {
                self.crash();
                return Ok(true);
            }
        }
        Ok(wrote)
    }

    /// An ordered StatefulSet makes no pod before the earlier ones are there.
    fn judge_write(&self, op: &kedge_controllers_core::Op, controller: &str) -> Result<(), String> {
        let kedge_controllers_core::Op::Create(object) = op else { return Ok(()) };
        if controller != "statefulset-controller" || object["kind"] != "Pod" {
            return Ok(());
        }
        let name = text(&object["metadata"]["name"]);
        let Some((set, ordinal)) = name.rsplit_once('-') else { return Err(format!("a pod named {name}")) };
        let owner = self.cluster.get(STATEFUL_SETS, NAMESPACE, set);
        if owner.is_none_or(|owner| owner["spec"]["podManagementPolicy"] == "Parallel") {
            return Ok(());
        }
        let number: i64 = ordinal.parse().map_err(|_| format!("a pod named {name}"))?;
        let missing = (0..number)
            .find(|earlier| self.cluster.get(PODS, NAMESPACE, &format!("{set}-{earlier}")).is_none());
        missing.map_or(Ok(()), |earlier| Err(format!("{name} is made before {set}-{earlier}")))
    }

    fn judge(&self) -> Result<(), String> {
        let mut per_owner: BTreeMap<String, i64> = BTreeMap::new();
        let mut per_node: BTreeMap<(String, String), i64> = BTreeMap::new();
        for pod in self.cluster.list(PODS).filter(|pod| !is_going(pod) && !has_ended(pod)) {
            let owner = &pod["metadata"]["ownerReferences"][0];
            *per_owner.entry(text(&owner["uid"])).or_default() += 1;
            if owner["kind"] == "DaemonSet" {
                let node = (text(&owner["uid"]), text(&pod["spec"]["nodeName"]));
                *per_node.entry(node).or_default() += 1;
            }
        }
        if let Some(((_, node), count)) = per_node.iter().find(|((_, node), n)| **n > 1 && !node.is_empty()) {
            return Err(format!("{count} daemons on {node}"));
        }
        for of in [REPLICA_SETS, REPLICATION_CONTROLLERS] {
            for set in self.cluster.list(of) {
                let uid = text(&set["metadata"]["uid"]);
                let (has, asked) = (per_owner.get(&uid).copied().unwrap_or(0), self.asked.get(&uid));
                if asked.is_some_and(|asked| has > *asked) {
                    return Err(format!("{} has {has} pods", set["metadata"]["name"]));
                }
            }
        }
        self.judge_jobs()
    }

    fn judge_jobs(&self) -> Result<(), String> {
        for job in self.cluster.list(JOBS) {
            let uid = &job["metadata"]["uid"];
            let real = self.succeeded.values().filter(|owner| *uid == ***owner).count();
            let counted = job["status"]["succeeded"].as_u64().unwrap_or(0);
            if counted > real as u64 {
                return Err(format!("{} counts {counted} of {real} successes", job["metadata"]["name"]));
            }
        }
        let unfinished = |job: &&Value| {
            job["metadata"]["ownerReferences"][0]["kind"] == "CronJob" && !is_going(job) && !is_finished(job)
        };
        let count = self.cluster.list(JOBS).filter(unfinished).count();
        if count > 1 {
            return Err(format!("{count} jobs of a CronJob that forbids it"));
        }
        Ok(())
    }

    /// In the calm the CronJob stops, so that everything can come to rest.
    fn finish_jobs(&mut self) -> Result<(), String> {
        self.cluster.patch(CRON_JOBS, NAMESPACE, "cron", &json!({"spec": {"suspend": true}}))?;
        for number in 0..NODES_MAX {
            self.cluster.patch(NODES, "", &format!("n{number}"), &json!({"spec": {"taints": []}}))?;
        }
        Ok(())
    }

    fn judge_end(&self) -> Result<(), String> {
        for (of, _) in OWNERS {
            for owner in self.cluster.list(of) {
                self.judge_owner(of, owner)?;
            }
        }
        let held = |pod: &&Value| {
            let owner = owner_uid(pod);
            let there = self.cluster.list(JOBS).any(|job| job["metadata"]["uid"] == owner.as_str());
            pod["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty()) && !there
        };
        match self.cluster.list(PODS).find(held) {
            Some(pod) => Err(format!("nobody lets go of {}", pod["metadata"]["name"])),
            None => Ok(()),
        }
    }

    fn judge_owner(&self, of: Resource, owner: &Value) -> Result<(), String> {
        let (name, uid) = (&owner["metadata"]["name"], text(&owner["metadata"]["uid"]));
        let ready = self
            .cluster
            .list(PODS)
            .filter(|pod| owner_uid(pod) == uid && !is_going(pod) && pod["status"]["phase"] == "Running")
            .count() as u64;
        let wanted = match of.kind {
            "Job" => return self.judge_job_end(owner),
            "DaemonSet" => NODES_MAX,
            _ => owner["spec"]["replicas"].as_u64().unwrap_or(1),
        };
        if ready != wanted {
            return Err(format!("{name} has {ready} pods running, not {wanted}; status {}", owner["status"]));
        }
        let revisions = (&owner["status"]["currentRevision"], &owner["status"]["updateRevision"]);
        if of == STATEFUL_SETS && revisions.0 != revisions.1 {
            return Err(format!("{name} did not finish its update"));
        }
        Ok(())
    }

    fn judge_job_end(&self, job: &Value) -> Result<(), String> {
        if !is_finished(job) {
            return Err(format!("{} is not finished: {}", job["metadata"]["name"], job["status"]));
        }
        let complete = job["status"]["conditions"].as_array().into_iter().flatten();
        let complete = complete.filter(|c| c["type"] == "Complete").count() > 0;
        if complete && job["status"]["succeeded"].as_i64() < job["spec"]["completions"].as_i64() {
            return Err(format!("{} is complete too early: {}", job["metadata"]["name"], job["status"]));
        }
        Ok(())
    }
}

fn is_finished(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter(|c| c["type"] == "Complete" || c["type"] == "Failed").count() > 0
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn clusters_in_trouble() {
        for seed in 0..25 {
            run(seed).unwrap_or_else(|story| panic!("{story}"));
        }
    }
}
