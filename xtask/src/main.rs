//! Developer verbs. Each is a module; what decides is a pure function with its tests beside it, what acts is small.

mod bench;
mod bpf;
mod conformance;
mod dist;
mod embed;
mod generate;
mod hello_image;
mod images;
mod lab;
mod rounds;
mod suites;
mod tidy;
mod tools;
mod vm;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", about = "Developer verbs of Kedge")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Check the rules that a program can check: layers, bans, licences, sizes, paths
    Tidy,
    /// Run the suites in order and add up their results; without names all of them
    Test { suites: Vec<String> },
    /// Build the Go tools that the tests use into the cache
    Tools {
        /// Also what the conformance suite needs: agnhost, e2e.test, ginkgo and the images
        #[arg(long)]
        conformance: bool,
    },
    /// Run upstream's conformance specs on a lab node and compare with the committed list
    Conformance(conformance::Options),
    /// Build the one static file and check that it is one
    Dist,
    /// Run shards that are too long for every landing; without a name list them
    Round { name: Option<String> },
    /// Measure what docs/SPECIFICATION.md promises, on a built kedge; without a name everything
    Bench {
        name: Option<String>,
        /// The lab's number
        #[arg(long, default_value_t = 21)]
        lab: u8,
    },
    /// Simulate the cores under virtual time with fresh seeds, or replay one
    Sim {
        #[arg(long, default_value_t = 1.0, conflicts_with = "seed")]
        minutes: f64,
        #[arg(long)]
        seed: Option<u64>,
    },
    /// A network, mount and cgroup world of its own for one command
    #[command(subcommand)]
    Lab(lab::Verb),
    /// Boot one of Debian's kernels under emulation and run the privileged suite and the spine there, or a command
    Vm {
        kernel: vm::Kernel,
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Build the eBPF object, or only compare its hash
    Bpf {
        #[arg(long)]
        check: bool,
    },
    /// Build what the binary carries: pause and the demo image
    Embed,
    /// Write the demo image as an OCI layout
    HelloImage { out: String },
    /// Generate the table of kinds from the recorded API
    GenerateKinds,
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
    match Cli::parse().verb {
        Verb::Tidy => report(tidy::run(root)),
        Verb::Test { suites } => report(suites::run(root, &suites)),
        Verb::Tools { conformance } => report(tools::run(root, conformance)),
        Verb::Conformance(options) => report(conformance::run(root, &options)),
        Verb::Dist => report(dist::run(root)),
        Verb::Round { name } => report(rounds::run(root, name.as_deref())),
        Verb::Bench { name, lab } => report(bench::run(root, name.as_deref(), lab)),
        Verb::Sim { minutes, seed } => report(sim(root, minutes, seed)),
        Verb::Lab(verb) => lab::run(&verb).unwrap_or_else(|error| report(Err::<(), _>(error))),
        Verb::Vm { kernel, command } => report(vm::run(root, kernel, &command)),
        Verb::Bpf { check } => report(bpf::run(root, check)),
        Verb::Embed => report(embed::run(root)),
        Verb::HelloImage { out } => report(hello_image::run(root, Some(out))),
        Verb::GenerateKinds => report(generate::run(root)),
    }
}

fn sim(root: &Path, minutes: f64, seed: Option<u64>) -> Result<(), String> {
    let (flag, value) = match seed {
        Some(seed) => ("--seed", seed.to_string()),
        None => ("--minutes", minutes.to_string()),
    };
    embed::cargo(
        root,
        &["run", "--quiet", "--profile", "ci", "-p", "kedge-sim", "--bin", "sim", "--", flag, &value],
    )
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
