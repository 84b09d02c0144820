//! Deployments and pods as their owner sees them.

use crate::manifests;
use kedge_integration::lab::Lab;
use kedge_integration::run::contains;
use kedge_integration::wait::eventually;
use std::time::Duration;

pub fn roll_out(lab: &Lab) {
    contains(&lab.apply(manifests::HELLO).ok(), &["deployment.apps/hello created", "service/hello created"]);
    contains(&rolled_out(lab), &["successfully rolled out"]);
    assert_eq!(lab.field("deployment/hello", ".status.readyReplicas"), "2");
}

pub fn client(lab: &Lab) {
    lab.kubectl("create namespace other").ok();
    lab.kubectl("wait -n other --for=create serviceaccount/default --timeout=20s").ok();
    lab.apply(manifests::CLIENT).ok();
    lab.kubectl("wait -n other --for=condition=Ready pod/client --timeout=30s").ok();
}

fn rolled_out(lab: &Lab) -> String {
    lab.kubectl("rollout status deployment/hello --timeout=40s").ok()
}

pub fn run_once(lab: &Lab) {
    let said = lab.kubectl(
        "run once --image=kedge.local/hello:1 --restart=Never --rm -i --quiet -- echo said and gone",
    );
    contains(&said.ok(), &["said and gone"]);
    contains(&lab.kubectl("get pod once").fails_with(1), &["NotFound"]);
}

pub fn exec_and_logs(lab: &Lab) {
    let one = lab.field("pods -l app=hello", ".items[0].metadata.name");
    let said = lab.kubectl(&format!("exec {one} -- /hello echo a b")).ok();
    assert_eq!(said, "a b\n");
    lab.kubectl_words(&["exec", &one, "--", "/hello", "sh", "-c", "exit 5"]).fails_with(5);
    assert_eq!(lab.kubectl("exec -n other client -- cat /etc/hostname").ok().trim(), "client");
    contains(&lab.kubectl(&format!("logs {one}")).ok(), &["GET /"]);
    assert_eq!(lab.kubectl(&format!("logs {one} --tail=1")).ok().lines().count(), 1);
}

pub fn scale(lab: &Lab) {
    lab.kubectl("scale deployment/hello --replicas=3").ok();
    rolled_out(lab);
    assert_eq!(lab.field("deployment/hello", ".status.readyReplicas"), "3");
    lab.kubectl("scale deployment/hello --replicas=2").ok();
    rolled_out(lab);
    eventually("two pods are left", Duration::from_secs(40), || {
        let names = lab.field("pods -l app=hello", ".items[*].metadata.name");
        (names.split_whitespace().count() == 2).then_some(())
    });
}

pub fn restart_and_undo(lab: &Lab) {
    let template = |lab: &Lab| lab.field("deployment/hello", ".spec.template.metadata.annotations");
    let before = template(lab);
    lab.kubectl("rollout restart deployment/hello").ok();
    rolled_out(lab);
    assert!(template(lab).contains("restartedAt"));
    lab.kubectl("rollout undo deployment/hello").ok();
    rolled_out(lab);
    assert_eq!(template(lab), before);
    assert_eq!(lab.kubectl("get replicasets -l app=hello --no-headers").ok().lines().count(), 2);
}

pub fn delete_namespace(lab: &Lab) {
    lab.kubectl("delete namespace other --timeout=40s").ok();
    contains(&lab.kubectl("get pod client -n other").fails_with(1), &["NotFound"]);
    contains(&lab.kubectl("get namespace other").fails_with(1), &["NotFound"]);
}

pub fn delete_all(lab: &Lab) {
    lab.kubectl("delete deployment,pod --all --timeout=50s").ok();
    lab.kubectl("delete service hello --timeout=20s").ok();
    eventually("nothing of the deployment is left", Duration::from_secs(20), || {
        let left = lab.kubectl("get pods,replicasets,endpointslices -l app=hello -o name").ok();
        left.is_empty().then_some(())
    });
}
