//! The log thread: container output into CRI log files, and copies of it to attach clients.
//!
//! A full or hanging disk stops this thread only. Bytes then wait in the container's pipe; none is dropped before the
//! daemon lets the container be forgotten. A line is
//! `TIME STREAM TAG CONTENT`, the tag `P` for a part of a line longer than 16 KiB, `F` for a whole line or its last part.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use kedge_sys::{Errno, socket};

use crate::time;

/// The longest content of one log line, as everywhere in Kubernetes.
const LINE_MAX: usize = 16 * 1024;
/// What is read of a stream at its container's end, if the kernel does not say how much it holds: a whole pipe.
const PIPE_BYTES: usize = 64 * 1024;
/// How long a failed write to the disk waits before it is tried again.
const RETRY_MS: i32 = 1000;

pub enum Command {
    Add {
        id: Vec<u8>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
        log: Option<OwnedFd>,
    },
    Reopen {
        id: Vec<u8>,
        log: OwnedFd,
        serial: u32,
        connection: u64,
    },
    Attach {
        id: Vec<u8>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    },
    /// Copy what the pipes hold at this moment, then say so.
    Drain {
        id: Vec<u8>,
    },
    Remove {
        id: Vec<u8>,
    },
}

pub enum Report {
    Drained { id: Vec<u8> },
    Reopened { serial: u32, connection: u64 },
}

/// A queue between the two threads; a byte on the socket beside it wakes the other one. Smaller in this program than the
/// standard library's channel. At most one entry per request or end: the daemon's pace is its limit.
struct Queue<T>(Arc<Mutex<VecDeque<T>>>);

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue(self.0.clone())
    }
}

impl<T> Queue<T> {
    fn new() -> Self {
        Queue(Arc::new(Mutex::new(VecDeque::new())))
    }

    fn push(&self, item: T, wake: &OwnedFd) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(item);
        // A full socket holds a wake-up already.
        let _ = socket::send(wake.as_fd(), b"w", &[], &[]);
    }

    fn pop(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

fn swallow_wakes(woken: &OwnedFd) {
    let mut bytes = [0; 8];
    while rustix::io::read(woken, &mut bytes).is_ok_and(|len| len > 0) {}
}

/// The supervisor's end.
pub struct Log {
    commands: Queue<Command>,
    wake: OwnedFd,
    reports: Queue<Report>,
    pub reported: OwnedFd,
}

impl Log {
    pub fn send(&self, command: Command) {
        self.commands.push(command, &self.wake);
    }

    pub fn swallow_wakes(&self) {
        swallow_wakes(&self.reported);
    }

    pub fn next_report(&self) -> Option<Report> {
        self.reports.pop()
    }
}

pub fn start() -> Result<Log, Errno> {
    let (wake, woken) = socket::pair()?;
    let (report_write, reported) = socket::pair()?;
    for fd in [&wake, &woken, &report_write, &reported] {
        rustix::io::ioctl_fionbio(fd, true)?;
    }
    let (commands, reports) = (Queue::new(), Queue::new());
    let thread = LogThread {
        streams: Vec::new(),
        files: Vec::new(),
        draining: Vec::new(),
        commands: commands.clone(),
        woken,
        reports: reports.clone(),
        report_write,
    };
    std::thread::Builder::new()
        .name("log".into())
        .stack_size(128 * 1024)
        .spawn(move || thread.run())
        .map_err(|_| Errno::AGAIN)?;
    Ok(Log { commands, wake, reports, reported })
}

/// One container's log file; absent for a container without a log.
struct LogFile {
    id: Vec<u8>,
    file: Option<File>,
}

struct Stream {
    id: Vec<u8>,
    name: &'static str,
    fd: OwnedFd,
    /// An unfinished line.
    line: Vec<u8>,
    /// Formatted bytes that the disk has refused so far.
    unwritten: Vec<u8>,
    clients: Vec<OwnedFd>,
    is_open: bool,
    /// What the pipe held at its container's end and is still to be copied. A descendant that outlives the container may
    /// write for ever; that is not part of the end.
    left: usize,
}

struct LogThread {
    streams: Vec<Stream>,
    files: Vec<LogFile>,
    /// Containers whose end waits until the log holds what they wrote.
    draining: Vec<Vec<u8>>,
    commands: Queue<Command>,
    woken: OwnedFd,
    reports: Queue<Report>,
    report_write: OwnedFd,
}

impl LogThread {
    fn run(mut self) {
        loop {
            let ready: Vec<usize> = (0..self.streams.len())
                .filter(|at| self.streams[*at].is_open && self.streams[*at].unwritten.is_empty())
                .collect();
            let mut fds = vec![self.woken.as_fd()];
            fds.extend(ready.iter().map(|at| self.streams[*at].fd.as_fd()));
            let is_waiting_for_disk = self.streams.iter().any(|stream| !stream.unwritten.is_empty());
            let Ok(readable) = socket::poll_readable(&fds, if is_waiting_for_disk { RETRY_MS } else { -1 })
            else {
                continue;
            };
            // Commands come first: an attach hears everything that is written after its reply.
            if readable[0] {
                swallow_wakes(&self.woken);
                while let Some(command) = self.commands.pop() {
                    self.handle(command);
                }
                self.drain();
                continue;
            }
            for (at, _) in ready.iter().zip(&readable[1..]).filter(|(_, is_readable)| **is_readable) {
                self.copy(*at);
            }
            for at in 0..self.streams.len() {
                self.flush(at);
            }
            self.drain();
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Add { id, stdout, stderr, log } => {
                for (name, fd) in [("stdout", stdout), ("stderr", stderr)] {
                    if let Some(fd) = fd {
                        let _ = rustix::io::ioctl_fionbio(&fd, true);
                        self.streams.push(Stream {
                            id: id.clone(),
                            name,
                            fd,
                            line: Vec::new(),
                            unwritten: Vec::new(),
                            clients: Vec::new(),
                            is_open: true,
                            left: 0,
                        });
                    }
                }
                self.files.push(LogFile { id, file: log.map(File::from) });
            }
            Command::Reopen { id, log, serial, connection } => {
                if let Some(file) = self.files.iter_mut().find(|file| file.id == id) {
                    file.file = Some(File::from(log));
                }
                self.report(Report::Reopened { serial, connection });
            }
            Command::Attach { id, stdout, stderr } => {
                for (name, client) in [("stdout", stdout), ("stderr", stderr)] {
                    let stream =
                        self.streams.iter_mut().find(|stream| stream.id == id && stream.name == name);
                    if let (Some(stream), Some(client)) = (stream.filter(|stream| stream.is_open), client) {
                        let _ = rustix::io::ioctl_fionbio(&client, true);
                        stream.clients.push(client);
                    }
                }
            }
            Command::Drain { id } => {
                for stream in self.streams.iter_mut().filter(|stream| stream.id == id) {
                    stream.left = stream.waiting().max(PIPE_BYTES);
                }
                self.draining.push(id);
            }
            Command::Remove { id } => {
                let gone = self.streams.iter().filter(|stream| stream.id == id);
                let lost: usize = gone.map(|stream| stream.unwritten.len() + stream.waiting()).sum();
                if lost > 0 {
                    eprintln!(
                        "pause: {lost} bytes of output were not written: {}",
                        String::from_utf8_lossy(&id)
                    );
                }
                self.streams.retain(|stream| stream.id != id);
                self.files.retain(|file| file.id != id);
                self.draining.retain(|draining| *draining != id);
            }
        }
    }

    /// Goes on with what was in the pipes at an end, and says so once the disk has it.
    fn drain(&mut self) {
        for id in std::mem::take(&mut self.draining) {
            let mut is_done = true;
            for at in 0..self.streams.len() {
                if self.streams[at].id == id {
                    while self.streams[at].left > 0 && self.copy(at) {}
                    is_done &= self.streams[at].unwritten.is_empty();
                }
            }
            if is_done {
                self.report(Report::Drained { id });
            } else {
                self.draining.push(id);
            }
        }
    }

    fn report(&self, report: Report) {
        self.reports.push(report, &self.report_write);
    }

    /// Copies one chunk. False when there is nothing to copy for the moment, or ever.
    fn copy(&mut self, at: usize) -> bool {
        let stream = &mut self.streams[at];
        if !stream.is_open || !stream.unwritten.is_empty() {
            return false;
        }
        let mut chunk = [0; LINE_MAX];
        let len = match rustix::io::read(&stream.fd, &mut chunk) {
            Err(Errno::AGAIN | Errno::INTR) => return false,
            // A terminal whose last process is gone says EIO.
            Ok(0) | Err(_) => {
                stream.is_open = false;
                stream.clients.clear();
                stream.end();
                self.flush(at);
                return false;
            }
            Ok(len) => len,
        };
        stream.clients.retain(|client| rustix::io::write(client, &chunk[..len]) == Ok(len));
        stream.left = stream.left.saturating_sub(len);
        stream.take(&chunk[..len]);
        self.flush(at);
        true
    }

    fn flush(&mut self, at: usize) {
        let stream = &mut self.streams[at];
        let file =
            self.files.iter_mut().find(|file| file.id == stream.id).and_then(|file| file.file.as_mut());
        let Some(file) = file else {
            stream.unwritten.clear();
            return;
        };
        while !stream.unwritten.is_empty() {
            match file.write(&stream.unwritten) {
                Ok(0) | Err(_) => return,
                Ok(written) => drop(stream.unwritten.drain(..written)),
            }
        }
    }
}

impl Stream {
    /// Bytes that the container has written and nobody has read.
    fn waiting(&self) -> usize {
        let held = if self.is_open { rustix::io::ioctl_fionread(&self.fd).unwrap_or(0) } else { 0 };
        usize::try_from(held).unwrap_or(PIPE_BYTES)
    }

    /// Cuts `bytes` into log lines behind what is left of the last one.
    fn take(&mut self, mut bytes: &[u8]) {
        let now_ns = time::now_ns();
        while !bytes.is_empty() {
            let room = LINE_MAX - self.line.len();
            let window = &bytes[..bytes.len().min(room)];
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.line.extend_from_slice(&window[..end]);
                    self.put(now_ns, b'F');
                    bytes = &bytes[end + 1..];
                }
                None => {
                    self.line.extend_from_slice(window);
                    bytes = &bytes[window.len()..];
                    if self.line.len() == LINE_MAX {
                        self.put(now_ns, b'P');
                    }
                }
            }
        }
    }

    /// The stream is over: what is left is a part of a line whose newline never came.
    fn end(&mut self) {
        if !self.line.is_empty() {
            self.put(time::now_ns(), b'P');
        }
    }

    fn put(&mut self, now_ns: i64, tag: u8) {
        time::put_rfc3339(now_ns, &mut self.unwritten);
        self.unwritten.push(b' ');
        self.unwritten.extend_from_slice(self.name.as_bytes());
        self.unwritten.extend_from_slice(&[b' ', tag, b' ']);
        self.unwritten.append(&mut self.line);
        self.unwritten.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(chunks: &[&[u8]], lines: &[(&str, usize)]) {
        let (fd, _peer) = socket::pair().unwrap();
        let (id, line, unwritten, clients) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut stream = Stream { id, name: "stdout", fd, line, unwritten, clients, is_open: true, left: 0 };
        chunks.iter().for_each(|chunk| stream.take(chunk));
        stream.end();
        let text = String::from_utf8(stream.unwritten).unwrap();
        let seen: Vec<(&str, usize)> = text
            .lines()
            .map(|line| line.splitn(4, ' ').collect::<Vec<_>>())
            .map(|fields| (fields[2], fields[3].len()))
            .collect();
        assert_eq!(seen, lines);
    }

    #[test]
    fn cuts_lines() {
        check(&[b"one\ntwo\n"], &[("F", 3), ("F", 3)]);
        check(&[b"on", b"e\n\n"], &[("F", 3), ("F", 0)]);
        check(&[b"no newline"], &[("P", 10)]);
        check(&[&[b'x'; LINE_MAX + 5], b"\n"], &[("P", LINE_MAX), ("F", 5)]);
        check(&[&[b'x'; LINE_MAX], b"\n"], &[("P", LINE_MAX), ("F", 0)]);
    }
}
