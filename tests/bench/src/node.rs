//! A kedge in this lab: started, measured, deleted. The binary is KEDGE_BIN; its folders are the lab's.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::api::Api;

/// Nothing that is waited for takes longer.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub fn binary() -> Result<PathBuf, String> {
    let path = std::env::var_os("KEDGE_BIN").map(PathBuf::from);
    path.filter(|path| path.is_file()).ok_or_else(|| "KEDGE_BIN names no file".to_owned())
}

pub fn root() -> Result<PathBuf, String> {
    std::env::var_os("KEDGE_ROOT").map(PathBuf::from).ok_or_else(|| "KEDGE_ROOT is not set".to_owned())
}

/// The node's name in this lab.
pub fn name() -> String {
    std::env::var("KEDGE_NODE_NAME").unwrap_or_default()
}

/// Asks until there is an answer, often enough that the answer is not late.
pub fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> Result<T, String> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("waited {} s for {what}", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A whole node.
pub struct Node {
    pub pid: i32,
    pub started_in: Duration,
}

impl Node {
    pub fn start() -> Result<Node, String> {
        let begun = Instant::now();
        kedge(&["start", "--no-kubeconfig"])?;
        let started_in = begun.elapsed();
        let status = kedge(&["status"])?;
        let pid = status.split("(pid ").nth(1).and_then(|rest| rest.split(')').next());
        let pid = pid.and_then(|pid| pid.parse().ok()).ok_or_else(|| format!("no pid in {status}"))?;
        Ok(Node { pid, started_in })
    }

    pub fn api(&self) -> Result<Api, String> {
        Api::connect(&root()?.join("etc/kubernetes/admin.conf"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = kedge(&["delete"]) {
            eprintln!("{error}");
        }
    }
}

fn kedge(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(binary()?).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("running kedge: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("kedge {}: {text}{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)))
}

/// `kedge apiserver` alone.
pub struct Server {
    child: Child,
    pub pid: i32,
}

impl Server {
    pub fn start() -> Result<Server, String> {
        let mut command = Command::new(binary()?);
        command.arg("apiserver").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("running kedge apiserver: {error}"))?;
        let pid = child.id() as i32;
        Ok(Server { child, pid })
    }

    pub fn stop(&mut self) -> Result<(), String> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| format!("ending kedge apiserver: {error}"))?;
        self.child.wait().map(drop).map_err(|error| format!("waiting for kedge apiserver: {error}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Milliseconds of CPU that a process has used, its ended threads and reaped children not included.
pub fn cpu_ms(pid: i32) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return f64::NAN };
    let of_task = |path: PathBuf| -> Option<f64> {
        fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    tasks.flatten().filter_map(|task| of_task(task.path())).sum::<f64>() / 1e6
}

/// A field of /proc/PID/status or smaps_rollup in kB.
pub fn kb(pid: i32, file: &str, field: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Times that a process's threads gave up the CPU by themselves: each is a wakeup.
pub fn wakeups(pid: i32) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return f64::NAN };
    let of_task = |path: PathBuf| -> Option<f64> {
        let text = fs::read_to_string(path.join("status")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
    };
    tasks.flatten().filter_map(|task| of_task(task.path())).sum()
}

/// The pids of the processes called `pause` in this lab's mount namespace.
pub fn pauses() -> Vec<i32> {
    let own = fs::read_link("/proc/self/ns/mnt").ok();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim() == "pause" && fs::read_link(format!("/proc/{pid}/ns/mnt")).ok() == own
    })
    .collect()
}
