//! Exec, attach and port-forward.
//!
//! Tasks: one per running exec, which ends with the exec or when its caller is gone (then the exec's whole cgroup is killed);
//! one per terminal, which passes window sizes on until the sender is dropped.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use kedge_cri_api::{
    AttachRequest, BoxRead, BoxWrite, ByteStream, ContainerId, Error, ExecRequest, ExecStreams,
    ExecSyncResponse, Result, SandboxId, TerminalSize,
};
use kedge_cri_core::launch::files_to_try;
use kedge_pause_wire::message::{Attach, Exited, Named, Nothing, Resize, Signal};
use kedge_pause_wire::{Event, ExecSpec, Process, Reader, Request, Wire};
use kedge_sys::{namespace, terminal};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, oneshot};

use super::descriptor::Descriptor;
use super::launch::{Handed, c_string};
use super::supervisor::{self, Supervisor};
use super::{Container, Cri, Group, blocking, internal, records};

/// What an exec may say before the rest is cut (CVE-2022-1708).
const OUTPUT_MAX: usize = 16 * 1024 * 1024;
/// A pipe as wide as the kernel gives to anyone: an attach client may be this far behind.
const ATTACH_PIPE_BYTES: usize = 1024 * 1024;
const RESIZES_MAX: usize = 16;

/// A running exec.
struct Started {
    parts: ExecParts,
    exited: oneshot::Receiver<Exited>,
    terminal: Option<OwnedFd>,
}

/// What is needed to end it.
struct ExecParts {
    id: String,
    group: Group,
    supervisor: Arc<Supervisor>,
}

/// The far ends of an exec's streams.
#[derive(Default)]
struct FarEnds {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let made = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    made.map_err(|errno| internal("make a pipe")(errno.into()))
}

fn stream(descriptor: OwnedFd) -> Result<Descriptor> {
    Descriptor::new(descriptor).map_err(internal("watch a stream"))
}

impl Cri {
    fn running(&self, id: &ContainerId) -> Result<Arc<Container>> {
        let container = self.container(&id.0)?;
        if container.is_running() {
            return Ok(container);
        }
        Err(Error::FailedPrecondition(format!("container {:?} is not running", id.0)))
    }

    async fn start_exec(
        &self,
        container: &Container,
        cmd: &[String],
        is_tty: bool,
        ends: FarEnds,
    ) -> Result<Started> {
        let supervisor = container.sandbox.supervisor()?;
        let id = format!("exec-{}", &records::random_id().map_err(internal("make an id"))?[..16]);
        let group = container.group().below(&id);
        self.cgroups.create_unified(&group).map_err(internal("make the exec's cgroup"))?;
        let entrance =
            self.cgroups.entrance(&container.group(), &group).map_err(internal("open the cgroup"))?;
        let mut handed = Handed::default();
        let mut add = |end: Option<OwnedFd>| end.map(|end| handed.add(end));
        let (stdin, stdout, stderr) = (add(ends.stdin), add(ends.stdout), add(ends.stderr));
        let spec = ExecSpec {
            id: c_string(&id, "id")?,
            container: c_string(&container.id, "id")?,
            process: exec_process(container, cmd, is_tty)?,
            cgroup: handed.join(entrance),
            stdin,
            stdout,
            stderr,
        };
        let exited = supervisor.watch_exec(&id);
        let answer = supervisor.call(&Request::Exec(Box::new(spec)), &handed.borrowed()).await;
        match answer {
            Ok((Event::Launched(_), descriptors)) => {
                let terminal = descriptors.into_iter().next();
                Ok(Started { parts: ExecParts { id, group, supervisor }, exited, terminal })
            }
            other => {
                supervisor.forget_exec(&id);
                let _ = self.cgroups.remove(&group);
                Err(match other? {
                    (Event::Failed(failed), _) => {
                        let item = format!("{:?}", cmd.first().cloned().unwrap_or_default());
                        Error::Internal(format!(
                            "failed to exec in container: {}",
                            supervisor::sentence(&failed, &item)
                        ))
                    }
                    (Event::NotFound(_), _) => {
                        Error::FailedPrecondition(format!("container {:?} is not running", container.id))
                    }
                    (other, _) => {
                        Error::Internal(format!("failed to exec in container: unexpected {other:?}"))
                    }
                })
            }
        }
    }

    /// An exec is over: its cgroup goes, unless it left a process running there.
    async fn end_exec(self: &Arc<Self>, exec: &ExecParts, is_killed: bool) {
        let (cri, group) = (self.clone(), exec.group.clone());
        if is_killed && self.cgroups.unified(&group).is_none() {
            // Without a group of its own (v1 alone) what can be ended is the process that pause started.
            let signal = c_string(&exec.id, "id")
                .map(|id| Request::Signal(Signal { id, is_exec: true, signal: libc::SIGKILL }));
            if let Ok(signal) = signal
                && let Err(error) = exec.supervisor.call(&signal, &[]).await
            {
                tracing::warn!(%error, "an exec does not end");
            }
        }
        let _ = blocking(move || {
            if is_killed && let Err(error) = cri.cgroups.kill(&group) {
                tracing::warn!(%error, "an exec does not end");
            }
            cri.cgroups.remove(&group)
        })
        .await;
    }

    pub(super) async fn exec_to_end(
        self: &Arc<Self>,
        id: &ContainerId,
        cmd: Vec<String>,
        timeout_s: i64,
    ) -> Result<ExecSyncResponse> {
        let container = self.running(id)?;
        let ((out_read, out_write), (err_read, err_write)) = (pipe()?, pipe()?);
        let ends = FarEnds { stdin: None, stdout: Some(out_write), stderr: Some(err_write) };
        let started = self.start_exec(&container, &cmd, false, ends).await?;
        let (mut out, mut err) = (stream(out_read)?, stream(err_read)?);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut exited = started.exited;
        let run = async {
            let reads = async {
                tokio::join!(read_capped(&mut out, &mut stdout), read_capped(&mut err, &mut stderr))
            };
            tokio::pin!(reads);
            let exited = tokio::select! {
                exited = &mut exited => exited,
                // Both streams are closed before the end: what remains is to wait for it.
                _ = &mut reads => exited.await,
            };
            exited.map_err(|_| Error::Unavailable("the pod's supervisor is gone".into()))
        };
        let ended = if timeout_s > 0 {
            let limit = Duration::from_secs(timeout_s.unsigned_abs());
            let late = || Error::DeadlineExceeded(format!("command {cmd:?} timed out after {timeout_s}s"));
            tokio::time::timeout(limit, run).await.unwrap_or_else(|_| Err(late()))
        } else {
            run.await
        };
        self.end_exec(&started.parts, ended.is_err()).await;
        let exited = ended?;
        // What was written before the end is in the pipes; a process left behind may hold them open for ever.
        out.take_rest(&mut stdout, OUTPUT_MAX);
        err.take_rest(&mut stderr, OUTPUT_MAX);
        Ok(ExecSyncResponse { stdout, stderr, exit_code: exited.code })
    }

    pub(super) async fn exec_streams(
        self: &Arc<Self>,
        id: &ContainerId,
        request: ExecRequest,
    ) -> Result<ExecStreams> {
        let container = self.running(id)?;
        let (mut near, mut far) = ((None, None, None), FarEnds::default());
        if !request.tty {
            if request.stdin {
                let (read, write) = pipe()?;
                (near.0, far.stdin) = (Some(write), Some(read));
            }
            if request.stdout {
                let (read, write) = pipe()?;
                (near.1, far.stdout) = (Some(read), Some(write));
            }
            if request.stderr {
                let (read, write) = pipe()?;
                (near.2, far.stderr) = (Some(read), Some(write));
            }
        }
        let started = self.start_exec(&container, &request.cmd, request.tty, far).await?;
        let mut resize = None;
        if let Some(master) = &started.terminal {
            let copy = || master.try_clone().map_err(internal("copy the terminal"));
            near = (request.stdin.then(copy).transpose()?, Some(copy()?), None);
            resize = Some(resize_task(copy()?));
        }
        let exit = self.watch(started);
        Ok(ExecStreams {
            stdin: near.0.map(stream).transpose()?.map(|end| Box::new(end) as BoxWrite),
            stdout: near.1.map(stream).transpose()?.map(|end| Box::new(end) as BoxRead),
            stderr: near.2.map(stream).transpose()?.map(|end| Box::new(end) as BoxRead),
            resize,
            exit,
        })
    }

    fn watch(self: &Arc<Self>, started: Started) -> oneshot::Receiver<Result<i32>> {
        let (mut sender, receiver) = oneshot::channel();
        let cri = self.clone();
        tokio::spawn(async move {
            tracing::trace!(exec = started.parts.id, "started");
            let exited = tokio::select! {
                exited = started.exited => Some(exited),
                () = sender.closed() => None,
            };
            cri.end_exec(&started.parts, exited.is_none()).await;
            if let Some(exited) = exited {
                let gone = || Error::Unavailable("the pod's supervisor is gone".into());
                let _ = sender.send(exited.map(|exited| exited.code).map_err(|_| gone()));
            }
        });
        receiver
    }

    pub(super) async fn attach_streams(
        self: &Arc<Self>,
        id: &ContainerId,
        request: AttachRequest,
    ) -> Result<ExecStreams> {
        let container = self.running(id)?;
        let supervisor = container.sandbox.supervisor()?;
        let mut handed = Handed::default();
        let mut end = |is_wanted: bool| -> Result<(Option<OwnedFd>, Option<u32>)> {
            if !is_wanted {
                return Ok((None, None));
            }
            let (read, write) = pipe()?;
            let _ = rustix::pipe::fcntl_setpipe_size(&write, ATTACH_PIPE_BYTES);
            Ok((Some(read), Some(handed.add(write))))
        };
        let ((out, stdout), (err, stderr)) = (end(request.stdout)?, end(request.stderr && !request.tty)?);
        let name = c_string(&container.id, "id")?;
        let attach = Request::Attach(Attach { id: name.clone(), stdout, stderr, stdin: request.stdin });
        let (event, descriptors) = supervisor.call(&attach, &handed.borrowed()).await?;
        let Event::Attached(attached) = event else {
            return Err(Error::FailedPrecondition(format!("container {:?} is not running", id.0)));
        };
        drop(handed);
        let stdin = attached.stdin.and_then(|index| descriptors.into_iter().nth(index as usize));
        let is_once = super::lock(&container.record).config.stdin_once;
        let stdin = stdin.map(stream).transpose()?.map(|mut end| {
            if is_once && !attached.is_terminal {
                let supervisor = supervisor.clone();
                let request = Request::CloseStdin(Named { id: name.clone() });
                end.when_dropped(move || {
                    tokio::spawn(async move { supervisor.call(&request, &[]).await });
                });
            }
            Box::new(end) as BoxWrite
        });
        let resize = attached.is_terminal.then(|| {
            let (sender, mut sizes) = mpsc::channel::<TerminalSize>(RESIZES_MAX);
            tokio::spawn(async move {
                while let Some(TerminalSize { width, height }) = sizes.recv().await {
                    let resize = Request::Resize(Resize { id: name.clone(), width, height });
                    let _ = supervisor.call(&resize, &[]).await;
                }
            });
            sender
        });
        Ok(ExecStreams {
            stdin,
            stdout: out.map(stream).transpose()?.map(|end| Box::new(end) as BoxRead),
            stderr: err.map(stream).transpose()?.map(|end| Box::new(end) as BoxRead),
            resize,
            exit: watch_container(container),
        })
    }

    pub(super) async fn forward(self: &Arc<Self>, id: &SandboxId, port: u16) -> Result<Box<dyn ByteStream>> {
        let sandbox = self.sandbox(&id.0)?;
        let (event, descriptors) = sandbox.supervisor()?.call(&Request::Network(Nothing {}), &[]).await?;
        let network = match event {
            Event::Ready(ready) if ready.network.is_some() => descriptors.into_iter().next(),
            _ => None,
        };
        let connected = blocking(move || match network {
            Some(network) => namespace::with_network(network.as_fd(), || connect_loopback(port))?,
            None => connect_loopback(port),
        });
        let connected = connected.await?.and_then(|stream| {
            stream.set_nonblocking(true)?;
            tokio::net::TcpStream::from_std(stream)
        });
        Ok(Box::new(connected.map_err(|error| {
            Error::Unavailable(format!("failed to connect to localhost:{port} inside the pod: {error}"))
        })?))
    }
}

/// IPv4 first, as upstream does; a server may listen on one family only.
fn connect_loopback(port: u16) -> std::io::Result<std::net::TcpStream> {
    std::net::TcpStream::connect(("127.0.0.1", port))
        .or_else(|first| std::net::TcpStream::connect(("::1", port)).map_err(|_| first))
}

/// The container's own process, with another command.
fn exec_process(container: &Container, cmd: &[String], is_tty: bool) -> Result<Process> {
    let Some(program) = cmd.first().filter(|program| !program.is_empty()) else {
        return Err(Error::InvalidArgument("cmd: it is empty".into()));
    };
    let bytes =
        fs::read(container.directory.join("process")).map_err(internal("read the container's process"))?;
    let mut process = Process::get(&mut Reader::new(&bytes))
        .map_err(|error| Error::Internal(format!("the container's process is not readable: {error:?}")))?;
    if is_tty && !process.env.iter().any(|variable| variable.as_bytes().starts_with(b"TERM=")) {
        process.env.push(c"TERM=xterm".into());
    }
    let env: Vec<String> =
        process.env.iter().map(|variable| variable.to_string_lossy().into_owned()).collect();
    process.argv = cmd.iter().map(|word| c_string(word, "cmd")).collect::<Result<_>>()?;
    process.files = files_to_try(program, &env).map_err(|error| Error::InvalidArgument(error.to_string()))?;
    process.tty = is_tty;
    Ok(process)
}

/// Reads to the end, keeping at most `OUTPUT_MAX`; the rest is read and thrown away, so that the writer can end.
async fn read_capped(from: &mut Descriptor, into: &mut Vec<u8>) {
    let mut chunk = vec![0; 32 * 1024];
    while let Ok(len @ 1..) = from.read(&mut chunk).await {
        let room = OUTPUT_MAX - into.len();
        into.extend_from_slice(&chunk[..len.min(room)]);
    }
}

fn resize_task(master: OwnedFd) -> mpsc::Sender<TerminalSize> {
    let (sender, mut sizes) = mpsc::channel::<TerminalSize>(RESIZES_MAX);
    tokio::spawn(async move {
        while let Some(TerminalSize { width, height }) = sizes.recv().await {
            let _ = terminal::resize(master.as_fd(), width, height);
        }
    });
    sender
}

fn watch_container(container: Arc<Container>) -> oneshot::Receiver<Result<i32>> {
    let (mut sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let mut ended = container.ended.subscribe();
        tokio::select! {
            _ = ended.wait_for(|ended| *ended) => {}
            () = sender.closed() => return,
        }
        let _ = sender.send(Ok(container.status().exit_code));
    });
    receiver
}
