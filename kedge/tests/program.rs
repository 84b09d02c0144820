//! The built program, as a shell sees it. Because this test names it, `cargo test` builds it, so that tests/integration
//! never drives a program that is older than the sources.

use std::process::{Command, Output};

fn kedge(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kedge")).args(words).output().expect("the built program runs")
}

#[test]
fn exit_codes() {
    let root = tempfile::tempdir().unwrap();
    let nowhere = root.path().to_str().unwrap();
    let cases: [(&[&str], i32); 4] = [
        (&["version"], 0),
        (&["--version"], 0),
        (&["no-such-command"], 2),
        (&["status", "--root", nowhere], 3),
    ];
    for (words, code) in cases {
        let output = kedge(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
    }
}

#[test]
fn both_ways_to_ask_say_the_same_version() {
    let [command, flag] = [kedge(&["version"]), kedge(&["--version"])].map(|output| output.stdout);
    let text = String::from_utf8_lossy(&command);
    assert!(text.starts_with("kedge v1.") && command == flag, "{text}");
}
