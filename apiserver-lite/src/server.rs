//! Starting and stopping the server.
//!
//! Tasks: the listener (`listener.rs`), the follower that keeps the authorizer at the store's state, compaction, the endpoint
//! reconciler (`background.rs`). All end with the shutdown signal.

use crate::authn::{Authenticator, Settings, TokenFile};
use crate::background;
use crate::config::{Config, Error};
use crate::context::Context;
use crate::dialer::{Dialer, chain_and_key};
use crate::listener::{self, TlsSlot};
use crate::pki::{self, Names, Pki};
use crate::service::ApiService;
use crate::store::SqliteStore;
use kedge_store::Store;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, RwLock};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running API server. Clones share it.
#[derive(Clone)]
pub struct Server {
    context: Arc<Context>,
    address: SocketAddr,
    tasks: Arc<Mutex<Option<JoinSet<&'static str>>>>,
}

impl Server {
    /// Makes the PKI, opens the store, creates what a new cluster starts with, and listens. The server is ready when this
    /// returns. It stops when `shutdown` becomes true.
    pub async fn start(config: Config, shutdown: watch::Receiver<bool>) -> Result<Server, Error> {
        // Another crate of the process may have installed it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = listen(config.listen).await?;
        let address = listener.local_addr().unwrap_or(config.listen);
        let names = names(&config, address.port());
        let pki = pki::ensure(&config.roots, &names, OffsetDateTime::now_utc())?;
        let tls: TlsSlot = Arc::new(RwLock::new(server_config(&pki)?));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&config.roots.state.join("store.db"))?);
        let authenticator = authenticator(&config, &pki)?;
        let dialer = Dialer::new(&pki).map_err(Error::Certificate)?;
        let roots = config.roots.clone();
        let context =
            Arc::new(Context::new(config, pki.clone(), store, authenticator, dialer, shutdown.clone()));
        let service = ApiService::new(context.clone());
        let mut tasks = JoinSet::new();
        background::follow(&context, &mut tasks)?;
        background::bootstrap(&context, &service).await.map_err(Error::Bootstrap)?;
        background::spawn(&context, &service, address, &mut tasks);
        let slot = tls.clone();
        let changed = move |pki: &Pki| match server_config(pki) {
            Ok(fresh) => *slot.write().expect("the slot is replaced whole") = fresh,
            Err(error) => tracing::warn!(%error, "renewed certificates cannot be used"),
        };
        let stop = shutdown.clone();
        tasks.spawn(async move {
            pki::rotate(roots, names, pki, changed, stop).await;
            "certificates"
        });
        tasks.spawn(async move {
            listener::run(listener, tls, service, shutdown).await;
            "listener"
        });
        context.set_ready();
        tracing::info!(%address, "the API server is ready");
        Ok(Server { context, address, tasks: Arc::new(Mutex::new(Some(tasks))) })
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

    /// Waits until every task has ended, which they do at shutdown; a task that ends before that is logged.
    pub async fn wait(&self) {
        let tasks = self.tasks.lock().expect("nothing panics while it is held").take();
        let Some(mut tasks) = tasks else { return };
        while let Some(ended) = tasks.join_next().await {
            if self.context.is_shut_down() {
                continue;
            }
            match ended {
                Ok(name) => tracing::error!(name, "a part of the API server ended"),
                Err(error) => tracing::error!(%error, "a part of the API server panicked"),
            }
        }
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
        _ => Error::Listen { address, cause: error.to_string() },
    })
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

/// Client certificates are asked for, not demanded: tokens do as well.
fn server_config(pki: &Pki) -> Result<Arc<ServerConfig>, Error> {
    let unusable = |cause: &dyn std::fmt::Display| Error::Certificate(cause.to_string());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pki.ca.as_bytes()) {
        roots.add(certificate.map_err(|e| unusable(&e))?).map_err(|e| unusable(&e))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| unusable(&e))?;
    let (chain, key) = chain_and_key(&pki.apiserver).map_err(|e| unusable(&e))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| unusable(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
