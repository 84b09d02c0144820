use super::*;

fn server(bytes: &[u8]) -> Result<Vec<Event>, Error> {
    let mut connection = Connection::new(Role::Server, 0);
    connection.handle(bytes)?;
    Ok(std::iter::from_fn(|| connection.poll_event()).collect())
}

/// Section 5.7: "Hello" from a client.
const HELLO: [u8; 11] = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];

#[test]
fn the_examples_of_the_rfc() {
    assert_eq!(server(&HELLO), Ok(vec![Event::Text("Hello".into())]));
    let mut client = Connection::new(Role::Client, 0);
    client.handle(&[0x01, 0x03, 0x48, 0x65, 0x6c, 0x89, 0x00, 0x80, 0x02, 0x6c, 0x6f]).unwrap();
    assert_eq!(client.poll_event(), Some(Event::Text("Hello".into())));
    // The ping between the fragments was answered, masked.
    assert_eq!(client.poll_transmit().unwrap()[..2], [0x8a, 0x80]);
}

#[test]
fn both_sides_understand_each_other_at_every_length() {
    let mut client = Connection::new(Role::Client, 42);
    let mut server = Connection::new(Role::Server, 0);
    for length in [0, 1, 125, 126, 127, 65535, 65536, 100_000] {
        let payload = vec![7u8; length];
        client.send_binary(&[&payload]);
        for piece in client.poll_transmit().unwrap().chunks(1000) {
            server.handle(piece).unwrap();
        }
        assert_eq!(server.poll_event(), Some(Event::Binary(payload.clone().into())), "{length}");
        server.send_binary(&[&payload[..length / 2], &payload[length / 2..]]);
        client.handle(&server.poll_transmit().unwrap()).unwrap();
        assert_eq!(client.poll_event(), Some(Event::Binary(payload.into())), "{length}");
    }
}

#[test]
fn closing_is_answered_once() {
    let mut client = Connection::new(Role::Client, 1);
    let mut server = Connection::new(Role::Server, 0);
    client.close(1000);
    client.send_text(&[b"late"]);
    server.handle(&client.poll_transmit().unwrap()).unwrap();
    assert_eq!(server.poll_event(), Some(Event::Closed { code: 1000 }));
    client.handle(&server.poll_transmit().unwrap()).unwrap();
    assert!(client.is_closed() && server.is_closed());
    assert!(client.poll_transmit().is_none());
}

#[test]
fn what_breaks_the_rules_is_refused() {
    let check = |bytes: &[u8], expected: Error| assert_eq!(server(bytes), Err(expected), "{bytes:x?}");
    check(&[0xc1, 0x80], Error::Reserved(0xc1));
    check(&[0x83, 0x80], Error::Reserved(0x83));
    check(&[0x81, 0x00], Error::Mask("of a client without a mask"));
    check(&[0x80, 0x80, 0, 0, 0, 0], Error::Fragment);
    check(&[0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0], Error::Fragment);
    check(&[0x09, 0x80, 0, 0, 0, 0], Error::Control);
    check(&[0x89, 0xfe, 0, 126], Error::Control);
    check(&[0x88, 0x81, 0, 0, 0, 0, 1], Error::Control);
    check(&[0x81, 0x81, 0, 0, 0, 0, 0xff], Error::Utf8);
    check(&[0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 1], Error::TooLarge(MESSAGE_BYTES_MAX));
    check(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Error::TooLarge(MESSAGE_BYTES_MAX));
    assert_eq!(Error::TooLarge(1).close_code(), 1009);
}

#[test]
fn arbitrary_bytes() {
    let mut state = 0x1234_5678_9ABC_DEF1_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..5000 {
        let role = if round % 2 == 0 { Role::Server } else { Role::Client };
        let mut connection = Connection::new(role, 3);
        let mut bytes = if role == Role::Server { HELLO.to_vec() } else { vec![0x81, 0x01, b'x'] };
        bytes.extend((0..next() % 100).map(|_| next() as u8));
        for piece in bytes.chunks(1 + (next() % 20) as usize) {
            if connection.handle(piece).is_err() {
                break;
            }
        }
        while connection.poll_event().is_some() {}
        let _ = connection.poll_transmit();
    }
}
