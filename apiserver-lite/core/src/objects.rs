//! The window through which decisions see other objects.

use serde_json::Value;
use std::sync::Arc;

/// Decoded objects of the current revision. Implementations answer from memory.
pub trait Objects {
    /// One object by group, plural, namespace ("" when cluster-scoped) and name.
    fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Value>>;
    /// All objects of a resource; `namespace` None: of all namespaces.
    fn list(&self, group: &str, plural: &str, namespace: Option<&str>) -> Vec<Arc<Value>>;
}
