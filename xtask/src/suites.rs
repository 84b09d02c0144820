//! `test`: the runner behind `make test` and `.ci/run`. Everything is built once, by one command with one set of features;
//! suites are groups of the built test programs. A suite that fails makes the end red, and the later ones still run.

mod build;
pub mod outcome;

use std::path::Path;
use std::time::Instant;

pub use build::{Program, build};
pub use outcome::Tally;

/// In this order: what is cheap and often wrong comes first.
const SUITES: &[&str] = &["fmt", "tidy", "clippy", "unit", "sim", "privileged", "integration", "conformance"];

pub fn run(root: &Path, wanted: &[String]) -> Result<(), String> {
    if let Some(unknown) = wanted.iter().find(|name| !SUITES.contains(&name.as_str())) {
        return Err(format!("no suite {unknown}: there are {}", SUITES.join(", ")));
    }
    let mut total = Tally::default();
    let mut seconds = Vec::new();
    let mut programs: Option<Result<Vec<Program>, String>> = None;
    for name in SUITES.iter().filter(|name| wanted.is_empty() || wanted.iter().any(|want| want == *name)) {
        println!("== {name}");
        let start = Instant::now();
        let tally = match check(root, name) {
            Some(result) => Tally::of_check(name, result),
            None => match programs.get_or_insert_with(|| build(root)) {
                Ok(programs) => match prepare(root, name) {
                    Ok(()) => run_programs(root, programs.iter().filter(|program| program.suite() == *name)),
                    Err(why) => Tally::of_check(name, Err(why)),
                },
                Err(why) => Tally::of_check(name, Err(why.clone())),
            },
        };
        let tally = if *name == "conformance" { tally.and(crate::conformance::landing(root)) } else { tally };
        seconds.push((*name, start.elapsed().as_secs(), tally.failed));
        total.add(tally);
    }
    println!("== seconds");
    for (name, seconds, failed) in seconds {
        println!("{seconds:>6} {name}{}", if failed > 0 { "  FAILED" } else { "" });
    }
    for skip in &total.skips {
        println!("skipped: {skip}");
    }
    println!("{total}");
    if total.failed == 0 { Ok(()) } else { Err("the tests are red".to_owned()) }
}

/// What a suite's programs put into images is made before they run.
fn prepare(root: &Path, name: &str) -> Result<(), String> {
    let needs = name == "conformance" && rustix::process::geteuid().is_root();
    if needs { crate::tools::conformance(root).map(drop) } else { Ok(()) }
}

/// Suites that are one check; the others are groups of programs.
fn check(root: &Path, name: &str) -> Option<Result<(), String>> {
    match name {
        "fmt" => Some(crate::embed::cargo(root, &["fmt", "--all", "--check"])),
        "tidy" => Some(crate::tidy::run(root)),
        "clippy" => Some(crate::embed::run(root).and_then(|()| {
            let arguments =
                ["clippy", "--workspace", "--all-targets", "--profile", "ci", "--", "-D", "warnings"];
            crate::embed::cargo(root, &arguments)
        })),
        _ => None,
    }
}

fn run_programs<'a>(root: &Path, programs: impl Iterator<Item = &'a Program>) -> Tally {
    let mut tally = Tally::default();
    for program in programs {
        let one = program.run(root);
        println!("{:<28} {one}", program.title());
        tally.add(one);
    }
    tally
}
