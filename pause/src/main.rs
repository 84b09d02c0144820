//! The supervisor of one pod: it holds the pod's namespaces, is the parent of its containers and execs, reaps them, writes
//! their ends to disk before it tells anyone, and copies their output to CRI logs.
//!
//! ```text
//! daemon ──spawn──▶ pause ──clone3──▶ containers, execs
//!   │  pause.sock     │ main thread: one poll loop (supervisor)
//!   └────records──────┘ log thread: pipes → log files, attach clients (log)
//! ```
//!
//! It starts with descriptor 3, the listening `pause.sock`, and 4, the connection of the daemon that spawned it. It decides
//! nothing: order, restarts, grace periods and kills are the daemon's. It ends on `Shutdown`, or when its cgroup is killed.

mod child;
mod connection;
mod launch;
mod log;
mod sandbox;
mod supervisor;
mod time;

use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use kedge_sys::{Errno, process, socket};

/// The listening socket.
const LISTENER: i32 = 3;
/// The first connection.
const FIRST_CONNECTION: i32 = 4;

fn main() {
    // First of all: whoever shares a namespace with this process must not read its memory or descriptors.
    if process::set_undumpable().is_err() {
        process::exit_now(70);
    }
    let code = match run() {
        Ok(()) => 0,
        Err(errno) => {
            eprintln!("pause: {errno}");
            71
        }
    };
    process::exit_now(code);
}

fn run() -> Result<(), Errno> {
    // SAFETY: the daemon's spawn put these two here, and nothing else in this process owns them.
    let (listener, first) =
        unsafe { (OwnedFd::from_raw_fd(LISTENER), OwnedFd::from_raw_fd(FIRST_CONNECTION)) };
    process::close_from_at_exec(3)?;
    // The kernel shows whoever called listen as the peer: a daemon that comes back must find this process there.
    socket::listen_again(listener.as_fd())?;
    let signals = process::signal_descriptor(&[libc::SIGCHLD])?;
    let _ = process::set_name(c"pause");
    let log = log::start()?;
    supervisor::Supervisor::new(listener, signals, log)?.run(first)
}
