//! One generic runner for all controllers.
