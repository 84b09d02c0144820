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
use kedge_integration::tools::Tools;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

type Step = (&'static str, fn(&Lab));

const STEPS: &[Step] = &[
    ("a machine is checked", lifecycle::check),
    ("start makes a Ready node", lifecycle::start),
    ("a second start adopts the first", lifecycle::start_again),
    ("a port in use is said in one sentence", lifecycle::port_in_use),
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
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(reason) => {
            println!("SKIP spine: {reason}");
            return;
        }
    };
    let began = Instant::now();
    let lab = Lab::new(tools);
    let failed: Vec<&str> = STEPS.iter().filter(|step| !passes(&lab, step)).map(|step| step.0).collect();
    let took = began.elapsed();
    assert!(failed.is_empty(), "{} of {} steps failed: {failed:#?}", failed.len(), STEPS.len());
    assert!(took < LIMIT, "the steps took {took:?}");
}

fn passes(lab: &Lab, (name, step): &Step) -> bool {
    let began = Instant::now();
    let passed = catch_unwind(AssertUnwindSafe(|| step(lab))).is_ok();
    println!(
        "{:>7.1} s  {}  {name}",
        began.elapsed().as_secs_f64(),
        if passed { "ok    " } else { "FAILED" }
    );
    if !passed {
        let log = std::fs::read_to_string(lab.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        println!("the end of kedge's log:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
    }
    passed
}
