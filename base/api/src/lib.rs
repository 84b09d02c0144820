//! The vocabulary: the kind table, quantities, selectors, names, derived facts, and one projected struct each for Pod,
//! Node, Service and EndpointSlice.

mod identity;
mod int_or_string;
pub mod kinds;
mod meta;
pub mod resource;
pub mod service;

pub use identity::Identity;
pub use int_or_string::IntOrString;
pub use meta::ObjectMeta;
pub use resource::Resource;
pub use service::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Protocol, Service, ServicePort, ServiceSpec};
