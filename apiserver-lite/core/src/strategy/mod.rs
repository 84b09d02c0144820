//! What a kind decides and nothing else: defaults, what a create or update may carry, and validation with all findings.
//!
//! The registry calls, on create: `default`, `prepare_for_create`, admission, `validate_create`; on update: `default`,
//! `prepare_for_update`, admission, `validate_update`. Metadata that every kind shares (name, labels, finalizers, generation
//! of the uid and the creationTimestamp) is the registry's own, in `registry/`; a strategy sees it already filled in.

use crate::status::Findings;
use serde_json::Value;

/// The part of an object that a request may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The object itself: everything but status.
    Main,
    Status,
    /// `binding`, `ephemeralcontainers`, `resize`, `finalize`, `approval`, …
    Subresource(&'a str),
}

/// The decisions of one kind. Every method has a behaviour that suits a plain kind without status.
pub trait Strategy: Sync {
    /// Fills in what upstream's defaulting fills in; also run on objects read back in another version.
    fn default(&self, _object: &mut Value) {}
    /// Clears what a client may not set (status) and sets what the server sets (generation 1).
    fn prepare_for_create(&self, _object: &mut Value) {}
    /// Keeps from `old` what this part may not change; bumps `metadata.generation` where upstream does.
    fn prepare_for_update(&self, _object: &mut Value, _old: &Value, _part: Part<'_>) {}
    fn validate_create(&self, _object: &Value) -> Findings {
        Findings::new()
    }
    fn validate_update(&self, _object: &Value, _old: &Value, _part: Part<'_>) -> Findings {
        Findings::new()
    }
    /// `Warning: 299` texts for a created or updated object.
    fn warnings(&self, _object: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }
    /// The grace period that a DELETE without one gets, in seconds; 0 deletes at once (only pods differ).
    fn default_grace_s(&self, _object: &Value) -> i64 {
        0
    }
    /// May PUT create the object (leases, events, …)?
    fn create_on_update(&self) -> bool {
        false
    }
    /// May a PUT come without resourceVersion?
    fn unconditional_update(&self) -> bool {
        true
    }
}

/// The strategy of a kind; kinds without one of their own get the plain behaviour.
pub fn strategy_of(_group: &str, _kind: &str) -> &'static dyn Strategy {
    &Plain
}

struct Plain;
impl Strategy for Plain {}
