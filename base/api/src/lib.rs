//! The vocabulary: the kind table, quantities, selectors, names, derived facts, and one projected struct each for Pod,
//! Node, Service and EndpointSlice.

mod identity;
pub mod resource;

pub use identity::Identity;
pub use resource::Resource;
