//! Developer verbs: tidy, dist, lab, sim, round, bench.

mod bpf;
mod generate;
mod hello_image;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace");
    match std::env::args().nth(1).as_deref() {
        Some("bpf") => report(bpf::run(
            root,
            std::env::args().nth(2).as_deref() == Some("--check"),
        )),
        Some("hello-image") => report(hello_image::run(root, std::env::args().nth(2))),
        Some("generate-kinds") => report(generate::run(root)),
        _ => ExitCode::SUCCESS,
    }
}

fn report<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
