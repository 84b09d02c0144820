//! `lab run`: one command in a world of its own: a network namespace with an uplink to another one that stands for the
//! outside (10.77.N.1), a mount namespace that nothing leaves, own roots and an own cgroup parent. All of it goes with the
//! last process; only the cgroups are removed by hand.
//!
//! ```text
//!   run ── unshare -n sleep ────────────── the outside, 10.77.N.1
//!    │                                        │ veth
//!    └──── unshare -n -m ── inside ── CMD ── up0 10.77.N.2
//! ```
//! Making namespaces needs either `unsafe` or a tool; this is a tool for us, so it runs util-linux and iproute2.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use clap::Subcommand;
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{Pid, Signal, kill_process};

#[derive(Subcommand)]
pub enum Verb {
    /// Run a command in a lab and clean up after it
    Run {
        /// The lab's number: its uplink is 10.77.N.2
        #[arg(long = "name", value_parser = clap::value_parser!(u8).range(1..255))]
        number: u8,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// The second half of `run`, already inside the namespaces
    #[command(hide = true)]
    Inside {
        #[arg(long)]
        number: u8,
        #[arg(long)]
        outside: u32,
        #[arg(long)]
        root: PathBuf,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

pub fn run(verb: &Verb) -> Result<ExitCode, String> {
    match verb {
        Verb::Run { number, command } => outer(*number, command),
        Verb::Inside { number, outside, root, command } => inside(*number, *outside, root, command),
    }
}

fn outer(number: u8, command: &[String]) -> Result<ExitCode, String> {
    let root = std::env::temp_dir().join(format!("kedge-lab-{number}"));
    fs::create_dir(&root)
        .map_err(|error| format!("{}: {error}: is lab {number} running?", root.display()))?;
    let mut outside = spawn(Command::new("unshare").args(["--net", "sleep", "infinity"]))?;
    let result = spawn_inside(number, outside.id(), &root, command).and_then(wait);
    // The order matters: processes first, then the cgroups they were in, then the files they held open.
    remove_cgroups(&parent(number));
    let ended = outside.kill().and_then(|()| outside.wait());
    let removed = fs::remove_dir_all(&root).map_err(|error| format!("removing {}: {error}", root.display()));
    let code = result?;
    ended.map_err(|error| format!("ending the outside: {error}"))?;
    removed.map(|()| code)
}

fn spawn_inside(number: u8, outside: u32, root: &Path, command: &[String]) -> Result<Child, String> {
    let own = own_program();
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--propagation", "private"]).arg(own);
    unshare.args([
        "lab",
        "inside",
        "--number",
        &number.to_string(),
        "--outside",
        &outside.to_string(),
        "--root",
    ]);
    spawn(unshare.arg(root).arg("--").args(command))
}

/// This very program while it runs: a build may have put another at its path meanwhile.
pub fn own_program() -> PathBuf {
    PathBuf::from(format!("/proc/{}/exe", std::process::id()))
}

fn inside(number: u8, outside: u32, root: &Path, command: &[String]) -> Result<ExitCode, String> {
    own_resolver(number, root)?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::SHARED)
        .map_err(|error| format!("sharing the mounts of the lab: {error}"))?;
    for step in network(number, outside) {
        let status = wait_status(spawn(Command::new(&step[0]).args(&step[1..]))?)?;
        if status != 0 {
            return Err(format!("`{}` failed", step.join(" ")));
        }
    }
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]).envs(environment(number, root)).env("PATH", crate::tools::search_path());
    spawn(&mut child).and_then(wait)
}

/// Names are asked at the outside's address, where a test may answer; nothing of the machine's own resolver is used.
fn own_resolver(number: u8, root: &Path) -> Result<(), String> {
    let file = root.join("resolv.conf");
    fs::write(&file, format!("nameserver 10.77.{number}.1\n"))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    mount_bind(&file, "/etc/resolv.conf").map_err(|error| format!("mounting /etc/resolv.conf: {error}"))
}

fn network(number: u8, outside: u32) -> Vec<Vec<String>> {
    let steps = [
        format!("ip link add up0 type veth peer name out0 netns {outside}"),
        format!("ip address add 10.77.{number}.2/24 dev up0"),
        "ip link set lo up".to_owned(),
        "ip link set up0 up".to_owned(),
        format!("nsenter --target {outside} --net ip address add 10.77.{number}.1/24 dev out0"),
        format!("nsenter --target {outside} --net ip link set lo up"),
        format!("nsenter --target {outside} --net ip link set out0 up"),
        format!("ip route add default via 10.77.{number}.1"),
    ];
    steps.iter().map(|step| step.split(' ').map(str::to_owned).collect()).collect()
}

fn environment(number: u8, root: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("KEDGE_ROOT", root.display().to_string()),
        ("KEDGE_CGROUP_ROOT", format!("/{}", parent(number))),
        ("KEDGE_NODE_NAME", format!("node{number}")),
        ("KUBECONFIG", root.join("etc/kubernetes/admin.conf").display().to_string()),
    ]
}

fn parent(number: u8) -> String {
    format!("kedge-lab-{number}")
}

/// Removes the lab's group in every tree that has it; what still runs inside is killed.
fn remove_cgroups(parent: &str) {
    let trees = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let trees = trees.map(|tree| tree.path()).chain([PathBuf::from("/sys/fs/cgroup")]);
    for group in trees.map(|tree| tree.join(parent)).filter(|group| group.is_dir()) {
        remove_group(&group);
    }
}

fn remove_group(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&below.path());
        }
    }
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
        // It may have ended meanwhile, which is what is wanted.
        let _ = kill_process(pid, Signal::KILL);
    }
    // A killed process leaves its group a moment later: the directory is free at the latest when it is reaped.
    for _ in 0..100 {
        if fs::remove_dir(group).is_ok() || !group.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    eprintln!("lab: {} stays: something still runs in it", group.display());
}

fn spawn(command: &mut Command) -> Result<Child, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::inherit()).spawn().map_err(|error| format!("running {name}: {error}"))
}

fn wait(child: Child) -> Result<ExitCode, String> {
    wait_status(child).map(ExitCode::from)
}

/// The exit code, or 128 and the signal as a shell says it.
fn wait_status(mut child: Child) -> Result<u8, String> {
    use std::os::unix::process::ExitStatusExt;
    let status = child.wait().map_err(|error| format!("waiting: {error}"))?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_labs_share_nothing_by_name() {
        let (one, two) = (environment(1, Path::new("/a")), environment(2, Path::new("/b")));
        assert!(one.iter().zip(&two).all(|(one, two)| one.0 == two.0 && one.1 != two.1));
        assert!(network(1, 5).iter().flatten().all(|word| !word.contains("10.77.2.")));
    }

    #[test]
    fn the_default_route_goes_to_the_outside() {
        let steps = network(7, 5);
        assert_eq!(steps.last().expect("steps").join(" "), "ip route add default via 10.77.7.1");
    }
}
