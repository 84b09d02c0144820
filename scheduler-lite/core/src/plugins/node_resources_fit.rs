//! NodeResourcesFit: what a pod requests must be free on its node; among nodes with room, the emptiest is liked best
//! (upstream's strategy LeastAllocated over CPU and memory).

use std::borrow::Cow;

use kedge_api::{Node, Pod};

use crate::framework::{ClusterEvent, Code, MAX_NODE_SCORE, Normalize, Plugin, PreFilter, Refusal, Score};
use crate::resources::{Amounts, CPU, MEMORY, PODS, Requests};
use crate::snapshot::{Column, Row, Snapshot};

pub struct NodeResourcesFit;

const NAME: &str = "NodeResourcesFit";

/// A request beside the column that must have room for it.
struct Wanted<'a> {
    resource: String,
    amount: i64,
    /// None: no node offers the resource.
    column: Option<&'a Column>,
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> PreFilter<'a> {
        let requests = Requests::of(pod).exact;
        let wanted: Vec<Wanted<'a>> = requests
            .iter()
            .filter(|(_, amount)| *amount > 0)
            .map(|(resource, amount)| Wanted {
                resource: resource.to_owned(),
                amount,
                column: snapshot.column(resource),
            })
            .collect();
        PreFilter::Filter(Box::new(move |row| match wanted.iter().all(|wanted| wanted.fits(row)) {
            true => Ok(()),
            false => Err(refusal(&wanted, row)),
        }))
    }

    fn score<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> Option<Score<'a>> {
        let assumed = Requests::of(pod).assumed;
        let sides = [
            (snapshot.column(CPU), snapshot.assumed_cpu(), assumed.get(CPU)),
            (snapshot.column(MEMORY), snapshot.assumed_memory(), assumed.get(MEMORY)),
        ];
        let of = move |row: Row| {
            let free = sides.iter().filter_map(|(column, used, amount)| {
                let allocatable = (*column)?.allocatable[row.index()];
                (allocatable > 0).then(|| free_share(allocatable, used[row.index()] + amount))
            });
            let (sum, count) = free.fold((0, 0), |(sum, count), share| (sum + share, count + 1));
            if count == 0 { 0 } else { sum / count }
        };
        Some(Score { of: Box::new(of), normalize: Normalize::AsIs })
    }

    fn may_help(&self, pod: &Pod, event: ClusterEvent<'_>) -> bool {
        let wanted = Requests::of(pod).exact;
        match event {
            ClusterEvent::NodeAdded(node) => could_hold(node, &wanted),
            ClusterEvent::NodeUpdated { old, new } => {
                let (before, after) =
                    (Amounts::read(&old.status.allocatable), Amounts::read(&new.status.allocatable));
                let grew =
                    wanted.iter().any(|(name, amount)| amount > 0 && after.get(name) > before.get(name));
                grew && could_hold(new, &wanted)
            }
            ClusterEvent::PodLeft(gone) => {
                let freed = Requests::of(gone).exact;
                wanted.iter().any(|(name, amount)| amount > 0 && freed.get(name) > 0)
            }
        }
    }
}

impl Wanted<'_> {
    fn allocatable(&self, row: Row) -> i64 {
        self.column.map_or(0, |column| column.allocatable[row.index()])
    }

    fn fits(&self, row: Row) -> bool {
        let requested = self.column.map_or(0, |column| column.requested[row.index()]);
        self.amount <= self.allocatable(row) - requested
    }

    fn reason(&self) -> Cow<'static, str> {
        match self.resource.as_str() {
            PODS => Cow::Borrowed("Too many pods"),
            CPU => Cow::Borrowed("Insufficient cpu"),
            MEMORY => Cow::Borrowed("Insufficient memory"),
            other => Cow::Owned(format!("Insufficient {other}")),
        }
    }
}

/// All that is missing, not only the first.
fn refusal(wanted: &[Wanted<'_>], row: Row) -> Refusal {
    let missing: Vec<&Wanted<'_>> = wanted.iter().filter(|wanted| !wanted.fits(row)).collect();
    // A node that may run no pod at all is resolvable upstream; only amounts of real resources rule a node out for good.
    let hopeless =
        missing.iter().any(|wanted| wanted.resource != PODS && wanted.amount > wanted.allocatable(row));
    Refusal {
        plugin: NAME,
        code: if hopeless { Code::UnschedulableAndUnresolvable } else { Code::Unschedulable },
        reasons: missing.iter().map(|wanted| wanted.reason()).collect(),
    }
}

fn could_hold(node: &Node, wanted: &Amounts) -> bool {
    let allocatable = Amounts::read(&node.status.allocatable);
    wanted.iter().all(|(name, amount)| amount <= allocatable.get(name))
}

fn free_share(allocatable: i64, used: i64) -> i64 {
    if used > allocatable {
        return 0;
    }
    let share = i128::from(allocatable - used) * i128::from(MAX_NODE_SCORE) / i128::from(allocatable);
    i64::try_from(share).expect("a share of a hundred")
}
