//! Kubectl, crictl, client libraries and recorded behaviour of upstream against the built kedge.

pub mod known;
pub mod planted;
