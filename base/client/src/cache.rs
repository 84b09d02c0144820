//! One decoded cache per kind, fed by a watch that never ends.
//!
//! Tasks: each [`Cache`] has one, `follow`, which ends when the last handle is dropped. It owns the watch; the cache's lock is
//! held for one event at a time and never across an await. Subscribers are woken by a `Notify` each.

use crate::{Client, Error, Result, WatchEvent, WatchOptions};
use kedge_api::{Object, ObjectMeta, Resource};
use kedge_machinery::{Backoff, Change, ObjectCache, ObjectKey, SubscriberId};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Upstream's informers use 5 to 10 minutes; the server ends the watch, and it continues from the last version.
const WATCH_TIMEOUT_S: u32 = 540;
const RETRY_INITIAL: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// A projected struct that a cache can hold: any object that can be read.
pub trait Cached: Object + DeserializeOwned + Send + Sync + 'static {
    fn key(&self) -> ObjectKey {
        ObjectKey::new(self.meta().namespace.clone(), self.meta().name.clone())
    }
}

impl<T: Object + DeserializeOwned + Send + Sync + 'static> Cached for T {}

/// A projected struct of one kind.
pub trait CachedKind: Cached {
    const RESOURCE: Resource;
}

macro_rules! cached {
    ($($kind:ty = $resource:ident;)*) => {
        $(impl CachedKind for $kind {
            const RESOURCE: Resource = kedge_api::resource::$resource;
        })*
    };
}

cached! {
    kedge_api::Pod = PODS;
    kedge_api::Node = NODES;
    kedge_api::Service = SERVICES;
    kedge_api::EndpointSlice = ENDPOINT_SLICES;
}

/// The metadata of an object of any kind, for readers that need no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct PartialObject {
    pub metadata: ObjectMeta,
}

impl Object for PartialObject {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// All objects of one kind (under one selector). Share it as `Arc`; clones of the `Arc` read the same memory.
pub struct Cache<T> {
    objects: Mutex<ObjectCache<T>>,
    wakers: Mutex<BTreeMap<SubscriberId, Arc<Notify>>>,
    synced: watch::Sender<bool>,
    /// The resourceVersion up to which this cache knows everything.
    revision: watch::Sender<u64>,
}

/// One reader's place in a cache; see [`ObjectCache`] for what it is handed.
pub struct Subscription<T> {
    cache: Arc<Cache<T>>,
    id: SubscriberId,
    notify: Arc<Notify>,
}

impl<T: CachedKind> Cache<T> {
    /// Starts to follow the kind. Returns at once; see [`Cache::synced`].
    pub fn start(client: Client, options: WatchOptions) -> Arc<Cache<T>> {
        Cache::start_of(T::RESOURCE, client, options)
    }
}

impl<T: Cached> Cache<T> {
    /// Starts to follow any resource.
    pub fn start_of(of: Resource, client: Client, options: WatchOptions) -> Arc<Cache<T>> {
        let cache = Arc::new(Cache {
            objects: Mutex::new(ObjectCache::default()),
            wakers: Mutex::new(BTreeMap::new()),
            synced: watch::Sender::new(false),
            revision: watch::Sender::new(0),
        });
        tokio::spawn(follow(of, Arc::downgrade(&cache), client, options));
        cache
    }

    /// Waits until the cache holds everything that existed when it started.
    pub async fn synced(&self) {
        // The sender lives in self, so the channel cannot close while we wait.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits until the cache has seen the write that got this resourceVersion; false if it has not after `deadline`.
    pub async fn saw(&self, revision: u64, deadline: Duration) -> bool {
        let mut seen = self.revision.subscribe();
        tokio::time::timeout(deadline, seen.wait_for(|seen| *seen >= revision)).await.is_ok()
    }

    fn advance(&self, version: &str) {
        if let Ok(revision) = version.parse::<u64>() {
            self.revision.send_if_modified(|seen| {
                let newer = revision > *seen;
                *seen = revision.max(*seen);
                newer
            });
        }
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.lock().get(&ObjectKey::new(namespace, name))
    }

    pub fn get_key(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.lock().get(key)
    }

    pub fn list(&self) -> Vec<Arc<T>> {
        self.lock().list()
    }

    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        self.lock().list_namespace(namespace)
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn subscribe(self: &Arc<Self>) -> Subscription<T> {
        let id = self.lock().subscribe();
        let notify = Arc::new(Notify::new());
        // Objects that are there already count as news.
        notify.notify_one();
        self.wakers().insert(id, Arc::clone(&notify));
        Subscription { cache: Arc::clone(self), id, notify }
    }

    fn change(&self, change: impl FnOnce(&mut ObjectCache<T>)) {
        change(&mut self.lock());
        for notify in self.wakers().values() {
            notify.notify_one();
        }
    }
}

impl<T> Cache<T> {
    fn lock(&self) -> MutexGuard<'_, ObjectCache<T>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wakers(&self) -> MutexGuard<'_, BTreeMap<SubscriberId, Arc<Notify>>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Subscription<T> {
    /// Waits for changes and hands out all of them. May be dropped at any await without losing one.
    pub async fn changes(&mut self) -> Vec<Change<T>> {
        loop {
            let changes = self.cache.lock().drain(self.id);
            if !changes.is_empty() {
                return changes;
            }
            self.notify.notified().await;
        }
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.cache.lock().unsubscribe(self.id);
        self.cache.wakers().remove(&self.id);
    }
}

async fn follow<T: Cached>(of: Resource, cache: Weak<Cache<T>>, client: Client, mut options: WatchOptions) {
    options.timeout_s = WATCH_TIMEOUT_S;
    let mut backoff = Backoff::new(RETRY_INITIAL, RETRY_MAX);
    let mut version: Option<String> = None;
    while cache.strong_count() > 0 {
        options.resource_version = version.clone();
        match follow_once(of, &cache, &client, &options, &mut version).await {
            Ok(()) => backoff.reset(),
            Err(error) => {
                if error.is_gone() || matches!(error, Error::Decode { .. }) {
                    version = None;
                }
                let delay = backoff.next_delay();
                tracing::debug!(kind = of.kind, %error, ?delay, "watch ended, will retry");
                tokio::time::sleep(delay).await;
            }
        }
    }
}

/// One watch from start to end. `version` is where the next one may continue.
async fn follow_once<T: Cached>(
    of: Resource,
    cache: &Weak<Cache<T>>,
    client: &Client,
    options: &WatchOptions,
    version: &mut Option<String>,
) -> Result<()> {
    let mut watch = client.watch(of, options).await?;
    let mut initial = version.is_none().then(BTreeMap::new);
    while let Some(event) = watch.next::<T>().await? {
        let Some(cache) = cache.upgrade() else {
            return Ok(());
        };
        match (event, &mut initial) {
            (WatchEvent::Applied(object), Some(initial)) => {
                initial.insert(object.key(), object);
            }
            (WatchEvent::Applied(object), None) => {
                let seen = object.meta().resource_version.clone();
                cache.change(|objects| objects.apply(object.key(), object));
                cache.advance(&seen);
                *version = Some(seen);
            }
            (WatchEvent::Deleted(object), Some(initial)) => {
                initial.remove(&object.key());
            }
            (WatchEvent::Deleted(object), None) => {
                let seen = object.meta().resource_version.clone();
                cache.change(|objects| objects.delete(&object.key()));
                cache.advance(&seen);
                *version = Some(seen);
            }
            (WatchEvent::Unreadable { key, resource_version, cause }, initial) => {
                tracing::warn!(kind = of.kind, %key, cause, "an object cannot be read and is left out");
                if initial.is_none() {
                    cache.change(|objects| objects.delete(&key));
                    cache.advance(&resource_version);
                    *version = Some(resource_version);
                }
            }
            (WatchEvent::Bookmark { resource_version, initial_end }, _) => {
                if initial_end && let Some(all) = initial.take() {
                    cache.change(|objects| objects.replace(all));
                    cache.synced.send_replace(true);
                }
                if initial.is_none() {
                    cache.advance(&resource_version);
                }
                *version = Some(resource_version);
            }
        }
    }
    // A bookmark before the end of the initial events is no place to continue from.
    if initial.is_some() {
        *version = None;
    }
    Ok(())
}
