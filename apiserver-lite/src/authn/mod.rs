//! Who is calling: client certificates, service account tokens, static tokens; else nobody in particular (`system:anonymous`).
//!
//! Only what is expensive and cannot change is cached: that a signature or a chain is good. Whether the service account, the
//! pod or the secret behind a token still exists is looked up on every request.

mod jwt;
mod token_file;

pub use token_file::TokenFile;

use crate::pki::PkiError;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jwt::SigningKey;
use kedge_api::{Identity, Time};
use kedge_apiserver_core::authentication::anonymous;
use kedge_apiserver_core::authentication::impersonation::{self, Wanted};
use kedge_apiserver_core::authentication::reviews::{self, Verified};
use kedge_apiserver_core::authentication::tokens::{self, TokenRequest};
use kedge_apiserver_core::objects::Objects;
use kedge_apiserver_core::status::ApiError;
use kedge_serving::x509::{Certified, Verifier};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, RwLock};

/// Entries of each cache. A full cache is emptied: the next requests verify once more.
const CACHED_MAX: usize = 4096;

/// Why a token that nobody recognises is refused.
const INVALID_TOKEN: &str = "invalid bearer token";

type Digest256 = [u8; 32];

/// What an authenticator is made of.
pub struct Settings {
    /// `https://kubernetes.default.svc.cluster.local`, also the only audience of the API.
    pub issuer: String,
    /// The issuer's private key, PEM.
    pub service_account_key: String,
    /// The authorities of client certificates, PEM.
    pub client_ca: String,
    pub tokens: TokenFile,
    pub anonymous: bool,
}

pub struct Authenticator {
    issuer: String,
    audiences: Vec<String>,
    key: SigningKey,
    verifier: RwLock<Verifier>,
    tokens: TokenFile,
    anonymous: bool,
    /// Claims of tokens whose signature was found good.
    signed: Mutex<HashMap<Digest256, Value>>,
    certified: Mutex<HashMap<Digest256, Certified>>,
}

impl Authenticator {
    pub fn new(settings: Settings) -> Result<Authenticator, PkiError> {
        Ok(Authenticator {
            audiences: vec![settings.issuer.clone()],
            issuer: settings.issuer,
            key: SigningKey::from_pem(&settings.service_account_key)?,
            verifier: RwLock::new(Verifier::new(&settings.client_ca)?),
            tokens: settings.tokens,
            anonymous: settings.anonymous,
            signed: Mutex::default(),
            certified: Mutex::default(),
        })
    }

    /// The caller, or 401. `certificates` is the client's chain, leaf first, as it came; empty if none did.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        certificates: &[CertificateDer<'_>],
        objects: &dyn Objects,
        now: Time,
    ) -> Result<Identity, ApiError> {
        if !certificates.is_empty() {
            return self.certificate(certificates, now).map_err(|why| unauthorized(&why));
        }
        match bearer(headers) {
            Some(token) => {
                let verified = self.verify(token, &self.audiences, objects, now);
                verified.map(|verified| verified.identity).map_err(|why| unauthorized(&why))
            }
            None if self.anonymous => Ok(anonymous()),
            None => Err(unauthorized("no credentials")),
        }
    }

    fn certificate(&self, chain: &[CertificateDer<'_>], now: Time) -> Result<Identity, String> {
        let digest: Digest256 = Sha256::digest(&chain[0]).into();
        let known = self.certified.lock().expect("no holder panics").get(&digest).cloned();
        if let Some(known) = known.filter(|known| known.not_after_s > now.0) {
            return Ok(known.identity);
        }
        let certified = self.verifier.read().expect("no holder panics").verify(chain, now.0)?;
        remember(&self.certified, digest, certified.clone());
        Ok(certified.identity)
    }

    /// Whose token it is, and for which of the wanted audiences; the error is what a TokenReview shows.
    fn verify(
        &self,
        token: &str,
        wanted: &[String],
        objects: &dyn Objects,
        now: Time,
    ) -> Result<Verified, String> {
        if let Some(identity) = self.tokens.get(token) {
            let own = self.audiences.iter().filter(|audience| wanted.contains(audience));
            return Ok(Verified { identity: identity.clone(), audiences: own.cloned().collect() });
        }
        let both = |why: &str| format!("[{INVALID_TOKEN}, {why}]");
        let Some(claims) = self.claims(token).map_err(both)? else {
            return Err(INVALID_TOKEN.to_owned());
        };
        tokens::verify(&claims, wanted, &self.audiences, now, objects).map_err(|why| both(&why))
    }

    /// The claims of a token that we signed; None: another issuer's, or no token at all.
    fn claims(&self, token: &str) -> Result<Option<Value>, &'static str> {
        let digest: Digest256 = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.signed.lock().expect("no holder panics").get(&digest) {
            return Ok(Some(claims.clone()));
        }
        let Some(parsed) = jwt::parse(token) else {
            return Ok(None);
        };
        if parsed.claims["iss"] != self.issuer && parsed.claims["iss"] != tokens::LEGACY_ISSUER {
            return Ok(None);
        }
        self.key.verify(&parsed)?;
        remember(&self.signed, digest, parsed.claims.clone());
        Ok(Some(parsed.claims))
    }

    /// Answers the create of a TokenReview.
    pub fn token_review(&self, body: Value, objects: &dyn Objects, now: Time) -> Result<Value, ApiError> {
        let (token, wanted) = reviews::asked(&body)?;
        let wanted = if wanted.is_empty() { &self.audiences } else { &wanted };
        let outcome = self.verify(token, wanted, objects, now);
        Ok(reviews::token_review(body, outcome))
    }

    /// Answers the create of `serviceaccounts/NAME/token`. `jti` is a fresh UUID.
    pub fn token_request(
        &self,
        namespace: &str,
        service_account: &str,
        body: &Value,
        objects: &dyn Objects,
        now: Time,
        jti: &str,
    ) -> Result<Value, ApiError> {
        let audiences = &self.audiences;
        let request =
            TokenRequest { namespace, service_account, body, issuer: &self.issuer, audiences, now, jti };
        let grant = tokens::grant(request, objects)?;
        let token = self.key.sign(&grant.claims).map_err(ApiError::internal)?;
        Ok(grant.answer(&token))
    }

    /// The token for a secret of type `kubernetes.io/service-account-token`.
    pub fn legacy_token(
        &self,
        namespace: &str,
        account: &str,
        uid: &str,
        secret: &str,
    ) -> Result<String, PkiError> {
        self.key.sign(&tokens::legacy_claims(namespace, account, uid, secret))
    }

    /// From now on these authorities are trusted, and no chain that was found good before.
    pub fn trust(&self, client_ca: &str) -> Result<(), PkiError> {
        *self.verifier.write().expect("no holder panics") = Verifier::new(client_ca)?;
        self.certified.lock().expect("no holder panics").clear();
        Ok(())
    }

    /// `/.well-known/openid-configuration`, for a server reached as `host` (`10.0.0.1:6443`).
    pub fn openid_configuration(&self, host: &str) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("https://{host}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }

    /// `/openid/v1/jwks`, of type `application/jwk-set+json`.
    pub fn jwks(&self) -> Value {
        self.key.jwks()
    }
}

/// Whom the request's headers ask to act as; see [`impersonation::impersonate`].
pub fn wanted(headers: &HeaderMap) -> Result<Option<Wanted>, ApiError> {
    let texts = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    impersonation::wanted(texts)
}

/// A bearer token; another scheme, or none behind the word, is no token.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The reason is for our log; the client learns nothing.
fn unauthorized(why: &str) -> ApiError {
    tracing::debug!(why, "unauthorized");
    ApiError::new(401, "Unauthorized", "Unauthorized")
}

fn remember<T>(cache: &Mutex<HashMap<Digest256, T>>, digest: Digest256, value: T) {
    let mut cache = cache.lock().expect("no holder panics");
    if cache.len() >= CACHED_MAX {
        cache.clear();
    }
    cache.insert(digest, value);
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod x509_tests;
