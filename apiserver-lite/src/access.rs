//! The authorizer, at the state of the store.
//!
//! The store tells of a change while it holds its own lock, and a request that is being decided holds the authorizer while it
//! reads the store. So a change is only noted when it is told, and taken in by the next reader before it decides: locks are
//! never taken in both orders, and a role still holds from the moment its creator knows of it.

use kedge_apiserver_core::authorization::Authorizer;
use kedge_apiserver_core::registry::facts::Facts;
use kedge_store::{Event, Sink};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

pub struct Access {
    authorizer: RwLock<Authorizer>,
    noted: Mutex<Vec<Noted>>,
}

struct Noted {
    group: &'static str,
    plural: &'static str,
    event: Arc<Event>,
}

/// Notes the changes of one resource.
pub struct Observer {
    pub access: Arc<Access>,
    pub group: &'static str,
    pub plural: &'static str,
}

impl Access {
    pub fn new(authorizer: Authorizer) -> Access {
        Access { authorizer: RwLock::new(authorizer), noted: Mutex::default() }
    }

    /// The authorizer with everything taken in that was told before this call.
    pub fn read(&self) -> RwLockReadGuard<'_, Authorizer> {
        let pending = !self.noted.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if pending {
            let mut authorizer = self.authorizer.write().unwrap_or_else(PoisonError::into_inner);
            // Taken under the write lock: two readers must not take in changes in another order than they were told.
            let noted = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
            noted.iter().for_each(|noted| take_in(&mut authorizer, noted));
        }
        self.authorizer.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_in(authorizer: &mut Authorizer, noted: &Noted) {
    let Some(entry) = noted.event.entry.as_ref().or(noted.event.previous.as_ref()) else {
        return;
    };
    let facts = Facts::of(entry);
    let object = noted.event.entry.as_ref().map(|entry| Facts::object(entry));
    authorizer.observe(noted.group, noted.plural, &facts.namespace, &facts.name, object.as_deref());
}

impl Sink for Observer {
    fn send(&self, event: &Arc<Event>) -> bool {
        let noted = Noted { group: self.group, plural: self.plural, event: Arc::clone(event) };
        self.access.noted.lock().unwrap_or_else(PoisonError::into_inner).push(noted);
        true
    }
}
