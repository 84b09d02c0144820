//! The one way to reach kubelets, webhooks and aggregated servers: TCP and TLS today, an agent's tunnel later.

use crate::pki::{Pair, Pki};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const CONNECT: Duration = Duration::from_secs(10);

/// Dials from the node's network namespace.
#[derive(Clone)]
pub struct Dialer {
    kubelet: Arc<ClientConfig>,
    unverified: Arc<ClientConfig>,
}

/// Where a node's kubelet listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KubeletAddress(pub SocketAddr);

impl KubeletAddress {
    /// InternalIP and the port that the node reports.
    pub fn of(node: &Value) -> Option<KubeletAddress> {
        let addresses = node["status"]["addresses"].as_array()?;
        let internal = addresses.iter().find(|address| address["type"] == "InternalIP")?;
        let ip: IpAddr = internal["address"].as_str()?.parse().ok()?;
        let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64().unwrap_or(0);
        let port = u16::try_from(port).ok().filter(|port| *port != 0).unwrap_or(10250);
        Some(KubeletAddress(SocketAddr::new(ip, port)))
    }
}

impl Dialer {
    /// Presents the API server's kubelet client certificate and trusts the cluster's authority.
    pub fn new(pki: &Pki) -> Result<Dialer, String> {
        let kubelet = Arc::new(client_config(&pki.ca, &pki.apiserver_kubelet_client)?);
        let unverified = kedge_serving::unverified_client().map_err(|error| error.to_string())?;
        Ok(Dialer { kubelet, unverified: Arc::new(unverified) })
    }

    pub async fn kubelet(&self, address: KubeletAddress) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = self.tcp(address.0).await?;
        let name = ServerName::IpAddress(address.0.ip().into());
        TlsConnector::from(self.kubelet.clone()).connect(name, stream).await
    }

    /// TLS over a connection to a pod, whose certificate nobody in the cluster vouches for: `https:NAME:PORT` in a proxied
    /// path. The client never sees the handshake. Upstream does the same.
    pub async fn unverified(
        &self,
        address: SocketAddr,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::IpAddress(address.ip().into());
        TlsConnector::from(self.unverified.clone()).connect(name, stream).await
    }

    /// A plain connection, to a pod or a service's endpoint.
    pub async fn tcp(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn client_config(authority: &str, pair: &Pair) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    let (chain, key) = chain_and_key(pair)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|e| e.to_string())
}

/// A pair as rustls takes it.
pub fn chain_and_key(pair: &Pair) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(|e| e.to_string())?;
    Ok((chain.map_err(|e| e.to_string())?, key))
}
