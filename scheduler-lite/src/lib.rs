//! The scheduler's loop.
