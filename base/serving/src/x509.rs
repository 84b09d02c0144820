//! Client certificates: common name is the user, organizations are the groups.
//!
//! A handshake only proves that the client holds the key; whether the chain leads to our authority is decided here, so that a
//! bad certificate is a 401 that says so and not a broken connection.

use kedge_api::Identity;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

const AUTHENTICATED: &str = "system:authenticated";

/// OID of the attribute that carries a user's uid.
const UID: [u64; 8] = [1, 3, 6, 1, 4, 1, 57683, 2];

/// The authorities of clients cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the authority of client certificates cannot be used: {0}")]
pub struct AuthorityError(String);

pub struct Verifier(Arc<dyn ClientCertVerifier>);

/// A user and when the certificate ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    pub identity: Identity,
    pub not_after_s: i64,
}

impl Verifier {
    /// Trusts the certificates of a PEM text.
    pub fn new(authorities: &str) -> Result<Verifier, AuthorityError> {
        let failed = AuthorityError;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        verifier.map(Verifier).map_err(|error| failed(error.to_string()))
    }

    /// `chain` has the leaf first and is not empty.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now_s: i64) -> Result<Certified, String> {
        let (leaf, intermediates) = chain.split_first().ok_or("no certificate")?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now_s).unwrap_or_default()));
        self.0.verify_client_cert(leaf, intermediates, now).map_err(|error| error.to_string())?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
        identity(&parsed, leaf)
    }
}

fn identity(certificate: &X509Certificate<'_>, der: &[u8]) -> Result<Certified, String> {
    let subject = certificate.subject();
    let user = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
    if user.is_empty() {
        return Err("the certificate has no common name".to_owned());
    }
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|name| name.as_str().ok().map(str::to_owned)).collect();
    groups.push(AUTHENTICATED.to_owned());
    let uid_oid = x509_parser::der_parser::oid::Oid::from(&UID).map_err(|error| format!("{error:?}"))?;
    let uid = subject.iter_by_oid(&uid_oid).next().and_then(|uid| uid.as_str().ok()).unwrap_or_default();
    let fingerprint: String = Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect();
    let credential = vec![format!("X509SHA256={fingerprint}")];
    Ok(Certified {
        identity: Identity {
            user: user.to_owned(),
            uid: uid.to_owned(),
            groups,
            extra: [("authentication.kubernetes.io/credential-id".to_owned(), credential)].into(),
        },
        not_after_s: certificate.validity().not_after.timestamp(),
    })
}
