//! What every server of ours shares: TLS with reload, limits, who calls, delegated authentication and authorization, /metrics.
//!
//! Start reading at [`serve()`]. Nothing here knows what is served.

mod any_certificate;
mod body;
pub mod delegated;
mod metrics;
mod serve;
mod tls;
pub mod x509;

pub use any_certificate::unverified_client;
pub use body::{BoxBody, BoxError};
pub use metrics::Metrics;
pub use serve::{Limits, Peer, Service, serve};
pub use tls::{ServerTls, TlsError};

#[cfg(test)]
mod tests;
