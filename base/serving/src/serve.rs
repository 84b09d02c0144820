//! The accept loop. One task accepts; each connection has a task of its own that ends with the connection or the server.

use crate::body::{BoxBody, BoxError};
use crate::tls::ServerTls;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::pki_types::CertificateDer;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// Who is on the other side of a connection: a request extension that no header can set.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// The client's chain, leaf first, as it came; only possession of the key is proven.
    pub certificates: Arc<[CertificateDer<'static>]>,
}

/// What one server takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// More connections wait to be accepted.
    pub connections_max: usize,
    pub handshake: Duration,
    /// From the first byte of a request to the end of its headers.
    pub headers: Duration,
    pub header_bytes_max: u32,
    /// HTTP/2 streams of one connection.
    pub streams_max: u32,
    /// How long open requests may take to end when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 10_000,
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(30),
            header_bytes_max: 64 * 1024,
            streams_max: 1000,
            drain: Duration::from_secs(5),
        }
    }
}

/// What answers requests. Each carries its [`Peer`]; upgrades (WebSocket, SPDY) are possible.
pub trait Service: Clone + Send + Sync + 'static {
    fn call(
        &self,
        request: Request<BoxBody>,
    ) -> impl Future<Output = Result<Response<BoxBody>, Infallible>> + Send;
}

impl<F, R> Service for F
where
    F: Fn(Request<BoxBody>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Response<BoxBody>, Infallible>> + Send,
{
    fn call(
        &self,
        request: Request<BoxBody>,
    ) -> impl Future<Output = Result<Response<BoxBody>, Infallible>> + Send {
        self(request)
    }
}

/// Serves HTTP/1.1 and HTTP/2 over TLS until `shutdown` turns true; then drains.
pub async fn serve<S: Service>(
    listener: TcpListener,
    tls: ServerTls,
    service: S,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.connections_max));
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
        let connection = Connection { stream, address, limits, watcher: graceful.watcher() };
        let (tls, service) = (tls.clone(), service.clone());
        tokio::spawn(async move {
            let _slot = slot;
            if let Err(error) = connection.run(tls, service).await {
                tracing::debug!(%address, %error, "a connection ended");
            }
        });
    }
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::debug!("open requests were cut off");
    }
    Ok(())
}

struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    limits: Limits,
    watcher: Watcher,
}

impl Connection {
    async fn run<S: Service>(self, tls: ServerTls, service: S) -> Result<(), BoxError> {
        self.stream.set_nodelay(true)?;
        let handshake = TlsAcceptor::from(tls.config()).accept(self.stream);
        let stream = tokio::time::timeout(self.limits.handshake, handshake).await??;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec().into();
        let peer = Peer { address: self.address, certificates };
        let handler = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
            request.extensions_mut().insert(peer.clone());
            let service = service.clone();
            async move { service.call(request).await }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.headers);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams_max)
            .max_header_list_size(self.limits.header_bytes_max)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(30));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), handler).into_owned();
        self.watcher.watch(connection).await
    }
}
