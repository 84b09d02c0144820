//! NodeResourcesBalancedAllocation: likes nodes on which the pod brings the used shares of CPU and memory closer together, so
//! that neither is left over alone.

use kedge_api::Pod;

use crate::framework::{MAX_NODE_SCORE, Normalize, Plugin, Score};
use crate::resources::{CPU, MEMORY, Requests};
use crate::snapshot::{Row, Snapshot};

pub struct NodeResourcesBalancedAllocation;

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn score<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> Option<Score<'a>> {
        let requests = Requests::of(pod).exact;
        let (cpu, memory) = (requests.get(CPU), requests.get(MEMORY));
        // A pod that requests nothing changes no balance.
        if cpu == 0 && memory == 0 {
            return None;
        }
        let sides = [(snapshot.column(CPU), cpu), (snapshot.column(MEMORY), memory)];
        let share = move |row: Row, with_pod: bool| {
            sides.map(|(column, amount)| {
                let column = column?;
                let allocatable = column.allocatable[row.index()];
                let used = column.requested[row.index()] + if with_pod { amount } else { 0 };
                (allocatable > 0).then(|| (used as f64 / allocatable as f64).min(1.0))
            })
        };
        let of = move |row| {
            let gain = balance(share(row, true)) - balance(share(row, false));
            MAX_NODE_SCORE / 2 + (MAX_NODE_SCORE / 2 + gain) / 2
        };
        Some(Score { of: Box::new(of), normalize: Normalize::AsIs })
    }
}

/// 100 where both shares are equal, less the further they are apart. Of two numbers half the distance is the deviation.
fn balance(shares: [Option<f64>; 2]) -> i64 {
    let deviation = match shares {
        [Some(a), Some(b)] => ((a - b) / 2.0).abs(),
        [None, _] | [_, None] => 0.0,
    };
    ((1.0 - deviation) * MAX_NODE_SCORE as f64) as i64
}
