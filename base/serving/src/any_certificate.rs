//! TLS without asking whose certificate it is: what clients show to our servers, which decide for themselves whom it makes
//! them, and what peers show whom nobody vouches for. The signature is checked all the same: a peer holds the key of the
//! certificate it shows.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;

type Signature = Result<HandshakeSignatureValid, Error>;

#[derive(Debug)]
pub(crate) struct AnyCertificate(pub Arc<CryptoProvider>);

/// For clients that have a reason to believe whoever answers.
pub fn unverified_client() -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let verifier = Arc::new(AnyCertificate(provider));
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

impl AnyCertificate {
    fn tls12(&self, text: &[u8], by: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Signature {
        verify_tls12_signature(text, by, signed, &self.0.signature_verification_algorithms)
    }

    fn tls13(&self, text: &[u8], by: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Signature {
        verify_tls13_signature(text, by, signed, &self.0.signature_verification_algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        text: &[u8],
        by: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signature {
        self.tls12(text, by, signed)
    }

    fn verify_tls13_signature(
        &self,
        text: &[u8],
        by: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signature {
        self.tls13(text, by, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        text: &[u8],
        by: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signature {
        self.tls12(text, by, signed)
    }

    fn verify_tls13_signature(
        &self,
        text: &[u8],
        by: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Signature {
        self.tls13(text, by, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}
