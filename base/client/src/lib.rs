//! API client, shared caches, in-process transport.
