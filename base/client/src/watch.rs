//! One watch connection: from the initial events of a WatchList to the end of the stream.

use crate::cache::PartialObject;
use crate::error::ApiStatus;
use crate::request::Query;
use crate::{Client, Error, Result};
use bytes::BytesMut;
use http_body_util::BodyExt;
use kedge_api::{ObjectMeta, Resource};
use kedge_machinery::ObjectKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A frame larger than this ends the watch (objects are at most 1.5 MiB).
const FRAME_BYTES_MAX: usize = 16 << 20;

const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// None: of all namespaces.
    pub namespace: Option<String>,
    pub label_selector: String,
    pub field_selector: String,
    /// Start after this version; None asks for the objects first (WatchList, KEP-3157).
    pub resource_version: Option<String>,
    /// The server ends the watch after so many seconds.
    pub timeout_s: u32,
    /// Ask for `PartialObjectMetadata` instead of whole objects.
    pub metadata_only: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent<T> {
    Applied(T),
    Deleted(T),
    /// An object that this reader does not understand; one of them must not stop the others.
    Unreadable {
        key: ObjectKey,
        resource_version: String,
        cause: String,
    },
    /// Everything up to this version was sent; `initial_end` marks the end of the initial events.
    Bookmark {
        resource_version: String,
        initial_end: bool,
    },
}

/// An open watch.
pub(crate) struct Watch {
    body: kube::client::Body,
    buffer: BytesMut,
    doing: String,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl Client {
    pub(crate) async fn watch(&self, of: Resource, options: &WatchOptions) -> Result<Watch> {
        let mut query = Query::default();
        query.text("watch", "true").text("allowWatchBookmarks", "true");
        query.text("timeoutSeconds", &options.timeout_s.to_string());
        query.text("labelSelector", &options.label_selector).text("fieldSelector", &options.field_selector);
        match &options.resource_version {
            Some(version) => query.text("resourceVersion", version),
            None => query.text("sendInitialEvents", "true").text("resourceVersionMatch", "NotOlderThan"),
        };
        let path = format!("{}{}", of.path(options.namespace.as_deref()), query.finish());
        let accept = if options.metadata_only { METADATA_ONLY } else { "application/json" };
        let response = self.open(&path, accept).await?;
        Ok(Watch { body: response.into_body(), buffer: BytesMut::new(), doing: format!("GET {path}") })
    }
}

impl Watch {
    /// The next event; None when the server has ended the stream in order.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<WatchEvent<T>>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                return decode(&line).map(Some).map_err(|error| self.explain(error));
            }
            if self.buffer.len() > FRAME_BYTES_MAX {
                let cause = format!("a frame is larger than {FRAME_BYTES_MAX} bytes");
                return Err(Error::Decode { doing: self.doing.clone(), cause });
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(cause)) => {
                    return Err(Error::Transport { doing: self.doing.clone(), cause: cause.to_string() });
                }
            }
        }
    }

    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Decode { cause, .. } => Error::Decode { doing: self.doing.clone(), cause },
            Error::Api(_) | Error::Transport { .. } | Error::Config(_) => error,
        }
    }
}

fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<WatchEvent<T>> {
    let broken = |cause: serde_json::Error| Error::Decode { doing: String::new(), cause: cause.to_string() };
    let frame: Frame<'_> = serde_json::from_slice(line).map_err(broken)?;
    let object = frame.object.get();
    match frame.kind {
        "ADDED" | "MODIFIED" => match serde_json::from_str(object) {
            Ok(object) => Ok(WatchEvent::Applied(object)),
            Err(error) => {
                let PartialObject { metadata: meta } = serde_json::from_str(object).map_err(broken)?;
                let key = ObjectKey::new(meta.namespace, meta.name);
                let resource_version = meta.resource_version;
                Ok(WatchEvent::Unreadable { key, resource_version, cause: error.to_string() })
            }
        },
        "DELETED" => serde_json::from_str(object).map(WatchEvent::Deleted).map_err(broken),
        "BOOKMARK" => {
            let bookmark: Bookmark = serde_json::from_str(object).map_err(broken)?;
            let initial_end = bookmark.metadata.annotations.contains_key("k8s.io/initial-events-end");
            Ok(WatchEvent::Bookmark { resource_version: bookmark.metadata.resource_version, initial_end })
        }
        "ERROR" => {
            let status: ApiStatus = serde_json::from_str(object).map_err(broken)?;
            Err(Error::Api(status))
        }
        other => {
            Err(Error::Decode { doing: String::new(), cause: format!("unknown watch event type {other:?}") })
        }
    }
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: ObjectMeta,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn check(line: &str, expected: &str) {
        let text = match decode::<Value>(line.as_bytes()) {
            Ok(WatchEvent::Applied(v)) => format!("applied {}", v["metadata"]["name"]),
            Ok(WatchEvent::Deleted(v)) => format!("deleted {}", v["metadata"]["name"]),
            Ok(WatchEvent::Unreadable { key, .. }) => format!("unreadable {key}"),
            Ok(WatchEvent::Bookmark { resource_version, initial_end }) => {
                format!("{resource_version} {initial_end}")
            }
            Err(error) => format!("error gone={} {error}", error.is_gone()),
        };
        assert!(text.starts_with(expected), "{line}: {text}");
    }

    #[test]
    fn frames() {
        check(r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#, "applied \"a\"");
        check(r#"{"type":"DELETED","object":{"metadata":{"name":"a"}}}"#, "deleted \"a\"");
        check(r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}"#, "7 false");
        check(
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
            "7 true",
        );
        check(r#"{"type":"ERROR","object":{"code":410,"message":"too old"}}"#, "error gone=true too old");
        check(r#"{"type":"NONSENSE","object":{}}"#, "error gone=false");
        check("{", "error");
    }

    /// Conformance spec "DNS should provide DNS for ExternalName services": one service with an unexpected field kept every
    /// reader of services from seeing any.
    #[test]
    fn an_object_of_another_shape_is_named() {
        let line = r#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"7"},"spec":{"ports":"none"}}}"#;
        match decode::<kedge_api::Service>(line.as_bytes()) {
            Ok(WatchEvent::Unreadable { key, resource_version, .. }) => {
                assert_eq!((&*key.name, &*resource_version), ("a", "7"));
            }
            other => panic!("{other:?}"),
        }
    }
}
