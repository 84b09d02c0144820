//! Drives the built kedge.
