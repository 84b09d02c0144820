//! Every verb once, for every kind.
