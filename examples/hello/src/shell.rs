//! `sh`: words, quotes, variables, `;`, `&&`, `||`, `>` and `>>`, a line at a time. Enough to look around in a container.

use super::{Failure, Outcome, tools};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// A word being read, with what it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Operator(&'static str),
}

/// What ends the reading of a line early.
enum Flow {
    Next(u8),
    Exit(u8),
}

pub fn run(arguments: &[String]) -> Outcome {
    match arguments.split_first() {
        Some((flag, rest)) if flag == "-c" => {
            let Some(script) = rest.first() else {
                return Err(Failure::new("-c needs a script"));
            };
            Ok(script_code(script))
        }
        Some((path, _)) => {
            let script =
                std::fs::read_to_string(path).map_err(|error| Failure::new(format!("{path}: {error}")))?;
            Ok(script_code(&script))
        }
        None => interact(),
    }
}

fn script_code(script: &str) -> u8 {
    let mut code = 0;
    for line in script.lines() {
        match execute(line, code) {
            Flow::Next(next) => code = next,
            Flow::Exit(last) => return last,
        }
    }
    code
}

fn interact() -> Outcome {
    let stdin = std::io::stdin();
    let is_terminal = stdin.is_terminal();
    let mut code = 0;
    loop {
        if is_terminal {
            let here = std::env::current_dir().unwrap_or_default();
            print!("{} $ ", here.display());
            std::io::stdout().flush().map_err(Failure::new)?;
        }
        let mut line = String::new();
        if stdin.lock().read_line(&mut line).map_err(Failure::new)? == 0 {
            return Ok(code);
        }
        match execute(line.trim_end_matches('\n'), code) {
            Flow::Next(next) => code = next,
            Flow::Exit(last) => return Ok(last),
        }
    }
}

/// Runs one line; `code` is that of the command before.
fn execute(line: &str, mut code: u8) -> Flow {
    let mut joined_by = ";";
    for (words, operator) in split(line) {
        let is_wanted = match joined_by {
            "&&" => code == 0,
            "||" => code != 0,
            _ => true,
        };
        joined_by = operator;
        if !is_wanted || words.is_empty() {
            continue;
        }
        match command(&words, code) {
            Flow::Next(next) => code = next,
            exit @ Flow::Exit(_) => return exit,
        }
    }
    Flow::Next(code)
}

/// Commands with the operator behind each.
fn split(line: &str) -> Vec<(Vec<Token>, &'static str)> {
    let mut commands = Vec::new();
    let mut words = Vec::new();
    for token in tokens(line) {
        match token {
            Token::Operator(operator @ (";" | "&&" | "||")) => {
                commands.push((std::mem::take(&mut words), operator))
            }
            other => words.push(other),
        }
    }
    commands.push((words, ";"));
    commands
}

const OPERATORS: [&str; 5] = ["&&", "||", ">>", ">", ";"];

fn tokens(line: &str) -> Vec<Token> {
    let mut found = Vec::new();
    // The word being read, with markers for variables that are put in when the command runs.
    let mut word: Option<String> = None;
    let mut rest = line;
    let mut quote = None;
    while let Some(c) = rest.chars().next() {
        if quote.is_none() {
            if let Some(operator) = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) {
                found.extend(word.take().map(Token::Word));
                found.push(Token::Operator(operator));
                rest = &rest[operator.len()..];
                continue;
            }
            if c == '#' && word.is_none() {
                break;
            }
        }
        rest = &rest[c.len_utf8()..];
        match (quote, c) {
            (None, c) if c.is_whitespace() => found.extend(word.take().map(Token::Word)),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => {
                let escaped = rest.chars().next().unwrap_or('\\');
                rest = rest.get(escaped.len_utf8()..).unwrap_or_default();
                word.get_or_insert_default().push(escaped);
            }
            (None | Some('"'), '$') => word.get_or_insert_default().push(VARIABLE),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word.map(Token::Word));
    found
}

/// Stands for a `$` that is to be replaced; a character nobody types.
const VARIABLE: char = '\u{f0000}';

/// Puts variables into a word: `$NAME`, `${NAME}`, `$?`.
fn expand(word: &str, code: u8) -> String {
    let mut parts = word.split(VARIABLE);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, rest) = match part.strip_prefix('{').and_then(|part| part.split_once('}')) {
            Some(braced) => braced,
            None if part.starts_with('?') => part.split_at(1),
            None => part.split_at(part.find(|c| !is_name(c)).unwrap_or(part.len())),
        };
        match name {
            "" => whole.push('$'),
            "?" => whole.push_str(&code.to_string()),
            name => whole.push_str(&std::env::var(name).unwrap_or_default()),
        }
        whole.push_str(rest);
    }
    whole
}

fn command(tokens: &[Token], code: u8) -> Flow {
    let mut words = Vec::new();
    let mut redirect = None;
    let mut tokens = tokens.iter();
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) => words.push(expand(word, code)),
            Token::Operator(operator) => match tokens.next() {
                Some(Token::Word(path)) => redirect = Some((*operator == ">>", expand(path, code))),
                Some(Token::Operator(_)) | None => return complain("sh", "a file name is missing", 2),
            },
        }
    }
    let out = match redirect.map(|(append, path)| (open(append, &path), path)) {
        None => None,
        Some((Ok(file), _)) => Some(file),
        Some((Err(error), path)) => return complain(&path, &error.to_string(), 1),
    };
    let Some((name, arguments)) = words.split_first() else {
        return Flow::Next(0);
    };
    match name.as_str() {
        "exit" => Flow::Exit(arguments.first().map_or(Some(code), |word| word.parse().ok()).unwrap_or(2)),
        "cd" => match std::env::set_current_dir(arguments.first().map_or("/", String::as_str)) {
            Ok(()) => Flow::Next(0),
            Err(error) => complain("cd", &error.to_string(), 1),
        },
        name => start(name, arguments, out),
    }
}

fn open(append: bool, path: &str) -> std::io::Result<File> {
    OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path)
}

fn complain(who: &str, what: &str, code: u8) -> Flow {
    eprintln!("{who}: {what}");
    Flow::Next(code)
}

/// A printing tool runs right here; everything else is a program.
fn start(name: &str, arguments: &[String], out: Option<File>) -> Flow {
    let mut stdout: Box<dyn Write> = match &out {
        Some(file) => match file.try_clone() {
            Ok(file) => Box::new(file),
            Err(error) => return complain(name, &error.to_string(), 1),
        },
        None => Box::new(std::io::stdout()),
    };
    if let Some(outcome) = tools::run(name, arguments, &mut stdout) {
        let flushed = stdout.flush();
        return match outcome {
            Ok(code) if flushed.is_ok() => Flow::Next(code),
            Ok(_) => Flow::Next(1),
            Err(failure) => complain(name, &failure.text, failure.code),
        };
    }
    let mut program = Command::new(name);
    program.args(arguments);
    if let Some(file) = out {
        program.stdout(Stdio::from(file));
    }
    match program.status() {
        Ok(status) => Flow::Next(exit_code(status)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => complain(name, "not found", 127),
        Err(error) => complain(name, &error.to_string(), 126),
    }
}

fn exit_code(status: std::process::ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split() {
        let show = |line: &str| {
            let shown = tokens(line).into_iter().map(|token| match token {
                Token::Word(word) => format!("[{}]", word.replace(VARIABLE, "$")),
                Token::Operator(operator) => operator.to_owned(),
            });
            shown.collect::<String>()
        };
        for (line, expected) in [
            ("echo  a b", "[echo][a][b]"),
            ("echo 'a  b' \"c $d\" e\\ f", "[echo][a  b][c $d][e f]"),
            ("a;b&&c||d", "[a];[b]&&[c]||[d]"),
            ("echo x>y >> z", "[echo][x]>[y]>>[z]"),
            ("echo '' # not this", "[echo][]"),
            ("echo a#b", "[echo][a#b]"),
            ("echo 'open", "[echo][open]"),
            ("echo \\", "[echo][\\]"),
        ] {
            assert_eq!(show(line), expected, "{line}");
        }
    }

    #[test]
    fn codes_follow_the_operators() {
        for (script, code) in [
            ("exit 7", 7),
            ("exit 7; exit 8", 7),
            ("/nonexistent", 127),
            ("/nonexistent || exit 3", 3),
            ("/nonexistent && exit 3", 127),
            ("echo -n; exit $?", 0),
            ("cat /nonexistent/x\nexit $?", 1),
            ("cd /nonexistent || exit ${NO_SUCH}4", 4),
            ("", 0),
            ("exit x", 2),
            ("> ", 2),
        ] {
            assert_eq!(script_code(script), code, "{script}");
        }
    }
}
