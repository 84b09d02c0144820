//! Scheduling decisions as a pure function of a snapshot.
//!
//! [`Scheduler`] is the whole as a machine. Inside, [`decide`] says where a pod goes, [`explain`] says why, and [`Queue`] says
//! which pod is next and when to try one again. The rules are in `plugins`, one file each, and meet only in its table. `framework` has the vocabulary.

mod decide;
mod diagnosis;
mod explain;
mod framework;
mod images;
mod plugins;
mod ports;
mod queue;
#[cfg(test)]
mod recordings;
mod resources;
mod scheduler;
mod snapshot;
#[cfg(test)]
mod testing;
pub mod writes;

pub use decide::{Decision, Outcome, decide};
pub use diagnosis::Diagnosis;
pub use explain::{Explanation, NodeVerdict, explain};
pub use framework::{ClusterEvent, Code, Plugin, Refusal};
pub use plugins::PLUGINS;
pub use queue::{Counts, Queue};
pub use resources::{Amounts, Requests};
pub use scheduler::{Action, SCHEDULER_NAME, Scheduler};
pub use snapshot::{PodUid, Row, Snapshot};
