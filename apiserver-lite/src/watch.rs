//! Watches: a stream of frames, fed by the store, with bookmarks and an end.
//!
//! One watch has one bounded channel. The store's sink puts events in; when it is full the reader is too slow, and the watch
//! ends, so that the client starts again from what it has. Frames in the stored version are encoded once for all watchers.

use crate::answer::{Answer, Wanted, partial};
use crate::body::{BoxBody, BoxError};
use crate::context::{Context, now};
use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kedge_api::kinds::Kind;
use kedge_apiserver_core::protobuf;
use kedge_apiserver_core::registry::convert;
use kedge_apiserver_core::registry::encode::Encoded;
use kedge_apiserver_core::registry::facts::{Facts, frame};
use kedge_apiserver_core::registry::negotiate::{Format, Representation, Transform};
use kedge_apiserver_core::registry::options::ListOptions;
use kedge_apiserver_core::registry::read::{Filter, Seen, observe, start_watch, too_old};
use kedge_apiserver_core::registry::route::Target;
use kedge_apiserver_core::status::ApiError;
use kedge_apiserver_core::table;
use kedge_store::{Entry, Event, Revision, Sink, StoreError, WatchId};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Events that may wait for a slow reader.
const QUEUE: usize = 1024;
/// A quiet watch that allows bookmarks gets one this often.
const BOOKMARK: Duration = Duration::from_secs(60);
/// The least time a watch without a timeout lasts; the most is twice that.
const LIFE_MIN_S: u64 = 1800;

struct Feed(mpsc::Sender<Arc<Event>>);

impl Sink for Feed {
    fn send(&self, event: &Arc<Event>) -> bool {
        self.0.try_send(event.clone()).is_ok()
    }
}

/// Ends the store's side with the client's.
struct Watching {
    context: Arc<Context>,
    id: WatchId,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.context.store.unwatch(self.id);
    }
}

pub fn handle(context: &Arc<Context>, target: &Target, options: &ListOptions, wanted: &Wanted) -> Answer {
    let filter = Filter::read(target, options)?;
    let start = start_watch(&*context.store, target, options, &filter)?;
    let (sender, events) = mpsc::channel(QUEUE);
    let prefix = filter.prefix(target);
    let watched = match context.store.watch(&prefix, start.after, Box::new(Feed(sender))) {
        Ok(watched) => watched,
        Err(StoreError::Compacted { asked, oldest }) => {
            return Ok(one_error(&too_old(asked, oldest), wanted.representation.format));
        }
        Err(error) => return Err(ApiError::internal(error)),
    };
    let mut frames = Frames { kind: target.kind, filter, wanted: wanted.clone(), header_sent: false };
    let mut ready: VecDeque<Bytes> = VecDeque::new();
    for entry in &start.initial {
        ready.push_back(frames.added(entry));
    }
    if start.end_bookmark {
        ready.push_back(frames.bookmark(start.after, true));
    }
    for event in &watched.missed {
        ready.extend(frames.event(event));
    }
    let reader = Reader {
        _watching: Watching { context: context.clone(), id: watched.id },
        context: context.clone(),
        after: start.after,
        events,
        frames,
        ready,
        bookmarks: options.allow_watch_bookmarks,
        next_bookmark: Instant::now() + BOOKMARK,
        end: Instant::now() + life(options.timeout_s),
    };
    let body =
        stream::unfold(reader, |mut reader| async move { reader.next().await.map(|bytes| (bytes, reader)) });
    Ok(stream_of(body, wanted.representation.format))
}

fn life(timeout_s: Option<i64>) -> Duration {
    match timeout_s.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0) {
        Some(seconds) => Duration::from_secs(seconds),
        // Spread, so that watches that began together do not end together.
        None => Duration::from_secs(LIFE_MIN_S + u64::from(uuid::Uuid::new_v4().as_fields().1) % LIFE_MIN_S),
    }
}

struct Reader {
    _watching: Watching,
    context: Arc<Context>,
    /// Events up to here are known to the client.
    after: Revision,
    events: mpsc::Receiver<Arc<Event>>,
    frames: Frames,
    ready: VecDeque<Bytes>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
}

impl Reader {
    /// The next frames; None ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.take_ready() {
                return Some(bytes);
            }
            let mut shutdown = self.context.shutdown.clone();
            // Each arm only waits; dropping one loses nothing.
            tokio::select! {
                event = self.events.recv() => self.take(&*event?),
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => self.bookmark(),
                () = tokio::time::sleep_until(self.end) => return None,
                _ = shutdown.wait_for(|stop| *stop) => return None,
            }
            while let Ok(event) = self.events.try_recv() {
                self.take(&event);
            }
        }
    }

    fn take(&mut self, event: &Event) {
        // A watch may start at a revision that the store has not reached.
        if event.revision > self.after {
            self.ready.extend(self.frames.event(event));
        }
    }

    fn bookmark(&mut self) {
        self.next_bookmark = Instant::now() + BOOKMARK;
        let revision = self.context.store.revision();
        // What was published before the revision was read is in the channel already.
        while let Ok(event) = self.events.try_recv() {
            self.take(&event);
        }
        self.ready.push_back(self.frames.bookmark(revision.max(self.after), false));
    }

    /// One frame is sent as it is, shared; several are joined, so that the connection sees one write.
    fn take_ready(&mut self) -> Option<Bytes> {
        if self.ready.len() <= 1 {
            return self.ready.pop_front();
        }
        let mut joined = Vec::with_capacity(self.ready.iter().map(Bytes::len).sum());
        for frame in self.ready.drain(..) {
            joined.extend_from_slice(&frame);
        }
        Some(joined.into())
    }
}

/// Makes frames in one representation.
struct Frames {
    kind: &'static Kind,
    filter: Filter,
    wanted: Wanted,
    /// Only the first table carries column definitions.
    header_sent: bool,
}

impl Frames {
    fn event(&mut self, event: &Event) -> Option<Bytes> {
        let seen = observe(&self.filter, event)?;
        Some(match &seen {
            Seen::Added(entry) => self.added(entry),
            Seen::Modified(entry) => match self.shared() {
                Some(Format::Protobuf) => self.enveloped("MODIFIED", entry),
                Some(_) => Facts::frame(entry, false),
                None => self.other("MODIFIED", entry, entry.mod_revision),
            },
            Seen::Deleted(entry, revision) => match self.shared() {
                Some(Format::Json) => frame("DELETED", entry, *revision),
                _ => self.other("DELETED", entry, *revision),
            },
        })
    }

    fn added(&mut self, entry: &Entry) -> Bytes {
        match self.shared() {
            Some(Format::Protobuf) => self.enveloped("ADDED", entry),
            Some(_) => Facts::frame(entry, true),
            None => self.other("ADDED", entry, entry.mod_revision),
        }
    }

    /// The encoding that all watchers of the stored version share.
    fn shared(&self) -> Option<Format> {
        let Representation { format, transform } = self.wanted.representation;
        let stored = self.kind.stored_as == self.kind.group_version();
        (transform == Transform::None && stored).then_some(format)
    }

    fn enveloped(&self, word: &str, entry: &Entry) -> Bytes {
        let message = Facts::message(entry);
        let body = protobuf::enveloped(&self.kind.api_version(), self.kind.kind, &message);
        protobuf::frame(word, &body).into()
    }

    fn other(&mut self, word: &str, entry: &Entry, revision: Revision) -> Bytes {
        let mut object = Encoded::stored(entry).decode(Some(revision));
        convert::from_stored(self.kind, &mut object);
        let object = self.transformed(object);
        line(word, &object, self.wanted.representation.format)
    }

    fn transformed(&mut self, object: Value) -> Value {
        match self.wanted.representation.transform {
            Transform::Table(version) => {
                let revision = object["metadata"]["resourceVersion"].clone();
                let mut table = table::table(self.kind, version, vec![object], now(), self.wanted.include);
                table["metadata"] = json!({"resourceVersion": revision});
                if std::mem::replace(&mut self.header_sent, true) {
                    table["columnDefinitions"] = Value::Null;
                }
                table
            }
            Transform::Partial(version) | Transform::PartialList(version) => partial(version, object),
            Transform::None | Transform::Discovery => object,
        }
    }

    fn bookmark(&mut self, revision: Revision, initial_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object =
            json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata});
        let object = self.transformed(object);
        line("BOOKMARK", &object, self.wanted.representation.format)
    }
}

fn line(word: &str, object: &Value, format: Format) -> Bytes {
    if format == Format::Protobuf {
        let body = protobuf::body(object).expect("tables, which protobuf lacks, are negotiated away");
        return protobuf::frame(word, &body).into();
    }
    let mut text = json!({"type": word, "object": object}).to_string();
    text.push('\n');
    text.into()
}

/// A stream that only says why there is none.
fn one_error(error: &ApiError, format: Format) -> Response<BoxBody> {
    let bytes = line("ERROR", &error.to_status(), format);
    stream_of(stream::once(async move { bytes }), format)
}

fn stream_of(
    frames: impl futures_util::Stream<Item = Bytes> + Send + 'static,
    format: Format,
) -> Response<BoxBody> {
    use futures_util::StreamExt;
    let body = StreamBody::new(frames.map(|bytes| Ok::<_, BoxError>(Frame::data(bytes))));
    let mut response = Response::new(body.boxed_unsync());
    let headers = response.headers_mut();
    let content_type = match format {
        Format::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Format::Json | Format::Yaml => "application/json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}
