//! Typed requests.

use crate::error::ApiStatus;
use crate::{Error, Result};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use kedge_api::Resource;
use kube::client::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Write;

/// An answer larger than this is refused (a list of 100,000 pods fits).
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Talks to the API server under one identity. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    kube: kube::Client,
    user_agent: HeaderValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    Json,
    Merge,
    Strategic,
}

impl PatchKind {
    fn content_type(self) -> &'static str {
        match self {
            PatchKind::Json => "application/json-patch+json",
            PatchKind::Merge => "application/merge-patch+json",
            PatchKind::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// `metav1.DeleteOptions`, as far as our components use it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    pub grace_period_s: Option<i64>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    /// `Background`, `Foreground` or `Orphan`.
    pub propagation_policy: Option<&'static str>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListOptions {
    pub label_selector: String,
    pub field_selector: String,
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

impl Client {
    pub(crate) fn over(kube: kube::Client, user_agent: &str) -> Client {
        let user_agent = HeaderValue::from_str(user_agent).unwrap_or(HeaderValue::from_static("kedge"));
        Client { kube, user_agent }
    }

    pub async fn get<T: DeserializeOwned>(&self, of: Resource, namespace: &str, name: &str) -> Result<T> {
        self.call(Method::GET, &object_path(of, namespace, name, ""), None, "").await
    }

    /// All objects (`namespace` None: of all namespaces).
    pub async fn list<T: DeserializeOwned>(
        &self,
        of: Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<Vec<T>> {
        let mut query = Query::default();
        query.text("labelSelector", &options.label_selector).text("fieldSelector", &options.field_selector);
        let path = format!("{}{}", of.path(namespace), query.finish());
        let list: List<T> = self.call(Method::GET, &path, None, "").await?;
        Ok(list.items)
    }

    pub async fn create<T: DeserializeOwned>(
        &self,
        of: Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<T> {
        self.call(Method::POST, &of.path(Some(namespace)), Some(object), "application/json").await
    }

    /// POST to a subresource: `binding`, `eviction`, `token`.
    pub async fn create_subresource<T: DeserializeOwned>(
        &self,
        of: Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: &Value,
    ) -> Result<T> {
        let path = object_path(of, namespace, name, subresource);
        self.call(Method::POST, &path, Some(object), "application/json").await
    }

    /// PUT; `subresource` "" is the object itself.
    pub async fn replace<T: DeserializeOwned>(
        &self,
        of: Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: &Value,
    ) -> Result<T> {
        let path = object_path(of, namespace, name, subresource);
        self.call(Method::PUT, &path, Some(object), "application/json").await
    }

    pub async fn patch<T: DeserializeOwned>(
        &self,
        of: Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        kind: PatchKind,
        patch: &Value,
    ) -> Result<T> {
        let path = object_path(of, namespace, name, subresource);
        self.call(Method::PATCH, &path, Some(patch), kind.content_type()).await
    }

    /// The answer is the object while it lives on, or a Status.
    pub async fn delete(
        &self,
        of: Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Value> {
        let path = object_path(of, namespace, name, "");
        self.call(Method::DELETE, &path, Some(&options.to_json()), "application/json").await
    }

    /// Any path with query, as `kubectl get --raw`; `content_type` is that of `body`.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        content_type: &'static str,
    ) -> Result<T> {
        let doing = format!("{method} {path}");
        let bytes = body.map(|value| Bytes::from(value.to_string())).unwrap_or_default();
        let response = self.send(self.request(method, path, bytes, content_type, &doing)?, &doing).await?;
        let bytes = collect(response, &doing).await?;
        serde_json::from_slice(&bytes).map_err(|cause| Error::Decode { doing, cause: cause.to_string() })
    }

    /// A GET whose successful answer is text (`/readyz`, logs).
    pub async fn text(&self, path: &str) -> Result<String> {
        let doing = format!("GET {path}");
        let response = self.send(self.request(Method::GET, path, Bytes::new(), "", &doing)?, &doing).await?;
        let bytes = collect(response, &doing).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A GET whose successful answer is read as it comes.
    pub(crate) async fn open(&self, path: &str, accept: &'static str) -> Result<Response<Body>> {
        let doing = format!("GET {path}");
        let mut request = self.request(Method::GET, path, Bytes::new(), "", &doing)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept));
        self.send(request, &doing).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        content_type: &'static str,
        doing: &str,
    ) -> Result<Request<Body>> {
        let mut builder = Request::builder().method(method).uri(path);
        builder = builder.header(ACCEPT, "application/json").header(USER_AGENT, &self.user_agent);
        if !content_type.is_empty() {
            builder = builder.header(CONTENT_TYPE, content_type);
        }
        builder.body(Body::from(body)).map_err(|cause| transport(doing, cause))
    }

    /// Sends and turns error statuses into errors.
    async fn send(&self, request: Request<Body>, doing: &str) -> Result<Response<Body>> {
        let response = self.kube.send(request).await.map_err(|cause| transport(doing, cause))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status();
        let bytes = collect(response, doing).await?;
        Err(Error::Api(status_of(code, &bytes)))
    }
}

impl DeleteOptions {
    fn to_json(&self) -> Value {
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
        if let Some(seconds) = self.grace_period_s {
            options["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(policy) = self.propagation_policy {
            options["propagationPolicy"] = policy.into();
        }
        if let Some(uid) = &self.uid {
            options["preconditions"]["uid"] = uid.as_str().into();
        }
        if let Some(version) = &self.resource_version {
            options["preconditions"]["resourceVersion"] = version.as_str().into();
        }
        options
    }
}

fn object_path(of: Resource, namespace: &str, name: &str, subresource: &str) -> String {
    let mut path = format!("{}/{name}", of.path(Some(namespace)));
    if !subresource.is_empty() {
        path.push('/');
        path.push_str(subresource);
    }
    path
}

async fn collect(response: Response<Body>, doing: &str) -> Result<Bytes> {
    let limited = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    Ok(limited.collect().await.map_err(|cause| transport(doing, cause))?.to_bytes())
}

fn transport(doing: &str, cause: impl std::fmt::Display) -> Error {
    Error::Transport { doing: doing.to_owned(), cause: cause.to_string() }
}

fn status_of(code: StatusCode, body: &[u8]) -> ApiStatus {
    let parsed: Option<ApiStatus> = serde_json::from_slice(body).ok();
    match parsed {
        Some(status) if status.code != 0 => status,
        _ => ApiStatus {
            code: code.as_u16(),
            message: String::from_utf8_lossy(&body[..body.len().min(1024)]).into_owned(),
            ..ApiStatus::default()
        },
    }
}

/// Builds a query string with percent-encoding.
#[derive(Default)]
pub(crate) struct Query(String);

impl Query {
    /// Adds `key=value` unless the value is empty.
    pub(crate) fn text(&mut self, key: &str, value: &str) -> &mut Query {
        if value.is_empty() {
            return self;
        }
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(key);
        self.0.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    self.0.push(byte.into())
                }
                other => write!(self.0, "%{other:02X}").expect("writing to a String cannot fail"),
            }
        }
        self
    }

    pub(crate) fn finish(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_percent_encoded() {
        let mut query = Query::default();
        query.text("labelSelector", "a in (b,c)").text("fieldSelector", "").text("x", "1");
        assert_eq!(query.finish(), "?labelSelector=a%20in%20%28b%2Cc%29&x=1");
    }

    #[test]
    fn an_answer_that_is_no_status_keeps_its_words() {
        let status = status_of(StatusCode::BAD_GATEWAY, b"no luck");
        assert_eq!((status.code, status.message.as_str()), (502, "no luck"));
    }

    #[test]
    fn paths() {
        let path = |name, sub| object_path(kedge_api::resource::PODS, "ns", name, sub);
        assert_eq!(path("a", ""), "/api/v1/namespaces/ns/pods/a");
        assert_eq!(path("a", "status"), "/api/v1/namespaces/ns/pods/a/status");
        assert_eq!(object_path(kedge_api::resource::NODES, "", "n", ""), "/api/v1/nodes/n");
    }
}
