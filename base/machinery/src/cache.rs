//! A decoded cache of one kind with subscribers that can fall behind without cost.
//!
//! A subscriber has a set of *pending* keys, not a queue of events: a key that changes ten times before the subscriber looks
//! is handed out once, with the object as the subscriber last knew it and as it is. So the memory of a slow subscriber is
//! bounded by the number of objects, and nobody ever has to list again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Namespace ("" for cluster-scoped kinds) and name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    pub namespace: String,
    pub name: String,
}

impl ObjectKey {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> ObjectKey {
        ObjectKey { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// What became of one object since the subscriber last looked. Both sides are absent for an object that came and went.
#[derive(Debug)]
pub struct Change<T> {
    pub key: ObjectKey,
    pub old: Option<Arc<T>>,
    pub new: Option<Arc<T>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubscriberId(u64);

type Pending<T> = BTreeMap<ObjectKey, Option<Arc<T>>>;

/// The objects of one kind and what each subscriber has not seen yet.
#[derive(Debug)]
pub struct ObjectCache<T> {
    objects: BTreeMap<ObjectKey, Arc<T>>,
    pending: BTreeMap<SubscriberId, Pending<T>>,
    subscribers_made: u64,
}

impl<T> Default for ObjectCache<T> {
    fn default() -> Self {
        ObjectCache { objects: BTreeMap::new(), pending: BTreeMap::new(), subscribers_made: 0 }
    }
}

impl<T> ObjectCache<T> {
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.objects.get(key).cloned()
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// All objects in key order.
    pub fn list(&self) -> Vec<Arc<T>> {
        self.objects.values().cloned().collect()
    }

    /// The objects of one namespace in key order.
    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let first = ObjectKey::new(namespace, "");
        self.objects
            .range(first..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    pub fn apply(&mut self, key: ObjectKey, object: T) {
        let old = self.objects.insert(key.clone(), Arc::new(object));
        self.mark(&key, old);
    }

    pub fn delete(&mut self, key: &ObjectKey) {
        let old = self.objects.remove(key);
        if old.is_some() {
            self.mark(key, old);
        }
    }

    /// Replaces everything after a fresh list: what is not in `objects` is deleted.
    pub fn replace(&mut self, objects: BTreeMap<ObjectKey, T>) {
        let gone: Vec<ObjectKey> =
            self.objects.keys().filter(|key| !objects.contains_key(*key)).cloned().collect();
        for key in &gone {
            self.delete(key);
        }
        for (key, object) in objects {
            self.apply(key, object);
        }
    }

    /// A subscriber; every object that is there counts as not seen yet.
    pub fn subscribe(&mut self) -> SubscriberId {
        self.subscribers_made += 1;
        let id = SubscriberId(self.subscribers_made);
        let pending = self.objects.keys().map(|key| (key.clone(), None)).collect();
        self.pending.insert(id, pending);
        id
    }

    pub fn unsubscribe(&mut self, id: SubscriberId) {
        self.pending.remove(&id);
    }

    /// Everything that `id` has not seen, in key order; empty when it is up to date.
    pub fn drain(&mut self, id: SubscriberId) -> Vec<Change<T>> {
        let Some(pending) = self.pending.get_mut(&id) else {
            return Vec::new();
        };
        let pending = std::mem::take(pending);
        pending
            .into_iter()
            .map(|(key, old)| Change { new: self.objects.get(&key).cloned(), old, key })
            .collect()
    }

    fn mark(&mut self, key: &ObjectKey, old: Option<Arc<T>>) {
        for pending in self.pending.values_mut() {
            // The first change since the last look keeps what the subscriber knew.
            pending.entry(key.clone()).or_insert_with(|| old.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(cache: &mut ObjectCache<u32>, id: SubscriberId) -> String {
        let show = |value: Option<Arc<u32>>| value.map_or("-".to_owned(), |v| v.to_string());
        let changes = cache.drain(id);
        let texts: Vec<String> =
            changes.into_iter().map(|c| format!("{} {}>{}", c.key, show(c.old), show(c.new))).collect();
        texts.join(", ")
    }

    #[test]
    fn a_slow_subscriber_sees_each_key_once() {
        let mut cache = ObjectCache::default();
        cache.apply(ObjectKey::new("a", "x"), 1);
        let id = cache.subscribe();
        assert_eq!(seen(&mut cache, id), "a/x ->1");
        cache.apply(ObjectKey::new("a", "x"), 2);
        cache.apply(ObjectKey::new("a", "x"), 3);
        cache.apply(ObjectKey::new("", "y"), 4);
        cache.delete(&ObjectKey::new("", "y"));
        assert_eq!(seen(&mut cache, id), "y ->-, a/x 1>3");
        assert_eq!(seen(&mut cache, id), "");
    }

    #[test]
    fn a_fresh_list_deletes_what_it_does_not_hold() {
        let mut cache = ObjectCache::default();
        let id = cache.subscribe();
        cache.replace([(ObjectKey::new("a", "x"), 1), (ObjectKey::new("b", "x"), 2)].into());
        assert_eq!(seen(&mut cache, id), "a/x ->1, b/x ->2");
        cache.replace([(ObjectKey::new("b", "x"), 3)].into());
        assert_eq!(seen(&mut cache, id), "a/x 1>-, b/x 2>3");
        assert_eq!(cache.list_namespace("b").len(), 1);
        assert!(cache.list_namespace("a").is_empty());
    }
}
