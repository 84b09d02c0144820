//! SchedulingGates: a pod with gates is not tried until somebody has taken the last one away. The API server itself sets the
//! condition `SchedulingGated`.

use kedge_api::Pod;

use crate::framework::{Plugin, Refusal};

pub struct SchedulingGates;

const NAME: &str = "SchedulingGates";

impl Plugin for SchedulingGates {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_enqueue(&self, pod: &Pod) -> Result<(), Refusal> {
        let gates: Vec<&str> = pod.spec.scheduling_gates.iter().map(|gate| gate.name.as_str()).collect();
        if gates.is_empty() {
            return Ok(());
        }
        Err(Refusal::unresolvable(NAME, format!("waiting for scheduling gates: [{}]", gates.join(" "))))
    }
}
