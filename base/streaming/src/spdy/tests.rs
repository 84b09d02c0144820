use super::*;

/// Two machines, wired together.
struct Pair {
    client: Connection,
    server: Connection,
}

impl Pair {
    fn new() -> Pair {
        Pair { client: Connection::new(Role::Client), server: Connection::new(Role::Server) }
    }

    /// Carries bytes both ways, in pieces of `size`, and tells what either side saw.
    fn exchange(&mut self, size: usize) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let (up, down) = (self.client.poll_transmit(), self.server.poll_transmit());
            if up.is_none() && down.is_none() {
                return seen;
            }
            for piece in up.unwrap_or_default().chunks(size) {
                self.server.handle(piece).unwrap();
            }
            for piece in down.unwrap_or_default().chunks(size) {
                self.client.handle(piece).unwrap();
            }
            seen.extend(
                std::iter::from_fn(|| self.server.poll_event())
                    .map(|event| format!("server {}", show(event))),
            );
            seen.extend(
                std::iter::from_fn(|| self.client.poll_event())
                    .map(|event| format!("client {}", show(event))),
            );
        }
    }
}

fn show(event: Event) -> String {
    match event {
        Event::Opened { headers, .. } => format!("opened {}", headers.get("streamType").unwrap_or("-")),
        Event::Replied { .. } => "replied".to_owned(),
        Event::Data { bytes, .. } => format!("data {}", String::from_utf8_lossy(&bytes)),
        Event::Finished { .. } => "finished".to_owned(),
        Event::Reset { .. } => "reset".to_owned(),
        Event::GoAway => "go away".to_owned(),
    }
}

#[test]
fn a_conversation() {
    let mut pair = Pair::new();
    let stdin = pair.client.open(&Headers::from([("streamType", "stdin")]));
    let error = pair.client.open(&Headers::from([("streamType", "error"), ("port", "80")]));
    assert_eq!(pair.exchange(3), ["server opened stdin", "server opened error"]);
    pair.server.reply(stdin, &Headers::default());
    pair.client.send(stdin, b"hello");
    pair.client.finish(stdin);
    pair.client.send(stdin, b"lost");
    assert_eq!(pair.exchange(1000), ["server data hello", "server finished", "client replied"]);
    pair.server.send(stdin, b"bye");
    pair.server.finish(stdin);
    pair.server.reset(error);
    pair.server.go_away();
    assert_eq!(pair.exchange(1000), ["client data bye", "client finished", "client reset", "client go away"]);
    pair.server.send(stdin, b"gone");
    assert!(pair.server.poll_transmit().is_none());
}

#[test]
fn data_passes_in_pieces_and_long_data_in_frames() {
    let mut pair = Pair::new();
    let stream = pair.client.open(&Headers::default());
    pair.client.send(stream, &vec![b'x'; 100_000]);
    let seen = pair.exchange(70_000);
    let bytes: usize = seen.iter().filter_map(|line| line.strip_prefix("server data ")).map(str::len).sum();
    assert_eq!(bytes, 100_000);
}

#[test]
fn pings_are_answered_and_echoes_are_not() {
    let mut server = Connection::new(Role::Server);
    server.handle(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]).unwrap();
    assert_eq!(server.poll_transmit().unwrap(), [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]);
    server.handle(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 2]).unwrap();
    assert!(server.poll_transmit().is_none());
}

#[test]
fn what_breaks_the_rules_is_refused() {
    let check = |bytes: &[u8], expected: Error| {
        assert_eq!(Connection::new(Role::Server).handle(bytes), Err(expected), "{bytes:?}");
    };
    check(b"GET / HTTP/1.1\r\n\r\n".map(|b| b | 0x80).as_slice(), Error::Version(0x47c5));
    check(&[0x80, 3, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1], Error::Length { kind: "SYN_STREAM", length: 4 });
    check(&[0x80, 3, 0, 1, 0, 1, 0, 1], Error::Length { kind: "control", length: 65537 });
    check(&[0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9, 9], Error::Compression);
    check(&[0x80, 3, 0, 3, 0, 0, 0, 0], Error::Length { kind: "RST_STREAM", length: 0 });
    let mut even = Connection::new(Role::Server);
    let _ = even.open(&Headers::default());
    check(&even.poll_transmit().unwrap(), Error::StreamId(2));
}

#[test]
fn too_many_streams_are_refused_one_by_one() {
    let mut pair = Pair::new();
    for _ in 0..=STREAMS_MAX {
        pair.client.open(&Headers::default());
    }
    let seen = pair.exchange(4096);
    assert_eq!(seen.iter().filter(|line| line.starts_with("server opened")).count(), STREAMS_MAX);
    assert_eq!(seen.last().unwrap(), "client reset");
}

/// One zlib stream for all blocks: each refers to what earlier ones held.
#[test]
fn header_blocks_of_one_connection_share_their_state() {
    let mut pair = Pair::new();
    for round in 0..50 {
        let text = format!("{round}").repeat(round * 20);
        let stream = pair.client.open(&Headers::from([("X", text.as_str()), ("port", "8080")]));
        let block = pair.client.poll_transmit().unwrap();
        pair.server.handle(&block).unwrap();
        let Some(Event::Opened { stream: seen, headers }) = pair.server.poll_event() else { panic!() };
        assert_eq!(
            (seen, headers.get("x"), headers.get("PORT")),
            (stream, Some(text.as_str()), Some("8080"))
        );
    }
}

/// Whatever the bytes, there is an answer and no panic; and what follows valid frames is no different.
#[test]
fn arbitrary_bytes() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..3000 {
        let mut connection = Connection::new(if round % 2 == 0 { Role::Server } else { Role::Client });
        let mut bytes: Vec<u8> = (0..next() % 200).map(|_| next() as u8).collect();
        if round % 3 != 0 && bytes.len() > 8 {
            // A plausible head, so that the bodies are reached too.
            let length = (bytes.len() - 8) as u8;
            bytes[..8].copy_from_slice(&[0x80, 3, 0, (next() % 11) as u8, next() as u8 & 3, 0, 0, length]);
        }
        let mut valid = Connection::new(Role::Client);
        let _ = valid.open(&Headers::from([("streamType", "stdin")]));
        let mut whole = valid.poll_transmit().unwrap();
        whole.extend(bytes);
        let _ = connection.handle(&whole);
        while connection.poll_event().is_some() {}
    }
}
