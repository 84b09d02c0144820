//! `kedge start` → node Ready, on empty folders.

use crate::node::Node;
use crate::{Outcome, report};

const ROUNDS: usize = 3;

pub fn run() -> Outcome {
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        seconds.push(Node::start()?.started_in.as_secs_f64());
    }
    report::distribution("kedge start to node Ready", seconds, "s", "2 s");
    Ok(())
}
