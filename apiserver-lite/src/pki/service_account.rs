//! The key pair that signs service account tokens: RSA 2048, as upstream's, in `sa.key` and `sa.pub`.
//!
//! `rsa` only makes the key; tokens are signed and verified by `ring` (constant time, and twenty times faster).

use super::PkiError;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, LineEnding};
use rsa::pkcs8::{DecodePrivateKey, EncodePublicKey};
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};

const BITS: usize = 2048;

/// The public half: what a verifier and the JWKS document need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Big-endian, without leading zeros.
    pub modulus: Vec<u8>,
    pub exponent: Vec<u8>,
    /// SubjectPublicKeyInfo, whose hash is the key id.
    pub spki: Vec<u8>,
}

/// `sa.key` and `sa.pub` of a new key.
pub fn generate() -> Result<(String, String), PkiError> {
    let key = RsaPrivateKey::new(&mut OsRng, BITS).map_err(|error| PkiError::Key(error.to_string()))?;
    let private = key.to_pkcs1_pem(LineEnding::LF).map_err(|error| PkiError::Key(error.to_string()))?;
    Ok((private.to_string(), public_pem(&key.to_public_key())?))
}

pub fn public_pem(key: &RsaPublicKey) -> Result<String, PkiError> {
    key.to_public_key_pem(LineEnding::LF).map_err(|error| PkiError::Key(error.to_string()))
}

/// PKCS#1 DER of a private key in PEM, PKCS#1 (kubeadm's) or PKCS#8 (openssl's), and its public half.
pub fn parse(pem: &str) -> Result<(Vec<u8>, PublicKey), PkiError> {
    let failed = |error: &dyn std::fmt::Display| PkiError::Key(error.to_string());
    let key = match RsaPrivateKey::from_pkcs1_pem(pem) {
        Ok(key) => key,
        Err(_) => RsaPrivateKey::from_pkcs8_pem(pem).map_err(|error| failed(&error))?,
    };
    let public = key.to_public_key();
    let der = key.to_pkcs1_der().map_err(|error| failed(&error))?;
    let spki = public.to_public_key_der().map_err(|error| failed(&error))?;
    let public = PublicKey {
        modulus: public.n().to_bytes_be(),
        exponent: public.e().to_bytes_be(),
        spki: spki.as_bytes().to_vec(),
    };
    Ok((der.as_bytes().to_vec(), public))
}
