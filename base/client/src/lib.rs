//! The API client of every component of ours: requests over TLS or in process, and one decoded cache per kind.
//!
//! `kube`'s `Client` carries the requests; watches and caches are ours. Writes are JSON values and patches, reads are
//! projected structs of `kedge_api` or plain [`serde_json::Value`]s.

mod cache;
mod error;
mod events;
mod request;
mod transport;
mod watch;

pub use cache::{Cache, Cached, CachedKind, PartialObject, Subscription};
pub use error::{ApiStatus, Error, Result};
pub use events::{Event, Recorder};
pub use kedge_serving::{BoxBody, BoxError};
pub use request::{Client, DeleteOptions, ListOptions, PatchKind};
pub use watch::{WatchEvent, WatchOptions};
