//! All cores in one thread under virtual time.

pub mod controllers;
pub mod pod;
pub mod random;
pub mod scheduler;
pub mod store;
