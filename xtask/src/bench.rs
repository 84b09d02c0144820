//! `bench`: the programs behind docs/SPECIFICATION.md. Those of `tests/bench` drive a built kedge, each in a lab of its own;
//! those of the network are tests of `tests/privileged`, which print instead of judging.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, UNIX_EPOCH};

use crate::{embed, lab};

/// Name, what it measures, and the test that prints it.
const NETWORK: [(&str, &str, &str); 2] = [
    ("connect", "a connection through a service; programming 10,000 services", "measure_connections"),
    ("attach", "one pod attached to the network", "measure_attach"),
];

/// The static file where somebody has built one of this commit: what people run is what counts.
fn kedge(root: &Path, target: &Path) -> Result<PathBuf, String> {
    let dist = crate::dist::built(root);
    let Ok(about) = dist.metadata() else { return Ok(target.join("ci/kedge")) };
    let commit = Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root).output();
    let commit = commit.map_err(|error| format!("running git: {error}"))?;
    let seconds: u64 = String::from_utf8_lossy(&commit.stdout).trim().parse().unwrap_or(0);
    let built = about.modified().map_err(|error| format!("{}: {error}", dist.display()))?;
    if built < UNIX_EPOCH + Duration::from_secs(seconds) {
        return Err(format!("{} is older than the last commit: run `cargo xtask dist`", dist.display()));
    }
    Ok(dist)
}

pub fn run(root: &Path, name: Option<&str>, number: u8) -> Result<(), String> {
    let target = embed::target(root);
    embed::run(root)?;
    embed::cargo(root, &["build", "--workspace", "--profile", "ci", "--bin", "bench", "--bin", "kedge"])?;
    let program = target.join("ci/bench");
    let listed =
        Command::new(&program).output().map_err(|error| format!("{}: {error}", program.display()))?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let kedge = kedge(root, &target)?;
    let is_dist = kedge.iter().any(|part| part == "dist");
    println!("build: {}", if is_dist { "dist" } else { "ci (our own crates unoptimised)" });
    let mut is_known = false;
    for bench in names.iter().filter(|bench| name.is_none_or(|name| name == **bench)) {
        is_known = true;
        in_lab(number, &program, bench, &kedge)?;
    }
    for (_, _, test) in NETWORK.iter().filter(|bench| name.is_none_or(|name| name == bench.0)) {
        is_known = true;
        let arguments = ["test", "--profile", "ci", "--workspace", "--test", "network"];
        let rest = ["--", "--ignored", "--nocapture", test];
        embed::cargo(root, &[&arguments[..], &rest[..]].concat())?;
    }
    if is_known {
        return Ok(());
    }
    print!("{listed}");
    for (name, what, _) in NETWORK {
        println!("{name:<8} {what}");
    }
    Err(format!("there is no bench {}", name.unwrap_or_default()))
}

fn in_lab(number: u8, program: &Path, bench: &str, kedge: &Path) -> Result<(), String> {
    let words = ["env".to_owned(), format!("KEDGE_BIN={}", kedge.display()), program.display().to_string()];
    let command = words.into_iter().chain([bench.to_owned()]).collect();
    let code = lab::run(&lab::Verb::Run { number, command })?;
    if code == ExitCode::SUCCESS { Ok(()) } else { Err(format!("the bench {bench} failed")) }
}
