//! NodeUnschedulable: no pods for a cordoned node, unless they tolerate its taint.

use kedge_api::Pod;
use kedge_api::node::{Taint, is_tolerated};

use crate::framework::{ClusterEvent, Plugin, PreFilter, Refusal};
use crate::snapshot::Snapshot;

pub struct NodeUnschedulable;

const NAME: &str = "NodeUnschedulable";

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> PreFilter<'a> {
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        if is_tolerated(&taint, &pod.spec.tolerations) {
            return PreFilter::Skip;
        }
        PreFilter::Filter(Box::new(|row| match snapshot.is_unschedulable(row) {
            true => Err(Refusal::unresolvable(NAME, "node(s) were unschedulable")),
            false => Ok(()),
        }))
    }

    fn may_help(&self, _pod: &Pod, event: ClusterEvent<'_>) -> bool {
        match event {
            ClusterEvent::NodeAdded(node) => !node.spec.unschedulable,
            ClusterEvent::NodeUpdated { old, new } => old.spec.unschedulable && !new.spec.unschedulable,
            ClusterEvent::PodLeft(_) => false,
        }
    }
}
