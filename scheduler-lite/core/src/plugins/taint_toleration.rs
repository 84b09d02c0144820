//! TaintToleration: NoSchedule and NoExecute taints keep pods away that do not tolerate them; PreferNoSchedule taints make a
//! node less liked.

use kedge_api::node::{Taint, is_tolerated};
use kedge_api::{Node, Pod};

use crate::framework::{ClusterEvent, Normalize, Plugin, PreFilter, Refusal, Score};
use crate::snapshot::Snapshot;

pub struct TaintToleration;

const NAME: &str = "TaintToleration";

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> PreFilter<'a> {
        let refused: Vec<bool> =
            snapshot.taint_lists().iter().map(|taints| has_untolerated(taints, pod)).collect();
        if !refused.contains(&true) {
            return PreFilter::Skip;
        }
        PreFilter::Filter(Box::new(move |row| match refused[snapshot.taints(row).index()] {
            true => Err(Refusal::unresolvable(NAME, "node(s) had untolerated taint(s)")),
            false => Ok(()),
        }))
    }

    fn score<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> Option<Score<'a>> {
        let disliked = |taint: &&Taint| {
            taint.effect == "PreferNoSchedule" && !is_tolerated(taint, &pod.spec.tolerations)
        };
        let counts: Vec<i64> = snapshot
            .taint_lists()
            .iter()
            .map(|taints| i64::try_from(taints.iter().filter(disliked).count()).unwrap_or(i64::MAX))
            .collect();
        Some(Score {
            of: Box::new(move |row| counts[snapshot.taints(row).index()]),
            normalize: Normalize::LargestIsWorst,
        })
    }

    /// Taints are set by people and mean more than a tidy distribution.
    fn weight(&self) -> i64 {
        3
    }

    fn may_help(&self, pod: &Pod, event: ClusterEvent<'_>) -> bool {
        let welcomes = |node: &Node| !has_untolerated(&node.spec.taints, pod);
        match event {
            ClusterEvent::NodeAdded(node) => welcomes(node),
            ClusterEvent::NodeUpdated { old, new } => !welcomes(old) && welcomes(new),
            ClusterEvent::PodLeft(_) => false,
        }
    }
}

fn has_untolerated(taints: &[Taint], pod: &Pod) -> bool {
    taints.iter().any(|taint| {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
            && !is_tolerated(taint, &pod.spec.tolerations)
    })
}
