//! The poll loop: requests in, clones out, ends reaped, written and told.
//!
//! ```text
//! Launch ─▶ Pending ──status socket closed──▶ running ──SIGCHLD──▶ exit file ─▶ log drained ─▶ Exited told
//!              └──────{step, errno}─────────▶ Failed
//! ```

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use kedge_pause_wire::message::{
    Attached, ContainerState, Exited, Failed, Hello, Launched, Named, Nothing, Ready, State,
};
use kedge_pause_wire::{
    Event, ExecSpec, LaunchSpec, PidFrom, Request, SandboxSpec, Step, VERSION, VERSION_MIN,
};
use kedge_sys::process::{self, Ended};
use kedge_sys::{Errno, namespace, socket, terminal};

use crate::child::{Failure, STATUS_FAILED, STATUS_PID, STATUS_TERMINAL};
use crate::connection::{Connection, Incoming};
use crate::launch::{self, Ends, Started};
use crate::log::{Command, Log, Report};
use crate::sandbox::{self, Namespaces};
use crate::time;

/// An end is told at the latest after this, even if the log thread is stuck on its disk.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Daemons connected at the same time: one, and its successor.
const CONNECTIONS_MAX: usize = 16;

struct Container {
    id: CString,
    pid: i32,
    pidfd: OwnedFd,
    started_at_ns: i64,
    stdin: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    directory: OwnedFd,
    exited: Option<Exited>,
    /// Set while the end waits for the log to be drained.
    told_at_latest: Option<Instant>,
}

struct Exec {
    id: CString,
    pid: i32,
    pidfd: OwnedFd,
}

/// A clone that has not reached execve.
struct Pending {
    connection: u64,
    serial: u32,
    kind: Kind,
    first_pid: i32,
    pid: Option<(i32, OwnedFd)>,
    status: OwnedFd,
    terminal: Option<OwnedFd>,
    failure: Option<Failure>,
    ended: Option<Ended>,
}

enum Kind {
    Container { id: CString, ends: Ends, directory: OwnedFd, log: Option<OwnedFd>, wants_stdin: bool },
    Exec { id: CString },
}

pub struct Supervisor {
    listener: OwnedFd,
    signals: OwnedFd,
    log: Log,
    connections: Vec<Connection>,
    connections_made: u64,
    namespaces: Option<Namespaces>,
    pending: Vec<Pending>,
    containers: Vec<Container>,
    execs: Vec<Exec>,
    is_over: bool,
}

/// What the reply to a request is.
enum Reply {
    Event(Event),
    With(Event, Vec<OwnedFd>),
    Later,
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Reply {
        let errno = failure.errno.raw_os_error();
        Reply::Event(Event::Failed(Failed { step: failure.step, item: failure.item, errno }))
    }
}

fn refused(errno: Errno) -> Reply {
    Failure { step: Step::Request, item: 0, errno }.into()
}

fn done() -> Reply {
    Reply::Event(Event::Done(Nothing {}))
}

impl Supervisor {
    pub fn new(listener: OwnedFd, signals: OwnedFd, log: Log) -> Result<Supervisor, Errno> {
        rustix::io::ioctl_fionbio(&listener, true)?;
        Ok(Supervisor {
            listener,
            signals,
            log,
            connections: Vec::new(),
            connections_made: 0,
            namespaces: None,
            pending: Vec::new(),
            containers: Vec::new(),
            execs: Vec::new(),
            is_over: false,
        })
    }

    pub fn run(mut self, first: OwnedFd) -> Result<(), Errno> {
        self.admit(first);
        while !self.is_over {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Errno> {
        let connections = self.connections.len();
        let mut fds = vec![self.signals.as_fd(), self.listener.as_fd(), self.log.reported.as_fd()];
        fds.extend(self.connections.iter().map(Connection::as_fd));
        fds.extend(self.pending.iter().map(|pending| pending.status.as_fd()));
        let readable = socket::poll_readable(&fds, self.timeout_ms())?;
        // By id, and before anything is told: whoever does not listen any more leaves the list.
        let ready: Vec<u64> =
            self.connections.iter().zip(&readable[3..]).filter(|(_, is)| **is).map(|(it, _)| it.id).collect();
        // Before anything is reaped: a clone's execve happened before its end.
        for at in (0..self.pending.len()).rev() {
            if readable[3 + connections + at] {
                self.advance(at);
            }
        }
        if readable[0] {
            self.reap()?;
        }
        if readable[2] {
            self.take_reports();
        }
        self.tell_overdue();
        for id in ready {
            self.serve(id);
        }
        if readable[1]
            && let Ok(socket) = socket::accept(self.listener.as_fd())
        {
            self.admit(socket);
        }
        Ok(())
    }

    fn timeout_ms(&self) -> i32 {
        let next = self.containers.iter().filter_map(|container| container.told_at_latest).min();
        next.map_or(-1, |at| at.saturating_duration_since(Instant::now()).as_millis() as i32 + 1)
    }

    fn admit(&mut self, socket: OwnedFd) {
        if self.connections.len() >= CONNECTIONS_MAX || rustix::io::ioctl_fionbio(&socket, true).is_err() {
            return;
        }
        self.connections_made += 1;
        if let Ok(connection) = Connection::new(socket, self.connections_made) {
            self.connections.push(connection);
        }
    }

    fn send(&mut self, connection: u64, serial: u32, event: &Event, descriptors: &[BorrowedFd<'_>]) {
        let Some(at) = self.connections.iter().position(|known| known.id == connection) else {
            return;
        };
        if self.connections[at].send(event, serial, descriptors).is_err() {
            self.connections.remove(at);
        }
    }

    fn broadcast(&mut self, event: &Event) {
        self.connections.retain(|connection| connection.send(event, 0, &[]).is_ok());
    }

    fn serve(&mut self, id: u64) {
        let Some(connection) = self.connections.iter().find(|connection| connection.id == id) else {
            return;
        };
        match connection.receive() {
            Ok(Some(mut incoming)) => {
                let serial = incoming.serial;
                match self.handle(id, &mut incoming) {
                    Reply::Event(event) => self.send(id, serial, &event, &[]),
                    Reply::With(event, descriptors) => {
                        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                        self.send(id, serial, &event, &descriptors);
                    }
                    Reply::Later => {}
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(None) | Err(_) => self.connections.retain(|connection| connection.id != id),
        }
    }

    fn handle(&mut self, connection: u64, incoming: &mut Incoming) -> Reply {
        let request = match std::mem::replace(&mut incoming.request, Err(Errno::PROTO)) {
            Ok(request) => request,
            Err(errno) => return refused(errno),
        };
        match request {
            Request::Hello(_) => {
                Reply::Event(Event::Hello(Hello { version: VERSION, version_min: VERSION_MIN }))
            }
            Request::Setup(spec) => self.setup(&spec),
            Request::Launch(spec) => self.launch(connection, *spec, incoming),
            Request::Exec(spec) => self.exec(connection, *spec, incoming),
            Request::Signal(signal) => self.signal(&signal.id, signal.is_exec, signal.signal),
            Request::State(Nothing {}) => Reply::Event(Event::State(self.state())),
            Request::ReopenLog(reopen) => match incoming.take(reopen.log) {
                Ok(log) => {
                    let id = reopen.id.into_bytes();
                    self.log.send(Command::Reopen { id, log, serial: incoming.serial, connection });
                    Reply::Later
                }
                Err(errno) => refused(errno),
            },
            Request::Attach(attach) => self.attach(&attach, incoming),
            Request::CloseStdin(Named { id }) => match self.container(&id) {
                Some(container) => {
                    container.stdin = None;
                    done()
                }
                None => Reply::Event(Event::NotFound(Named { id })),
            },
            Request::Resize(resize) => match self.container(&resize.id) {
                Some(Container { terminal: Some(terminal), .. }) => {
                    match terminal::resize(terminal.as_fd(), resize.width, resize.height) {
                        Ok(()) => done(),
                        Err(errno) => refused(errno),
                    }
                }
                Some(_) => refused(Errno::NOTTY),
                None => Reply::Event(Event::NotFound(Named { id: resize.id })),
            },
            Request::Forget(Named { id }) => {
                self.containers.retain(|container| container.id != id || container.exited.is_none());
                self.log.send(Command::Remove { id: id.into_bytes() });
                done()
            }
            Request::Shutdown(Nothing {}) => {
                self.is_over = true;
                done()
            }
            Request::Network(Nothing {}) => self.ready(),
        }
    }

    fn container(&mut self, id: &CString) -> Option<&mut Container> {
        self.containers.iter_mut().find(|container| container.id == *id)
    }

    fn setup(&mut self, spec: &SandboxSpec) -> Reply {
        if self.namespaces.is_some() {
            return refused(Errno::EXIST);
        }
        match sandbox::setup(spec) {
            Ok(namespaces) => {
                self.namespaces = Some(namespaces);
                self.ready()
            }
            Err(failure) => failure.into(),
        }
    }

    fn ready(&self) -> Reply {
        let Some(namespaces) = &self.namespaces else {
            return refused(Errno::NOENT);
        };
        let shared_pid = namespaces.init.as_ref().map_or(0, |(pid, _)| *pid);
        let own = [&namespaces.network, &namespaces.user];
        let copies: Result<Vec<OwnedFd>, _> =
            own.iter().filter_map(|fd| fd.as_ref()).map(OwnedFd::try_clone).collect();
        let network = namespaces.network.as_ref().map(|_| 0);
        let user = namespaces.user.as_ref().map(|_| u32::from(network.is_some()));
        match copies {
            Ok(copies) => Reply::With(Event::Ready(Ready { network, user, shared_pid }), copies),
            Err(_) => refused(Errno::MFILE),
        }
    }

    fn launch(&mut self, connection: u64, spec: LaunchSpec, incoming: &mut Incoming) -> Reply {
        let is_known = self.container(&spec.id).is_some();
        let Some(namespaces) = self.namespaces.as_ref().filter(|_| !is_known) else {
            return refused(if is_known { Errno::EXIST } else { Errno::NOENT });
        };
        let started = (|| {
            let directory = incoming.take(spec.state_directory)?;
            let log = spec.log.map(|log| incoming.take(log)).transpose()?;
            let target = match spec.pid {
                PidFrom::Target => self.containers.iter().find(|container| container.id == spec.pid_target),
                PidFrom::Host | PidFrom::Container | PidFrom::Pod => None,
            };
            let target = target.map(|target| namespace::open(&target.pid.to_string(), "pid")).transpose()?;
            Ok((directory, log, target))
        })();
        let (directory, log, target) = match started {
            Ok(taken) => taken,
            Err(errno) => return refused(errno),
        };
        match launch::container(&spec, &mut incoming.descriptors, namespaces, target) {
            Ok((started, ends)) => {
                let kind = Kind::Container { id: spec.id, ends, directory, log, wants_stdin: spec.stdin };
                self.await_exec(connection, incoming.serial, kind, started);
                Reply::Later
            }
            Err(failure) => failure.into(),
        }
    }

    fn exec(&mut self, connection: u64, spec: ExecSpec, incoming: &mut Incoming) -> Reply {
        let has_user_namespace = self.namespaces.as_ref().is_some_and(|namespaces| namespaces.user.is_some());
        let running = self.containers.iter().find(|it| it.id == spec.container && it.exited.is_none());
        let Some(running) = running else {
            return Reply::Event(Event::NotFound(Named { id: spec.container }));
        };
        let pidfd = running.pidfd.as_fd();
        match launch::exec(&spec, &mut incoming.descriptors, pidfd, has_user_namespace) {
            Ok(started) => {
                self.await_exec(connection, incoming.serial, Kind::Exec { id: spec.id }, started);
                Reply::Later
            }
            Err(failure) => failure.into(),
        }
    }

    fn await_exec(&mut self, connection: u64, serial: u32, kind: Kind, started: Started) {
        let Started { pid, pidfd, status, has_second_stage } = started;
        let _ = rustix::io::ioctl_fionbio(&status, true);
        self.pending.push(Pending {
            connection,
            serial,
            kind,
            first_pid: pid,
            pid: (!has_second_stage).then_some((pid, pidfd)),
            status,
            terminal: None,
            failure: None,
            ended: None,
        });
    }

    /// Reads what a clone has to say. The end of its status socket is its execve, or its death.
    fn advance(&mut self, at: usize) {
        let pending = &mut self.pending[at];
        loop {
            match socket::receive(pending.status.as_fd(), 64) {
                Ok(Some(mut packet)) => match packet.bytes[0] {
                    STATUS_FAILED => pending.failure = Some(sandbox::read_failure(&packet.bytes)),
                    STATUS_TERMINAL => pending.terminal = packet.descriptors.pop(),
                    STATUS_PID => {
                        let pid = packet.bytes.get(1..5).and_then(|bytes| bytes.try_into().ok());
                        pending.pid = pid.map(i32::from_le_bytes).zip(packet.descriptors.pop());
                    }
                    _ => {}
                },
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(None) | Err(_) => break,
            }
        }
        let pending = self.pending.remove(at);
        self.settle(pending);
    }

    fn settle(&mut self, pending: Pending) {
        let (connection, serial) = (pending.connection, pending.serial);
        let running = match (pending.failure, pending.pid) {
            (None, Some(running)) => running,
            (failure, _) => {
                let lost = Failure { step: Step::Clone, item: 0, errno: Errno::CHILD };
                if let Reply::Event(event) = Reply::from(failure.unwrap_or(lost)) {
                    self.send(connection, serial, &event, &[]);
                }
                return;
            }
        };
        let ((pid, pidfd), started_at_ns) = (running, time::now_ns());
        let launched = Event::Launched(Launched { pid, started_at_ns });
        match pending.kind {
            Kind::Exec { id } => {
                let descriptors: Vec<BorrowedFd<'_>> = pending.terminal.iter().map(AsFd::as_fd).collect();
                self.send(connection, serial, &launched, &descriptors);
                self.execs.push(Exec { id, pid, pidfd });
            }
            Kind::Container { id, ends, directory, log, wants_stdin } => {
                let terminal = pending.terminal;
                let master = terminal.as_ref().and_then(|master| master.try_clone().ok());
                let stdin = if wants_stdin {
                    ends.stdin.or_else(|| terminal.as_ref()?.try_clone().ok())
                } else {
                    None
                };
                let (stdout, stderr) = (master.or(ends.stdout), ends.stderr);
                self.log.send(Command::Add { id: id.as_bytes().to_vec(), stdout, stderr, log });
                let (exited, told_at_latest) = (None, None);
                self.containers.push(Container {
                    id,
                    pid,
                    pidfd,
                    started_at_ns,
                    stdin,
                    terminal,
                    directory,
                    exited,
                    told_at_latest,
                });
                self.send(connection, serial, &launched, &[]);
            }
        }
        if let Some(ended) = pending.ended {
            self.end(pid, ended);
        }
    }

    fn reap(&mut self) -> Result<(), Errno> {
        let mut buffer = [0; 128];
        while rustix::io::read(&self.signals, &mut buffer).is_ok() {}
        for at in (0..self.pending.len()).rev() {
            self.advance(at);
        }
        while let Some((pid, ended)) = process::reap_any()? {
            self.end(pid, ended);
        }
        Ok(())
    }

    fn end(&mut self, pid: i32, ended: Ended) {
        let is_pending =
            |pending: &&mut Pending| pending.pid.as_ref().is_some_and(|(known, _)| *known == pid);
        if let Some(pending) = self.pending.iter_mut().find(is_pending) {
            pending.ended = Some(ended);
        } else if let Some(at) = self.containers.iter().position(|it| it.pid == pid && it.exited.is_none()) {
            self.end_container(at, ended);
        } else if let Some(at) = self.execs.iter().position(|exec| exec.pid == pid) {
            let exec = self.execs.remove(at);
            self.broadcast(&Event::ExecExited(exited(exec.id, ended)));
        } else if self.namespaces.as_ref().is_some_and(|it| it.init.as_ref().is_some_and(|it| it.0 == pid)) {
            // Without its PID 1 the pod cannot start anything: the sandbox is over, as when the supervisor dies.
            self.is_over = true;
        } else {
            // A first stage, whose work is done, or one that died before it could say more.
            debug_assert!(self.pending.iter().all(|pending| pending.first_pid != 0));
        }
    }

    /// Written first, told second; and told only once the log holds what the container wrote.
    fn end_container(&mut self, at: usize, ended: Ended) {
        let container = &mut self.containers[at];
        let exited = exited(container.id.clone(), ended);
        write_exit_file(&container.directory, &exited);
        container.exited = Some(exited);
        container.stdin = None;
        container.terminal = None;
        container.told_at_latest = Some(Instant::now() + DRAIN_MAX);
        let id = container.id.as_bytes().to_vec();
        self.log.send(Command::Drain { id });
    }

    fn take_reports(&mut self) {
        self.log.swallow_wakes();
        while let Some(report) = self.log.next_report() {
            match report {
                Report::Reopened { serial, connection } => {
                    self.send(connection, serial, &Event::Done(Nothing {}), &[]);
                }
                Report::Drained { id } => {
                    if let Some(at) = self.containers.iter().position(|it| it.id.as_bytes() == id) {
                        self.tell(at);
                    }
                }
            }
        }
    }

    fn tell_overdue(&mut self) {
        let now = Instant::now();
        for at in 0..self.containers.len() {
            if self.containers[at].told_at_latest.is_some_and(|latest| latest <= now) {
                self.tell(at);
            }
        }
    }

    fn tell(&mut self, at: usize) {
        let container = &mut self.containers[at];
        if container.told_at_latest.take().is_some()
            && let Some(exited) = container.exited.clone()
        {
            self.broadcast(&Event::Exited(exited));
        }
    }

    fn signal(&mut self, id: &CString, is_exec: bool, signal: i32) -> Reply {
        let pidfd = if is_exec {
            self.execs.iter().find(|exec| exec.id == *id).map(|exec| &exec.pidfd)
        } else {
            let running = self.containers.iter().find(|it| it.id == *id && it.exited.is_none());
            running.map(|container| &container.pidfd)
        };
        match pidfd.map(|pidfd| process::pidfd_send_signal(pidfd.as_fd(), signal)) {
            Some(Ok(())) => done(),
            None | Some(Err(Errno::SRCH)) => Reply::Event(Event::NotFound(Named { id: id.clone() })),
            Some(Err(errno)) => refused(errno),
        }
    }

    fn attach(&mut self, attach: &kedge_pause_wire::message::Attach, incoming: &mut Incoming) -> Reply {
        let running = self.containers.iter().find(|it| it.id == attach.id && it.exited.is_none());
        let Some(container) = running else {
            return Reply::Event(Event::NotFound(Named { id: attach.id.clone() }));
        };
        let mut taken = |index: Option<u32>| index.map(|index| incoming.take(index)).transpose();
        let (stdout, stderr) = match (taken(attach.stdout), taken(attach.stderr)) {
            (Ok(stdout), Ok(stderr)) => (stdout, stderr),
            (Err(errno), _) | (_, Err(errno)) => return refused(errno),
        };
        self.log.send(Command::Attach { id: attach.id.as_bytes().to_vec(), stdout, stderr });
        let is_terminal = container.terminal.is_some();
        let stdin = container.stdin.as_ref().filter(|_| attach.stdin).map(|stdin| stdin.try_clone());
        match stdin {
            Some(Ok(stdin)) => {
                Reply::With(Event::Attached(Attached { stdin: Some(0), is_terminal }), vec![stdin])
            }
            Some(Err(_)) => refused(Errno::MFILE),
            None => Reply::Event(Event::Attached(Attached { stdin: None, is_terminal })),
        }
    }

    fn state(&self) -> State {
        let containers = self.containers.iter().map(|container| ContainerState {
            id: container.id.clone(),
            pid: container.pid,
            started_at_ns: container.started_at_ns,
            exited: container.exited.clone(),
        });
        State { containers: containers.collect(), ready: self.namespaces.is_some() }
    }
}

fn exited(id: CString, ended: Ended) -> Exited {
    Exited { id, code: ended.code(), signal: ended.signal(), finished_at_ns: time::now_ns() }
}

/// `CODE SIGNAL FINISHED_AT_NS`, whole or not at all: the daemon may be dead, and this file is all it will find.
fn write_exit_file(directory: &OwnedFd, exited: &Exited) {
    use rustix::fs::{Mode, OFlags};
    let text = format!("{} {} {}\n", exited.code, exited.signal, exited.finished_at_ns);
    let written = (|| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(directory, c"exit.new", flags, Mode::RUSR | Mode::WUSR)?;
        // A full tmpfs may take a part; a part is never renamed into place.
        match rustix::io::write(&file, text.as_bytes())? {
            written if written == text.len() => {
                rustix::fs::renameat(directory, c"exit.new", directory, c"exit")
            }
            _ => Err(Errno::NOSPC),
        }
    })();
    if let Err(errno) = written {
        // The end stays in the State, where a daemon looks first.
        let _ = rustix::fs::unlinkat(directory, c"exit.new", rustix::fs::AtFlags::empty());
        eprintln!("pause: write the exit file of {}: {errno}", exited.id.to_string_lossy());
    }
}
