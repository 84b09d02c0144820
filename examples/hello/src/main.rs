//! The demo image's program: a web server, a client and a small shell in one static file, told apart by the name it is
//! called by, or by its first argument.

mod get;
mod shell;
mod tools;
mod web;

use std::io::Write;
use std::process::ExitCode;

/// Why an applet failed: the line it prints, and the exit code.
pub struct Failure {
    pub text: String,
    pub code: u8,
}

impl Failure {
    pub fn new(text: impl std::fmt::Display) -> Failure {
        Failure { text: text.to_string(), code: 1 }
    }
}

pub type Outcome = Result<u8, Failure>;

fn main() -> ExitCode {
    let mut arguments: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let called = arguments.first().map(|path| base_name(path).to_owned()).unwrap_or_default();
    if called == "hello" || called.is_empty() {
        arguments.drain(..arguments.len().min(1));
    }
    let Some(applet) = arguments.first().map(|path| base_name(path).to_owned()) else {
        eprintln!(
            "usage: hello web [PORT] | get URL | sh [-c SCRIPT] | sleep SECONDS | echo | cat | ls | env"
        );
        return ExitCode::from(2);
    };
    let outcome = run(&applet, &arguments[1..]);
    let flushed = std::io::stdout().flush();
    match outcome {
        Ok(code) if flushed.is_ok() => ExitCode::from(code),
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{applet}: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Runs a program of ours; 127 for a name that is none.
fn run(applet: &str, arguments: &[String]) -> Outcome {
    match applet {
        "web" => web::run(arguments),
        "get" => get::run(arguments),
        "sh" => shell::run(arguments),
        "sleep" => tools::sleep(arguments),
        "true" => Ok(0),
        "false" => Ok(1),
        _ => tools::run(applet, arguments, &mut std::io::stdout().lock())
            .unwrap_or_else(|| Err(Failure { text: "not found".to_owned(), code: 127 })),
    }
}
