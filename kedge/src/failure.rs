//! How a command ends badly: one sentence with what to do, and an exit code.

use std::fmt;

/// Exit codes, as `docs/SPECIFICATION.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something went wrong.
    Failed = 1,
    /// The command line or the configuration is wrong (clap's code).
    Usage = 2,
    /// kedge is not running on this node.
    NotRunning = 3,
    /// It runs, but a part of it is not ready.
    NotReady = 4,
}

#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub text: String,
}

pub type Outcome = Result<(), Failure>;

impl Failure {
    pub fn new(text: impl fmt::Display) -> Failure {
        Failure { exit: Exit::Failed, text: text.to_string() }
    }

    pub fn with(exit: Exit, text: impl fmt::Display) -> Failure {
        Failure { exit, text: text.to_string() }
    }

    /// The error with its causes, each said once.
    pub fn of(error: &dyn std::error::Error) -> Failure {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            let words = deeper.to_string();
            if !text.contains(&words) {
                text = format!("{text}: {words}");
            }
            cause = deeper.source();
        }
        Failure::new(text)
    }
}
