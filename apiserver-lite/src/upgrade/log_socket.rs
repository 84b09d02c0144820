//! A log over a WebSocket: one message per piece of the log, an empty one first, the closing handshake at its end.
//!
//! One task per socket reads the kubelet's answer and the client's frames (closing, pings) and ends with either.

use crate::body::BoxBody;
use base64::Engine;
use bytes::Bytes;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use kedge_apiserver_core::status::ApiError;
use kedge_streaming::websocket::{Connection, Event, Role, accept_key, is_key};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const NORMAL: u16 = 1000;
const GONE: u16 = 1001;
const BUFFER: usize = 4096;

/// How the pieces of a log become messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Unnamed,
    Binary,
    Base64,
}

impl Protocol {
    /// The best of those that a client offers.
    fn negotiate(offered: &str) -> Option<Protocol> {
        let known = |name: &str| match name.trim() {
            "" => Some(Protocol::Unnamed),
            "binary.k8s.io" => Some(Protocol::Binary),
            "base64.binary.k8s.io" => Some(Protocol::Base64),
            _ => None,
        };
        offered.split(',').find_map(known)
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Protocol::Unnamed => None,
            Protocol::Binary => Some("binary.k8s.io"),
            Protocol::Base64 => Some("base64.binary.k8s.io"),
        }
    }
}

/// Whether a client asks for a WebSocket.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let says = |name: HeaderName, word: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    says(CONNECTION, "upgrade") && says(UPGRADE, "websocket")
}

/// Switches protocols and sends what the kubelet answered.
pub(super) fn serve(
    headers: &HeaderMap,
    upgraded: OnUpgrade,
    log: Response<Incoming>,
) -> Result<Response<BoxBody>, ApiError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = text(SEC_WEBSOCKET_KEY);
    if text(SEC_WEBSOCKET_VERSION) != "13" || !is_key(key) {
        return Err(ApiError::bad_request("the WebSocket handshake is malformed"));
    }
    let offered = text(SEC_WEBSOCKET_PROTOCOL);
    let protocol = Protocol::negotiate(offered)
        .ok_or_else(|| ApiError::bad_request(format!("none of the subprotocols {offered:?} is known")))?;
    let mut answer = Response::new(crate::body::full(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let reply = answer.headers_mut();
    reply.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    reply.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&accept_key(key)).expect("base64 is a header value");
    reply.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(name) = protocol.name() {
        reply.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    tokio::spawn(async move {
        if let Err(error) = copy(upgraded, protocol, log.into_body()).await {
            tracing::debug!(%error, "a log's WebSocket ended");
        }
    });
    Ok(answer)
}

async fn copy(
    upgraded: OnUpgrade,
    protocol: Protocol,
    mut log: Incoming,
) -> Result<(), crate::body::BoxError> {
    let mut io = TokioIo::new(upgraded.await?);
    let mut socket = Connection::new(Role::Server, 0);
    send(&mut socket, protocol, b"");
    let mut buffer = [0; BUFFER];
    loop {
        if let Some(bytes) = socket.poll_transmit() {
            io.write_all(&bytes).await?;
        }
        if socket.is_closed() {
            return Ok(());
        }
        tokio::select! {
            frame = log.frame() => match frame {
                Some(Ok(frame)) => send(&mut socket, protocol, frame.data_ref().map_or(&[][..], |data| data)),
                end => {
                    socket.close(if end.is_none() { NORMAL } else { GONE });
                    if let Some(bytes) = socket.poll_transmit() {
                        io.write_all(&bytes).await?;
                    }
                    return Ok(io.shutdown().await?);
                }
            },
            read = io.read(&mut buffer) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                if let Err(error) = socket.handle(&buffer[..read]) {
                    socket.close(error.close_code());
                }
                // A client has nothing to say here: only its closing counts.
                while let Some(event) = socket.poll_event() {
                    if matches!(event, Event::Closed { .. }) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn send(socket: &mut Connection, protocol: Protocol, piece: &[u8]) {
    match protocol {
        Protocol::Unnamed | Protocol::Binary => socket.send_binary(&[piece]),
        Protocol::Base64 => {
            let text = base64::engine::general_purpose::STANDARD.encode(piece);
            socket.send_text(&[text.as_bytes()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_websocket_is_asked_for_by_two_headers() {
        let headers = |connection: &str, upgrade: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_str(connection).unwrap());
            headers.insert(UPGRADE, HeaderValue::from_str(upgrade).unwrap());
            headers
        };
        assert!(is_wanted(&headers("keep-alive, Upgrade", "WebSocket")));
        assert!(!is_wanted(&headers("keep-alive", "websocket")));
        assert!(!is_wanted(&headers("Upgrade", "SPDY/3.1")));
        assert!(!is_wanted(&HeaderMap::new()));
    }

    #[test]
    fn the_first_known_protocol_is_taken() {
        for (offered, wanted) in [
            ("", Some(Protocol::Unnamed)),
            ("binary.k8s.io", Some(Protocol::Binary)),
            ("v9.nope, base64.binary.k8s.io", Some(Protocol::Base64)),
            ("v9.nope", None),
        ] {
            assert_eq!(Protocol::negotiate(offered), wanted, "{offered:?}");
        }
    }

    #[test]
    fn base64_goes_as_text() {
        let mut server = Connection::new(Role::Server, 0);
        let mut client = Connection::new(Role::Client, 7);
        for protocol in [Protocol::Binary, Protocol::Base64] {
            send(&mut server, protocol, b"line\n");
        }
        client.handle(&server.poll_transmit().unwrap()).unwrap();
        assert_eq!(client.poll_event(), Some(Event::Binary(Bytes::from_static(b"line\n"))));
        assert_eq!(client.poll_event(), Some(Event::Text("bGluZQo=".to_owned())));
    }
}
