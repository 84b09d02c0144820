//! The registry, strategies, patches, authorization and admission as decisions.
