//! One port-forward connection: SPDY, plain or inside a WebSocket; each forwarded connection is a pair of streams, `error`
//! and `data`, tied by their `requestID`.
//!
//! Tasks: this one owns the connection and its codecs; two per forwarded connection, one for each direction. What goes to
//! the client waits in one bounded queue; what goes to pods is counted, and while too much of it waits the client is not
//! read, so that a pod that does not read stops its own client and no other direction.

use super::upgrade::{Dialect, Upgraded};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use kedge_cri_api::{ByteStream, Runtime, SandboxId};
use kedge_streaming::spdy::{self, Event, Headers, StreamId};
use kedge_streaming::websocket;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};

const BUFFER: usize = 32 << 10;
/// Bytes on their way to pods above which the client has to wait.
const WAITING_BYTES_MAX: usize = 4 << 20;
const OUTBOUND_WAITING: usize = 64;

/// What a forwarded connection has for the client.
enum Outbound {
    Data(StreamId, Bytes),
    /// The pod will send nothing more.
    Finished(StreamId),
    Failed {
        error: StreamId,
        data: StreamId,
        text: String,
    },
}

pub(super) async fn run(upgraded: Upgraded, runtime: Arc<dyn Runtime>, sandbox: SandboxId) {
    let Ok(io) = upgraded.on_upgrade.await else { return };
    serve(TokioIo::new(io), upgraded.dialect, runtime, sandbox).await;
}

/// The same over any connection.
pub(super) async fn serve<IO: AsyncRead + AsyncWrite>(
    io: IO,
    dialect: Dialect,
    runtime: Arc<dyn Runtime>,
    sandbox: SandboxId,
) {
    let (mut reader, writer) = tokio::io::split(io);
    let (outbound, mut queue) = mpsc::channel(OUTBOUND_WAITING);
    let tunnel =
        matches!(dialect, Dialect::Tunnel).then(|| websocket::Connection::new(websocket::Role::Server, 0));
    let mut forward = Forward {
        writer,
        tunnel,
        machine: spdy::Connection::new(spdy::Role::Server),
        requests: BTreeMap::new(),
        open: BTreeMap::new(),
        outbound,
        backlog: Arc::default(),
        runtime,
        sandbox,
    };
    let mut buffer = vec![0u8; BUFFER];
    loop {
        let backlog = Arc::clone(&forward.backlog);
        let is_full = backlog.bytes.load(Ordering::Acquire) > WAITING_BYTES_MAX;
        let goes_on = tokio::select! {
            read = reader.read(&mut buffer), if !is_full => match read {
                Ok(read) if read > 0 => forward.received(&buffer[..read]),
                Ok(_) | Err(_) => false,
            },
            () = backlog.shrunk.notified(), if is_full => true,
            Some(outbound) = queue.recv() => {
                forward.pass(outbound);
                true
            }
        };
        if !forward.flush().await || !goes_on {
            return;
        }
    }
}

/// What waits for pods to read it.
#[derive(Default)]
struct Backlog {
    bytes: AtomicUsize,
    shrunk: Notify,
}

/// A request of which one stream may still be missing.
#[derive(Default)]
struct Pair {
    error: Option<StreamId>,
    data: Option<StreamId>,
    port: String,
}

struct Forward<IO> {
    writer: WriteHalf<IO>,
    tunnel: Option<websocket::Connection>,
    machine: spdy::Connection,
    requests: BTreeMap<String, Pair>,
    /// By data stream: the way to the pod.
    open: BTreeMap<StreamId, mpsc::UnboundedSender<Bytes>>,
    outbound: mpsc::Sender<Outbound>,
    backlog: Arc<Backlog>,
    runtime: Arc<dyn Runtime>,
    sandbox: SandboxId,
}

impl<IO: AsyncRead + AsyncWrite> Forward<IO> {
    /// False when the conversation is over.
    fn received(&mut self, bytes: &[u8]) -> bool {
        let mut goes_on = true;
        let handled = match &mut self.tunnel {
            None => self.machine.handle(bytes).map_err(|error| error.to_string()),
            Some(tunnel) => {
                let mut handled = tunnel.handle(bytes).map_err(|error| error.to_string());
                while let Some(event) = tunnel.poll_event() {
                    match event {
                        websocket::Event::Binary(bytes) => {
                            handled =
                                handled.and(self.machine.handle(&bytes).map_err(|error| error.to_string()));
                        }
                        websocket::Event::Closed { .. } => goes_on = false,
                        websocket::Event::Text(_) | websocket::Event::Pong(_) => {}
                    }
                }
                handled
            }
        };
        if let Err(error) = handled {
            tracing::debug!(error, "a client of port-forward breaks the protocol");
            return false;
        }
        while let Some(event) = self.machine.poll_event() {
            self.event(event);
        }
        goes_on
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Opened { stream, headers } => self.opened(stream, &headers),
            Event::Data { stream, bytes } => {
                let Some(pod) = self.open.get(&stream) else { return };
                let size = bytes.len();
                self.backlog.bytes.fetch_add(size, Ordering::AcqRel);
                if pod.send(bytes).is_err() {
                    self.backlog.bytes.fetch_sub(size, Ordering::AcqRel);
                }
            }
            Event::Finished { stream } | Event::Reset { stream } => drop(self.open.remove(&stream)),
            Event::Replied { .. } | Event::GoAway => {}
        }
    }

    fn opened(&mut self, stream: StreamId, headers: &Headers) {
        let kind = headers.get("streamType").unwrap_or_default().to_owned();
        let request = headers.get("requestID").unwrap_or_default().to_owned();
        let port = headers.get("port").unwrap_or_default();
        if port.parse::<u16>().unwrap_or(0) == 0 || !matches!(kind.as_str(), "error" | "data") {
            self.machine.reset(stream);
            return;
        }
        self.machine.reply(stream, &Headers::default());
        let pair = self.requests.entry(request.clone()).or_default();
        pair.port = port.to_owned();
        match kind.as_str() {
            "error" => pair.error = Some(stream),
            _ => pair.data = Some(stream),
        }
        if let Pair { error: Some(error), data: Some(data), port } = pair {
            let (error, data) = (*error, *data);
            let port = port.parse().expect("checked above");
            self.requests.remove(&request);
            self.start(error, data, port);
        }
    }

    fn start(&mut self, error: StreamId, data: StreamId, port: u16) {
        let (pod, pieces) = mpsc::unbounded_channel();
        self.open.insert(data, pod);
        let (runtime, sandbox) = (Arc::clone(&self.runtime), self.sandbox.clone());
        let (outbound, backlog) = (self.outbound.clone(), Arc::clone(&self.backlog));
        tokio::spawn(async move {
            match runtime.port_forward(&sandbox, port).await {
                Ok(stream) => connect(stream, data, pieces, outbound.clone(), backlog).await,
                Err(failure) => {
                    let text = format!("error forwarding port {port} to pod {}, uid : {failure}", sandbox.0);
                    // A closed queue means that the client has gone.
                    let _ = outbound.send(Outbound::Failed { error, data, text }).await;
                    return;
                }
            }
            let _ = outbound.send(Outbound::Finished(error)).await;
        });
    }

    fn pass(&mut self, outbound: Outbound) {
        match outbound {
            Outbound::Data(stream, bytes) => self.machine.send(stream, &bytes),
            Outbound::Finished(stream) => self.machine.finish(stream),
            Outbound::Failed { error, data, text } => {
                self.machine.send(error, text.as_bytes());
                self.machine.finish(error);
                self.machine.finish(data);
                self.open.remove(&data);
            }
        }
    }

    /// False when the client is gone.
    async fn flush(&mut self) -> bool {
        let mut out = self.machine.poll_transmit().unwrap_or_default();
        if let Some(tunnel) = &mut self.tunnel {
            if !out.is_empty() {
                tunnel.send_binary(&[&out]);
            }
            out = tunnel.poll_transmit().unwrap_or_default();
        }
        out.is_empty() || (self.writer.write_all(&out).await.is_ok() && self.writer.flush().await.is_ok())
    }
}

/// Carries bytes both ways until both directions have ended.
async fn connect(
    pod: Box<dyn ByteStream>,
    data: StreamId,
    pieces: mpsc::UnboundedReceiver<Bytes>,
    outbound: mpsc::Sender<Outbound>,
    backlog: Arc<Backlog>,
) {
    let (reader, writer) = tokio::io::split(pod);
    let sending = tokio::spawn(to_pod(writer, pieces, backlog));
    from_pod(reader, data, outbound).await;
    // The pod has closed: what the client still sends has nowhere to go.
    sending.abort();
}

async fn from_pod(
    mut reader: ReadHalf<Box<dyn ByteStream>>,
    data: StreamId,
    outbound: mpsc::Sender<Outbound>,
) {
    let mut buffer = vec![0u8; BUFFER];
    loop {
        let read = tokio::select! {
            read = reader.read(&mut buffer) => read.unwrap_or(0),
            () = outbound.closed() => return,
        };
        if read == 0 {
            break;
        }
        if outbound.send(Outbound::Data(data, Bytes::copy_from_slice(&buffer[..read]))).await.is_err() {
            return;
        }
    }
    let _ = outbound.send(Outbound::Finished(data)).await;
}

async fn to_pod(
    mut writer: WriteHalf<Box<dyn ByteStream>>,
    mut pieces: mpsc::UnboundedReceiver<Bytes>,
    backlog: Arc<Backlog>,
) {
    let pending = Pending { pieces: &mut pieces, backlog };
    while let Some(piece) = pending.pieces.recv().await {
        let written = writer.write_all(&piece).await;
        pending.backlog.bytes.fetch_sub(piece.len(), Ordering::AcqRel);
        pending.backlog.shrunk.notify_one();
        if written.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

/// Gives back what was never written, however the writing ends.
struct Pending<'a> {
    pieces: &'a mut mpsc::UnboundedReceiver<Bytes>,
    backlog: Arc<Backlog>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.pieces.close();
        while let Ok(piece) = self.pieces.try_recv() {
            self.backlog.bytes.fetch_sub(piece.len(), Ordering::AcqRel);
        }
        self.backlog.shrunk.notify_one();
    }
}
