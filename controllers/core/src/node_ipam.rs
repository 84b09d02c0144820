//! A podCIDR for every node, out of the cluster's range.

use crate::Controller;
use crate::plan::{Context, EventSpec, Plan, Write, reference};
use crate::view::{Changed, KindId, View};
use kedge_api::resource::NODES;
use kedge_machinery::ObjectKey;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

pub struct NodeIpam {
    first: u32,
    count: u32,
    node_prefix: u8,
}

impl NodeIpam {
    /// `cluster_cidr` is IPv4, `10.244.0.0/16`; anything that cannot be read gives out nothing (the caller has checked it).
    pub fn new(cluster_cidr: &str, node_prefix: u8) -> NodeIpam {
        let nothing = NodeIpam { first: 0, count: 0, node_prefix };
        let Some((address, prefix)) = cluster_cidr.split_once('/') else {
            return nothing;
        };
        match (address.parse::<Ipv4Addr>(), prefix.parse::<u8>()) {
            (Ok(address), Ok(prefix))
                if prefix <= node_prefix && node_prefix <= 32 && node_prefix - prefix < 32 =>
            {
                NodeIpam { first: address.into(), count: 1 << (node_prefix - prefix), node_prefix }
            }
            _ => nothing,
        }
    }

    fn nth(&self, index: u32) -> String {
        let size = 32 - u32::from(self.node_prefix);
        let address = Ipv4Addr::from(self.first + index.checked_shl(size).unwrap_or(0));
        format!("{address}/{}", self.node_prefix)
    }
}

impl Controller for NodeIpam {
    fn name(&self) -> &'static str {
        "node-ipam-controller"
    }

    fn account(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::Node]
    }

    fn keys(&self, change: &Changed, _view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::Node { new: Some(node), .. } if node.spec.pod_cidr.is_empty() => {
                vec![ObjectKey::default()]
            }
            _ => Vec::new(),
        }
    }

    /// One key for all nodes: two nodes decided at once could get one range.
    fn reconcile(&self, view: &View<'_>, _key: &ObjectKey, _context: &Context) -> Plan {
        let nodes = view.nodes.list(None);
        let mut taken: BTreeSet<String> = nodes.iter().map(|node| node.spec.pod_cidr.clone()).collect();
        let mut plan = Plan::nothing();
        for node in nodes.iter().filter(|node| node.spec.pod_cidr.is_empty()) {
            let free = (0..self.count).map(|index| self.nth(index)).find(|cidr| !taken.contains(cidr));
            let Some(cidr) = free else {
                let about = reference(NODES, &node.metadata);
                let message = format!("Node {} status is now: CIDRNotAvailable", node.metadata.name);
                plan.events.push(EventSpec::normal(&about, "CIDRNotAvailable", message));
                continue;
            };
            let patch = json!({"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
            plan.push(Write::merge(NODES, "", &node.metadata.name, "", patch));
            taken.insert(cidr);
        }
        plan
    }
}
