//! NodeName: a pod that names a node runs there and nowhere else.

use kedge_api::Pod;

use crate::framework::{ClusterEvent, Plugin, PreFilter, Refusal};
use crate::snapshot::Snapshot;

pub struct NodeName;

const NAME: &str = "NodeName";

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> PreFilter<'a> {
        let wanted = pod.spec.node_name.as_str();
        if wanted.is_empty() {
            return PreFilter::Skip;
        }
        let wanted = snapshot.row(wanted);
        PreFilter::Filter(Box::new(move |row| match wanted == Some(row) {
            true => Ok(()),
            false => Err(Refusal::unresolvable(NAME, "node(s) didn't match the requested node name")),
        }))
    }

    fn may_help(&self, pod: &Pod, event: ClusterEvent<'_>) -> bool {
        matches!(event, ClusterEvent::NodeAdded(node) if node.metadata.name == pod.spec.node_name)
    }
}
