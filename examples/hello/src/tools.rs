//! The applets that print and end: echo, cat, ls, env; and sleep.

use super::{Failure, Outcome};
use nix::sys::signal::{SigSet, Signal};
use std::io::{Read, Write};
use std::time::Duration;

/// `None` if the name is none of ours.
pub fn run(name: &str, arguments: &[String], out: &mut dyn Write) -> Option<Outcome> {
    Some(match name {
        "echo" => echo(arguments, out),
        "cat" => cat(arguments, out),
        "ls" => ls(arguments, out),
        "env" => env(out),
        _ => return None,
    })
}

fn echo(arguments: &[String], out: &mut dyn Write) -> Outcome {
    let (words, end) = match arguments.split_first() {
        Some((flag, rest)) if flag == "-n" => (rest, ""),
        _ => (arguments, "\n"),
    };
    write!(out, "{}{end}", words.join(" ")).map_err(Failure::new)?;
    Ok(0)
}

fn cat(paths: &[String], out: &mut dyn Write) -> Outcome {
    let stdin = ["-".to_owned()];
    for path in if paths.is_empty() { &stdin } else { paths } {
        let mut from: Box<dyn Read> = match path.as_str() {
            "-" => Box::new(std::io::stdin().lock()),
            path => {
                Box::new(std::fs::File::open(path).map_err(|error| Failure::new(format!("{path}: {error}")))?)
            }
        };
        let mut buffer = [0u8; 16 << 10];
        loop {
            let read = from.read(&mut buffer).map_err(|error| Failure::new(format!("{path}: {error}")))?;
            if read == 0 {
                break;
            }
            out.write_all(&buffer[..read]).and_then(|()| out.flush()).map_err(Failure::new)?;
        }
    }
    Ok(0)
}

fn ls(arguments: &[String], out: &mut dyn Write) -> Outcome {
    let path = arguments.iter().find(|word| !word.starts_with('-')).map_or(".", String::as_str);
    let failure = |error: std::io::Error| Failure::new(format!("{path}: {error}"));
    if !std::fs::metadata(path).map_err(failure)?.is_dir() {
        writeln!(out, "{path}").map_err(Failure::new)?;
        return Ok(0);
    }
    let entries = std::fs::read_dir(path).map_err(failure)?.flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    for name in names {
        writeln!(out, "{name}").map_err(Failure::new)?;
    }
    Ok(0)
}

fn env(out: &mut dyn Write) -> Outcome {
    for (name, value) in std::env::vars_os() {
        writeln!(out, "{}={}", name.to_string_lossy(), value.to_string_lossy()).map_err(Failure::new)?;
    }
    Ok(0)
}

/// Sleeps; ends at once on SIGTERM, also as process 1, for which the kernel ignores a signal that nobody handles.
pub fn sleep(arguments: &[String]) -> Outcome {
    let Some(word) = arguments.first() else {
        return Err(Failure::new("usage: sleep SECONDS"));
    };
    let duration = match word.as_str() {
        "infinity" => Duration::MAX,
        word => word
            .trim_end_matches('s')
            .parse()
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| Failure::new(format!("{word:?} is not a number of seconds")))?,
    };
    exit_on_sigterm(128 + Signal::SIGTERM as i32)?;
    std::thread::sleep(duration);
    Ok(0)
}

/// Ends the process with `code` when it is asked to stop. Call it before any other thread exists.
pub fn exit_on_sigterm(code: i32) -> Result<(), Failure> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block().map_err(Failure::new)?;
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            std::process::exit(code);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_print() {
        let folder = std::env::temp_dir();
        let check = |line: &[&str], expected: &str| {
            let mut out = Vec::new();
            let arguments: Vec<String> = line[1..].iter().map(|word| word.to_string()).collect();
            let outcome = run(line[0], &arguments, &mut out).expect("a tool of ours");
            let text =
                outcome.map_or_else(|failure| failure.text, |_| String::from_utf8(out).unwrap_or_default());
            assert_eq!(text, expected, "{line:?}");
        };
        check(&["echo", "a", "b"], "a b\n");
        check(&["echo", "-n", "a"], "a");
        check(&["cat", "/nonexistent"], "/nonexistent: No such file or directory (os error 2)");
        check(
            &["ls", folder.join("nonexistent").to_str().unwrap_or_default()],
            &format!("{}: No such file or directory (os error 2)", folder.join("nonexistent").display()),
        );
        assert!(run("nope", &[], &mut Vec::new()).is_none());
    }
}
