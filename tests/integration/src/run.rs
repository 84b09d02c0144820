//! A command that has run: its exit code and what it said.

use std::process::Command;

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    /// The command line, for messages.
    pub line: String,
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(command: &mut Command, line: String) -> Ran {
        let output = command.output().unwrap_or_else(|error| panic!("{line}: {error}"));
        Ran {
            line,
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn succeeded(&self) -> bool {
        self.code == 0
    }

    /// What it printed; panics with all it said when it failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.stdout
    }

    /// Panics unless it ended with this code; gives what it wrote to standard error.
    #[track_caller]
    pub fn fails_with(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self}");
        self.stderr
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` ended with {}\n{}{}", self.line, self.code, self.stdout, self.stderr)
    }
}

/// Panics unless every line of `wanted` is somewhere in `text`; runs of blanks count as one.
#[track_caller]
pub fn contains(text: &str, wanted: &[&str]) {
    let flat = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = text.lines().map(flat).collect();
    for want in wanted {
        assert!(lines.iter().any(|line| line.contains(want)), "no line says {want:?} in:\n{text}");
    }
}
