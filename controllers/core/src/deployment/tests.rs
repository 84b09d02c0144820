//! A deployment's rollout as a script: the controllers against a small cluster in memory.

use super::*;
use crate::plan::{Op, merge};
use crate::replicaset::ReplicaSetController;
use crate::view::Objects;
use kedge_api::Time;

#[derive(Default)]
struct Cluster {
    objects: Objects,
    now: i64,
    made: u32,
    pods_most: usize,
    ready_least: usize,
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("d", name)
}

impl Cluster {
    fn deploy(&mut self, spec: Value) {
        let generation = self.objects.deployments.get(&key("web")).map_or(1, |d| d.metadata.generation + 1);
        let standing = self.objects.deployments.get(&key("web"));
        let mut object = json!({
            "metadata": {"name": "web", "namespace": "d", "uid": "web", "generation": generation},
            "spec": spec,
        });
        if let Some(standing) = standing {
            object["status"] = json!(standing.status);
            object["metadata"]["annotations"] = json!(standing.metadata.annotations);
        }
        self.objects.deployments.apply(key("web"), serde_json::from_value(object).unwrap());
    }

    /// Performs a plan the way the server would.
    fn perform(&mut self, plan: Plan) {
        for write in plan.writes {
            self.made += 1;
            match write.op {
                Op::Create(object) => self.create(object),
                Op::Patch { name, patch, .. } => self.patch(write.of.kind, &name, &patch),
                Op::Delete { name, .. } if write.of == REPLICA_SETS => {
                    self.objects.replica_sets.delete(&key(&name))
                }
                Op::Delete { name, .. } => self.objects.pods.delete(&key(&name)),
                Op::Replace { .. } => unreachable!("no replace in a rollout"),
            }
        }
    }

    fn create(&mut self, mut object: Value) {
        let name = match object["metadata"]["name"].as_str() {
            Some(name) => name.to_owned(),
            None => format!("{}{}", object["metadata"]["generateName"].as_str().unwrap(), self.made),
        };
        object["metadata"]["name"] = name.as_str().into();
        object["metadata"]["uid"] = name.as_str().into();
        object["metadata"]["generation"] = 1.into();
        object["metadata"]["creationTimestamp"] = json!(Time(self.now));
        match object["kind"].as_str().unwrap() {
            "Pod" => self.objects.pods.apply(key(&name), serde_json::from_value(object).unwrap()),
            "ReplicaSet" => {
                self.objects.replica_sets.apply(key(&name), serde_json::from_value(object).unwrap())
            }
            other => unreachable!("{other}"),
        }
    }

    fn patch(&mut self, kind: &str, name: &str, patch: &Value) {
        fn merged<T: serde::Serialize + serde::de::DeserializeOwned>(object: &T, patch: &Value) -> T {
            let mut value = serde_json::to_value(object).unwrap();
            merge(&mut value, patch);
            serde_json::from_value(value).unwrap()
        }
        match kind {
            "Deployment" => {
                let object = merged(&*self.objects.deployments.get(&key(name)).unwrap(), patch);
                self.objects.deployments.apply(key(name), object);
            }
            "ReplicaSet" => {
                let object = merged(&*self.objects.replica_sets.get(&key(name)).unwrap(), patch);
                self.objects.replica_sets.apply(key(name), object);
            }
            other => unreachable!("{other}"),
        }
    }

    /// Lets one pod get ready; false when all are.
    fn start_one(&mut self) -> bool {
        let Some(pod) = self.objects.pods.list().into_iter().find(|pod| !pod.is_ready()) else {
            return false;
        };
        let mut pod = (*pod).clone();
        pod.status = serde_json::from_value(json!({"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": Time(self.now)}]}))
        .unwrap();
        self.objects.pods.apply(key(&pod.metadata.name.clone()), pod);
        true
    }

    fn settle(&mut self) {
        for _ in 0..50 {
            let context = Context { now: Time(self.now), last_failure: None };
            let plan = DeploymentController.reconcile(&self.objects.view(), &key("web"), &context);
            let mut writes = plan.writes.len();
            self.perform(plan);
            for set in self.objects.replica_sets.list() {
                let plan =
                    ReplicaSetController.reconcile(&self.objects.view(), &key(&set.metadata.name), &context);
                writes += plan.writes.len();
                self.perform(plan);
            }
            let ready = self.objects.pods.list().iter().filter(|pod| pod.is_ready()).count();
            self.pods_most = self.pods_most.max(self.objects.pods.len());
            self.ready_least = self.ready_least.min(ready);
            if writes == 0 {
                return;
            }
        }
        panic!("the controllers do not come to rest");
    }

    fn roll_out(&mut self) {
        self.settle();
        self.pods_most = self.objects.pods.len();
        self.ready_least = self.objects.pods.list().iter().filter(|pod| pod.is_ready()).count();
        for _ in 0..200 {
            self.now += 1;
            if !self.start_one() {
                return;
            }
            self.settle();
        }
        panic!("the rollout does not end");
    }

    fn sizes(&self) -> String {
        let sets = self.objects.replica_sets.list();
        let mut sizes: Vec<(i64, String)> = sets
            .iter()
            .map(|set| (set.annotation(REVISION).unwrap().parse().unwrap(), set.replicas().to_string()))
            .collect();
        sizes.sort();
        sizes.iter().map(|(revision, size)| format!("{revision}:{size}")).collect::<Vec<_>>().join(" ")
    }

    fn reason(&self, kind: &str) -> String {
        let deployment = self.objects.deployments.get(&key("web")).unwrap();
        deployment.condition(kind).map_or(String::new(), |condition| condition.reason.clone())
    }
}

fn spec(replicas: i64, image: &str, strategy: Value) -> Value {
    json!({
        "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "strategy": strategy,
        "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}},
    })
}

fn rolling(surge: &str, unavailable: &str) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

#[test]
fn a_rolling_update_keeps_its_promises() {
    let mut cluster = Cluster::default();
    cluster.deploy(spec(4, "a", rolling("25%", "25%")));
    cluster.roll_out();
    assert_eq!(cluster.sizes(), "1:4");
    assert_eq!(cluster.reason("Progressing"), "NewReplicaSetAvailable");
    cluster.deploy(spec(4, "b", rolling("25%", "25%")));
    cluster.roll_out();
    assert_eq!(cluster.sizes(), "1:0 2:4");
    assert_eq!((cluster.pods_most, cluster.ready_least), (5, 3), "maxSurge 1, maxUnavailable 1");
    assert_eq!(cluster.reason("Available"), "MinimumReplicasAvailable");
    // Back to the first template: its set gets a new revision, no third set appears.
    cluster.deploy(spec(4, "a", rolling("25%", "25%")));
    cluster.roll_out();
    assert_eq!(cluster.sizes(), "2:0 3:4");
}

#[test]
fn recreate_never_mixes_versions() {
    let mut cluster = Cluster::default();
    cluster.deploy(spec(3, "a", json!({"type": "Recreate"})));
    cluster.roll_out();
    cluster.deploy(spec(3, "b", json!({"type": "Recreate"})));
    cluster.roll_out();
    assert_eq!(cluster.sizes(), "1:0 2:3");
    assert!(cluster.pods_most <= 3);
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_shared_out() {
    let mut cluster = Cluster::default();
    cluster.deploy(spec(10, "a", rolling("0", "20%")));
    let sizes = |cluster: &Cluster| cluster.sizes();
    cluster.roll_out();
    cluster.deploy(spec(10, "b", rolling("0%", "20%")));
    cluster.settle();
    assert_eq!(sizes(&cluster), "1:8 2:2");
    cluster.deploy(spec(20, "b", rolling("0%", "20%")));
    cluster.settle();
    assert_eq!(sizes(&cluster), "1:16 2:4");
    cluster.roll_out();
    assert_eq!(sizes(&cluster), "1:0 2:20");
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut cluster = Cluster::default();
    cluster.deploy(spec(2, "a", rolling("1", "0")));
    cluster.roll_out();
    let mut paused = spec(3, "b", rolling("1", "0"));
    paused["paused"] = true.into();
    cluster.deploy(paused);
    cluster.settle();
    assert_eq!(cluster.sizes(), "1:3");
    assert_eq!(cluster.reason("Progressing"), "DeploymentPaused");
}

#[test]
fn old_sets_beyond_the_limit_go() {
    let mut cluster = Cluster::default();
    for image in ["a", "b", "c", "d"] {
        let mut spec = spec(1, image, rolling("1", "0"));
        spec["revisionHistoryLimit"] = 1.into();
        cluster.deploy(spec);
        cluster.roll_out();
        cluster.settle();
    }
    assert_eq!(cluster.sizes(), "3:0 4:1");
}
