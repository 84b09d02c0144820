//! What tests run beside and inside pods, as one program of a stranger:
//!
//! - `load ADDRESS RATE STOP RESULT`: a new connection for each HTTP request, RATE a second, until the file STOP is there;
//!   then RESULT says how many were sent, how many failed, and how many SYNs this network namespace had to send again: a
//!   packet that is lost costs a second and no failure.
//! - `echo PORT`: sends back what it is sent.
//! - `hold ADDRESS STOP RESULT`: one connection to an echo, over which a word goes and comes back until the file STOP is
//!   there; then RESULT says the same as that of a load.
//! - `write BYTES START`: prints that many bytes in numbered lines once START is there, and lives on.
//! - `leave CODE START`: ends with that code once START is there.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
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
        ["echo", port] => echo(port.parse().expect("a port")),
        ["hold", address, stop, result] => {
            hold(address.parse().expect("an address and a port"), Path::new(stop), Path::new(result));
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

/// Requests are due at fixed times whatever became of the earlier ones, so that a stall does not show as silence.
fn load(address: SocketAddr, rate: u32, stop: &Path, result: &Path) {
    let (began, again) = (Instant::now(), syns_sent_again());
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
    tell(result, sent.into_inner(), failed.into_inner(), syns_sent_again() - again, &first);
}

fn tell(result: &Path, sent: u32, failed: u32, again: u64, first: &str) {
    let whole = result.with_extension("tmp");
    let text = format!("{sent} {failed} {again} {first}\n");
    fs::write(&whole, text).and_then(|()| fs::rename(&whole, result)).expect("writing the result");
}

/// `TCPSynRetrans` of this process's network namespace: a line of names, then a line of numbers.
fn syns_sent_again() -> u64 {
    let text = fs::read_to_string("/proc/self/net/netstat").expect("the counters of TCP");
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = lines.next().zip(lines.next()).expect("names and numbers");
    let mut pairs = names.split(' ').zip(numbers.split(' '));
    let number = pairs.find_map(|(name, number)| (name == "TCPSynRetrans").then_some(number));
    number.and_then(|number| number.parse().ok()).expect("a number of TCPSynRetrans")
}

fn echo(port: u16) {
    let listener = TcpListener::bind(("0.0.0.0", port)).expect("a port that is free");
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        std::thread::spawn(move || {
            let mut word = [0; 8];
            // Whoever held the connection has gone.
            while stream.read_exact(&mut word).and_then(|()| stream.write_all(&word)).is_ok() {}
        });
    }
}

fn hold(address: SocketAddr, stop: &Path, result: &Path) {
    let again = syns_sent_again();
    let (mut sent, mut failure) = (0, String::new());
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("an echo");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    while !stop.exists() && failure.is_empty() {
        sent += 1;
        let (word, mut back) = (u64::from(sent).to_be_bytes(), [0; 8]);
        match stream.write_all(&word).and_then(|()| stream.read_exact(&mut back)) {
            Ok(()) if back == word => {}
            Ok(()) => failure = format!("word {sent} came back as {back:?}"),
            Err(error) => failure = format!("word {sent}: {error}"),
        }
        std::thread::sleep(LOOK);
    }
    tell(result, sent, u32::from(!failure.is_empty()), syns_sent_again() - again, &failure);
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
