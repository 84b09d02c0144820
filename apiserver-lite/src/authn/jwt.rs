//! Compact JWS with RS256: signing our tokens and reading them back.

use crate::pki::PkiError;
use crate::pki::service_account::{self, PublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// No token of ours comes near this; longer ones are not looked at.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Why a token that looks like ours is not accepted, in the words of upstream's library.
pub const BAD_SIGNATURE: &str = "go-jose/go-jose: error in cryptographic primitive";
pub const UNKNOWN_KEY: &str = "invalid signature, no keys found";

/// The issuer's key.
pub struct SigningKey {
    pair: RsaKeyPair,
    public: PublicKey,
    key_id: String,
}

/// A token taken apart, its signature not yet looked at.
pub struct Parsed<'a> {
    header: Value,
    pub claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl SigningKey {
    pub fn from_pem(pem: &str) -> Result<SigningKey, PkiError> {
        let (der, public) = service_account::parse(pem)?;
        let pair = RsaKeyPair::from_der(&der).map_err(|error| PkiError::Key(error.to_string()))?;
        let key_id = BASE64.encode(Sha256::digest(&public.spki));
        Ok(SigningKey { pair, public, key_id })
    }

    pub fn sign(&self, claims: &Value) -> Result<String, PkiError> {
        let header = json!({"alg": "RS256", "kid": self.key_id});
        let mut token =
            format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| PkiError::Key("signing failed".to_owned()))?;
        token.push('.');
        token.push_str(&BASE64.encode(signature));
        Ok(token)
    }

    /// Is the signature ours?
    pub fn verify(&self, token: &Parsed<'_>) -> Result<(), &'static str> {
        if token.header["alg"] != "RS256" {
            return Err(BAD_SIGNATURE);
        }
        if token.header["kid"].as_str().is_some_and(|kid| !kid.is_empty() && kid != self.key_id) {
            return Err(UNKNOWN_KEY);
        }
        let key = RsaPublicKeyComponents { n: &self.public.modulus, e: &self.public.exponent };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, token.signed.as_bytes(), &token.signature)
            .map_err(|_| BAD_SIGNATURE)
    }

    /// The public key as a JSON Web Key Set.
    pub fn jwks(&self) -> Value {
        json!({"keys": [{
            "use": "sig", "kty": "RSA", "kid": self.key_id, "alg": "RS256",
            "n": BASE64.encode(&self.public.modulus), "e": BASE64.encode(&self.public.exponent),
        }]})
    }
}

/// None: no JWT.
pub fn parse(token: &str) -> Option<Parsed<'_>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let json = |part: &str| serde_json::from_slice::<Value>(&BASE64.decode(part).ok()?).ok();
    let (header, claims) = (json(header)?, json(claims)?);
    if !header.is_object() || !claims.is_object() {
        return None;
    }
    Some(Parsed { header, claims, signed, signature: BASE64.decode(signature).ok()? })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::sync::LazyLock;

    /// Making a key takes a second, so tests share one.
    pub static KEY: LazyLock<String> = LazyLock::new(|| service_account::generate().unwrap().0);

    #[test]
    fn what_is_signed_verifies_and_nothing_else_does() {
        let key = SigningKey::from_pem(&KEY).unwrap();
        let claims = json!({"iss": "me", "exp": 5});
        let token = key.sign(&claims).unwrap();
        let parsed = parse(&token).unwrap();
        assert_eq!(parsed.claims, claims);
        assert_eq!(key.verify(&parsed), Ok(()));

        let tampered = format!("{}AAAA", &token[..token.len() - 4]);
        assert_eq!(key.verify(&parse(&tampered).unwrap()), Err(BAD_SIGNATURE));
        let parts: Vec<&str> = token.split('.').collect();
        let forged = |header: Value, claims: &str| {
            let token = format!("{}.{claims}.{}", BASE64.encode(header.to_string()), parts[2]);
            key.verify(&parse(&token).unwrap())
        };
        assert_eq!(forged(json!({"alg": "none"}), parts[1]), Err(BAD_SIGNATURE));
        assert_eq!(forged(json!({"alg": "HS256", "kid": key.key_id}), parts[1]), Err(BAD_SIGNATURE));
        assert_eq!(forged(json!({"alg": "RS256", "kid": "other"}), parts[1]), Err(UNKNOWN_KEY));
        let other = BASE64.encode(json!({"iss": "you"}).to_string());
        assert_eq!(forged(json!({"alg": "RS256", "kid": key.key_id}), &other), Err(BAD_SIGNATURE));
    }

    #[test]
    fn what_is_no_token() {
        for text in ["", "garbage", "a.b", "a.b.c", "e30.e30", "e30.W10.", &"a".repeat(20_000)] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_key_set_is_the_public_key() {
        let jwks = SigningKey::from_pem(&KEY).unwrap().jwks();
        assert_eq!(jwks["keys"][0]["e"], "AQAB");
        assert_eq!(BASE64.decode(jwks["keys"][0]["n"].as_str().unwrap()).unwrap().len(), 256);
    }
}
