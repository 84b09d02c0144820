//! What every request shares.

use crate::access::Access;
use crate::authn::Authenticator;
use crate::config::Config;
use crate::dialer::Dialer;
use crate::metrics::Metrics;
use crate::pki::Pki;
use kedge_api::Time;
use kedge_apiserver_core::authorization::Authorizer;
use kedge_apiserver_core::registry::services::Allocator;
use kedge_apiserver_core::registry::view::StoredObjects;
use kedge_store::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Semaphore, watch};

/// Upstream's defaults: `--max-requests-inflight`, `--max-mutating-requests-inflight`.
const READS_MAX: usize = 400;
const WRITES_MAX: usize = 200;
/// Bodies that are being read at a time; more wait. Each holds up to `body::BODY_BYTES_MAX`.
const BODIES_MAX: usize = 200;

/// Places for requests that run at the same time.
pub struct Slots {
    pub reads: Semaphore,
    pub writes: Semaphore,
    pub bodies: Semaphore,
}

impl Slots {
    fn new() -> Slots {
        Slots {
            reads: Semaphore::new(READS_MAX),
            writes: Semaphore::new(WRITES_MAX),
            bodies: Semaphore::new(BODIES_MAX),
        }
    }
}

pub struct Context {
    pub config: Config,
    pub pki: Pki,
    pub store: Arc<dyn Store>,
    pub objects: StoredObjects,
    /// Follows the store (`background.rs`).
    pub access: Arc<Access>,
    pub authenticator: Authenticator,
    pub services: Allocator,
    pub dialer: Dialer,
    pub metrics: Metrics,
    /// For everybody.
    pub slots: Slots,
    /// For nodes, the control plane and administrators: no crowd of others can lock them out.
    pub system_slots: Slots,
    pub shutdown: watch::Receiver<bool>,
    ready: AtomicBool,
}

impl Context {
    #[allow(clippy::too_many_arguments, reason = "called once, by the server's start")]
    pub fn new(
        config: Config,
        pki: Pki,
        store: Arc<dyn Store>,
        authenticator: Authenticator,
        dialer: Dialer,
        shutdown: watch::Receiver<bool>,
    ) -> Context {
        let objects = StoredObjects::new(store.clone());
        Context {
            access: Arc::new(Access::new(Authorizer::of(&objects))),
            services: Allocator::new(config.service_cidr),
            config,
            pki,
            store,
            objects,
            authenticator,
            dialer,
            metrics: Metrics::default(),
            slots: Slots::new(),
            system_slots: Slots::new(),
            shutdown,
            ready: AtomicBool::new(false),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !*self.shutdown.borrow()
    }

    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    pub fn is_shut_down(&self) -> bool {
        *self.shutdown.borrow()
    }
}

/// The clock, read once per request.
pub fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Time(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
}
