//! `get URL`: prints what an HTTP server, or with `udp://HOST:PORT/TEXT` a UDP echo server, answers.

use super::{Failure, Outcome};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
const BODY_MAX: u64 = 16 << 20;

/// Exit code 0 for a status below 400, 22 from there on (as curl's `--fail`), 1 when nothing answers.
pub fn run(arguments: &[String]) -> Outcome {
    let Some(url) = arguments.first() else {
        return Err(Failure::new("usage: get URL"));
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    match scheme {
        "http" => get_http(authority, path),
        "udp" => get_udp(authority, path),
        other => Err(Failure::new(format!("unknown scheme {other:?}"))),
    }
}

fn addresses(authority: &str, default_port: u16) -> Result<Vec<std::net::SocketAddr>, Failure> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let whole = if has_port { authority.to_owned() } else { format!("{authority}:{default_port}") };
    let found = whole.to_socket_addrs().map_err(|error| Failure::new(format!("{authority}: {error}")))?;
    Ok(found.collect())
}

fn get_http(authority: &str, path: &str) -> Outcome {
    let mut failure = Failure::new(format!("{authority}: no address"));
    let mut connected = None;
    for address in addresses(authority, 80)? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                connected = Some(stream);
                break;
            }
            Err(error) => failure = Failure::new(format!("{address}: {error}")),
        }
    }
    let Some(mut stream) = connected else {
        return Err(failure);
    };
    stream.set_read_timeout(Some(PATIENCE)).map_err(Failure::new)?;
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {authority}\r\nUser-Agent: hello\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(Failure::new)?;
    let mut answer = Vec::new();
    stream.take(BODY_MAX).read_to_end(&mut answer).map_err(Failure::new)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = match end {
        Some(end) => (&answer[..end], &answer[end + 4..]),
        None => return Err(Failure::new("the answer is not HTTP")),
    };
    std::io::stdout().write_all(body).map_err(Failure::new)?;
    let head = String::from_utf8_lossy(head);
    let status: u16 = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    if (100..400).contains(&status) {
        return Ok(0);
    }
    Err(Failure { text: head.lines().next().unwrap_or_default().to_owned(), code: 22 })
}

fn get_udp(authority: &str, text: &str) -> Outcome {
    let address = addresses(authority, 8080)?.into_iter().next();
    let address = address.ok_or_else(|| Failure::new(format!("{authority}: no address")))?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).map_err(Failure::new)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(Failure::new)?;
    socket.connect(address).and_then(|()| socket.send(text.as_bytes())).map_err(Failure::new)?;
    let mut answer = [0u8; 64 << 10];
    let size = socket.recv(&mut answer).map_err(|error| Failure::new(format!("{address}: {error}")))?;
    std::io::stdout().write_all(&answer[..size]).map_err(Failure::new)?;
    println!();
    Ok(0)
}
