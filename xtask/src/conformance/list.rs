//! `tests/conformance/known-green/e2e-specs.tsv`: every spec of the suite, one a line.
//!
//! ```text
//!   parallel  green  1.8  [sig-node] Pods should … [Conformance]
//!   serial    #7: no preemption  64.2  [sig-scheduling] …
//! ```
//! A red line names the issue that owns it, or `later` while there is none, and the reason. The figure is upstream's
//! median seconds on a machine like ours. A line may turn green and never back.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// May run beside others, and ends soon.
    Parallel,
    /// May run beside others and takes at least 100 s by design.
    Long,
    /// Must run alone.
    Serial,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Green,
    /// The issue that owns it, and why it is red.
    Red(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub phase: Phase,
    pub verdict: Verdict,
    pub upstream_seconds: f64,
    pub name: String,
}

impl Phase {
    fn parse(word: &str) -> Option<Self> {
        [Self::Parallel, Self::Long, Self::Serial].into_iter().find(|phase| phase.to_string() == word)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parallel => "parallel",
            Self::Long => "long",
            Self::Serial => "serial",
        })
    }
}

/// All lines, or the number of the first that is none.
pub fn parse(text: &str) -> Result<Vec<Spec>, String> {
    let lines = text.lines().enumerate().skip(1);
    lines.map(|(at, line)| spec(line).ok_or_else(|| format!("line {}: {line}", at + 1))).collect()
}

fn spec(line: &str) -> Option<Spec> {
    let mut fields = line.split('\t');
    let phase = Phase::parse(fields.next()?)?;
    let verdict = match fields.next()? {
        "green" => Verdict::Green,
        why => {
            let (owner, reason) = why.split_once(": ")?;
            let is_issue = owner.strip_prefix('#').is_some_and(|number| number.parse::<u32>().is_ok());
            if reason.is_empty() || !(is_issue || owner == "later") {
                return None;
            }
            Verdict::Red(why.to_owned())
        }
    };
    let upstream_seconds = fields.next()?.parse().ok()?;
    let name = fields.next()?.to_owned();
    fields.next().is_none().then_some(Spec { phase, verdict, upstream_seconds, name })
}

/// A regular expression that matches these specs and no others. Ginkgo holds it against the suite's name and the spec's
/// text. Sorted, the names share their beginnings, which Go's compiler folds.
pub fn focus<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut quoted: Vec<String> = names.map(quote).collect();
    quoted.sort();
    format!("^Kubernetes e2e suite ({})$", quoted.join("|"))
}

fn quote(name: &str) -> String {
    let is_special = |letter| r"\.+*?()|[]{}^$".contains(letter);
    name.chars().flat_map(|letter| is_special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const COMMITTED: &str = include_str!("../../../tests/conformance/known-green/e2e-specs.tsv");

    #[test]
    fn the_committed_list_holds_every_spec_of_the_suite() {
        let specs = parse(COMMITTED).expect("a list");
        let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!((specs.len(), names.len()), (446, 446));
        assert!(names.iter().all(|name| name.starts_with("[sig-") && name.contains("[Conformance]")));
    }

    #[test]
    fn a_red_line_names_an_issue_and_a_reason() {
        let line =
            |verdict: &str| format!("phase\tverdict\tseconds\tspec\nlong\t{verdict}\t300.2\t[sig-apps] x");
        assert_eq!(parse(&line("green")).expect("a list")[0].verdict, Verdict::Green);
        for right in ["#7: no preemption", "later: webhooks"] {
            assert_eq!(parse(&line(right)).expect("a list")[0].verdict, Verdict::Red(right.to_owned()));
        }
        for wrong in ["red", "#7", "#7: ", "no webhooks", "#x: no webhooks", "soon: webhooks"] {
            assert_eq!(parse(&line(wrong)), Err(format!("line 2: long\t{wrong}\t300.2\t[sig-apps] x")));
        }
    }

    #[test]
    fn a_focus_matches_letter_by_letter() {
        let wanted = focus(["[sig-b] a|b (c)", "[sig-a] $1.5*"].into_iter());
        assert_eq!(wanted, r"^Kubernetes e2e suite (\[sig-a\] \$1\.5\*|\[sig-b\] a\|b \(c\))$");
    }
}
