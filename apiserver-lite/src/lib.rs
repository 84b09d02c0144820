//! The API server: the only gateway to the store.
