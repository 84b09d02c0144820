//! The API server's decisions: registry, strategies, patches, authorization and admission. No I/O, no clock, no async.

pub mod admission;
pub mod attributes;
pub mod authentication;
pub mod authorization;
pub mod bootstrap;
pub mod managed_fields;
pub mod objects;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod registry;
pub mod schema;
pub mod status;
pub mod strategy;
pub mod table;
