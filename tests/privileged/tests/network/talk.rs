//! Clients and servers: a server answers with its name and the client's address, so that a test sees who spoke to whom.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::lab::{Answer, inside};

const DEADLINE: Duration = Duration::from_secs(3);

/// Stops when dropped.
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn server(mut turn: impl FnMut() -> io::Result<()> + Send + 'static) -> Server {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            // Each turn waits for its own deadline at most; a client that went away is its own business.
            let _ = turn();
        }
    });
    Server { stop, thread: Some(thread) }
}

pub fn serve_tcp(netns: &OwnedFd, address: SocketAddr, name: &str) -> Server {
    let listener = inside(netns, || TcpListener::bind(address).unwrap());
    limit_waiting(&listener);
    let name = name.to_owned();
    server(move || {
        let (mut stream, peer) = listener.accept()?;
        write!(stream, "{name} {}", peer.ip())
    })
}

pub fn serve_udp(netns: &OwnedFd, address: SocketAddr, name: &str) -> Server {
    let socket = inside(netns, || UdpSocket::bind(address).unwrap());
    limit_waiting(&socket);
    let name = name.to_owned();
    server(move || {
        let mut bytes = [0; 2048];
        let (_, peer) = socket.recv_from(&mut bytes)?;
        socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer).map(drop)
    })
}

/// A turn that waits this long without a client lets a stopped server notice.
fn limit_waiting(socket: &impl std::os::fd::AsFd) {
    let turn = Some(Duration::from_millis(50));
    rustix::net::sockopt::set_socket_timeout(socket, rustix::net::sockopt::Timeout::Recv, turn).unwrap();
}

pub fn ask_tcp(netns: &OwnedFd, address: SocketAddr) -> Answer {
    let mut stream = inside(netns, || TcpStream::connect_timeout(&address, DEADLINE))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub fn ask_udp(netns: &OwnedFd, address: SocketAddr) -> Answer {
    let socket = inside(netns, || UdpSocket::bind("0.0.0.0:0"))?;
    socket.connect(address)?;
    exchange(&socket)
}

/// One question, one answer, on a connected socket.
pub fn exchange(socket: &UdpSocket) -> Answer {
    socket.set_read_timeout(Some(DEADLINE))?;
    socket.send(b"?")?;
    let mut bytes = [0; 2048];
    let length = socket.recv(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}
