use super::super::forward;
use super::super::upgrade::Dialect;
use super::fake::Fake;
use kedge_cri_api::SandboxId;
use kedge_streaming::spdy::{Connection, Event, Headers, Role, StreamId};
use kedge_streaming::websocket;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A client: SPDY, in a WebSocket if there is one.
struct Client {
    io: DuplexStream,
    machine: Connection,
    tunnel: Option<websocket::Connection>,
}

impl Client {
    fn connect(dialect: Dialect) -> Client {
        let (io, server) = tokio::io::duplex(4096);
        tokio::spawn(forward::serve(server, dialect, Arc::new(Fake::default()), SandboxId("box".into())));
        let tunnel =
            (dialect == Dialect::Tunnel).then(|| websocket::Connection::new(websocket::Role::Client, 5));
        Client { io, machine: Connection::new(Role::Client), tunnel }
    }

    fn open(&mut self, port: &str, request: &str) -> (StreamId, StreamId) {
        let mut open = |kind| {
            self.machine.open(&Headers::from([("streamType", kind), ("port", port), ("requestID", request)]))
        };
        (open("error"), open("data"))
    }

    async fn flush(&mut self) {
        let mut out = self.machine.poll_transmit().unwrap_or_default();
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.send_binary(&[&out]);
            out = tunnel.poll_transmit().unwrap();
        }
        self.io.write_all(&out).await.unwrap();
    }

    /// Reads until `stream` is finished; what came on it.
    async fn read_all(&mut self, stream: StreamId) -> Vec<u8> {
        let mut seen = Vec::new();
        let mut buffer = [0u8; 4096];
        loop {
            while let Some(event) = self.machine.poll_event() {
                match event {
                    Event::Data { stream: on, bytes } if on == stream => seen.extend_from_slice(&bytes),
                    Event::Finished { stream: on } if on == stream => return seen,
                    _ => {}
                }
            }
            let read = self.io.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the server went away");
            match &mut self.tunnel {
                None => self.machine.handle(&buffer[..read]).unwrap(),
                Some(tunnel) => {
                    tunnel.handle(&buffer[..read]).unwrap();
                    while let Some(event) = tunnel.poll_event() {
                        let websocket::Event::Binary(bytes) = event else { panic!("{event:?}") };
                        self.machine.handle(&bytes).unwrap();
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn bytes_go_both_ways_in_both_dialects() {
    for dialect in [Dialect::Spdy { has_status: false }, Dialect::Tunnel] {
        let mut client = Client::connect(dialect);
        let (error, data) = client.open("8080", "0");
        client.machine.finish(error);
        client.machine.send(data, &[b'x'; 3000]);
        client.machine.finish(data);
        client.flush().await;
        assert_eq!(client.read_all(data).await, [b'x'; 3000]);
        assert_eq!(client.read_all(error).await, b"");
    }
}

/// kubectl transcript 523: the words on the error stream, and the connection stays for others.
#[tokio::test]
async fn a_closed_port_is_told_on_the_error_stream() {
    let mut client = Client::connect(Dialect::Tunnel);
    let (error, _) = client.open("9999", "0");
    client.flush().await;
    let text = String::from_utf8(client.read_all(error).await).unwrap();
    assert!(text.starts_with("error forwarding port 9999 to pod box, uid : dial tcp4"), "{text}");
    let (_, data) = client.open("8080", "1");
    client.machine.send(data, b"hello");
    client.machine.finish(data);
    client.flush().await;
    assert_eq!(client.read_all(data).await, b"hello");
}
