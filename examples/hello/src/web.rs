//! `web [PORT]`: answers every HTTP request with the host's name and the path, and echoes every UDP datagram.
//!
//! Threads: one for UDP, one per connection, at most [`CONNECTIONS_MAX`]; above, the accepting thread answers itself and
//! so slows down who asks.

use super::tools::exit_on_sigterm;
use super::{Failure, Outcome};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CONNECTIONS_MAX: usize = 256;
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_MAX: u64 = 16 << 10;

pub fn run(arguments: &[String]) -> Outcome {
    let port = match arguments.first().map(|word| word.parse::<u16>()) {
        None => 8080,
        Some(Ok(port)) => port,
        Some(Err(_)) => return Err(Failure::new("usage: web [PORT]")),
    };
    exit_on_sigterm(0)?;
    let (listener, socket) = bind(port).map_err(|error| Failure::new(format!("port {port}: {error}")))?;
    std::thread::spawn(move || echo(&socket));
    println!("listening on port {port}");
    let open = Arc::new(AtomicUsize::new(0));
    for connection in listener.incoming() {
        let Ok(connection) = connection else { continue };
        if open.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
            answer(connection);
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let open = Arc::clone(&open);
        std::thread::spawn(move || {
            answer(connection);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    Ok(0)
}

/// Both families through one socket where the kernel has IPv6.
fn bind(port: u16) -> std::io::Result<(TcpListener, UdpSocket)> {
    let bind = |address: SocketAddr| Ok((TcpListener::bind(address)?, UdpSocket::bind(address)?));
    let both: std::io::Result<_> = bind((Ipv6Addr::UNSPECIFIED, port).into());
    both.or_else(|_| bind((Ipv4Addr::UNSPECIFIED, port).into()))
}

fn echo(socket: &UdpSocket) {
    let mut datagram = [0u8; 64 << 10];
    loop {
        if let Ok((size, from)) = socket.recv_from(&mut datagram) {
            // Nobody hears of a lost answer; that is UDP.
            let _ = socket.send_to(&datagram[..size], from);
        }
    }
}

/// A client that goes away is none of our concern.
fn answer(connection: TcpStream) {
    let _ = try_answer(connection);
}

fn try_answer(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut head = BufReader::new(connection.try_clone()?.take(HEAD_MAX));
    let mut request = String::new();
    head.read_line(&mut request)?;
    let mut line = String::new();
    while head.read_line(&mut line)? > 0 && line.trim_end() != "" {
        line.clear();
    }
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or("/"));
    let body = format!("{} {path}\n", host_name());
    let shown = if method == "HEAD" { "" } else { body.as_str() };
    let length = body.len();
    println!("{method} {path}");
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{shown}"
    )
}

/// The host name, from the kernel: the UTS namespace decides, not a file.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_end().to_owned()
}
