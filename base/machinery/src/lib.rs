//! Pure tools: work queue, back-off, object cache, reports, seeded ids, and the [`Roots`] of one node.

mod roots;

pub use roots::{Ports, Roots};
