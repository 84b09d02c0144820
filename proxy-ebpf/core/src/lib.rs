//! Services and EndpointSlices to tables to a map image to an ordered diff.

mod change;

pub use change::Change;
