//! The store as decoded objects, for decisions that look at other objects.

use super::facts::Facts;
use super::route::key;
use crate::objects::Objects;
use kedge_api::kinds;
use kedge_store::{Query, Store};
use serde_json::Value;
use std::sync::Arc;

/// The newest revision of a store.
#[derive(Clone)]
pub struct StoredObjects {
    store: Arc<dyn Store>,
}

impl StoredObjects {
    pub fn new(store: Arc<dyn Store>) -> StoredObjects {
        StoredObjects { store }
    }
}

impl Objects for StoredObjects {
    fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let kind = kinds::stored(group, plural)?;
        let entry = self.store.get(&key(kind, namespace, name))?;
        Some(Facts::object(&entry))
    }

    fn list(&self, group: &str, plural: &str, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let Some(kind) = kinds::stored(group, plural) else { return Vec::new() };
        let prefix = key(kind, namespace.unwrap_or_default(), "");
        let page = self.store.range(&Query { prefix: &prefix, ..Query::default() });
        // The newest revision can always be read.
        page.map(|page| page.entries.iter().map(|entry| Facts::object(entry)).collect()).unwrap_or_default()
    }
}
