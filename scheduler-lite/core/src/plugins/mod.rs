//! The rules, one file each.

mod balanced_allocation;
mod default_preemption;
mod dynamic_resources;
mod image_locality;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_fit;
mod node_unschedulable;
mod scheduling_gates;
mod taint_toleration;
#[cfg(test)]
mod tests;

use crate::framework::Plugin;

/// In the order of upstream's default profile: the first refusal of a node is the one that is told.
pub static PLUGINS: [&dyn Plugin; 11] = [
    &scheduling_gates::SchedulingGates,
    &node_unschedulable::NodeUnschedulable,
    &node_name::NodeName,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_ports::NodePorts,
    &node_resources_fit::NodeResourcesFit,
    &dynamic_resources::DynamicResources,
    &default_preemption::DefaultPreemption,
    &balanced_allocation::NodeResourcesBalancedAllocation,
    &image_locality::ImageLocality,
];
