//! Every verb once, for every kind.
//!
//! Reads (`read.rs`) choose a revision and entries of the store. Writes (`write.rs`, `delete.rs`, `subresources.rs`) are store
//! steps: from the stored object, the request, the time and the random values they make a transaction and the reply that its
//! success makes true; after a conflict the step is decided again. What a kind decides itself is its strategy.

pub mod aggregated;
pub mod convert;
pub mod delete;
pub mod encode;
pub mod facts;
pub mod fields;
pub mod info;
pub mod kubernetes;
pub mod listing;
pub mod metadata;
pub mod negotiate;
pub mod options;
pub mod read;
pub mod route;
pub mod services;
pub mod subresources;
pub mod view;
pub mod write;
