//! Steps on one lab, one after the other: a start takes longer than most of them. Each says what must hold by itself; one
//! that fails does not keep the later ones from running.

use crate::lab::Lab;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// What it shows, and how.
pub type Step = (&'static str, fn(&Lab));

/// Panics at the end when a step has failed.
pub fn run(lab: &Lab, steps: &[Step]) {
    let failed: Vec<&str> = steps.iter().filter(|step| !passes(lab, step)).map(|step| step.0).collect();
    assert!(failed.is_empty(), "{} of {} steps failed: {failed:#?}", failed.len(), steps.len());
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
