//! kedge: a Kubernetes in one binary. This crate is the wiring: the only place where a shell meets another shell.

mod background;
mod check;
mod components;
mod config;
mod control;
mod embed;
mod failure;
mod first_objects;
mod foreground;
mod identities;
mod images;
mod kubeconfig;
mod log;
mod node;
mod options;
mod probes;
mod site;
mod status;
mod stop;
mod version;
mod why;

use clap::CommandFactory;
use failure::Outcome;
use options::{Cli, Command};
use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match config::parse().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("kedge: {}", failure.text);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli) -> Outcome {
    match &cli.command {
        Command::Start(options) if options.foreground => foreground::start(&cli, options),
        Command::Start(options) => background::start(&cli, options),
        Command::Stop(options) => stop::stop(&cli.site, options),
        Command::Delete(options) => stop::delete(&cli.site, options),
        Command::Status(options) => status::status(&cli.site, options),
        Command::Image(command) => images::run(&cli.site, command),
        Command::Config(_) => config::print(),
        Command::Version => {
            println!("kedge {}", version::VERSION);
            Ok(())
        }
        Command::Completion { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "kedge", &mut std::io::stdout());
            Ok(())
        }
        Command::Apiserver(options) => foreground::apiserver(&cli, options),
        Command::Controllers(options) => foreground::controllers(&cli, options),
        Command::Kubelet(options) => foreground::kubelet(&cli, options),
        Command::Kubectl { arguments } => kubeconfig::kubectl(&cli.site, arguments),
        Command::Scheduler(options) => foreground::scheduler(&cli, options),
        Command::EnterUserNamespace => probes::enter_user_namespace(),
        Command::Check(options) => check::check(&cli.site, options),
        Command::Why(command) => why::why(&cli.site, command),
    }
}
