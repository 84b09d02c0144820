//! Names outside the cluster: forwarded to the machine's own resolvers, answers kept in a bounded cache.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// A server that has not answered by then is passed over.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions under way at one time; more of them fail at once, as a resolver under attack should.
const QUESTIONS_MAX: usize = 1000;
/// Entries of each of the cache's two generations.
const GENERATION_MAX: usize = 5000;
const TTL_MAX: u32 = 300;
const UDP_PAYLOAD: u16 = 1232;

/// The nameservers of a resolv.conf. `skip` is our own address: a loop would be endless.
pub fn nameservers(text: &str, skip: &[IpAddr]) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .filter(|ip| !skip.contains(ip))
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

/// resolv.conf's servers, or systemd-resolved's own where that names only its stub, which pods cannot use.
pub fn machine_nameservers(skip: &[IpAddr]) -> Vec<SocketAddr> {
    const STUB: [u8; 4] = [127, 0, 0, 53];
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let servers = nameservers(&read("/etc/resolv.conf"), skip);
    if !servers.is_empty() && servers.iter().all(|server| server.ip() == IpAddr::from(STUB)) {
        return nameservers(&read("/run/systemd/resolve/resolv.conf"), skip);
    }
    servers
}

type Key = (Name, RecordType);

/// Two generations: when the younger is full it becomes the older, and the oldest entries are gone in one stroke.
#[derive(Default)]
struct Kept {
    young: HashMap<Key, (Instant, Message)>,
    old: HashMap<Key, (Instant, Message)>,
}

impl Kept {
    fn get(&self, key: &Key, now: Instant) -> Option<Message> {
        let (until, message) = self.young.get(key).or_else(|| self.old.get(key))?;
        (*until > now).then(|| message.clone())
    }

    fn put(&mut self, key: Key, until: Instant, message: Message) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, (until, message));
    }
}

pub struct Upstream {
    servers: Vec<SocketAddr>,
    kept: Mutex<Kept>,
    slots: Semaphore,
}

impl Upstream {
    pub fn new(servers: Vec<SocketAddr>) -> Upstream {
        Upstream { servers, kept: Mutex::default(), slots: Semaphore::new(QUESTIONS_MAX) }
    }

    /// The answer of the first server that gives one; SERVFAIL if none does.
    pub async fn ask(&self, name: &Name, kind: RecordType) -> Message {
        let key = (name.to_lowercase(), kind);
        let now = Instant::now();
        if let Some(message) = self.kept().get(&key, now) {
            return message;
        }
        let failure = || Message::error_msg(0, OpCode::Query, ResponseCode::ServFail);
        let Ok(_slot) = self.slots.try_acquire() else {
            return failure();
        };
        for server in &self.servers {
            match tokio::time::timeout(PATIENCE, exchange(*server, name, kind)).await {
                Ok(Ok(answer)) if is_final(&answer) => {
                    if let Some(seconds) = lifetime(&answer) {
                        self.kept().put(key, now + Duration::from_secs(seconds.into()), answer.clone());
                    }
                    return answer;
                }
                Ok(Ok(answer)) => {
                    tracing::debug!(%server, code = ?answer.metadata.response_code, "no answer")
                }
                Ok(Err(error)) => tracing::debug!(%server, %error, "upstream failed"),
                Err(_) => tracing::debug!(%server, "upstream is silent"),
            }
        }
        failure()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_final(answer: &Message) -> bool {
    matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

/// Seconds that all of the answer may be kept; a denial's by its SOA (RFC 2308), without one not at all.
fn lifetime(answer: &Message) -> Option<u32> {
    let records = answer.answers.iter().chain(&answer.authorities);
    records.map(|record| record.ttl).min().map(|ttl| ttl.min(TTL_MAX)).filter(|ttl| *ttl > 0)
}

/// One question to one server: by UDP from a fresh port, again by TCP if the answer was cut.
async fn exchange(server: SocketAddr, name: &Name, kind: RecordType) -> std::io::Result<Message> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    question.set_edns(edns);
    let bytes = question.to_vec().map_err(std::io::Error::other)?;

    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Anybody can send us a datagram; only one that fits the question ends the wait.
        let Some(answer) = fitting(&buffer[..length], &question) else {
            continue;
        };
        if answer.metadata.truncation {
            return exchange_tcp(server, &bytes, &question).await;
        }
        return Ok(answer);
    }
}

async fn exchange_tcp(server: SocketAddr, bytes: &[u8], question: &Message) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&(bytes.len() as u16).to_be_bytes()).await?;
    stream.write_all(bytes).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; length.into()];
    stream.read_exact(&mut buffer).await?;
    fitting(&buffer, question).ok_or_else(|| std::io::Error::other("the answer is not to our question"))
}

fn fitting(bytes: &[u8], question: &Message) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let fits = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries;
    fits.then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf() {
        let own: IpAddr = "10.0.0.1".parse().unwrap();
        for (text, expected) in [
            (
                "nameserver 1.1.1.1\n# nameserver 2.2.2.2\nsearch x\nnameserver\t9.9.9.9",
                "1.1.1.1:53 9.9.9.9:53",
            ),
            ("nameserver 10.0.0.1\nnameserver fd00::1\n", "[fd00::1]:53"),
            ("nameserver nonsense\n", ""),
        ] {
            let servers: Vec<String> = nameservers(text, &[own]).iter().map(ToString::to_string).collect();
            assert_eq!(servers.join(" "), expected);
        }
    }

    #[test]
    fn the_cache_is_bounded_and_forgets() {
        let mut kept = Kept::default();
        let now = Instant::now();
        let message = || Message::error_msg(0, OpCode::Query, ResponseCode::NoError);
        let key = |number: usize| (Name::from_ascii(format!("n{number}.")).unwrap(), RecordType::A);
        for number in 0..3 * GENERATION_MAX {
            kept.put(key(number), now + Duration::from_secs(1), message());
        }
        assert!(kept.young.len() + kept.old.len() <= 2 * GENERATION_MAX);
        assert!(kept.get(&key(0), now).is_none());
        assert!(kept.get(&key(3 * GENERATION_MAX - 1), now).is_some());
        assert!(kept.get(&key(3 * GENERATION_MAX - 1), now + Duration::from_secs(2)).is_none());
    }
}
