//! One registry's HTTP API, as a pull needs it: <https://github.com/opencontainers/distribution-spec>.
//!
//! `oci-client` was weighed and left: it hides the endpoint, the HEAD request and the server's words behind its own
//! errors, has no mirrors, and brings a second HTTP stack.

mod connect;
#[cfg(test)]
mod tests;

use super::blobs::read_limited;
use base64::Engine as _;
use bytes::Bytes;
use connect::{ConnectError, Connector};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use kedge_cri_api::AuthConfig;
use kedge_cri_core::images::challenge::{self, Challenge};
use kedge_cri_core::images::registries::{Endpoint, Scheme};
use kedge_cri_core::images::{Digest, Reference, manifest};
use serde::Deserialize;
use std::time::Duration;

/// How long a registry may be silent: before an answer, and between two pieces of a body.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(60);
const REDIRECTS_MAX: usize = 10;
/// Bytes of an error's body, and of a token answer.
const WORDS_BYTES_MAX: usize = 256 << 10;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct Error {
    pub kind: super::PullKind,
    pub text: String,
}

impl Error {
    pub(super) fn unavailable(text: String) -> Error {
        Error { kind: super::PullKind::Unavailable, text }
    }
}

type Http = legacy::Client<Connector, Full<Bytes>>;

/// A conversation with one endpoint about one repository; what it has learned (a token, that the peer speaks no TLS)
/// serves the requests that follow.
pub(super) struct Session {
    endpoint: Endpoint,
    path: String,
    auth: Option<AuthConfig>,
    https: Option<Http>,
    http: Http,
    learned: tokio::sync::Mutex<Learned>,
}

#[derive(Default, Clone)]
struct Learned {
    is_plain: bool,
    authorization: Option<HeaderValue>,
}

/// What HEAD told about a manifest.
pub(super) struct Resolved {
    pub digest: Option<Digest>,
}

impl Session {
    /// `auth` is the pod's pull secret; without one the host's own of the configuration serves.
    pub(super) fn new(
        endpoint: Endpoint,
        reference: &Reference,
        auth: Option<AuthConfig>,
    ) -> Result<Session, Error> {
        let client = |connector| {
            legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .pool_timer(hyper_util::rt::TokioTimer::new())
                .build(connector)
        };
        let https = match endpoint.scheme {
            Scheme::Http => None,
            Scheme::Https | Scheme::HttpsElseHttp => {
                Some(client(Connector::tls(&endpoint.tls).map_err(Error::unavailable)?))
            }
        };
        let configured = endpoint.auth.as_ref().map(|auth| AuthConfig {
            username: auth.username.clone(),
            password: auth.password.clone(),
            identity_token: auth.identity_token.clone(),
            ..AuthConfig::default()
        });
        Ok(Session {
            path: reference.path().to_owned(),
            auth: auth.or(configured),
            https,
            http: client(Connector::plain()),
            learned: tokio::sync::Mutex::default(),
            endpoint,
        })
    }

    /// Asks what a tag or digest stands for.
    pub(super) async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        let path = format!("manifests/{}", reference.selector());
        let response = self.request(Method::HEAD, &path, manifest::ACCEPT).await?;
        if response.status() == StatusCode::NOT_FOUND {
            let text = format!("{reference}: not found");
            return Err(Error { kind: super::PullKind::NotFound, text });
        }
        if !response.status().is_success() {
            return Err(self.refusal(Method::HEAD, &path, response).await);
        }
        let digest = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        Ok(Resolved { digest: digest.and_then(|text| Digest::parse(text).ok()) })
    }

    /// A manifest or index whole, by tag or digest.
    pub(super) async fn manifest(&self, selector: &str, limit: u64) -> Result<Bytes, Error> {
        self.document(&format!("manifests/{selector}"), manifest::ACCEPT, limit).await
    }

    /// A small blob whole.
    pub(super) async fn blob_whole(&self, digest: &Digest, limit: u64) -> Result<Bytes, Error> {
        self.document(&format!("blobs/{digest}"), "*/*", limit).await
    }

    /// A blob's stream.
    pub(super) async fn blob(&self, digest: &Digest) -> Result<Incoming, Error> {
        let path = format!("blobs/{digest}");
        let response = self.request(Method::GET, &path, "*/*").await?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            _ => Err(self.refusal(Method::GET, &path, response).await),
        }
    }

    async fn document(&self, path: &str, accept: &str, limit: u64) -> Result<Bytes, Error> {
        let response = self.request(Method::GET, path, accept).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(Method::GET, path, response).await);
        }
        let body = Limited::new(response.into_body(), usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        let collected =
            within(body).await.ok_or_else(|| Error::unavailable(format!("{path}: i/o timeout")))?;
        Ok(collected.map_err(|error| Error::unavailable(format!("{path}: {error}")))?.to_bytes())
    }

    fn url(&self, path: &str, is_plain: bool) -> String {
        let scheme = if is_plain || self.https.is_none() { "http" } else { "https" };
        let Endpoint { host, path: prefix, mirror_of, .. } = &self.endpoint;
        let namespace = mirror_of.as_ref().map(|domain| format!("?ns={domain}")).unwrap_or_default();
        format!("{scheme}://{host}{prefix}/v2/{}/{path}{namespace}", self.path)
    }

    /// Sends a request, answering one challenge.
    async fn request(&self, method: Method, path: &str, accept: &str) -> Result<Response<Incoming>, Error> {
        let learned = self.learned.lock().await.clone();
        let response = self.send_learning(&method, path, accept, learned.authorization.clone()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let offered: Vec<&str> = headers.filter_map(|value| value.to_str().ok()).collect();
        let Some(challenge) = challenge::parse(&offered.join(", ")) else {
            return Ok(response);
        };
        let Some(authorization) = self.authorize(&challenge).await? else {
            return Ok(response);
        };
        if learned.authorization.as_ref() == Some(&authorization) {
            return Ok(response);
        }
        self.learned.lock().await.authorization = Some(authorization.clone());
        self.send_learning(&method, path, accept, Some(authorization)).await
    }

    /// Sends; a loopback peer that speaks no TLS is asked again in plain.
    async fn send_learning(
        &self,
        method: &Method,
        path: &str,
        accept: &str,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Incoming>, Error> {
        let is_plain = self.learned.lock().await.is_plain;
        let sent = self.send(method, self.url(path, is_plain), accept, authorization.clone()).await;
        match sent {
            Err(failure)
                if failure.is_plain_peer && self.endpoint.scheme == Scheme::HttpsElseHttp && !is_plain =>
            {
                self.learned.lock().await.is_plain = true;
                self.send(method, self.url(path, true), accept, authorization)
                    .await
                    .map_err(Failure::into_error)
            }
            other => other.map_err(Failure::into_error),
        }
    }

    /// Follows redirects; the authorization goes to the registry alone, never to where it sends us.
    async fn send(
        &self,
        method: &Method,
        url: String,
        accept: &str,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Incoming>, Failure> {
        let origin = authority(&url).to_owned();
        let mut url = url;
        for _ in 0..REDIRECTS_MAX {
            let mut request = request(method, &url, Full::default())?;
            request.headers_mut().insert(ACCEPT, header(accept));
            if let Some(authorization) = authorization.clone().filter(|_| authority(&url) == origin) {
                request.headers_mut().insert(AUTHORIZATION, authorization);
            }
            let response = self.exchange(request).await?;
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            match (response.status().is_redirection(), location) {
                (true, Some(location)) => url = absolute(&url, location),
                _ => return Ok(response),
            }
        }
        Err(Failure::plain(format!("{}: stopped after {REDIRECTS_MAX} redirects", doing(method, &url))))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let what = doing(request.method(), &request.uri().to_string());
        let is_tls = request.uri().scheme_str() == Some("https");
        let client = match (&self.https, is_tls) {
            (Some(https), true) => https,
            (None, true) => return Err(Failure::plain(format!("{what}: a plain endpoint led to https"))),
            (_, false) => &self.http,
        };
        match within(client.request(request)).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(Failure::of(&what, &error)),
            None => Err(Failure::plain(format!("failed to do request: {what}: i/o timeout"))),
        }
    }

    /// The header that answers a challenge; `None` if we have nothing to answer with.
    async fn authorize(&self, challenge: &Challenge) -> Result<Option<HeaderValue>, Error> {
        let auth = self.auth.clone().unwrap_or_default();
        if !auth.registry_token.is_empty() {
            return Ok(Some(secret(format!("Bearer {}", auth.registry_token))));
        }
        match challenge {
            Challenge::Basic => Ok(basic(&auth)),
            Challenge::Bearer { realm, service, scope } => {
                let scope = match scope.as_str() {
                    "" => format!("repository:{}:pull", self.path),
                    scope => scope.to_owned(),
                };
                let token = self.token(realm, service, &scope, &auth).await.map_err(|error| Error {
                    kind: error.kind,
                    text: format!("failed to authorize: failed to fetch oauth token: {}", error.text),
                })?;
                Ok(Some(secret(format!("Bearer {token}"))))
            }
        }
    }

    /// <https://distribution.github.io/distribution/spec/auth/token/>
    async fn token(
        &self,
        realm: &str,
        service: &str,
        scope: &str,
        auth: &AuthConfig,
    ) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let parameters = format!("service={}&scope={}", percent_encode(service), percent_encode(scope));
        let request = if auth.identity_token.is_empty() {
            let separator = if realm.contains('?') { '&' } else { '?' };
            let mut request =
                request(&Method::GET, &format!("{realm}{separator}{parameters}"), Full::default())?;
            request.headers_mut().extend(basic(auth).map(|value| (AUTHORIZATION, value)));
            request
        } else {
            let refresh = percent_encode(&auth.identity_token);
            let form =
                format!("grant_type=refresh_token&client_id=kedge&{parameters}&refresh_token={refresh}");
            let mut request = request(&Method::POST, realm, Full::from(form))?;
            let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, form_type);
            request
        };
        let (method, url) = (request.method().clone(), request.uri().to_string());
        let response = self.exchange(request).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(&method, &url, response).await);
        }
        let answer = words(response).await;
        let answer: Option<Answer> = serde_json::from_slice(&answer).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        token
            .filter(|token| !token.is_empty())
            .ok_or_else(|| Error::unavailable(format!("no token from {realm}")))
    }

    async fn refusal(&self, method: Method, path: &str, response: Response<Incoming>) -> Error {
        let is_plain = self.learned.lock().await.is_plain;
        let url = self.url(path, is_plain);
        // A HEAD's answer has no words; the same question by GET has.
        if method == Method::HEAD
            && let Ok(spoken) = self.request(Method::GET, path, manifest::ACCEPT).await
            && spoken.status() == response.status()
        {
            return refusal(&method, &url, spoken).await;
        }
        refusal(&method, &url, response).await
    }
}

/// What kept a request from its answer.
struct Failure {
    text: String,
    is_plain_peer: bool,
}

impl Failure {
    fn plain(text: String) -> Failure {
        Failure { text, is_plain_peer: false }
    }

    /// The innermost error says it: `dial tcp …: connection refused`.
    fn of(what: &str, error: &legacy::Error) -> Failure {
        let mut cause: &(dyn std::error::Error + 'static) = error;
        while let Some(inner) = cause.source() {
            if let Some(connect) = cause.downcast_ref::<ConnectError>() {
                return Failure {
                    text: format!("failed to do request: {what}: {connect}"),
                    is_plain_peer: connect.is_plain_peer,
                };
            }
            cause = inner;
        }
        let is_plain_peer = cause.downcast_ref::<ConnectError>().is_some_and(|connect| connect.is_plain_peer);
        Failure { text: format!("failed to do request: {what}: {cause}"), is_plain_peer }
    }

    fn into_error(self) -> Error {
        Error::unavailable(self.text)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.into_error()
    }
}

async fn within<F: Future>(future: F) -> Option<F::Output> {
    tokio::time::timeout(SILENCE_MAX, future).await.ok()
}

/// `Head "https://…"`, as Go's client names what it was doing.
fn doing(method: &Method, url: &str) -> String {
    let name = method.as_str();
    let (first, rest) = name.split_at(1.min(name.len()));
    format!("{first}{} \"{url}\"", rest.to_ascii_lowercase())
}

fn request(method: &Method, url: &str, body: Full<Bytes>) -> Result<Request<Full<Bytes>>, Failure> {
    let built = Request::builder().method(method).uri(url).header(USER_AGENT, header(AGENT)).body(body);
    built.map_err(|error| Failure::plain(format!("failed to do request: {}: {error}", doing(method, url))))
}

const AGENT: &str = concat!("kedge/", env!("CARGO_PKG_VERSION"));

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn secret(text: String) -> HeaderValue {
    let mut value = header(&text);
    value.set_sensitive(true);
    value
}

fn basic(auth: &AuthConfig) -> Option<HeaderValue> {
    if auth.username.is_empty() && auth.password.is_empty() {
        return None;
    }
    let pair =
        base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", auth.username, auth.password));
    Some(secret(format!("Basic {pair}")))
}

fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// A `Location` may leave out what stays the same.
fn absolute(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let scheme = base.split_once("://").map_or("https", |(scheme, _)| scheme);
    match location.strip_prefix("//") {
        Some(rest) => format!("{scheme}://{rest}"),
        None => format!("{scheme}://{}/{}", authority(base), location.trim_start_matches('/')),
    }
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The error of an answer, with the registry's own words behind it.
async fn refusal(method: &Method, url: &str, response: Response<Incoming>) -> Error {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut text = format!("unexpected status from {method} request to {url}: {} {reason}", status.as_u16());
    let said = said(&words(response).await);
    if !said.is_empty() {
        text = format!("{text}: {said}");
    }
    match status {
        StatusCode::NOT_FOUND => Error { kind: super::PullKind::NotFound, text },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let denied = "pull access denied, repository does not exist or may require authorization";
            Error { kind: super::PullKind::Refused, text: format!("{denied}: {text}") }
        }
        _ => Error { kind: super::PullKind::Unavailable, text },
    }
}

async fn words(response: Response<Incoming>) -> Bytes {
    let body = within(Limited::new(response.into_body(), WORDS_BYTES_MAX).collect()).await;
    body.and_then(Result::ok).map(|collected| collected.to_bytes()).unwrap_or_default()
}

/// `manifest unknown: …` out of `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"…"}]}`.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let read = read_limited(body, WORDS_BYTES_MAX as u64).unwrap_or_default();
    let items = serde_json::from_slice::<Body>(&read).map(|body| body.errors).unwrap_or_default();
    let shown = items.into_iter().take(5).map(|item| {
        let code = item.code.to_ascii_lowercase().replace('_', " ");
        match item.message.to_ascii_lowercase() == code || item.message.is_empty() {
            true => code,
            false => format!("{code}: {}", item.message),
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}
