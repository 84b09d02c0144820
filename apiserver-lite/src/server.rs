//! Starting and stopping the server.
//!
//! Parts (`parts.rs`): the listener (`kedge_serving::serve`), the renewal of certificates, compaction and the keeper of Service
//! `kubernetes` (`background.rs`). All end with the shutdown signal; one that ends before is started again.

use crate::authn::{Authenticator, Settings, TokenFile};
use crate::background;
use crate::config::{Config, Error};
use crate::context::Context;
use crate::dialer::Dialer;
use crate::parts::{Ended, Parts};
use crate::pki::{self, Names, Pki};
use crate::service::ApiService;
use crate::store::SqliteStore;
use kedge_serving::{Limits, ServerTls};
use kedge_store::Store;
use std::net::SocketAddr;
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

/// Every kubelet, controller and person holds a few; more wait to be accepted.
const CONNECTIONS_MAX: usize = 20_000;

/// A running API server. Clones share it.
#[derive(Clone)]
pub struct Server {
    context: Arc<Context>,
    address: SocketAddr,
    parts: Arc<Mutex<Parts>>,
}

impl Server {
    /// Makes the PKI, opens the store, creates what a new cluster starts with, and listens. The server is ready when this
    /// returns. It stops when `shutdown` becomes true.
    pub async fn start(config: Config, shutdown: watch::Receiver<bool>) -> Result<Server, Error> {
        // Another crate of the process may have installed it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = listen(config.listen).await?;
        let address = listener.local_addr().unwrap_or(config.listen);
        // First of all: a database that cannot be used leaves the machine as it was.
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&config.roots.state.join("store.db"))?);
        let names = names(&config, address.port());
        let pki = pki::ensure(&config.roots, &names, OffsetDateTime::now_utc())?;
        let tls = ServerTls::new(&pki.apiserver.certificate, &pki.apiserver.key)
            .map_err(|error| Error::Certificate(error.to_string()))?;
        let authenticator = authenticator(&config, &pki)?;
        let dialer = Dialer::new(&pki).map_err(Error::Certificate)?;
        let roots = config.roots.clone();
        let context =
            Arc::new(Context::new(config, pki.clone(), store, authenticator, dialer, shutdown.clone()));
        let service = ApiService::new(context.clone());
        let mut parts = Parts::new(shutdown.clone());
        background::follow(&context)?;
        background::bootstrap(&context, &service).await.map_err(Error::Bootstrap)?;
        background::spawn(&context, &service, address, &mut parts);
        let (slot, stop) = (tls.clone(), shutdown.clone());
        parts.keep("certificates", move || {
            let slot = slot.clone();
            let changed = move |pki: &Pki| {
                if let Err(error) = slot.replace(&pki.apiserver.certificate, &pki.apiserver.key) {
                    tracing::warn!(%error, "renewed certificates cannot be used");
                }
            };
            pki::rotate(roots.clone(), names.clone(), pki.clone(), changed, stop.clone())
        });
        let listener = listener.into_std().map_err(|error| unusable(address, &error))?;
        parts.keep("listener", move || {
            let listener = listener.try_clone().and_then(TcpListener::from_std);
            accept(listener, tls.clone(), service.clone(), shutdown.clone())
        });
        context.set_ready();
        tracing::info!(%address, "the API server is ready");
        Ok(Server { context, address, parts: Arc::new(Mutex::new(parts)) })
    }

    /// The API for clients in this process. A request's identity is its `kedge_api::Identity` extension.
    pub fn service(&self) -> ApiService {
        ApiService::new(self.context.clone())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pki(&self) -> &Pki {
        &self.context.pki
    }

    /// Returns after the shutdown, when every part has ended; with an error as soon as a part had to be started again.
    pub async fn wait(&self) -> Result<(), Ended> {
        self.parts.lock().await.wait().await
    }
}

async fn accept(
    listener: std::io::Result<TcpListener>,
    tls: ServerTls,
    service: ApiService,
    shutdown: watch::Receiver<bool>,
) {
    let limits = Limits { connections_max: CONNECTIONS_MAX, ..Limits::default() };
    let handle = move |request| service.clone().handle(request);
    let served = match listener {
        Ok(listener) => kedge_serving::serve(listener, tls, handle, limits, shutdown).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "the listener ended");
    }
}

fn authenticator(config: &Config, pki: &Pki) -> Result<Authenticator, Error> {
    let tokens = match &config.token_auth_file {
        None => TokenFile::default(),
        Some(path) => {
            let unreadable =
                |cause: &dyn std::fmt::Display| Error::Tokens(format!("{}: {cause}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|e| unreadable(&e))?;
            TokenFile::parse(&text).map_err(|e| unreadable(&e))?
        }
    };
    Ok(Authenticator::new(Settings {
        issuer: format!("https://kubernetes.default.svc.{}", config.cluster_domain),
        service_account_key: pki.service_account_key.clone(),
        client_ca: pki.ca.clone(),
        tokens,
        anonymous: true,
    })?)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => Error::PortInUse { address },
        _ => unusable(address, &error),
    })
}

fn unusable(address: SocketAddr, error: &std::io::Error) -> Error {
    Error::Listen { address, cause: error.to_string() }
}

fn names(config: &Config, port: u16) -> Names {
    Names {
        node: config.node_name.clone(),
        node_addresses: vec![config.advertise],
        service_address: config.service_address().into(),
        cluster_domain: config.cluster_domain.clone(),
        extra_names: config.extra_names.clone(),
        server: format!("https://{}", SocketAddr::new(config.advertise, port)),
    }
}
