//! Roles, bindings and objects that a new cluster starts with.
