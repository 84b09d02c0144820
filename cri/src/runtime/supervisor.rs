//! The daemon's side of one pause: a task reads what it says, callers wait for their reply.
//!
//! Tasks: one reader per supervisor. It ends when the supervisor is gone; then every waiting caller is answered with an
//! error, and `Gone` is the last thing on the channel of ends.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kedge_cri_api::Error;
use kedge_pause_wire::message::{Exited, HEADER_LEN, Hello};
use kedge_pause_wire::{
    Event, Header, INLINE_MAX, Request, VERSION, VERSION_MIN, decode_event, encode_request,
};
use kedge_sys::{memfd, socket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

pub type Answer = (Event, Vec<OwnedFd>);

/// What a supervisor says without being asked.
#[derive(Debug)]
pub enum Told {
    Exited(Exited),
    Gone,
}

pub struct Supervisor {
    socket: AsyncFd<OwnedFd>,
    serials: AtomicU32,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    replies: HashMap<u32, oneshot::Sender<Result<Answer, Error>>>,
    execs: HashMap<String, oneshot::Sender<Exited>>,
    is_gone: bool,
}

fn lost() -> Error {
    Error::Unavailable("the pod's supervisor is gone".into())
}

impl Supervisor {
    /// Takes over a connected socket.
    #[expect(deprecated, reason = "sound for an OwnedFd that is never replaced; `register` is an unsafe fn")]
    pub fn new(socket: OwnedFd) -> std::io::Result<(Arc<Supervisor>, mpsc::UnboundedReceiver<Told>)> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let socket = AsyncFd::new(socket)?;
        let supervisor =
            Arc::new(Supervisor { socket, serials: AtomicU32::new(1), waiting: Mutex::default() });
        // At most one message per container and sandbox: the number of containers is its limit.
        let (told, receiver) = mpsc::unbounded_channel();
        tokio::spawn(supervisor.clone().read(told));
        Ok((supervisor, receiver))
    }

    async fn read(self: Arc<Self>, told: mpsc::UnboundedSender<Told>) {
        while let Some((header, event, descriptors)) = self.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    // A newer pause may say more than this build understands.
                    tracing::warn!(?error, "unknown record from a supervisor");
                    let unknown =
                        Error::Internal(format!("the pod's supervisor answers in riddles: {error:?}"));
                    self.answer(header.serial, Err(unknown));
                    continue;
                }
            };
            let mut waiting = self.waiting.lock().expect("no holder panics");
            match event {
                Event::Exited(exited) => drop(told.send(Told::Exited(exited))),
                Event::ExecExited(exited) => {
                    if let Some(waiter) = waiting.execs.remove(exited.id.to_string_lossy().as_ref()) {
                        let _ = waiter.send(exited);
                    }
                }
                reply => {
                    drop(waiting);
                    self.answer(header.serial, Ok((reply, descriptors)));
                }
            }
        }
        let mut waiting = self.waiting.lock().expect("no holder panics");
        waiting.is_gone = true;
        waiting.replies.clear();
        waiting.execs.clear();
        let _ = told.send(Told::Gone);
    }

    /// Whoever has stopped waiting is not told.
    fn answer(&self, serial: u32, answer: Result<Answer, Error>) {
        if let Some(waiter) = self.waiting.lock().expect("no holder panics").replies.remove(&serial) {
            let _ = waiter.send(answer);
        }
    }

    async fn next(&self) -> Option<(Header, Result<Event, kedge_pause_wire::Error>, Vec<OwnedFd>)> {
        let received = self.socket.async_io(Interest::READABLE, |socket| {
            Ok(socket::receive(socket.as_fd(), INLINE_MAX + HEADER_LEN)?)
        });
        let packet = received.await.ok()??;
        let header = Header::from_bytes(&packet.bytes).ok()?;
        let mut descriptors = packet.descriptors;
        let event = if header.is_long() {
            let body = read_all(descriptors.drain(..1.min(descriptors.len())).next()?)?;
            decode_event(header, &body)
        } else {
            decode_event(header, &packet.bytes[HEADER_LEN..])
        };
        Some((header, event, descriptors))
    }

    /// Asks, and waits for the reply, but not for ever: a supervisor may be stopped or stuck.
    pub async fn call(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<Answer, Error> {
        self.call_within(patience(request), request, descriptors).await
    }

    async fn call_within(
        &self,
        patience: Duration,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Answer, Error> {
        let late =
            || Error::DeadlineExceeded(format!("the pod's supervisor does not answer within {patience:?}"));
        tokio::time::timeout(patience, self.ask(request, descriptors)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn ask(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<Answer, Error> {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock().expect("no holder panics");
            if waiting.is_gone {
                return Err(lost());
            }
            waiting.replies.insert(serial, reply);
        }
        let _entry = Entry { supervisor: self, serial };
        let frame = encode_request(request, serial, VERSION);
        let long = (frame.body.len() > INLINE_MAX).then(|| memfd::sealed("kedge-record", &frame.body));
        let long = long.transpose().map_err(|errno| Error::Internal(format!("make a memfd: {errno}")))?;
        let mut all = Vec::with_capacity(descriptors.len() + 1);
        all.extend(long.as_ref().map(AsFd::as_fd));
        all.extend_from_slice(descriptors);
        let (header, body) =
            if long.is_some() { (frame.header.long(), &[][..]) } else { (frame.header, &frame.body[..]) };
        let sent = self.socket.async_io(Interest::WRITABLE, |socket| {
            Ok(socket::send(socket.as_fd(), &header.to_bytes(), body, &all)?)
        });
        sent.await.map_err(|error| Error::Unavailable(format!("send to the pod's supervisor: {error}")))?;
        answer.await.map_err(|_| lost())?
    }

    /// Learns of the end of an exec; to be called before the exec starts.
    pub fn watch_exec(&self, id: &str) -> oneshot::Receiver<Exited> {
        let (waiter, exited) = oneshot::channel();
        let mut waiting = self.waiting.lock().expect("no holder panics");
        if !waiting.is_gone {
            waiting.execs.insert(id.to_owned(), waiter);
        }
        exited
    }

    pub fn forget_exec(&self, id: &str) {
        self.waiting.lock().expect("no holder panics").execs.remove(id);
    }

    pub async fn hello(&self) -> Result<(), Error> {
        let hello = Request::Hello(Hello { version: VERSION, version_min: VERSION_MIN });
        match self.call(&hello, &[]).await?.0 {
            Event::Hello(theirs) if theirs.version >= VERSION_MIN => Ok(()),
            other => {
                Err(Error::FailedPrecondition(format!("the supervisor speaks another protocol: {other:?}")))
            }
        }
    }
}

/// A caller's place among the waiting, given up with the call.
struct Entry<'a> {
    supervisor: &'a Supervisor,
    serial: u32,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.supervisor.waiting.lock().expect("no holder panics").replies.remove(&self.serial);
    }
}

/// What makes mounts and processes may wait for a slow disk as long as a kubelet waits for a runtime (two minutes); the rest
/// is answered from memory.
fn patience(request: &Request) -> Duration {
    match request {
        Request::Setup(_) | Request::Launch(_) | Request::Exec(_) => Duration::from_secs(120),
        Request::Hello(_)
        | Request::Signal(_)
        | Request::State(_)
        | Request::ReopenLog(_)
        | Request::Attach(_)
        | Request::CloseStdin(_)
        | Request::Resize(_)
        | Request::Forget(_)
        | Request::Shutdown(_)
        | Request::Network(_) => Duration::from_secs(10),
    }
}

fn read_all(file: OwnedFd) -> Option<Vec<u8>> {
    use std::io::{Read, Seek};
    let mut file = std::fs::File::from(file);
    let mut body = Vec::new();
    file.rewind().ok()?;
    file.take(kedge_pause_wire::BODY_MAX as u64).read_to_end(&mut body).ok()?;
    Some(body)
}

/// "cannot mount /proc: Operation not permitted": the failed step in words. `item` names what the step worked on.
pub fn sentence(failed: &kedge_pause_wire::message::Failed, item: &str) -> String {
    let cause = std::io::Error::from_raw_os_error(failed.errno);
    let space = if item.is_empty() { "" } else { " " };
    format!("cannot {}{space}{item}: {cause}", failed.step.text())
}

#[cfg(test)]
mod tests {
    use kedge_pause_wire::message::Nothing;

    use super::*;

    fn silent() -> (Arc<Supervisor>, OwnedFd) {
        let (ours, theirs) = socket::pair().unwrap();
        (Supervisor::new(ours).unwrap().0, theirs)
    }

    /// A pause under SIGSTOP must not hold log rotation, a stop, or the start of the node.
    #[tokio::test]
    async fn a_stopped_supervisor_is_not_waited_for() {
        let (supervisor, _theirs) = silent();
        let asked = supervisor.call_within(Duration::from_millis(20), &Request::State(Nothing {}), &[]);
        let answer = asked.await;
        assert!(matches!(answer, Err(Error::DeadlineExceeded(_))), "{answer:?}");
        assert!(supervisor.waiting.lock().unwrap().replies.is_empty());
    }

    /// A pause of another version answers with what this build cannot read.
    #[tokio::test]
    async fn a_reply_that_cannot_be_read_is_an_error() {
        let (supervisor, theirs) = silent();
        let unknown = Header { version: VERSION + 1, kind: 99, serial: 1 };
        socket::send(theirs.as_fd(), &unknown.to_bytes(), b"later", &[]).unwrap();
        let asked = supervisor.call(&Request::State(Nothing {}), &[]);
        assert!(matches!(asked.await, Err(Error::Internal(_))));
    }
}
