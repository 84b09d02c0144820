//! Pure tools: object cache, work queue, back-off, and the [`Roots`] of one node. Time is an argument everywhere.

mod backoff;
mod cache;
mod queue;
mod roots;

pub use backoff::Backoff;
pub use cache::{Change, ObjectCache, ObjectKey, SubscriberId};
pub use queue::WorkQueue;
pub use roots::{Ports, Roots};
