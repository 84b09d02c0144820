//! One exec or attach: the client's channels on one side, the process's streams on the other.
//!
//! Tasks: this one owns the connection and its codec; a second one writes stdin, so that a process that does not read
//! blocks neither its output nor the client's closing. Every select arm may be dropped: reads keep nothing back, and what
//! was read is handled before the next round.

use super::upgrade::{Dialect, Upgraded};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use kedge_cri_api::{BoxRead, BoxWrite, ExecStreams, TerminalSize};
use kedge_streaming::channels::{self, ERROR, Message, Protocol, RESIZE, STDERR, STDIN, STDOUT};
use kedge_streaming::remote_command::{Outcome, terminal_size};
use kedge_streaming::{spdy, websocket};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

/// How long a client may take to open its streams, and to answer a close.
const STREAMS_DEADLINE: Duration = Duration::from_secs(30);
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// How long output is waited for after the process has ended: a child of it may hold the pipe for ever.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
const BUFFER: usize = 32 << 10;
/// Pieces of stdin that wait for the process.
const STDIN_WAITING: usize = 8;

/// Which streams the client has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// Serves one client until the process or the client is gone. `start` runs once the client's streams are there.
pub(super) async fn run(
    upgraded: Upgraded,
    wanted: Wanted,
    start: impl Future<Output = Result<ExecStreams, String>>,
) {
    let Ok(io) = upgraded.on_upgrade.await else { return };
    serve(TokioIo::new(io), upgraded.dialect, wanted, start).await;
}

/// The same over any connection.
pub(super) async fn serve<IO: AsyncRead + AsyncWrite>(
    io: IO,
    dialect: Dialect,
    wanted: Wanted,
    start: impl Future<Output = Result<ExecStreams, String>>,
) {
    let (reader, writer) = tokio::io::split(io);
    let wire = match dialect {
        Dialect::Channels(protocol) => Wire::Channels {
            machine: Box::new(websocket::Connection::new(websocket::Role::Server, 0)),
            protocol,
        },
        Dialect::Spdy { has_status } => Wire::Spdy {
            machine: Box::new(spdy::Connection::new(spdy::Role::Server)),
            streams: Vec::new(),
            has_status,
        },
        Dialect::Tunnel => return,
    };
    let mut client = Client { reader, writer, wire, inbound: VecDeque::new(), is_gone: false };
    let opened = tokio::time::timeout(STREAMS_DEADLINE, client.await_streams(wanted)).await;
    if !matches!(opened, Ok(true)) {
        return;
    }
    let outcome = match start.await {
        Ok(streams) => Session::new(&mut client, streams).run().await,
        Err(text) => Some(Outcome::Failure(text)),
    };
    // Without an outcome the client has gone; the process is ended by dropping its streams.
    if let Some(outcome) = outcome {
        client.end(&outcome).await;
    }
}

enum Wire {
    Channels { machine: Box<websocket::Connection>, protocol: Protocol },
    Spdy { machine: Box<spdy::Connection>, streams: Vec<(spdy::StreamId, u8)>, has_status: bool },
}

/// What the client wants of the process.
#[derive(Debug, PartialEq, Eq)]
enum Inbound {
    Stdin(Bytes),
    StdinEnd,
    Resize(TerminalSize),
}

struct Client<IO> {
    reader: ReadHalf<IO>,
    writer: WriteHalf<IO>,
    wire: Wire,
    inbound: VecDeque<Inbound>,
    is_gone: bool,
}

impl<IO: AsyncRead + AsyncWrite> Client<IO> {
    /// A WebSocket has its channels from the start; over SPDY the client opens them. False if it went away.
    async fn await_streams(&mut self, wanted: Wanted) -> bool {
        let mut expected = vec![ERROR];
        expected.extend(
            [(wanted.stdin, STDIN), (wanted.stdout, STDOUT), (wanted.stderr, STDERR)]
                .iter()
                .filter(|(is_wanted, _)| *is_wanted)
                .map(|(_, channel)| *channel),
        );
        let mut buffer = vec![0u8; BUFFER];
        loop {
            let has_all = match &self.wire {
                Wire::Channels { .. } => true,
                Wire::Spdy { streams, .. } => {
                    expected.iter().all(|channel| streams.iter().any(|(_, known)| known == channel))
                }
            };
            if has_all || self.is_gone {
                return !self.is_gone;
            }
            let read = self.reader.read(&mut buffer).await.unwrap_or(0);
            self.received(&buffer[..read]).await;
        }
    }

    /// Handles what was read; nothing read means that the client is gone.
    async fn received(&mut self, bytes: &[u8]) {
        let handled = match &mut self.wire {
            Wire::Channels { machine, .. } => machine.handle(bytes).map_err(|error| error.to_string()),
            Wire::Spdy { machine, .. } => machine.handle(bytes).map_err(|error| error.to_string()),
        };
        if let Err(error) = handled {
            tracing::debug!(error, "a client of exec or attach breaks the protocol");
            self.is_gone = true;
        }
        self.is_gone |= bytes.is_empty();
        self.collect();
        self.flush().await;
    }

    fn collect(&mut self) {
        match &mut self.wire {
            Wire::Channels { machine, protocol } => {
                while let Some(event) = machine.poll_event() {
                    match protocol.read(event) {
                        Some(Message::Data { channel, bytes }) => {
                            self.inbound.extend(inbound(channel, bytes))
                        }
                        Some(Message::ChannelClosed { channel: STDIN }) => {
                            self.inbound.push_back(Inbound::StdinEnd)
                        }
                        Some(Message::Closed) => self.is_gone = true,
                        Some(Message::ChannelClosed { .. }) | None => {}
                    }
                }
            }
            Wire::Spdy { machine, streams, .. } => {
                while let Some(event) = machine.poll_event() {
                    let channel = |stream| {
                        streams.iter().find(|(known, _)| *known == stream).map(|(_, channel)| *channel)
                    };
                    match event {
                        spdy::Event::Opened { stream, headers } => {
                            match headers.get("streamType").and_then(channel_of) {
                                Some(channel) => {
                                    machine.reply(stream, &spdy::Headers::default());
                                    streams.push((stream, channel));
                                }
                                None => machine.reset(stream),
                            }
                        }
                        spdy::Event::Data { stream, bytes } => {
                            self.inbound.extend(channel(stream).and_then(|channel| inbound(channel, bytes)));
                        }
                        spdy::Event::Finished { stream } | spdy::Event::Reset { stream } => {
                            if channel(stream) == Some(STDIN) {
                                self.inbound.push_back(Inbound::StdinEnd);
                            }
                        }
                        spdy::Event::Replied { .. } | spdy::Event::GoAway => {}
                    }
                }
            }
        }
    }

    async fn send(&mut self, channel: u8, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Channels { machine, protocol } => protocol.send(machine, channel, bytes),
            Wire::Spdy { machine, streams, .. } => {
                if let Some((stream, _)) = streams.iter().find(|(_, known)| *known == channel) {
                    machine.send(*stream, bytes);
                }
            }
        }
        self.flush().await;
    }

    async fn flush(&mut self) {
        let out = match &mut self.wire {
            Wire::Channels { machine, .. } => machine.poll_transmit(),
            Wire::Spdy { machine, .. } => machine.poll_transmit(),
        };
        if let Some(out) = out
            && (self.writer.write_all(&out).await.is_err() || self.writer.flush().await.is_err())
        {
            self.is_gone = true;
        }
    }

    /// Says how it ended and closes; waits a moment for the client's own close, so that nothing sent is lost.
    async fn end(&mut self, outcome: &Outcome) {
        let has_status = match &self.wire {
            Wire::Channels { protocol, .. } => protocol.has_status,
            Wire::Spdy { has_status, .. } => *has_status,
        };
        let words = if has_status { outcome.to_status() } else { outcome.to_text() };
        if !words.is_empty() {
            self.send(ERROR, words.as_bytes()).await;
        }
        match &mut self.wire {
            Wire::Channels { machine, .. } => machine.close(1000),
            Wire::Spdy { machine, streams, .. } => {
                streams.iter().for_each(|(stream, _)| machine.finish(*stream))
            }
        }
        self.flush().await;
        let rest = async {
            let mut buffer = vec![0u8; BUFFER];
            while !self.is_gone {
                let read = self.reader.read(&mut buffer).await.unwrap_or(0);
                self.received(&buffer[..read]).await;
            }
        };
        // A client that does not close is cut off.
        let _ = tokio::time::timeout(CLOSE_DEADLINE, rest).await;
        let _ = self.writer.shutdown().await;
    }
}

fn channel_of(stream_type: &str) -> Option<u8> {
    Some(match stream_type {
        "stdin" => STDIN,
        "stdout" => STDOUT,
        "stderr" => STDERR,
        "error" => ERROR,
        "resize" => RESIZE,
        _ => return None,
    })
}

fn inbound(channel: u8, bytes: Bytes) -> Option<Inbound> {
    match channel {
        channels::STDIN if !bytes.is_empty() => Some(Inbound::Stdin(bytes)),
        RESIZE => {
            terminal_size(&bytes).map(|(width, height)| Inbound::Resize(TerminalSize { width, height }))
        }
        _ => None,
    }
}

struct Session<'a, IO> {
    client: &'a mut Client<IO>,
    stdin: Option<mpsc::Sender<Bytes>>,
    streams: ExecStreams,
}

impl<'a, IO: AsyncRead + AsyncWrite> Session<'a, IO> {
    fn new(client: &'a mut Client<IO>, mut streams: ExecStreams) -> Session<'a, IO> {
        let stdin = streams.stdin.take().map(|stdin| {
            let (sender, pieces) = mpsc::channel(STDIN_WAITING);
            tokio::spawn(write_stdin(stdin, pieces));
            sender
        });
        Session { client, stdin, streams }
    }

    async fn run(mut self) -> Option<Outcome> {
        let mut received = vec![0u8; BUFFER];
        let mut output = vec![0u8; BUFFER];
        let mut errors = vec![0u8; BUFFER];
        let mut outcome = None;
        let mut deadline = None;
        loop {
            if self.client.is_gone {
                return None;
            }
            if outcome.is_some() && self.streams.stdout.is_none() && self.streams.stderr.is_none() {
                return outcome;
            }
            let waiting = self.client.inbound.front();
            let is_resize = matches!(waiting, Some(Inbound::Resize(_)));
            let has_inbound = waiting.is_some();
            let stdin = self.stdin.clone();
            tokio::select! {
                read = self.client.reader.read(&mut received), if self.client.inbound.len() < STDIN_WAITING => {
                    let read = read.unwrap_or(0);
                    self.client.received(&received[..read]).await;
                }
                permit = reserve(stdin.as_ref()), if has_inbound && !is_resize => self.pass_stdin(permit),
                () = std::future::ready(()), if is_resize => self.resize(),
                read = read_some(self.streams.stdout.as_mut(), &mut output) => match read {
                    0 => self.streams.stdout = None,
                    read => self.client.send(STDOUT, &output[..read]).await,
                },
                read = read_some(self.streams.stderr.as_mut(), &mut errors) => match read {
                    0 => self.streams.stderr = None,
                    read => self.client.send(STDERR, &errors[..read]).await,
                },
                exit = &mut self.streams.exit, if outcome.is_none() => {
                    deadline = Some(tokio::time::Instant::now() + DRAIN_DEADLINE);
                    outcome = Some(match exit {
                        Ok(Ok(code)) => Outcome::ExitCode(code),
                        Ok(Err(error)) => Outcome::Failure(error.to_string()),
                        Err(_) => Outcome::Failure("the container runtime went away".to_owned()),
                    });
                }
                () = sleep_until(deadline) => return outcome,
            }
        }
    }

    /// Takes the next piece of stdin, or its end.
    fn pass_stdin(&mut self, permit: Option<mpsc::OwnedPermit<Bytes>>) {
        match (self.client.inbound.pop_front(), permit) {
            (Some(Inbound::Stdin(bytes)), Some(permit)) => drop(permit.send(bytes)),
            // The process has closed its stdin, or never had one: what comes is dropped, as a pipe would.
            (Some(Inbound::Stdin(_)), None) => {}
            (Some(Inbound::StdinEnd), _) => self.stdin = None,
            (Some(Inbound::Resize(_)) | None, _) => {}
        }
    }

    fn resize(&mut self) {
        if let (Some(Inbound::Resize(size)), Some(resize)) =
            (self.client.inbound.pop_front(), &self.streams.resize)
        {
            // A full queue has newer sizes than the process has seen; the next key stroke of the window follows.
            let _ = resize.try_send(size);
        }
    }
}

async fn reserve(stdin: Option<&mpsc::Sender<Bytes>>) -> Option<mpsc::OwnedPermit<Bytes>> {
    stdin?.clone().reserve_owned().await.ok()
}

async fn read_some(stream: Option<&mut BoxRead>, buffer: &mut [u8]) -> usize {
    match stream {
        // A stream that fails has ended.
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Writes pieces until the client ends its stdin or the process closes it.
async fn write_stdin(mut stdin: BoxWrite, mut pieces: mpsc::Receiver<Bytes>) {
    while let Some(piece) = pieces.recv().await {
        if stdin.write_all(&piece).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
    // The far end sees the end of its input.
    let _ = stdin.shutdown().await;
}
