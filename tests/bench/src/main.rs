//! `cargo xtask bench [NAME]` runs this inside a lab: one program per number in docs/SPECIFICATION.md. Each prints what it
//! measured, and beside it the peer or the floor of the same run where there is one. Nothing here judges: a busy machine
//! stretches every time, so read minima, CPU time and ratios.

mod api;
mod bench;
mod floor;
mod node;
mod report;

use std::process::ExitCode;

type Outcome = Result<(), String>;

struct Bench {
    name: &'static str,
    what: &'static str,
    run: fn() -> Outcome,
}

const BENCHES: &[Bench] = &[
    Bench { name: "size", what: "bytes of the binary", run: bench::idle::size },
    Bench { name: "start", what: "`kedge start` to a Ready node", run: bench::start::run },
    Bench { name: "apply", what: "a pod's creation to Running", run: bench::pods::apply },
    Bench { name: "launch", what: "a pod's request to its first instruction", run: bench::pods::launch },
    Bench { name: "crowd", what: "100 pods, 20 at a time; memory per pod", run: bench::pods::crowd },
    Bench { name: "exec", what: "a command in a running container", run: bench::pods::exec },
    Bench { name: "idle", what: "memory, CPU and wakeups of an idle node", run: bench::idle::run },
    Bench { name: "api", what: "CPU per create, patch, list and watch event", run: bench::api::run },
    Bench {
        name: "readyz",
        what: "`kedge apiserver` to readyz with 10,000 objects",
        run: bench::api::readyz,
    },
];

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for bench in BENCHES {
            println!("{:<8} {}", bench.name, bench.what);
        }
        return ExitCode::SUCCESS;
    };
    let result = match BENCHES.iter().find(|bench| bench.name == name) {
        Some(bench) => (bench.run)(),
        None => Err(format!("there is no bench {name}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
