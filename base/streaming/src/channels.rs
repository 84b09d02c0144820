//! The Kubernetes framing on a WebSocket: the first byte of a message is the channel.
//!
//! `channel.k8s.io` is binary; `base64.channel.k8s.io` has the channel as a digit and the rest as base64 in text messages;
//! `v4.` puts a JSON status on the error channel, `v5.` adds a message that closes one channel: byte 255 and its number.

use crate::websocket::Event;
use crate::websocket::{Connection, from_base64, to_base64};
use bytes::Bytes;

pub const STDIN: u8 = 0;
pub const STDOUT: u8 = 1;
pub const STDERR: u8 = 2;
pub const ERROR: u8 = 3;
pub const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// A WebSocket subprotocol of exec and attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    pub name: &'static str,
    is_base64: bool,
    /// The error channel speaks JSON.
    pub has_status: bool,
    has_close: bool,
}

/// Ours, best first.
const PROTOCOLS: [Protocol; 6] = [
    Protocol { name: "v5.channel.k8s.io", is_base64: false, has_status: true, has_close: true },
    Protocol { name: "v4.channel.k8s.io", is_base64: false, has_status: true, has_close: false },
    Protocol { name: "v4.base64.channel.k8s.io", is_base64: true, has_status: true, has_close: false },
    Protocol { name: "channel.k8s.io", is_base64: false, has_status: false, has_close: false },
    Protocol { name: "base64.channel.k8s.io", is_base64: true, has_status: false, has_close: false },
    Protocol { name: "", is_base64: false, has_status: false, has_close: false },
];

/// The subprotocol of a port-forward: SPDY/3.1 inside binary messages.
pub const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

impl Protocol {
    /// The first of a client's `Sec-WebSocket-Protocol` that we know; a client that names none gets plain channels.
    pub fn negotiate(offered: &str) -> Option<Protocol> {
        offered
            .split(',')
            .map(str::trim)
            .find_map(|name| PROTOCOLS.into_iter().find(|known| known.name == name))
    }

    /// What a message of the peer means.
    pub fn read(&self, event: Event) -> Option<Message> {
        let bytes = match event {
            Event::Binary(bytes) if !self.is_base64 => bytes,
            Event::Text(text) if self.is_base64 => {
                let digit = text.chars().next()?.to_digit(10)?;
                let payload = from_base64(text.get(1..)?)?;
                return Some(Message::Data { channel: digit as u8, bytes: payload.into() });
            }
            // A client may send text where bytes are meant.
            Event::Text(text) => text.into(),
            Event::Closed { .. } => return Some(Message::Closed),
            Event::Binary(_) | Event::Pong(_) => return None,
        };
        match *bytes.first()? {
            CLOSE if self.has_close => Some(Message::ChannelClosed { channel: *bytes.get(1)? }),
            channel => Some(Message::Data { channel, bytes: bytes.slice(1..) }),
        }
    }

    pub fn send(&self, connection: &mut Connection, channel: u8, bytes: &[u8]) {
        if self.is_base64 {
            let digit = [b'0' + channel];
            connection.send_text(&[&digit, to_base64(bytes).as_bytes()]);
        } else {
            connection.send_binary(&[&[channel], bytes]);
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Data {
        channel: u8,
        bytes: Bytes,
    },
    /// v5: nothing more comes on this channel.
    ChannelClosed {
        channel: u8,
    },
    /// The whole connection is closed.
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::Role;

    fn protocol(name: &str) -> Protocol {
        Protocol::negotiate(name).expect("a protocol of ours")
    }

    #[test]
    fn protocols_are_chosen_in_the_clients_order() {
        for (offered, chosen) in [
            ("v5.channel.k8s.io, v4.channel.k8s.io", Some("v5.channel.k8s.io")),
            ("v9.channel.k8s.io,v4.base64.channel.k8s.io", Some("v4.base64.channel.k8s.io")),
            ("channel.k8s.io", Some("channel.k8s.io")),
            ("", Some("")),
            ("v9.channel.k8s.io", None),
        ] {
            assert_eq!(Protocol::negotiate(offered).map(|protocol| protocol.name), chosen, "{offered}");
        }
    }

    #[test]
    fn messages_both_ways() {
        for name in ["v5.channel.k8s.io", "v4.channel.k8s.io", "base64.channel.k8s.io"] {
            let protocol = protocol(name);
            let mut client = Connection::new(Role::Client, 9);
            let mut server = Connection::new(Role::Server, 0);
            protocol.send(&mut client, STDIN, b"\x00\xff");
            server.handle(&client.poll_transmit().unwrap()).unwrap();
            let message = protocol.read(server.poll_event().unwrap());
            let expected = Message::Data { channel: STDIN, bytes: Bytes::from_static(b"\x00\xff") };
            assert_eq!(message, Some(expected), "{name}");
        }
    }

    #[test]
    fn a_close_message_is_of_v5_alone() {
        let event = || Event::Binary(Bytes::from_static(&[255, 0]));
        assert_eq!(protocol("v5.channel.k8s.io").read(event()), Some(Message::ChannelClosed { channel: 0 }));
        let data = Message::Data { channel: 255, bytes: Bytes::from_static(&[0]) };
        assert_eq!(protocol("v4.channel.k8s.io").read(event()), Some(data));
        for nonsense in [Event::Binary(Bytes::new()), Event::Binary(Bytes::from_static(&[255]))] {
            assert_eq!(protocol("v5.channel.k8s.io").read(nonsense), None);
        }
        for nonsense in ["", "x", "0*", "0Zg", "\u{e9}Zg=="] {
            assert_eq!(
                protocol("base64.channel.k8s.io").read(Event::Text(nonsense.into())),
                None,
                "{nonsense}"
            );
        }
    }
}
