//! Adding up what test programs print.

use std::fmt;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u32,
    pub failed: u32,
    /// Each with its reason.
    pub skips: Vec<String>,
}

impl Tally {
    pub fn of_check(name: &str, result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self { passed: 1, ..Self::default() },
            Err(why) => {
                println!("{name}: {why}");
                Self { failed: 1, ..Self::default() }
            }
        }
    }

    /// The lines of the standard test harness. A test that cannot run here prints a line starting with `skipped` and
    /// passes: it is counted as skipped. A program that ends badly without a failed test (a crash) counts as one failure.
    pub fn of_output(title: &str, text: &str, success: bool) -> Self {
        let mut tally = Self::default();
        let mut printed = 0;
        for line in text.lines() {
            if let Some(result) = line.strip_prefix("test result: ") {
                tally.passed += count(result, "passed");
                tally.failed += count(result, "failed");
            } else if let Some((test, reason)) =
                line.strip_prefix("test ").and_then(|line| line.split_once(" ... ignored"))
            {
                let reason = reason.trim_start_matches([',', ' ']);
                tally.skips.push(format!("{title}: {test}: {reason}"));
            } else if line.starts_with("skipped") {
                tally.skips.push(format!("{title}: {line}"));
                printed += 1;
            }
        }
        tally.passed = tally.passed.saturating_sub(printed);
        if !success && tally.failed == 0 {
            tally.failed = 1;
        }
        tally
    }

    pub fn and(mut self, other: Self) -> Self {
        self.add(other);
        self
    }

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skips.extend(other.skips);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skips.len())
    }
}

/// `ok. 3 passed; 1 failed; …`: the number before the word.
fn count(result: &str, word: &str) -> u32 {
    let words: Vec<&str> = result.split([' ', ';']).collect();
    let at = words.iter().position(|found| *found == word);
    at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_added_up() {
        const OK: &str = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
        const RED: &str = "test result: FAILED. 2 passed; 1 failed; 0 ignored";
        for (text, success, wanted) in [
            (OK.to_owned(), true, "3 passed, 0 failed, 0 skipped"),
            (RED.to_owned(), false, "2 passed, 1 failed, 0 skipped"),
            (format!("test a ... ignored, prints figures\n{OK}"), true, "3 passed, 0 failed, 1 skipped"),
            (format!("skipped: needs root\n{OK}"), true, "2 passed, 0 failed, 1 skipped"),
            ("Segmentation fault".to_owned(), false, "0 passed, 1 failed, 0 skipped"),
        ] {
            assert_eq!(Tally::of_output("t", &text, success).to_string(), wanted, "{text}");
        }
    }
}
