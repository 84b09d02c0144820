//! TLS with reload, limits, delegated authentication and authorization, /metrics.

mod body;

pub use body::{BoxBody, BoxError};
