//! A whole session with a real pause: namespaces, a container, its log, an exec, its end. Needs root.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use kedge_pause_wire::message::{Exited, HEADER_LEN, Hello, Named, Nothing, Signal};
use kedge_pause_wire::*;
use kedge_sys::mount::{Propagation, SetAttributes};
use kedge_sys::{clone, memfd, mount, socket};

/// A wedged pause fails the test instead of holding it.
const ANSWER_MAX_MS: i32 = 60_000;
const INSIDE_PATH: &str = "/bin/busybox";

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// A pod's supervisor and the daemon's end of its connection. Ends it when dropped.
struct Pause {
    directory: PathBuf,
    socket: OwnedFd,
    pid: i32,
    serial: u32,
    early: Vec<Event>,
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.serial += 1;
        let frame = encode_request(&Request::Shutdown(Nothing {}), self.serial, VERSION);
        let _ = socket::send(self.socket.as_fd(), &frame.header.to_bytes(), &frame.body, &[]);
        kedge_sys::process::reap(self.pid);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn may_run() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let has_busybox = Path::new("/usr/bin/busybox").exists();
    if !is_root || !has_busybox {
        println!("skipped: needs root and /usr/bin/busybox (root: {is_root}, busybox: {has_busybox})");
    }
    is_root && has_busybox
}

impl Pause {
    fn start(name: &str) -> Pause {
        let directory = std::env::temp_dir().join(format!("kedge-pause-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        for inside in ["bin", "proc", "dev", "tmp"] {
            fs::create_dir_all(directory.join("root").join(inside)).unwrap();
        }
        fs::copy("/usr/bin/busybox", directory.join("root/bin/busybox")).unwrap();
        let handle: OwnedFd = fs::File::open(&directory).unwrap().into();
        let listener = socket::listen(handle.as_fd(), "pause.sock").unwrap();
        let (ours, theirs) = socket::pair().unwrap();
        let program = memfd::sealed("pause", &fs::read(env!("CARGO_BIN_EXE_pause")).unwrap()).unwrap();
        let stderr = std::io::stderr();
        let (pid, _pidfd) = clone::spawn(&clone::Spawn {
            program: program.as_fd(),
            argv: &[c"pause"],
            descriptors: &[listener.as_fd(), theirs.as_fd()],
            stdio: stderr.as_fd(),
            unified: None,
            cgroups: &[],
        })
        .unwrap();
        Pause { directory, socket: ours, pid, serial: 0, early: Vec::new() }
    }

    fn send(&mut self, request: &Request, descriptors: &[BorrowedFd<'_>]) {
        self.serial += 1;
        let frame = encode_request(request, self.serial, VERSION);
        socket::send(self.socket.as_fd(), &frame.header.to_bytes(), &frame.body, descriptors).unwrap();
    }

    fn receive(&mut self) -> (u32, Event, Vec<OwnedFd>) {
        let is_answered = socket::poll_readable(&[self.socket.as_fd()], ANSWER_MAX_MS).unwrap()[0];
        assert!(is_answered, "pause says nothing");
        let packet =
            socket::receive(self.socket.as_fd(), INLINE_MAX + HEADER_LEN).unwrap().expect("pause is gone");
        let header = Header::from_bytes(&packet.bytes).unwrap();
        (header.serial, decode_event(header, &packet.bytes[HEADER_LEN..]).unwrap(), packet.descriptors)
    }

    fn call(&mut self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> (Event, Vec<OwnedFd>) {
        self.send(request, descriptors);
        loop {
            let (serial, event, descriptors) = self.receive();
            if serial == self.serial {
                return (event, descriptors);
            }
            self.early.push(event);
        }
    }

    fn wait_exit(&mut self, id: &str) -> Exited {
        loop {
            let event = match self.early.pop() {
                Some(event) => event,
                None => self.receive().1,
            };
            match event {
                Event::Exited(exited) | Event::ExecExited(exited) if exited.id == c(id) => return exited,
                _ => {}
            }
        }
    }

    fn setup(&mut self, spec: SandboxSpec) {
        match self.call(&Request::Setup(spec), &[]).0 {
            Event::Ready(_) => {}
            other => panic!("{other:?}"),
        }
    }

    /// Runs a shell script in a container.
    fn launch(&mut self, id: &str, script: &str, change: impl FnOnce(&mut LaunchSpec)) -> Event {
        let state = self.directory.join(id);
        fs::create_dir_all(&state).unwrap();
        let open = |path: &Path| -> OwnedFd { fs::File::open(path).unwrap().into() };
        let root = mount::clone_tree(open(&self.directory.join("root")).as_fd(), c"", false).unwrap();
        // As a fresh overlay is; a copy of a shared mount would be shared, and nothing pivots into that.
        let private = SetAttributes { propagation: Some(Propagation::Private), ..SetAttributes::default() };
        mount::set_attributes(root.as_fd(), &private).unwrap();
        let null = mount::clone_tree(open(Path::new("/dev/null")).as_fd(), c"", false).unwrap();
        let log: OwnedFd =
            fs::OpenOptions::new().create(true).append(true).open(state.join("log")).unwrap().into();
        let state = open(&state);
        let mut spec = LaunchSpec {
            id: c(id),
            process: shell(script),
            root: 0,
            null: 1,
            log: Some(2),
            state_directory: 3,
            mounts: vec![
                new("proc", "/proc", &[]),
                new("tmpfs", "/dev", &[]),
                new("devpts", "/dev/pts", DEVPTS),
            ],
            links: vec![Link { path: c("/dev/ptmx"), target: c("pts/ptmx") }],
            masked: vec![
                c("/proc/keys"),
                c("/proc/kcore"),
                c("/proc/scsi"),
                c("/proc/acpi"),
                c("/proc/nothing"),
            ],
            readonly: vec![c("/proc/sys")],
            ..LaunchSpec::default()
        };
        change(&mut spec);
        let descriptors = [root.as_fd(), null.as_fd(), log.as_fd(), state.as_fd()];
        self.call(&Request::Launch(Box::new(spec)), &descriptors).0
    }

    fn log(&self, id: &str) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join(id).join("log")).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }
}

const DEVPTS: &[(&str, &str)] = &[("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];

fn new(fstype: &str, path: &str, options: &[(&str, &str)]) -> MountStep {
    MountStep {
        fstype: c(fstype),
        path: c(path),
        options: options.iter().map(|(key, value)| FsOption { key: c(key), value: c(value) }).collect(),
        no_symlinks: true,
        ..MountStep::default()
    }
}

/// Those of a default container, as bits.
const CAPABILITIES: u64 = 0xa804_25fb;

fn shell(script: &str) -> Process {
    let all = CAPABILITIES;
    Process {
        argv: ["sh", "-c", script].map(c).into(),
        files: vec![c(INSIDE_PATH)],
        env: vec![c("PATH=/bin"), c("A=b")],
        capabilities: Capabilities { bounding: all, effective: all, permitted: all, ambient: 0 },
        ..Process::default()
    }
}

fn pod() -> SandboxSpec {
    let (network, ipc, uts) = (NamespaceFrom::Pod, NamespaceFrom::Pod, NamespaceFrom::Pod);
    SandboxSpec { network, ipc, uts, hostname: c("podname"), ..SandboxSpec::default() }
}

#[track_caller]
fn assert_launched(event: Event) {
    assert!(matches!(event, Event::Launched(_)), "{event:?}");
}

#[test]
fn a_container_runs_logs_and_ends() {
    if !may_run() {
        return;
    }
    let mut pause = Pause::start("plain");
    let hello = pause.call(&Request::Hello(Hello { version: VERSION, version_min: VERSION_MIN }), &[]).0;
    assert_eq!(hello, Event::Hello(Hello { version: VERSION, version_min: VERSION_MIN }));
    pause.setup(pod());
    let script = "echo pid $$ $(busybox hostname) $A; echo no >&2; ls /proc/self/fd | busybox wc -l; \
                  cat /proc/keys; echo x > /proc/sys/kernel/hostname; exit 7";
    assert_launched(pause.launch("c1", script, |_| {}));
    let exited = pause.wait_exit("c1");
    assert_eq!((exited.code, exited.signal), (7, 0));
    let log = pause.log("c1");
    assert_eq!(log[0], "stdout F pid 1 podname b");
    assert!(log.contains(&"stderr F no".to_owned()), "{log:?}");
    assert!(log.iter().any(|line| line.contains("Read-only file system")), "{log:?}");
    let exit = fs::read_to_string(pause.directory.join("c1/exit")).unwrap();
    assert_eq!(exit.split(' ').take(2).collect::<Vec<_>>(), ["7", "0"]);
}

#[test]
fn execs_enter_the_container_and_signals_reach_it() {
    if !may_run() {
        return;
    }
    let mut pause = Pause::start("exec");
    pause.setup(pod());
    assert_launched(pause.launch("c1", "trap 'exit 3' TERM; while :; do busybox sleep 0.05; done", |_| {}));
    let (read, write) = rustix::pipe::pipe().unwrap();
    let spec = ExecSpec {
        id: c("e1"),
        container: c("c1"),
        process: shell("echo $(busybox cat /proc/1/comm); ls -l /proc/self/fd; exit 5"),
        stdout: Some(0),
        ..ExecSpec::default()
    };
    assert_launched(pause.call(&Request::Exec(Box::new(spec)), &[write.as_fd()]).0);
    drop(write);
    assert_eq!(pause.wait_exit("e1").code, 5);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut fs::File::from(read), &mut text).unwrap();
    assert!(text.starts_with("sh\n") || text.starts_with("busybox\n"), "{text}");
    let signal = Signal { id: c("c1"), is_exec: false, signal: libc::SIGTERM };
    assert_eq!(pause.call(&Request::Signal(signal), &[]).0, Event::Done(Nothing {}));
    assert_eq!(pause.wait_exit("c1").code, 3);
    let late = ExecSpec { id: c("e2"), container: c("c1"), process: shell("true"), ..ExecSpec::default() };
    let late = pause.call(&Request::Exec(Box::new(late)), &[]).0;
    assert_eq!(late, Event::NotFound(Named { id: c("c1") }));
}

/// Stops or continues the supervisor, and waits until it is so.
fn signal(pid: i32, signal: libc::c_int, state: char) {
    let pidfd = kedge_sys::process::pidfd_open(pid).unwrap();
    kedge_sys::process::pidfd_send_signal(pidfd.as_fd(), signal).unwrap();
    wait_state(pid, state);
}

fn wait_state(pid: i32, state: char) {
    for _ in 0..2_000 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        if stat.rsplit_once(") ").unwrap().1.starts_with(state) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("process {pid} does not come to state {state}");
}

/// kedge is killed, its execs lose their pipes and end: pause hears of both in one turn, and of its successor.
#[test]
fn a_daemon_that_dies_with_its_execs_takes_nobody_along() {
    if !may_run() {
        return;
    }
    let mut pause = Pause::start("killed");
    pause.setup(pod());
    assert_launched(pause.launch("c1", "busybox sleep 60", |_| {}));
    let (read, write) = rustix::pipe::pipe().unwrap();
    let (process, stdin) = (shell("busybox cat; exit 0"), Some(0));
    let spec = ExecSpec { id: c("e1"), container: c("c1"), process, stdin, ..ExecSpec::default() };
    let exec = pause.call(&Request::Exec(Box::new(spec)), &[read.as_fd()]).0;
    let Event::Launched(exec) = exec else { panic!("{exec:?}") };
    drop(read);
    signal(pause.pid, libc::SIGSTOP, 'T');
    drop(write);
    wait_state(exec.pid, 'Z');
    let folder: OwnedFd = fs::File::open(&pause.directory).unwrap().into();
    pause.socket = socket::connect(folder.as_fd(), "pause.sock").unwrap();
    signal(pause.pid, libc::SIGCONT, 'S');
    let Event::State(state) = pause.call(&Request::State(Nothing {}), &[]).0 else { panic!("no state") };
    assert_eq!(state.containers.len(), 1);
}

/// A later daemon tries a request that this pause does not know, then one that it does.
#[test]
fn an_unknown_request_is_refused_and_the_connection_lives() {
    if !may_run() {
        return;
    }
    let mut pause = Pause::start("unknown");
    let header = Header { version: VERSION + 1, kind: 63, serial: 77 };
    socket::send(pause.socket.as_fd(), &header.to_bytes(), b"later", &[]).unwrap();
    let refused = message::Failed { step: Step::Request, item: 0, errno: libc::EPROTO };
    let (serial, event, _) = pause.receive();
    assert_eq!((serial, event), (77, Event::Failed(refused)));
    pause.setup(pod());
}

/// `yes & exit 3` in a pod with one PID namespace: yes outlives its container and keeps the pipe, for ever.
#[test]
fn a_descendant_that_goes_on_writing_does_not_keep_the_log_thread() {
    if !may_run() {
        return;
    }
    let mut pause = Pause::start("writer");
    pause.setup(SandboxSpec { shared_pid: true, ..pod() });
    assert_launched(
        pause.launch("c1", "while :; do echo more; done & exit 3", |spec| spec.pid = PidFrom::Pod),
    );
    assert_eq!(pause.wait_exit("c1").code, 3);
    let log: OwnedFd = fs::File::create(pause.directory.join("anew")).unwrap().into();
    let reopen = message::ReopenLog { id: c("c1"), log: 0 };
    assert_eq!(pause.call(&Request::ReopenLog(reopen), &[log.as_fd()]).0, Event::Done(Nothing {}));
    assert_launched(pause.launch("c2", "echo heard; exit 4", |spec| spec.pid = PidFrom::Pod));
    assert_eq!(pause.wait_exit("c2").code, 4);
    assert_eq!(pause.log("c2"), ["stdout F heard"]);
}

#[test]
fn a_failed_step_is_named() {
    if !may_run() {
        return;
    }
    let mut pause = Pause::start("fail");
    pause.setup(pod());
    let event = pause.launch("c1", "", |spec| spec.process.files = vec![c("/no/such")]);
    let missing = message::Failed { step: Step::Exec, item: 0, errno: libc::ENOENT };
    assert_eq!(event, Event::Failed(missing));
    std::os::unix::fs::symlink("/tmp", pause.directory.join("root/evil")).unwrap();
    let event = pause.launch("c2", "", |spec| spec.mounts.push(new("tmpfs", "/evil", &[])));
    assert_eq!(event, Event::Failed(message::Failed { step: Step::Mount, item: 3, errno: libc::ELOOP }));
}

#[test]
fn containers_share_a_pid_namespace_and_a_user_namespace() {
    if !may_run() {
        return;
    }
    let mut pause = Pause::start("userns");
    let user = Some(IdMap { host_id: 300_000, length: 65_536 });
    pause.setup(SandboxSpec { user, shared_pid: true, ..pod() });
    let script = "busybox cat /proc/self/uid_map; echo $(busybox id -u) $(busybox cat /proc/1/comm); \
                  busybox cat /proc/1/root/etc/passwd; exit 0";
    assert_launched(pause.launch("c1", script, |spec| spec.pid = PidFrom::Pod));
    assert_eq!(pause.wait_exit("c1").code, 0);
    let log = pause.log("c1");
    assert!(log[0].contains("300000"), "{log:?}");
    assert!(log.contains(&"stdout F 0 pause".to_owned()), "{log:?}");
    assert!(!log.iter().any(|line| line.contains("root:")), "{log:?}");
}

#[test]
fn a_terminal_is_opened_inside() {
    if !may_run() {
        return;
    }
    let mut pause = Pause::start("tty");
    pause.setup(pod());
    let script = "busybox tty; busybox test -c /dev/console && echo console; exit 4";
    assert_launched(pause.launch("c1", script, |spec| {
        spec.process.tty = true;
        spec.stdin = true;
    }));
    assert_eq!(pause.wait_exit("c1").code, 4);
    let log = pause.log("c1");
    assert!(log[0].starts_with("stdout F /dev/pts/0"), "{log:?}");
    assert!(log[1].starts_with("stdout F console"), "{log:?}");
}
