//! Decisions of the node agent, as values: `plan(pod, observed, now)` for pods; probes as machines; status, environment,
//! volumes, runtime configuration and node status computed from what was seen. Nothing here reads a clock or a file.

pub mod admission;
pub mod backoff;
pub mod config;
pub mod dns;
pub mod env;
pub mod events;
pub mod eviction;
pub mod fields;
pub mod hosts;
pub mod image;
pub mod log_rotation;
pub mod moment;
pub mod names;
pub mod node;
pub mod observed;
pub mod plan;
pub mod probe;
pub mod resources;
pub mod security;
pub mod static_pods;
pub mod status;
pub mod termination;
pub mod volumes;

pub use moment::Moment;
pub use observed::{ContainerProgress, Observed, Progress};
pub use plan::{Action, Plan, plan};
