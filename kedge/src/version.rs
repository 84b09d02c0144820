//! Which kedge this is.

/// What the API server says as `gitVersion`: the Kubernetes release whose API is served, and our own count.
pub const VERSION: &str = concat!("v1.36.2+kedge.", env!("CARGO_PKG_VERSION_PATCH"));
