//! The spine: what a user does with one node, from `kedge start` to `kedge delete`, in one lab.
//!
//! The steps run in this order on one node, because a start takes longer than most of them. Each says what must hold by
//! itself; one that fails does not keep the later ones from running.

mod applications;
mod explanations;
mod lifecycle;
mod manifests;
mod network;
mod restarts;

use kedge_integration::lab::Lab;
use kedge_integration::steps::{self, Step};
use kedge_integration::wait::patience;
use std::time::{Duration, Instant};

const STEPS: &[Step] = &[
    ("a machine is checked", lifecycle::check),
    ("start makes a Ready node", lifecycle::start),
    ("a deployment is rolled out", applications::roll_out),
    ("a pod of another namespace runs", applications::client),
    ("a service answers by every way in", network::service),
    ("a service has a name", network::names),
    ("a port is forwarded", network::port_forward),
    ("commands and logs", applications::exec_and_logs),
    ("a pod that runs once", applications::run_once),
    ("scale to three and back", applications::scale),
    ("restart and undo a rollout", applications::restart_and_undo),
    ("describe", explanations::describe),
    ("an unschedulable pod is explained", explanations::unschedulable),
    ("an image that does not exist", explanations::missing_image),
    ("a container that fails its liveness probe", explanations::sick),
    ("an invalid object is refused with every finding", explanations::invalid),
    ("kill -9 of kedge hurts no pod", restarts::kill),
    ("stop and start bring the pods back", restarts::stop_and_start),
    ("a namespace is deleted whole", applications::delete_namespace),
    ("everything is deleted", applications::delete_all),
    ("delete leaves no trace", lifecycle::delete),
];

/// All steps together take no longer.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn spine() {
    let Some(lab) = Lab::or_skip() else { return };
    let began = Instant::now();
    steps::run(&lab, STEPS);
    let took = began.elapsed();
    assert!(took < LIMIT * patience(), "the steps took {took:?}");
}
