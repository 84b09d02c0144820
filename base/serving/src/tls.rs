//! TLS for servers: a certificate that can be replaced under load, and client certificates taken as they come.

use crate::any_certificate::AnyCertificate;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::{Arc, RwLock};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the serving certificate is no PEM: {0}")]
    Pem(rustls::pki_types::pem::Error),
    #[error("the serving certificate cannot be used")]
    Rustls(#[from] rustls::Error),
    #[error("the serving certificate file holds no certificate")]
    Empty,
}

/// A server's TLS. Clones share one certificate: [`ServerTls::replace`] changes it for the handshakes to come.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    slot: Arc<Slot>,
}

impl ServerTls {
    /// `certificates` (leaf first) and `key` are PEM. Clients are asked for a certificate and need not have one; that they hold
    /// its key is verified here, whom it makes them is the service's to decide.
    pub fn new(certificates: &str, key: &str) -> Result<ServerTls, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let slot = Arc::new(Slot(RwLock::new(certified(&provider, certificates, key)?)));
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(AnyCertificate(provider)))
            .with_cert_resolver(slot.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(ServerTls { config: Arc::new(config), slot })
    }

    pub fn replace(&self, certificates: &str, key: &str) -> Result<(), TlsError> {
        let provider = self.config.crypto_provider();
        *self.slot.0.write().expect("no holder panics") = certified(provider, certificates, key)?;
        Ok(())
    }

    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

fn certified(
    provider: &CryptoProvider,
    certificates: &str,
    key: &str,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(certificates.as_bytes()).collect();
    let chain = chain.map_err(TlsError::Pem)?;
    if chain.is_empty() {
        return Err(TlsError::Empty);
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(TlsError::Pem)?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, provider)?))
}

#[derive(Debug)]
struct Slot(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Slot {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().expect("no holder panics").clone())
    }
}
