//! The service proxy: watches Services and EndpointSlices, lets the core turn them into map contents, and keeps the eBPF
//! datapath of its node.

mod apply;
mod cgroup2;
mod clsact;
mod datapath;
mod error;
mod health;
mod load;
mod pod_link;
mod run;
mod settings;
mod uplinks;

pub use datapath::{Attachment, Datapath, probe, remove};
pub use error::Error;
pub use run::{Settings, run};
pub use uplinks::follow as follow_uplinks;
