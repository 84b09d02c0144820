//! Requests of the daemon, events of pause, and the header in front of both.
//!
//! Every request is answered by exactly one event with the same serial; `Exited` and `ExecExited` come on their own with
//! serial 0, to every connection.

use alloc::ffi::CString;
use alloc::vec::Vec;

use crate::codec::{Error, Reader, Wire, record};
use crate::spec::{Descriptor, ExecSpec, LaunchSpec, SandboxSpec, Step};
use crate::{BODY_MAX, VERSION_MIN};

pub const HEADER_LEN: usize = 8;

/// In front of every body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub version: u16,
    /// The number of the message; the highest bit says that the body is in the first descriptor.
    pub kind: u16,
    pub serial: u32,
}

const LONG: u16 = 0x8000;

impl Header {
    pub fn is_long(self) -> bool {
        self.kind & LONG != 0
    }

    pub fn long(self) -> Header {
        Header { kind: self.kind | LONG, ..self }
    }

    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [v0, v1] = self.version.to_le_bytes();
        let [k0, k1] = self.kind.to_le_bytes();
        let [s0, s1, s2, s3] = self.serial.to_le_bytes();
        [v0, v1, k0, k1, s0, s1, s2, s3]
    }

    pub fn from_bytes(packet: &[u8]) -> Result<Header, Error> {
        let mut reader = Reader::new(packet);
        Ok(Header {
            version: u16::get(&mut reader)?,
            kind: u16::get(&mut reader)?,
            serial: u32::get(&mut reader)?,
        })
    }
}

/// A header and its body, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub header: Header,
    pub body: Vec<u8>,
}

record! {
    /// The versions that the sender speaks.
    pub struct Hello {
        pub version: u16,
        pub version_min: u16,
    }

    /// A signal for a container's first process or for an exec.
    pub struct Signal {
        pub id: CString,
        pub is_exec: bool,
        pub signal: i32,
    }

    /// Names one container.
    pub struct Named {
        pub id: CString,
    }

    /// A log file opened anew, in place of the one that was rotated away.
    pub struct ReopenLog {
        pub id: CString,
        pub log: Descriptor,
    }

    /// Copies of the container's output go to these descriptors until they are closed or too slow.
    pub struct Attach {
        pub id: CString,
        pub stdout: Option<Descriptor>,
        pub stderr: Option<Descriptor>,
        pub stdin: bool,
    }

    pub struct Resize {
        pub id: CString,
        pub width: u16,
        pub height: u16,
    }

    /// A process that was started. With a terminal its master is the only descriptor.
    pub struct Launched {
        /// In the namespace of the daemon.
        pub pid: i32,
        pub started_at_ns: i64,
    }

    /// The sandbox stands; the descriptors are its own network and user namespaces, as far as it has them.
    pub struct Ready {
        pub network: Option<Descriptor>,
        pub user: Option<Descriptor>,
        pub shared_pid: i32,
    }

    pub struct Failed {
        pub step: Step,
        /// Which mount, device, sysctl, … of the spec.
        pub item: u32,
        pub errno: i32,
    }

    pub struct Exited {
        pub id: CString,
        /// The code of exit(2), or 128 + signal.
        pub code: i32,
        pub signal: i32,
        pub finished_at_ns: i64,
    }

    pub struct ContainerState {
        pub id: CString,
        pub pid: i32,
        pub started_at_ns: i64,
        pub exited: Option<Exited>,
    }

    pub struct State {
        pub containers: Vec<ContainerState>,
        /// Present once `Setup` has succeeded.
        pub ready: bool,
    }

    /// The attach is in place; the descriptor writes to the container's stdin.
    pub struct Attached {
        pub stdin: Option<Descriptor>,
        pub is_terminal: bool,
    }

    pub struct Nothing {}
}

macro_rules! messages {
    ($(#[$meta:meta])* pub enum $name:ident { $($number:literal => $variant:ident($type:ty),)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name { $($variant($type),)* }

        impl $name {
            fn encode(&self) -> (u16, Vec<u8>) {
                let mut body = Vec::new();
                match self {
                    $($name::$variant(value) => { value.put(&mut body); ($number, body) })*
                }
            }

            fn decode(kind: u16, body: &[u8]) -> Result<Self, Error> {
                let mut reader = Reader::new(body);
                match kind {
                    $($number => Ok($name::$variant(Wire::get(&mut reader)?)),)*
                    other => Err(Error::Kind(other)),
                }
            }
        }
    };
}

messages! {
    /// Daemon to pause.
    pub enum Request {
        1 => Hello(Hello),
        2 => Setup(SandboxSpec),
        3 => Launch(alloc::boxed::Box<LaunchSpec>),
        4 => Exec(alloc::boxed::Box<ExecSpec>),
        5 => Signal(Signal),
        6 => State(Nothing),
        7 => ReopenLog(ReopenLog),
        8 => Attach(Attach),
        9 => CloseStdin(Named),
        10 => Resize(Resize),
        11 => Forget(Named),
        12 => Shutdown(Nothing),
        13 => Network(Nothing),
    }
}

messages! {
    /// Pause to daemon.
    pub enum Event {
        64 => Hello(Hello),
        65 => Ready(Ready),
        66 => Launched(Launched),
        67 => Failed(Failed),
        68 => State(State),
        69 => Done(Nothing),
        70 => Exited(Exited),
        71 => ExecExited(Exited),
        72 => Attached(Attached),
        73 => NotFound(Named),
    }
}

fn frame((kind, body): (u16, Vec<u8>), serial: u32, version: u16) -> Frame {
    assert!(body.len() <= BODY_MAX, "the caller bounds what it sends");
    Frame { header: Header { version, kind, serial }, body }
}

pub fn encode_request(request: &Request, serial: u32, version: u16) -> Frame {
    frame(request.encode(), serial, version)
}

pub fn encode_event(event: &Event, serial: u32, version: u16) -> Frame {
    frame(event.encode(), serial, version)
}

fn check(header: Header, body: &[u8]) -> Result<u16, Error> {
    if header.version < VERSION_MIN {
        return Err(Error::Version(header.version));
    }
    if body.len() > BODY_MAX {
        return Err(Error::Length);
    }
    Ok(header.kind & !LONG)
}

pub fn decode_request(header: Header, body: &[u8]) -> Result<Request, Error> {
    Request::decode(check(header, body)?, body)
}

pub fn decode_event(header: Header, body: &[u8]) -> Result<Event, Error> {
    Event::decode(check(header, body)?, body)
}
