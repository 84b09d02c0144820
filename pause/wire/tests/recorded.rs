//! The promise of the wire: bytes that a pause of this version wrote or read are understood for ever.
//!
//! `session-1.txt` holds one record a line: `>` to pause, `<` from it, then the header and body in hexadecimal. It is only
//! ever added to; each released version brings its own file.

use std::ffi::CString;

use kedge_pause_wire::codec::put_record;
use kedge_pause_wire::message::*;
use kedge_pause_wire::*;

const RECORDED: &str = include_str!("session-1.txt");

fn c(text: &str) -> CString {
    CString::new(text).expect("a text without NUL")
}

fn launch() -> LaunchSpec {
    let process = Process {
        argv: vec![c("sh"), c("-c"), c("exit 7")],
        files: vec![c("/bin/sh")],
        env: vec![c("PATH=/bin"), c("EMPTY=")],
        cwd: c("/"),
        uid: 1000,
        gid: 1001,
        groups: vec![1001, 10],
        capabilities: Capabilities { bounding: 0xa804_25fb, effective: 1, permitted: 3, ambient: 0 },
        no_new_privs: true,
        seccomp: vec![Instruction { code: 6, jt: 1, jf: 2, k: 0x7fff_0000 }],
        rlimits: vec![Rlimit { resource: 7, soft: 1024, hard: 4096 }],
        oom_score_adj: Some(-998),
        tty: true,
    };
    LaunchSpec {
        id: c("c1"),
        process,
        pid: PidFrom::Target,
        pid_target: c("c0"),
        cgroup_namespace: true,
        cgroup: CgroupJoin { unified: Some(0), procs: vec![1, 2] },
        root: 3,
        root_readonly: true,
        mounts: vec![MountStep {
            source: MountSource::New,
            fstype: c("tmpfs"),
            options: vec![FsOption { key: c("mode"), value: c("755") }],
            attributes: 2,
            path: c("/dev"),
            target: MountTarget::File,
            no_symlinks: true,
            descriptor: 0,
        }],
        devices: vec![DeviceNode { path: c("/dev/null"), mode: 0o20666, major: 1, minor: 3, uid: 0, gid: 0 }],
        links: vec![Link { path: c("/dev/ptmx"), target: c("pts/ptmx") }],
        masked: vec![c("/proc/kcore")],
        readonly: vec![c("/proc/sys")],
        null: 4,
        state_directory: 5,
        log: Some(6),
        stdin: true,
    }
}

fn exited(code: i32, signal: i32) -> Exited {
    Exited { id: c("c1"), code, signal, finished_at_ns: 1_700_000_000_000_000_000 }
}

/// The session that was recorded: every message once.
fn session() -> Vec<(char, Frame)> {
    let hello = Hello { version: 1, version_min: 1 };
    let setup = SandboxSpec {
        network: NamespaceFrom::Pod,
        ipc: NamespaceFrom::Pod,
        uts: NamespaceFrom::Pod,
        shared_pid: true,
        user: Some(IdMap { host_id: 131_072, length: 65_536 }),
        hostname: c("pod"),
        sysctls: vec![Sysctl { path: c("net/core/somaxconn"), value: c("9") }],
    };
    let exec = ExecSpec { id: c("e1"), container: c("c1"), stdout: Some(0), ..ExecSpec::default() };
    let named = || Named { id: c("c1") };
    let state = ContainerState { id: c("c1"), pid: 42, started_at_ns: 7, exited: Some(exited(137, 9)) };
    let requests = [
        Request::Hello(hello.clone()),
        Request::Setup(setup),
        Request::Launch(Box::new(launch())),
        Request::Exec(Box::new(exec)),
        Request::Signal(Signal { id: c("e1"), is_exec: true, signal: 15 }),
        Request::State(Nothing {}),
        Request::ReopenLog(ReopenLog { id: c("c1"), log: 0 }),
        Request::Attach(Attach { id: c("c1"), stdout: Some(0), stderr: None, stdin: true }),
        Request::CloseStdin(named()),
        Request::Resize(Resize { id: c("c1"), width: 80, height: 25 }),
        Request::Forget(named()),
        Request::Network(Nothing {}),
        Request::Shutdown(Nothing {}),
    ];
    let events = [
        Event::Hello(hello),
        Event::Ready(Ready { network: Some(0), user: Some(1), shared_pid: 41 }),
        Event::Launched(Launched { pid: 42, started_at_ns: 7 }),
        Event::Failed(Failed { step: Step::Mount, item: 3, errno: 1 }),
        Event::State(State { containers: vec![state], ready: true }),
        Event::Done(Nothing {}),
        Event::Exited(exited(7, 0)),
        Event::ExecExited(exited(143, 15)),
        Event::Attached(Attached { stdin: Some(0), is_terminal: false }),
        Event::NotFound(named()),
    ];
    let requests =
        requests.iter().zip(1..).map(|(request, serial)| ('>', encode_request(request, serial, 1)));
    let events = events.iter().zip(1..).map(|(event, serial)| ('<', encode_event(event, serial, 1)));
    requests.chain(events).collect()
}

fn line((direction, frame): &(char, Frame)) -> String {
    let bytes = [&frame.header.to_bytes(), &frame.body[..]].concat();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{direction} {hex}\n")
}

#[test]
fn the_recorded_session_is_written_the_same_way() {
    let written: String = session().iter().map(line).collect();
    assert_eq!(written, RECORDED, "the wire format has changed");
}

#[test]
fn the_recorded_session_is_understood() {
    let mut seen = 0;
    for recorded in RECORDED.lines() {
        let (direction, hex) = recorded.split_once(' ').unwrap();
        let bytes: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        let header = Header::from_bytes(&bytes).unwrap();
        let again = match direction {
            ">" => encode_request(
                &decode_request(header, &bytes[HEADER_LEN..]).unwrap(),
                header.serial,
                header.version,
            ),
            _ => encode_event(
                &decode_event(header, &bytes[HEADER_LEN..]).unwrap(),
                header.serial,
                header.version,
            ),
        };
        assert_eq!(again.body, bytes[HEADER_LEN..]);
        seen += 1;
    }
    assert_eq!(seen, session().len());
}

/// The records inside the body grow too: what a later version adds to each `Exited` of a State, and to the State itself.
#[test]
fn longer_records_of_a_later_version_are_understood() {
    let nested = ContainerState { id: c("c1"), pid: 7, started_at_ns: 8, exited: Some(exited(7, 0)) };
    let state = State { containers: vec![nested.clone(), nested], ready: true };
    let mut list = 2_u32.to_le_bytes().to_vec();
    for container in &state.containers {
        put_record(&mut list, |out| {
            container.id.put(out);
            container.pid.put(out);
            container.started_at_ns.put(out);
            true.put(out);
            put_record(out, |out| {
                let exited = exited(7, 0);
                exited.id.put(out);
                exited.code.put(out);
                exited.signal.put(out);
                exited.finished_at_ns.put(out);
                out.extend_from_slice(b"later");
            });
            out.extend_from_slice(b"later");
        });
    }
    let mut body = Vec::new();
    put_record(&mut body, |out| {
        out.extend(&list);
        true.put(out);
        out.extend_from_slice(b"later");
    });
    assert_eq!(decode_event(Header { version: 2, kind: 68, serial: 0 }, &body), Ok(Event::State(state)));
}

/// A daemon reads the State of a pause that is older than a field of it: the field is its default.
#[test]
fn a_shorter_record_of_an_earlier_version_is_understood() {
    let mut body = Vec::new();
    put_record(&mut body, |out| {
        1_u32.put(out);
        put_record(out, |out| {
            c("c1").put(out);
            7_i32.put(out);
        });
    });
    let container = ContainerState { id: c("c1"), pid: 7, ..ContainerState::default() };
    let state = State { containers: vec![container], ready: false };
    assert_eq!(decode_event(Header { version: 1, kind: 68, serial: 0 }, &body), Ok(Event::State(state)));
}

/// A small generator: the same bytes on every run.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn hostile_bytes_are_an_error_and_never_a_panic() {
    let mut seed = 1;
    for (direction, frame) in session() {
        for len in 0..frame.body.len() {
            // A body that is cut anywhere lacks a value.
            let cut = &frame.body[..len];
            let is_error = match direction {
                '>' => decode_request(frame.header, cut).is_err(),
                _ => decode_event(frame.header, cut).is_err(),
            };
            assert!(is_error, "{len} of {:?}", frame.header);
        }
        for _ in 0..2_000 {
            let mut body = frame.body.clone();
            for _ in 0..=random(&mut seed) % 4 {
                if !body.is_empty() {
                    let at = random(&mut seed) as usize % body.len();
                    body[at] = random(&mut seed) as u8;
                }
            }
            let kind = frame.header.kind ^ (random(&mut seed) as u16 % 3);
            let header = Header { kind, ..frame.header };
            let _ = (decode_request(header, &body), decode_event(header, &body));
        }
    }
    let huge = [0xff; 64];
    assert!(decode_request(Header { version: 1, kind: 3, serial: 0 }, &huge).is_err());
    assert_eq!(decode_request(Header { version: 0, kind: 1, serial: 0 }, &[]), Err(Error::Version(0)));
    assert_eq!(decode_request(Header { version: 1, kind: 99, serial: 0 }, &[]), Err(Error::Kind(99)));
}
