//! `kedge start` without `--foreground`: starts itself in a new session and waits for readiness on a pipe.
//!
//! The pipe is the child's standard output: a line per step of progress, at last `ready` or `failed TEXT`. It closes with the
//! child, so a child that dies is noticed at once.

use crate::check;
use crate::failure::{Exit, Failure, Outcome};
use crate::kubeconfig;
use crate::options::{Cli, StartOptions};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub const READY: &str = "ready";
pub const FAILED: &str = "failed ";

pub fn start(cli: &Cli, options: &StartOptions) -> Outcome {
    let mut roots = cli.site.roots()?;
    roots.ports.api = options.server.secure_port;
    check::refuse(&roots, options)?;
    let began = Instant::now();
    let mut child = spawn(&roots.log)?;
    let waited = wait(&mut child, Duration::from_secs(options.wait));
    if let Err(failure) = waited {
        let log = roots.log.join("kedge.log");
        return Err(Failure { text: format!("{} (log: {})", failure.text, log.display()), ..failure });
    }
    println!("kedge is ready ({:.1} s)", began.elapsed().as_secs_f32());
    if !options.no_kubeconfig {
        kubeconfig::merge(&roots)?;
    }
    println!("Try: kubectl get nodes");
    Ok(())
}

/// The same command line again, in the foreground, with the log file for errors that no logger catches.
fn spawn(log: &Path) -> Result<Child, Failure> {
    let failed = |doing: &str, error: std::io::Error| Failure::new(format!("cannot {doing}: {error}"));
    std::fs::create_dir_all(log).map_err(|error| failed(&format!("create {}", log.display()), error))?;
    let path = log.join("kedge.log");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|error| failed(&format!("open {}", path.display()), error))?;
    Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .arg("--foreground")
        .env("KEDGE_BACKGROUND", "1")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file)
        .spawn()
        .map_err(|error| failed("start kedge in the background", error))
}

fn wait(child: &mut Child, limit: Duration) -> Outcome {
    let Some(output) = child.stdout.take() else { return Err(Failure::new("the child has no output")) };
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let progress = progress();
    let deadline = Instant::now() + limit;
    let ended = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) if line == READY => break Ok(()),
            Ok(line) => match line.strip_prefix(FAILED) {
                Some(text) => break Err(Failure::new(text)),
                None => progress.set_message(line),
            },
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                break Err(Failure::new("kedge ended before it was ready"));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let text = format!(
                    "not ready after {} s ({}); it keeps trying",
                    limit.as_secs(),
                    progress.message()
                );
                break Err(Failure::with(Exit::NotReady, text));
            }
        }
    };
    progress.finish_and_clear();
    ended
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is constant"),
    );
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The child's side of the pipe; silent in a real foreground.
pub struct Herald {
    active: bool,
}

impl Herald {
    /// In the background child this also leaves the terminal's session.
    pub fn new() -> Herald {
        let active = std::env::var_os("KEDGE_BACKGROUND").is_some();
        if active && let Err(error) = rustix::process::setsid() {
            tracing::warn!(%error, "still in the caller's session");
        }
        Herald { active }
    }

    pub fn is_background(&self) -> bool {
        self.active
    }

    pub fn say(&self, step: &str) {
        tracing::info!("{step}");
        self.line(step);
    }

    /// After this nobody listens any more.
    pub fn ready(&self) {
        self.line(READY);
        if self.active
            && let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null")
            && let Err(error) = rustix::stdio::dup2_stdout(&null)
        {
            tracing::warn!(%error, "standard output stays open");
        }
    }

    pub fn failed(&self, text: &str) {
        self.line(&format!("{FAILED}{text}"));
    }

    fn line(&self, line: &str) {
        if self.active {
            // A parent that has gone is no reason to stop.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}
