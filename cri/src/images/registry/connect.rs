//! The connection to a registry: TCP, and TLS where the endpoint has it. Failures are worded as `net/http` words them,
//! since users search for those words.

use kedge_cri_core::images::registries::HostTls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// Where distributions keep the certificate authorities they trust.
const CA_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct ConnectError {
    text: String,
    /// The peer answers, but not in TLS.
    pub is_plain_peer: bool,
}

impl ConnectError {
    fn new(text: String) -> ConnectError {
        ConnectError { text, is_plain_peer: false }
    }
}

/// The connector of one endpoint's HTTP client.
#[derive(Clone)]
pub(super) struct Connector {
    tls: Option<TlsConnector>,
}

impl Connector {
    pub(super) fn plain() -> Connector {
        Connector { tls: None }
    }

    pub(super) fn tls(settings: &HostTls) -> Result<Connector, String> {
        let mut config = if settings.insecure_skip_verify {
            // The operator has said so for this host, in a file that only root writes.
            kedge_serving::unverified_client().map_err(|error| error.to_string())?
        } else {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?;
            builder.with_root_certificates(roots(&settings.ca_file)?).with_no_client_auth()
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Connector { tls: Some(TlsConnector::from(Arc::new(config))) })
    }

    async fn connect(self, uri: http::Uri) -> Result<Stream, ConnectError> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let stream = dial(&host, port).await?;
        let Some(tls) = self.tls else {
            return Ok(Stream::Plain(stream));
        };
        let name = ServerName::try_from(host.clone())
            .map_err(|_| ConnectError::new(format!("tls: {host:?} is not a server name")))?;
        match tokio::time::timeout(CONNECT_DEADLINE, tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(tls_error(&error)),
            Err(_) => Err(ConnectError::new("net/http: TLS handshake timeout".to_owned())),
        }
    }
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<_> = match found {
        Ok(addresses) => addresses.collect(),
        Err(_) => return Err(ConnectError::new(lookup_text(host))),
    };
    let mut text = lookup_text(host);
    for address in addresses {
        match tokio::time::timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Only latency is at stake.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => text = format!("dial tcp {address}: connect: {}", errno_text(&error)),
            Err(_) => text = format!("dial tcp {address}: i/o timeout"),
        }
    }
    Err(ConnectError::new(text))
}

fn lookup_text(host: &str) -> String {
    let resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let server = resolv.lines().find_map(|line| line.strip_prefix("nameserver")).map(str::trim);
    match server {
        Some(server) if server.contains(':') => {
            format!("dial tcp: lookup {host} on [{server}]:53: no such host")
        }
        Some(server) => format!("dial tcp: lookup {host} on {server}:53: no such host"),
        None => format!("dial tcp: lookup {host}: no such host"),
    }
}

/// `connection refused`, without Rust's capital letter and number.
fn errno_text(error: &io::Error) -> String {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::CONNREFUSED) => "connection refused".to_owned(),
        Some(rustix::io::Errno::HOSTUNREACH) => "no route to host".to_owned(),
        Some(rustix::io::Errno::NETUNREACH) => "network is unreachable".to_owned(),
        Some(rustix::io::Errno::CONNRESET) => "connection reset by peer".to_owned(),
        _ => error.to_string(),
    }
}

fn tls_error(error: &io::Error) -> ConnectError {
    let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match rustls {
        Some(rustls::Error::InvalidMessage(_)) => ConnectError {
            text: "http: server gave HTTP response to HTTPS client".to_owned(),
            is_plain_peer: true,
        },
        Some(error @ rustls::Error::InvalidCertificate(_)) => {
            ConnectError::new(format!("tls: failed to verify certificate: {error}"))
        }
        // A plain server may just hang up on the handshake it takes for a request.
        _ if error.kind() == io::ErrorKind::UnexpectedEof
            || error.kind() == io::ErrorKind::ConnectionReset =>
        {
            ConnectError { text: "EOF".to_owned(), is_plain_peer: true }
        }
        _ => ConnectError::new(format!("tls: {error}")),
    }
}

fn roots(extra: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let named = std::env::var("SSL_CERT_FILE").ok();
    let bundles = named.iter().map(String::as_str).chain(CA_BUNDLES);
    if let Some(bundle) = bundles.into_iter().find(|path| Path::new(path).exists()) {
        // A bundle may hold a certificate that rustls does not take; the others still serve.
        for certificate in CertificateDer::pem_file_iter(bundle).into_iter().flatten().flatten() {
            let _ = roots.add(certificate);
        }
    }
    if !extra.is_empty() {
        let certificates =
            CertificateDer::pem_file_iter(extra).map_err(|error| format!("{extra}: {error}"))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| format!("{extra}: {error}"))?;
            roots.add(certificate).map_err(|error| format!("{extra}: {error}"))?;
        }
    }
    Ok(roots)
}

impl tower::Service<http::Uri> for Connector {
    type Response = hyper_util::rt::TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(uri).await.map(hyper_util::rt::TokioIo::new) })
    }
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl hyper_util::client::legacy::connect::Connection for Stream {
    fn connected(&self) -> hyper_util::client::legacy::connect::Connected {
        hyper_util::client::legacy::connect::Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
