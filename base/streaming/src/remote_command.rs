//! What exec and attach say on their error channel, and read from their resize channel.

/// How a remote command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    ExitCode(i32),
    /// It could not be run, or was lost.
    Failure(String),
}

impl Outcome {
    /// The `Status` of the protocols from v4 on.
    pub fn to_status(&self) -> String {
        match self {
            Outcome::ExitCode(0) => r#"{"metadata":{},"status":"Success"}"#.to_owned(),
            Outcome::ExitCode(code) => format!(
                "{{\"metadata\":{{}},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: \
                 exit status {code}\",\"reason\":\"NonZeroExitCode\",\"details\":{{\"causes\":[{{\"reason\":\
                 \"ExitCode\",\"message\":\"{code}\"}}]}}}}"
            ),
            Outcome::Failure(text) => {
                let text = quote(&format!("Internal error occurred: {text}"));
                let cause = quote(text_of_failure(self));
                format!(
                    "{{\"metadata\":{{}},\"status\":\"Failure\",\"message\":{text},\"reason\":\"InternalError\",\
                     \"details\":{{\"causes\":[{{\"message\":{cause}}}]}},\"code\":500}}"
                )
            }
        }
    }

    /// The plain text of the older protocols; nothing for success.
    pub fn to_text(&self) -> String {
        match self {
            Outcome::ExitCode(0) => String::new(),
            Outcome::ExitCode(code) => {
                format!("command terminated with non-zero exit code: exit status {code}")
            }
            Outcome::Failure(text) => text.clone(),
        }
    }
}

fn text_of_failure(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failure(text) => text,
        Outcome::ExitCode(_) => "",
    }
}

fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// (width, height) of `{"Width":80,"Height":24}`; `None` for anything else. The object is flat, so that a scan for the
/// two numbers reads it.
pub fn terminal_size(json: &[u8]) -> Option<(u16, u16)> {
    let text = std::str::from_utf8(json).ok()?;
    let number = |name: &str| {
        let after = text.split_once(&format!("\"{name}\""))?.1;
        let digits = after.trim_start().strip_prefix(':')?.trim_start();
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    };
    Some((number("Width")?, number("Height")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_statuses() {
        let check = |outcome: Outcome, expected: &str| assert_eq!(outcome.to_status(), expected);
        check(Outcome::ExitCode(0), r#"{"metadata":{},"status":"Success"}"#);
        check(
            Outcome::ExitCode(137),
            "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: exit \
             status 137\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\
             \"message\":\"137\"}]}}",
        );
        check(
            Outcome::Failure("no \"x\"\n\u{1}".into()),
            "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"Internal error occurred: no \\\"x\\\"\\n\\u0001\",\
             \"reason\":\"InternalError\",\"details\":{\"causes\":[{\"message\":\"no \\\"x\\\"\\n\\u0001\"}]},\
             \"code\":500}",
        );
    }

    #[test]
    fn sizes_are_read() {
        for (json, size) in [
            (r#"{"Width":80,"Height":24}"#, Some((80, 24))),
            ("{\"Height\": 1 , \"Width\" : 2}\n", Some((2, 1))),
            (r#"{"Width":80}"#, None),
            (r#"{"Width":-1,"Height":2}"#, None),
            (r#"{"Width":70000,"Height":2}"#, None),
            ("", None),
        ] {
            assert_eq!(terminal_size(json.as_bytes()), size, "{json}");
        }
    }
}
