//! Clients of both kinds against the session, over an in-memory connection.

pub(crate) mod fake;
mod forwarding;
mod logs;

use super::session::{self, Wanted};
use super::upgrade::Dialect;
use kedge_cri_api::{BoxRead, ExecStreams, Runtime, TerminalSize};
use kedge_streaming::channels::{self, Message, Protocol};
use kedge_streaming::{spdy, websocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};

/// The process: echoes a line of stdin to stdout in capitals, says so on stderr, exits with the line's length.
fn process(tty: bool) -> (ExecStreams, mpsc::Receiver<TerminalSize>) {
    let (stdin, mut far_stdin) = tokio::io::duplex(1024);
    let (stdout, mut far_stdout) = tokio::io::duplex(1024);
    let (stderr, mut far_stderr) = tokio::io::duplex(1024);
    let (exit_sender, exit) = oneshot::channel();
    let (resize, sizes) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut text = String::new();
        far_stdin.read_to_string(&mut text).await.unwrap();
        far_stdout.write_all(text.to_uppercase().as_bytes()).await.unwrap();
        far_stderr.write_all(b"said\n").await.unwrap();
        let _ = exit_sender.send(Ok(text.len() as i32));
    });
    let streams = ExecStreams {
        stdin: Some(Box::new(stdin)),
        stdout: Some(Box::new(stdout)),
        stderr: (!tty).then(|| Box::new(stderr) as BoxRead),
        resize: Some(resize),
        exit,
    };
    (streams, sizes)
}

fn start(dialect: Dialect, tty: bool) -> (DuplexStream, mpsc::Receiver<TerminalSize>) {
    let (client, server) = tokio::io::duplex(4096);
    let (streams, sizes) = process(tty);
    let wanted = Wanted { stdin: true, stdout: true, stderr: !tty, tty };
    tokio::spawn(session::serve(server, dialect, wanted, async move { Ok(streams) }));
    (client, sizes)
}

/// Everything that comes on each channel, until the server closes.
async fn read_channels(
    io: &mut DuplexStream,
    machine: &mut websocket::Connection,
    protocol: Protocol,
) -> [String; 4] {
    let mut seen = [const { String::new() }; 4];
    let mut buffer = [0u8; 4096];
    loop {
        while let Some(event) = machine.poll_event() {
            match protocol.read(event) {
                Some(Message::Data { channel, bytes }) => {
                    seen[channel as usize].push_str(std::str::from_utf8(&bytes).unwrap());
                }
                Some(Message::Closed) => return seen,
                Some(Message::ChannelClosed { .. }) | None => {}
            }
        }
        let read = io.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the server went away without a close");
        machine.handle(&buffer[..read]).unwrap();
        if let Some(out) = machine.poll_transmit() {
            io.write_all(&out).await.unwrap();
        }
    }
}

const FIVE: &str = "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: \
    exit status 5\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"5\"}]}}";

#[tokio::test]
async fn exec_over_websocket() {
    let protocol = Protocol::negotiate("v5.channel.k8s.io").unwrap();
    let (mut io, mut sizes) = start(Dialect::Channels(protocol), false);
    let mut machine = websocket::Connection::new(websocket::Role::Client, 7);
    protocol.send(&mut machine, channels::RESIZE, br#"{"Width":80,"Height":24}"#);
    protocol.send(&mut machine, channels::STDIN, b"hel");
    protocol.send(&mut machine, channels::STDIN, b"lo");
    machine.send_binary(&[&[255, channels::STDIN]]);
    io.write_all(&machine.poll_transmit().unwrap()).await.unwrap();
    let seen = read_channels(&mut io, &mut machine, protocol).await;
    assert_eq!(seen, ["", "HELLO", "said\n", FIVE]);
    assert_eq!(sizes.recv().await, Some(TerminalSize { width: 80, height: 24 }));
}

#[tokio::test]
async fn a_command_that_cannot_start_is_told() {
    let protocol = Protocol::negotiate("v4.channel.k8s.io").unwrap();
    let (mut io, server) = tokio::io::duplex(4096);
    let wanted = Wanted { stdin: false, stdout: true, stderr: true, tty: false };
    let failing = async { Err("error executing command in container: no".to_owned()) };
    tokio::spawn(session::serve(server, Dialect::Channels(protocol), wanted, failing));
    let mut machine = websocket::Connection::new(websocket::Role::Client, 7);
    let seen = read_channels(&mut io, &mut machine, protocol).await;
    assert!(
        seen[3].contains("Internal error occurred: error executing command in container: no"),
        "{}",
        seen[3]
    );
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_command() {
    let protocol = Protocol::negotiate("v5.channel.k8s.io").unwrap();
    let (io, mut sizes) = start(Dialect::Channels(protocol), true);
    drop(io);
    assert_eq!(sizes.recv().await, None, "the streams are dropped");
}

#[tokio::test]
async fn exec_over_spdy() {
    let (mut io, _sizes) = start(Dialect::Spdy { has_status: true }, false);
    let mut machine = spdy::Connection::new(spdy::Role::Client);
    let mut streams = Vec::new();
    for kind in ["error", "stdin", "stdout", "stderr"] {
        streams.push((machine.open(&spdy::Headers::from([("streamType", kind)])), kind, String::new()));
    }
    machine.send(streams[1].0, b"hello");
    machine.finish(streams[1].0);
    let mut finished = 0;
    let mut buffer = [0u8; 4096];
    while finished < 4 {
        if let Some(out) = machine.poll_transmit() {
            io.write_all(&out).await.unwrap();
        }
        let read = io.read(&mut buffer).await.unwrap();
        machine.handle(&buffer[..read]).unwrap();
        while let Some(event) = machine.poll_event() {
            match event {
                spdy::Event::Data { stream, bytes } => {
                    let known = streams.iter_mut().find(|(known, _, _)| *known == stream).unwrap();
                    known.2.push_str(std::str::from_utf8(&bytes).unwrap());
                }
                spdy::Event::Finished { .. } => finished += 1,
                _ => {}
            }
        }
    }
    let texts: Vec<&str> = streams.iter().map(|(_, _, text)| text.as_str()).collect();
    assert_eq!(texts, [FIVE, "", "HELLO", "said\n"]);
}

#[tokio::test]
async fn metrics_tell_how_long_the_runtime_took_and_how_often_it_failed() {
    let metrics = kedge_serving::Metrics::default();
    let runtime = crate::timed::Timed::new(std::sync::Arc::new(fake::Fake::default()), &metrics);
    let id = kedge_cri_api::ContainerId("c".to_owned());
    runtime.container_status(&id).await.unwrap();
    runtime.start_container(&id).await.unwrap_err();
    let text = metrics.text();
    for line in [
        r#"kubelet_runtime_operations_duration_seconds_count{operation_type="container_status"} 1"#,
        r#"kubelet_runtime_operations_duration_seconds_count{operation_type="start_container"} 1"#,
        r#"kubelet_runtime_operations_errors_total{operation_type="start_container"} 1"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains(r#"errors_total{operation_type="container_status"}"#), "{text}");
}
