//! What tests run beside and inside pods, as one program of a stranger:
//!
//! - `load ADDRESS RATE STOP RESULT`: a new connection for each HTTP request, RATE a second, until the file STOP is there;
//!   then RESULT says how many were sent and how many failed.
//! - `write BYTES START`: prints that many bytes in numbered lines once START is there, and lives on.
//! - `leave CODE START`: ends with that code once START is there.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Connections that may wait at once; each takes the next request that is due.
const WORKERS: u32 = 64;
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);
/// A line of `write`: few enough of them that the log's own words are few.
const LINE_BYTES: usize = 10_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["load", address, rate, stop, result] => {
            let address = address.parse().expect("an address and a port");
            load(address, rate.parse().expect("a rate"), Path::new(stop), Path::new(result));
        }
        ["write", bytes, start] => {
            wait_for(Path::new(start));
            write(bytes.parse().expect("a number of bytes"));
        }
        ["leave", code, start] => {
            wait_for(Path::new(start));
            return ExitCode::from(code.parse::<u8>().expect("an exit code"));
        }
        _ => {
            eprintln!("no such act: {words:?}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn wait_for(file: &Path) {
    while !file.exists() {
        std::thread::sleep(LOOK);
    }
}

fn write(bytes: usize) {
    let mut out = std::io::stdout().lock();
    for number in 0..bytes / LINE_BYTES {
        writeln!(out, "{}", line(number)).expect("standard output");
    }
    out.flush().expect("standard output");
    loop {
        std::thread::park();
    }
}

fn line(number: usize) -> String {
    format!("{number:0>width$}", width = LINE_BYTES - 1)
}

/// Requests are due at fixed times whatever became of the earlier ones, so that a stall shows as failures or late answers
/// and not as silence.
fn load(address: SocketAddr, rate: u32, stop: &Path, result: &Path) {
    let began = Instant::now();
    let (next, failed, stopped) = (AtomicU32::new(0), AtomicU32::new(0), AtomicBool::new(false));
    let first_failure = Mutex::new(String::new());
    let sent = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while !stopped.load(Ordering::Relaxed) {
                    let due = Duration::from_secs(1) * next.fetch_add(1, Ordering::Relaxed) / rate;
                    std::thread::sleep(due.saturating_sub(began.elapsed()));
                    sent.fetch_add(1, Ordering::Relaxed);
                    if let Err(error) = ask(address) {
                        failed.fetch_add(1, Ordering::Relaxed);
                        let mut first = first_failure.lock().expect("no holder panics");
                        if first.is_empty() {
                            *first = format!("after {:?}: {error}", began.elapsed());
                        }
                    }
                }
            });
        }
        wait_for(stop);
        stopped.store(true, Ordering::Relaxed);
    });
    let first = first_failure.into_inner().expect("no holder panics");
    let text = format!("{} {} {first}\n", sent.into_inner(), failed.into_inner());
    let whole = result.with_extension("tmp");
    fs::write(&whole, text).and_then(|()| fs::rename(&whole, result)).expect("writing the result");
}

fn ask(address: SocketAddr) -> Result<(), std::io::Error> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /load HTTP/1.0\r\nHost: load\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.") && answer.contains(" 200 ") {
        return Ok(());
    }
    Err(std::io::Error::other(format!("an answer of {} bytes", answer.len())))
}
