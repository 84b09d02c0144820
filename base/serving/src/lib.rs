//! TLS with reload, limits, identities, delegated authentication and authorization, /metrics.

mod identity;

pub use identity::Identity;
