//! Termination messages: where they come from and how much of them is kept.

use kedge_api::pod::Container;

/// Of one message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// Of a message that falls back to the log.
pub const FALLBACK_BYTES_MAX: usize = 2048;
pub const FALLBACK_LINES_MAX: usize = 80;
/// Of all messages of a pod together.
const POD_BYTES_MAX: usize = 12 * 1024;

/// The end of the log stands in for an empty message of a container that failed.
pub fn falls_back_to_log(container: &Container, exit_code: i32, message_is_empty: bool) -> bool {
    container.termination_message_policy == "FallbackToLogsOnError" && exit_code != 0 && message_is_empty
}

/// The share of one container among `containers`.
pub fn truncate(message: &str, containers: usize) -> String {
    let limit = MESSAGE_BYTES_MAX.min(POD_BYTES_MAX / containers.max(1));
    head(message, limit).to_owned()
}

/// At most `limit` bytes from the start, on a character boundary.
pub fn head(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The last lines of a CRI log within the limits: the text after time, stream and tag.
pub fn tail_of_log(log: &str) -> String {
    let mut out = String::new();
    for line in log.lines() {
        let mut parts = line.splitn(4, ' ');
        let (_time, _stream, tag, text) = (parts.next(), parts.next(), parts.next(), parts.next());
        out.push_str(text.unwrap_or_default());
        if tag != Some("P") {
            out.push('\n');
        }
    }
    let lines: Vec<&str> = out.split_inclusive('\n').collect();
    let kept = lines[lines.len().saturating_sub(FALLBACK_LINES_MAX)..].concat();
    let mut start = kept.len().saturating_sub(FALLBACK_BYTES_MAX);
    while !kept.is_char_boundary(start) {
        start += 1;
    }
    kept[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        assert_eq!(truncate(&"a".repeat(9000), 1).len(), 4096);
        assert_eq!(truncate(&"a".repeat(9000), 4).len(), 3072);
        assert_eq!(head("äb", 1), "");
        assert_eq!(truncate("", 0), "");
    }

    #[test]
    fn fallback() {
        let container =
            Container { termination_message_policy: "FallbackToLogsOnError".into(), ..Container::default() };
        assert!(falls_back_to_log(&container, 1, true));
        assert!(!falls_back_to_log(&container, 0, true) && !falls_back_to_log(&container, 1, false));
        assert!(!falls_back_to_log(&Container::default(), 1, true));
        let log = "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:00Z stderr P tw\n2026-01-01T00:00:00Z stderr F o\n";
        assert_eq!(tail_of_log(log), "one\ntwo\n");
        let long: String = (0..200).map(|n| format!("t stdout F {n}\n")).collect();
        assert_eq!(tail_of_log(&long).lines().count(), 80);
    }
}
