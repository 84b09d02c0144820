//! The sockets: one UDP and one TCP listener on the node's address. A question is a task; tasks are bounded.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::Name;
use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use crate::answer::{Answer, Directory, Zone};
use crate::upstream::Upstream;

/// Questions being answered at one time; a datagram beyond is dropped, and asked again by its sender.
const QUESTIONS_MAX: usize = 2000;
const CONNECTIONS_MAX: usize = 200;
/// A TCP client that sends nothing for so long is let go.
const IDLE: Duration = Duration::from_secs(10);
/// What fits into one packet everywhere (DNS flag day 2020).
const UDP_PAYLOAD_MAX: u16 = 1232;
/// Between two attempts to take a connection when there are no descriptors.
const REST: Duration = Duration::from_millis(100);

/// Who is answered: pods and the node. Whoever else reaches the node's address is not (it would be an open resolver).
#[derive(Debug, Clone)]
pub struct Clients {
    pub pods: Vec<IpNet>,
    pub node: IpAddr,
}

impl Clients {
    fn has(&self, peer: SocketAddr) -> bool {
        let address = peer.ip().to_canonical();
        address == self.node || address.is_loopback() || self.pods.iter().any(|pods| pods.contains(&address))
    }
}

pub struct Resolver<D> {
    pub zone: Zone,
    pub clients: Clients,
    pub directory: D,
    pub upstream: Upstream,
}

impl<D: Directory + Send + Sync + 'static> Resolver<D> {
    /// The answer to a message, or None to what is no question.
    async fn respond(&self, bytes: &[u8]) -> Option<Message> {
        let request = Message::from_vec(bytes).ok()?;
        if request.metadata.message_type != MessageType::Query {
            return None;
        }
        let mut response = Message::response(request.metadata.id, request.metadata.op_code);
        response.metadata.recursion_desired = request.metadata.recursion_desired;
        response.metadata.recursion_available = true;
        response.queries = request.queries.clone();
        if request.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD_MAX);
            response.set_edns(edns);
        }
        match (request.metadata.op_code, request.queries.as_slice()) {
            (OpCode::Query, [query]) => self.answer(&mut response, query.name(), query.query_type()).await,
            (OpCode::Query, _) => response.metadata.response_code = ResponseCode::FormErr,
            _ => response.metadata.response_code = ResponseCode::NotImp,
        }
        Some(response)
    }

    async fn answer(&self, response: &mut Message, name: &Name, kind: hickory_proto::rr::RecordType) {
        match self.zone.answer(&self.directory, name, kind) {
            Answer::Records { answers, additionals } => {
                response.metadata.authoritative = true;
                response.answers = answers;
                response.additionals = additionals;
            }
            Answer::NoData => self.deny(response, ResponseCode::NoError),
            Answer::NxDomain => self.deny(response, ResponseCode::NXDomain),
            Answer::Alias { record, target } => {
                response.metadata.authoritative = true;
                response.answers.push(*record);
                if kind != hickory_proto::rr::RecordType::CNAME {
                    response.answers.extend(self.follow(&target, kind).await);
                }
            }
            Answer::Elsewhere => {
                let answer = self.upstream.ask(name, kind).await;
                response.metadata.response_code = answer.metadata.response_code;
                response.answers = answer.answers;
                response.authorities = answer.authorities;
                response.additionals = answer.additionals;
            }
        }
    }

    fn deny(&self, response: &mut Message, code: ResponseCode) {
        response.metadata.authoritative = true;
        response.metadata.response_code = code;
        response.authorities.push(self.zone.soa());
    }

    /// An alias is followed once; an alias of an alias inside the cluster is left to the asker.
    async fn follow(
        &self,
        target: &Name,
        kind: hickory_proto::rr::RecordType,
    ) -> Vec<hickory_proto::rr::Record> {
        match self.zone.answer(&self.directory, target, kind) {
            Answer::Records { answers, .. } => answers,
            Answer::Alias { record, .. } => vec![*record],
            Answer::NoData | Answer::NxDomain => Vec::new(),
            Answer::Elsewhere => self.upstream.ask(target, kind).await.answers,
        }
    }
}

/// How much a client takes by UDP.
fn payload_max(request: &[u8]) -> usize {
    let asked = Message::from_vec(request).map_or(512, |message| message.max_payload());
    asked.clamp(512, UDP_PAYLOAD_MAX).into()
}

/// The bytes for UDP; what does not fit is left out with the sign to ask again by TCP.
fn encode_udp(response: &Message, limit: usize) -> Option<Vec<u8>> {
    let bytes = response.to_vec().ok()?;
    if bytes.len() <= limit {
        return Some(bytes);
    }
    response.truncate().to_vec().ok()
}

pub async fn serve_udp<D>(socket: UdpSocket, resolver: Arc<Resolver<D>>) -> io::Result<()>
where
    D: Directory + Send + Sync + 'static,
{
    let socket = Arc::new(socket);
    let slots = Arc::new(Semaphore::new(QUESTIONS_MAX));
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let (length, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An earlier answer met a closed port; that is the client's affair.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        if !resolver.clients.has(peer) {
            continue;
        }
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            continue;
        };
        let (request, socket, resolver) = (buffer[..length].to_vec(), socket.clone(), resolver.clone());
        tokio::spawn(async move {
            let _slot = slot;
            if let Some(response) = resolver.respond(&request).await
                && let Some(bytes) = encode_udp(&response, payload_max(&request))
                && let Err(error) = socket.send_to(&bytes, peer).await
            {
                tracing::debug!(%peer, %error, "an answer was not sent");
            }
        });
    }
}

pub async fn serve_tcp<D>(listener: TcpListener, resolver: Arc<Resolver<D>>) -> io::Result<()>
where
    D: Directory + Send + Sync + 'static,
{
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a DNS connection is not taken");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        if !resolver.clients.has(peer) {
            continue;
        }
        let resolver = resolver.clone();
        tokio::spawn(async move {
            let _slot = slot;
            if let Err(error) = converse(stream, &resolver).await {
                tracing::debug!(%peer, %error, "a connection ended");
            }
        });
    }
}

/// Question after question until the client falls silent.
async fn converse<D>(mut stream: TcpStream, resolver: &Resolver<D>) -> io::Result<()>
where
    D: Directory + Send + Sync + 'static,
{
    loop {
        let Ok(length) = tokio::time::timeout(IDLE, stream.read_u16()).await else {
            return Ok(());
        };
        let length = match length {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        };
        let mut request = vec![0; length.into()];
        tokio::time::timeout(IDLE, stream.read_exact(&mut request)).await??;
        let Some(response) = resolver.respond(&request).await else {
            return Ok(());
        };
        let bytes = response.to_vec().map_err(io::Error::other)?;
        let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        let answer = [&length.to_be_bytes(), &bytes[..]].concat();
        // A client that does not read keeps its slot no longer than one that does not ask.
        tokio::time::timeout(IDLE, stream.write_all(&answer)).await??;
    }
}

/// Both listeners on the same address.
pub async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    Ok((UdpSocket::bind(address).await?, TcpListener::bind(address).await?))
}

#[cfg(test)]
mod tests;
