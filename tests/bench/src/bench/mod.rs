//! The benches, by what they drive.

pub mod api;
pub mod idle;
pub mod pods;
pub mod start;
