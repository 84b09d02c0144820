//! NodePorts: a port of the node belongs to one pod at a time, per address and protocol.

use kedge_api::Pod;

use crate::framework::{ClusterEvent, Plugin, PreFilter, Refusal};
use crate::ports::{HostPort, host_ports};
use crate::snapshot::Snapshot;

pub struct NodePorts;

const NAME: &str = "NodePorts";

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> PreFilter<'a> {
        let wanted = host_ports(pod);
        if wanted.is_empty() {
            return PreFilter::Skip;
        }
        PreFilter::Filter(Box::new(move |row| match any_conflict(&wanted, snapshot.ports(row)) {
            true => Err(Refusal::unschedulable(
                NAME,
                "node(s) didn't have free ports for the requested pod ports",
            )),
            false => Ok(()),
        }))
    }

    fn may_help(&self, pod: &Pod, event: ClusterEvent<'_>) -> bool {
        match event {
            ClusterEvent::NodeAdded(_) => true,
            ClusterEvent::NodeUpdated { .. } => false,
            ClusterEvent::PodLeft(gone) => any_conflict(&host_ports(pod), &host_ports(gone)),
        }
    }
}

fn any_conflict(wanted: &[HostPort], used: &[HostPort]) -> bool {
    wanted.iter().any(|port| used.iter().any(|other| port.conflicts_with(other)))
}
