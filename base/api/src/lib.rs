//! The vocabulary: the kind table, quantities, selectors, names, derived facts, and one projected struct each for Pod,
//! Node, Service and EndpointSlice.

pub mod resource;

pub use resource::Resource;
