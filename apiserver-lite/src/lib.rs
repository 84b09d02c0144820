//! The API server: the only gateway to the store.
//!
//! `config.rs` says what it is started with, `server.rs` starts it, `service.rs` is the way of a request: identity,
//! authorization, route, handler, answer. Decisions are `kedge-apiserver-core`'s; here is what touches disk, network and clock.

mod access;
mod answer;
pub mod authn;
mod background;
mod body;
mod config;
mod context;
mod dialer;
mod discovery;
mod health;
mod metrics;
mod openapi;
mod parts;
pub mod pki;
mod proxy;
mod resources;
mod server;
mod service;
mod special;
pub mod store;
mod upgrade;
mod watch;

pub use body::{BoxBody, BoxError};
pub use config::{Config, Error};
pub use dialer::{Dialer, KubeletAddress};
pub use parts::Ended;
pub use server::Server;
pub use service::ApiService;
