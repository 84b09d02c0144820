//! Rows and columns for kubectl.
