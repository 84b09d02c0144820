//! DefaultPreemption: says on how many nodes the departure of lesser pods could help, and on how many nothing can.
//!
//! Choosing victims and evicting them is a plan of its own (which pods, in which order, on which node, under which disruption
//! budgets) that PostFilter will hand to the shell beside the message; a node where lesser pods could leave is
//! told as such here, so that the message is honest until then.

use std::collections::BTreeMap;

use kedge_api::Pod;

use crate::diagnosis::fit_message;
use crate::framework::{Code, Plugin, Refusal};
use crate::snapshot::{Row, Snapshot};

pub struct DefaultPreemption;

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";
const NOT_DONE: &str = "node(s) run pods of lower priority, which are not preempted";

impl Plugin for DefaultPreemption {
    fn name(&self) -> &'static str {
        "DefaultPreemption"
    }

    fn post_filter(&self, snapshot: &Snapshot, pod: &Pod, refusals: &[(Row, Refusal)]) -> Option<String> {
        if pod.spec.preemption_policy.as_deref() == Some("Never") {
            return Some("preemption: not eligible due to preemptionPolicy=Never.".to_owned());
        }
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        let mut told = 0;
        for (row, refusal) in refusals {
            *reasons.entry(prospect(snapshot, pod, *row, refusal)).or_default() += 1;
            told += 1;
        }
        // Nodes that were never asked are those that the pod's own affinity rules out.
        let silent = snapshot.len().saturating_sub(told);
        if silent > 0 {
            *reasons.entry(NOT_HELPFUL).or_default() += silent;
        }
        Some(format!("preemption: {}", fit_message(snapshot.len(), &reasons)))
    }
}

fn prospect(snapshot: &Snapshot, pod: &Pod, row: Row, refusal: &Refusal) -> &'static str {
    let priority = |pod: &Pod| pod.spec.priority.unwrap_or(0);
    match refusal.code {
        Code::UnschedulableAndUnresolvable => NOT_HELPFUL,
        Code::Unschedulable => {
            let mut others = snapshot.pods_on(snapshot.name(row));
            if others.any(|other| priority(other) < priority(pod)) { NOT_DONE } else { NO_VICTIMS }
        }
    }
}
