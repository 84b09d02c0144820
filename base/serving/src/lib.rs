//! TLS with reload, limits, delegated authentication and authorization, /metrics.
