//! The vocabulary: the kind table, quantities, selectors, names, derived facts, and one projected struct each for Pod,
//! Node, Service and EndpointSlice.

mod identity;
mod int_or_string;
pub mod kinds;
pub mod meta;
pub mod names;
pub mod node;
pub mod node_selector;
pub mod pod;
pub mod quantity;
pub mod resource;
pub mod selector;
pub mod service;

pub use identity::Identity;
pub use int_or_string::IntOrString;
pub use meta::{Condition, LabelSelector, Object, ObjectMeta, OwnerReference, Time};
pub use node::Node;
pub use pod::Pod;
pub use quantity::Quantity;
pub use resource::Resource;
pub use selector::Selector;
pub use service::{
    Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Protocol, Service, ServicePort, ServiceSpec,
};
