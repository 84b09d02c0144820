//! `/containerLogs`: reads a container's log file from the right place on, and with `follow` goes on as it grows, through
//! rotations, until the container has ended and everything it wrote was sent.
//!
//! One task per stream. It waits for inotify, for the runtime's word that the container stopped, or for the client to go.

use super::log_lines::{Instant, Options, Printer, Wanted, instant, tail_start};
use super::query::Query;
use super::{Answer, Handlers, Rejection};
use crate::lookup::ContainerPlace;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use inotify::{EventStream, Inotify, WatchMask};
use kedge_cri_api::{ContainerState, EventReceiver, Runtime, RuntimeEventKind};
use kedge_serving::BoxError;
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;

const BUFFER: usize = 64 << 10;
/// The longest line that is kept together; the runtime cuts lines far below.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How long after a container's end its last lines may still arrive from the thread that writes them.
const LAST_WORDS: Duration = Duration::from_millis(500);
const PIECES_WAITING: usize = 8;

pub(super) async fn handle(
    handlers: &Handlers,
    namespace: &str,
    pod: &str,
    container: &str,
    query: Option<&str>,
) -> Result<Answer, Rejection> {
    let query = Query::parse(query);
    let options = options(&query).map_err(|words| Rejection(StatusCode::BAD_REQUEST, words))?;
    let previous = query.is_set("previous");
    let place = handlers.lookup.container(namespace, pod, container, previous);
    let Some(place) = place else {
        let ended = handlers.lookup.ended(namespace, pod, container).filter(|_| !previous);
        // Upstream says so in the place of the log, and so do tools expect it (`sidecar-delete-order`).
        let words = ended.map(|id| format!("unable to retrieve container logs for {id}"));
        let missing = || missing(handlers, namespace, pod, container, previous);
        return words.map(|words| super::text(StatusCode::OK, words)).ok_or_else(missing);
    };
    let (sender, mut pieces) = mpsc::channel(PIECES_WAITING);
    let mut reading = Reading::new(place, options, sender, Arc::clone(&handlers.runtime)).await;
    match reading.open().await {
        Ok(()) => drop(tokio::spawn(reading.run())),
        // Removed by garbage collection, or never written.
        Err(error) => {
            let words = format!("unable to retrieve container logs for {}: {error}", reading.place.id.0);
            return Err(Rejection(StatusCode::INTERNAL_SERVER_ERROR, words));
        }
    }
    let frames = futures_util::stream::poll_fn(move |cx| pieces.poll_recv(cx));
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    answer.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(answer)
}

fn missing(handlers: &Handlers, namespace: &str, pod: &str, container: &str, previous: bool) -> Rejection {
    let words = match (handlers.lookup.sandbox(namespace, pod), previous) {
        (None, _) => return Rejection(StatusCode::NOT_FOUND, format!("pod \"{pod}\" not found")),
        (Some(_), true) => {
            format!("previous terminated container \"{container}\" in pod \"{pod}\" not found")
        }
        (Some(_), false) => format!("container \"{container}\" in pod \"{pod}\" is not available"),
    };
    Rejection(StatusCode::BAD_REQUEST, words)
}

fn options(query: &Query) -> Result<Options, String> {
    let number = |name: &str| match query.text(name) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("{name}: {text:?} is not a number")),
    };
    let since = match (number("sinceSeconds")?, query.text("sinceTime")) {
        (Some(_), Some(_)) => {
            return Err("at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned());
        }
        (Some(seconds), None) => Some(ago(seconds)),
        (None, Some(text)) => {
            Some(instant(text).ok_or_else(|| format!("sinceTime: {text:?} is not a time"))?)
        }
        (None, None) => None,
    };
    let stream = match query.text("stream") {
        None | Some("All") => Wanted::All,
        Some("Stdout") => Wanted::Stdout,
        Some("Stderr") => Wanted::Stderr,
        Some(other) => return Err(format!("stream: {other:?} is not All, Stdout or Stderr")),
    };
    Ok(Options {
        follow: query.is_set("follow"),
        timestamps: query.is_set("timestamps"),
        tail_lines: number("tailLines")?,
        since,
        limit_bytes: number("limitBytes")?,
        stream,
    })
}

fn ago(seconds: u64) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let then = now.saturating_sub(Duration::from_secs(seconds));
    (i64::try_from(then.as_secs()).unwrap_or(i64::MAX), then.subsec_nanos())
}

type Piece = Result<Frame<Bytes>, BoxError>;

struct Reading {
    place: ContainerPlace,
    options: Options,
    sender: mpsc::Sender<Piece>,
    printer: Printer,
    runtime: Arc<dyn Runtime>,
    events: EventReceiver,
    file: Option<File>,
    /// A line whose end was not read yet.
    pending: Vec<u8>,
    /// Bytes of the file that are still wanted: who does not follow gets what was there when he asked, so that a busy
    /// container adds no line to its last ones.
    wanted: u64,
}

impl Reading {
    async fn new(
        place: ContainerPlace,
        options: Options,
        sender: mpsc::Sender<Piece>,
        runtime: Arc<dyn Runtime>,
    ) -> Reading {
        let events = runtime.events();
        let printer = Printer::new(options.clone());
        Reading {
            place,
            options,
            sender,
            printer,
            runtime,
            events,
            file: None,
            pending: Vec::new(),
            wanted: u64::MAX,
        }
    }

    async fn open(&mut self) -> io::Result<()> {
        let mut file = File::open(&self.place.log_path).await?;
        let length = file.metadata().await?.len();
        let mut start = 0;
        if let Some(lines) = self.options.tail_lines {
            start = tail_offset(&mut file, length, lines).await?;
            file.seek(SeekFrom::Start(start)).await?;
        }
        if !self.options.follow {
            self.wanted = length - start;
        }
        self.file = Some(file);
        Ok(())
    }

    async fn run(mut self) {
        if let Err(error) = self.try_run().await {
            // Cuts the body short, so that the client sees that something is missing.
            let _ = self.sender.send(Err(error.into())).await;
        }
    }

    async fn try_run(&mut self) -> io::Result<()> {
        if !self.options.follow {
            return self.drain().await.map(|_| ());
        }
        // Watched before the first read: what is written in between is either read or announced.
        let mut watch = watch(&self.place.log_path)?;
        let mut has_ended = !self.is_running().await;
        loop {
            if !self.drain().await? {
                return Ok(());
            }
            if self.follow_rotation().await? {
                continue;
            }
            tokio::select! {
                // Only that something changed matters; a lost event is followed by others.
                Some(change) = watch.next() => drop(change?),
                () = self.sender.closed() => return Ok(()),
                () = stopped(&mut self.events, &self.place.id.0), if !has_ended => {
                    has_ended = !self.is_running().await;
                }
                () = tokio::time::sleep(LAST_WORDS), if has_ended => return self.drain().await.map(|_| ()),
            }
        }
    }

    async fn is_running(&self) -> bool {
        let status = self.runtime.container_status(&self.place.id).await;
        status.is_ok_and(|status| status.state == ContainerState::Running)
    }

    /// Sends everything up to the file's end. False when nothing more is wanted.
    async fn drain(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0u8; BUFFER];
        while let Some(file) = &mut self.file {
            let room = usize::try_from(self.wanted).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read(&mut buffer[..room]).await?;
            if read == 0 {
                break;
            }
            self.wanted -= read as u64;
            let mut out = Vec::with_capacity(read);
            self.pending.extend_from_slice(&buffer[..read]);
            self.print(&mut out);
            let is_wanted = out.is_empty() || self.sender.send(Ok(Frame::data(out.into()))).await.is_ok();
            if !is_wanted || self.printer.is_done() {
                return Ok(false);
            }
        }
        Ok(!self.printer.is_done())
    }

    fn print(&mut self, out: &mut Vec<u8>) {
        let mut start = 0;
        while let Some(length) = self.pending[start..].iter().position(|byte| *byte == b'\n') {
            self.printer.print(&self.pending[start..start + length], out);
            start += length + 1;
        }
        self.pending.drain(..start);
        if self.pending.len() > LINE_BYTES_MAX {
            self.pending.clear();
        }
    }

    /// After a rotation the name belongs to another file; the old one was read to its end before.
    async fn follow_rotation(&mut self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let ours = file.metadata().await?;
        match File::open(&self.place.log_path).await {
            Ok(current) => {
                let is_other = current.metadata().await?.ino() != ours.ino();
                if is_other {
                    // The writer turned to the new file before it appeared: a last look at the old one.
                    if !self.drain().await? {
                        return Ok(false);
                    }
                    self.file = Some(current);
                }
                Ok(is_other)
            }
            // Renamed away and not made anew yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Where the last lines begin, looking at ever longer ends of the file.
async fn tail_offset(file: &mut File, length: u64, lines: u64) -> io::Result<u64> {
    let mut window = BUFFER as u64;
    loop {
        let from = length.saturating_sub(window);
        file.seek(SeekFrom::Start(from)).await?;
        let mut block = Vec::new();
        (&mut *file).take(length - from).read_to_end(&mut block).await?;
        match tail_start(&block, lines) {
            Ok(start) => return Ok(from + start as u64),
            Err(_) if from == 0 => return Ok(0),
            Err(_) => window *= 4,
        }
    }
}

fn watch(path: &Path) -> io::Result<EventStream<[u8; 1024]>> {
    let inotify = Inotify::init()?;
    let folder = path.parent().unwrap_or(path);
    inotify.watches().add(folder, WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO)?;
    inotify.into_event_stream([0; 1024])
}

/// Returns when the container may have stopped: its status decides.
async fn stopped(events: &mut EventReceiver, id: &str) {
    loop {
        match events.recv().await {
            Ok(event)
                if event.container_id.as_deref() == Some(id) && event.kind != RuntimeEventKind::Started =>
            {
                return;
            }
            Ok(_) => {}
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => return,
            // The runtime is going down, and we with it.
            Err(tokio::sync::broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
