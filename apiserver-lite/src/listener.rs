//! TLS connections. One task accepts; each connection has a task of its own that ends with the connection or the server.

use crate::body::{BoxBody, BoxError};
use crate::service::ApiService;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// At most this many connections; more wait to be accepted.
const CONNECTIONS_MAX: usize = 20_000;
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);
/// How long open requests may take to end when the server stops.
const DRAIN: Duration = Duration::from_secs(5);
const STREAMS_MAX: u32 = 1000;
const HEADER_BYTES_MAX: u32 = 64 * 1024;

/// Who is on the other side of a TLS connection: a request extension.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// The client's chain, leaf first; verified only by the authenticator.
    pub certificates: Arc<[CertificateDer<'static>]>,
}

/// The TLS configuration in use; replaced when certificates are renewed.
pub type TlsSlot = Arc<RwLock<Arc<ServerConfig>>>;

pub async fn run(
    listener: TcpListener,
    tls: TlsSlot,
    service: ApiService,
    mut shutdown: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|stop| *stop) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the peer is gone already: a short rest keeps the loop from spinning.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let config = tls.read().expect("the slot is replaced whole").clone();
        let (service, watcher) = (service.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _slot = slot;
            if let Err(error) = connection(stream, address, config, service, watcher).await {
                tracing::debug!(%address, %error, "connection ended");
            }
        });
    }
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::debug!("open requests were cut off");
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    config: Arc<ServerConfig>,
    service: ApiService,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let tls = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await??;
    let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default().to_vec().into();
    let peer = Peer { address, certificates };
    let handler = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(incoming);
        request.extensions_mut().insert(peer.clone());
        service.clone().handle(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(30));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(tls), handler).into_owned();
    watcher.watch(connection).await
}

fn incoming(body: Incoming) -> BoxBody {
    body.map_err(BoxError::from).boxed_unsync()
}

/// A body that is known whole.
pub fn full(bytes: impl Into<Bytes>) -> BoxBody {
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
