//! The CRI log format: `TIME STREAM F|P TEXT`, one line each; `P` is a part whose line goes on.

use kedge_api::Time;

/// What `kubectl logs` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub follow: bool,
    pub timestamps: bool,
    pub tail_lines: Option<u64>,
    pub since: Option<Instant>,
    pub limit_bytes: Option<u64>,
    pub stream: Wanted,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Wanted {
    #[default]
    All,
    Stdout,
    Stderr,
}

/// Seconds and nanoseconds since the epoch.
pub(super) type Instant = (i64, u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub time: &'a str,
    pub stream: &'a str,
    /// The text has its newline, unless it is a part.
    pub is_whole: bool,
    pub text: &'a [u8],
}

/// Reads one line without its newline; `None` for what is no CRI line (a torn write).
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let mut word = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
    let (time, stream, tag) = (word()?, word()?, word()?);
    let is_whole = match tag.split(':').next()? {
        "F" => true,
        "P" => false,
        _ => return None,
    };
    let known = matches!(stream, "stdout" | "stderr");
    known.then(|| Line { time, stream, is_whole, text: fields.next().unwrap_or_default() })
}

/// Nanoseconds matter: a second of a busy log has thousands of lines.
pub(super) fn instant(text: &str) -> Option<Instant> {
    let seconds = Time::parse(text)?.0;
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    let digits: String =
        fraction.chars().take_while(char::is_ascii_digit).chain("000000000".chars()).take(9).collect();
    Some((seconds, digits.parse().ok()?))
}

/// Turns file lines into what the client sees, within its options.
#[derive(Debug)]
pub(super) struct Printer {
    options: Options,
    left: Option<u64>,
}

impl Printer {
    pub(super) fn new(options: Options) -> Printer {
        Printer { left: options.limit_bytes, options }
    }

    /// The limit is reached.
    pub(super) fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    pub(super) fn print(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(line) = parse(line) else { return };
        let is_wanted = match self.options.stream {
            Wanted::All => true,
            Wanted::Stdout => line.stream == "stdout",
            Wanted::Stderr => line.stream == "stderr",
        };
        let is_old =
            self.options.since.is_some_and(|since| instant(line.time).is_some_and(|time| time < since));
        if !is_wanted || is_old {
            return;
        }
        let start = out.len();
        if self.options.timestamps {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.text);
        if line.is_whole {
            out.push(b'\n');
        }
        if let Some(left) = &mut self.left {
            let printed = (out.len() - start).min(usize::try_from(*left).unwrap_or(usize::MAX));
            out.truncate(start + printed);
            *left -= printed as u64;
        }
    }
}

/// Where the last `count` lines begin in `block`, the end of a file; `Err` with the number still missing if the block has
/// fewer newlines.
pub(super) fn tail_start(block: &[u8], count: u64) -> Result<usize, u64> {
    let mut left = count;
    for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
        if left == 0 {
            return Ok(at + 1);
        }
        left -= 1;
    }
    Err(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: [&str; 5] = [
        "2026-01-01T00:00:00.000000001Z stdout F one",
        "2026-01-01T00:00:01Z stderr P tw",
        "2026-01-01T00:00:01.5Z stderr F o",
        "torn line",
        "2026-01-01T00:00:02Z stdout F ",
    ];

    fn print(options: Options) -> String {
        let mut printer = Printer::new(options);
        let mut out = Vec::new();
        LOG.iter().for_each(|line| printer.print(line.as_bytes(), &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn options_shape_the_output() {
        let options = Options::default;
        let check =
            |options: Options, expected: &str| assert_eq!(print(options.clone()), expected, "{options:?}");
        check(options(), "one\ntwo\n\n");
        check(Options { stream: Wanted::Stderr, ..options() }, "two\n");
        check(Options { since: instant("2026-01-01T00:00:01.2Z"), ..options() }, "o\n\n");
        check(Options { since: instant("2026-01-01T01:00:02+01:00"), ..options() }, "\n");
        check(Options { limit_bytes: Some(5), ..options() }, "one\nt");
        check(
            Options { timestamps: true, stream: Wanted::Stdout, ..options() },
            "2026-01-01T00:00:00.000000001Z one\n2026-01-01T00:00:02Z \n",
        );
    }

    #[test]
    fn what_is_no_line_is_skipped() {
        for bad in ["", "x", "t stdout", "t stdout X text", "t other F text", "\u{0}\u{0}"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(parse(b"t stdout F:x a b").map(|line| line.text), Some(&b"a b"[..]));
    }

    #[test]
    fn tails_begin_after_a_newline() {
        assert_eq!(tail_start(b"a\nb\nc\n", 1), Ok(4));
        assert_eq!(tail_start(b"a\nb\nc\n", 2), Ok(2));
        assert_eq!(tail_start(b"a\nb\nc\n", 0), Ok(6));
        assert_eq!(tail_start(b"a\nb\nc\n", 3), Err(0));
        assert_eq!(tail_start(b"a\nb\n", 5), Err(3));
        assert_eq!(tail_start(b"", 0), Err(0));
    }
}
