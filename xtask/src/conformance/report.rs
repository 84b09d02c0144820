//! Ginkgo's report, and how it compares with the committed list.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::list::{Spec, Verdict};

#[derive(Debug, PartialEq)]
pub struct Ran {
    pub seconds: f64,
    /// Nothing for a spec that passed.
    pub failure: Option<String>,
}

/// What became of each spec that ran.
pub type Results = BTreeMap<String, Ran>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Suite {
    spec_reports: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_text: String,
    leaf_node_type: String,
    state: String,
    #[serde(default)]
    run_time: f64,
    failure: Option<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    message: String,
}

pub fn parse(bytes: &[u8]) -> Result<Results, String> {
    let suites: Vec<Suite> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let entries = suites.into_iter().flat_map(|suite| suite.spec_reports.unwrap_or_default());
    let ran = entries.filter(|entry| entry.leaf_node_type == "It" && !is_left_out(&entry.state));
    Ok(ran.map(result).collect())
}

fn is_left_out(state: &str) -> bool {
    matches!(state, "skipped" | "pending" | "")
}

fn result(entry: Entry) -> (String, Ran) {
    let mut words = entry.container_hierarchy_texts.unwrap_or_default();
    words.push(entry.leaf_node_text);
    let failure = (entry.state != "passed").then(|| {
        let message = entry.failure.map(|failure| failure.message).unwrap_or_default();
        format!("{}: {message}", entry.state)
    });
    (words.join(" "), Ran { seconds: entry.run_time / 1e9, failure })
}

/// What the list and a run say of each other.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison<'a> {
    pub passed: u32,
    /// Listed as green, and failed.
    pub turned_red: Vec<&'a str>,
    /// Listed as green, asked for and never run: the run ended early.
    pub missing: Vec<&'a str>,
    /// Listed as red, and passed: the list may grow.
    pub turned_green: Vec<&'a str>,
    /// Listed as red, and failed.
    pub still_red: Vec<&'a str>,
}

pub fn compare<'a>(asked: &[&'a Spec], results: &Results) -> Comparison<'a> {
    let mut comparison = Comparison::default();
    for spec in asked {
        let name = spec.name.as_str();
        let passed = results.get(name).map(|ran| ran.failure.is_none());
        comparison.passed += u32::from(passed == Some(true));
        match (&spec.verdict, passed) {
            (Verdict::Green, Some(true)) => {}
            (Verdict::Green, Some(false)) => comparison.turned_red.push(name),
            (Verdict::Green, None) => comparison.missing.push(name),
            (Verdict::Red(_), Some(true)) => comparison.turned_green.push(name),
            (Verdict::Red(_), Some(false) | None) => comparison.still_red.push(name),
        }
    }
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::list::Phase;

    #[test]
    fn a_report_gives_the_specs_that_ran() {
        let report = br#"[{"SpecReports": [
            {"ContainerHierarchyTexts": ["[sig-a] A"], "LeafNodeText": "works", "LeafNodeType": "It", "State": "passed",
             "RunTime": 1500000000},
            {"ContainerHierarchyTexts": ["[sig-a] A"], "LeafNodeText": "fails", "LeafNodeType": "It", "State": "timedout",
             "RunTime": 0, "Failure": {"Message": "too late"}},
            {"ContainerHierarchyTexts": ["[sig-a] A"], "LeafNodeText": "other", "LeafNodeType": "It", "State": "skipped"},
            {"ContainerHierarchyTexts": null, "LeafNodeText": "", "LeafNodeType": "SynchronizedBeforeSuite",
             "State": "passed"}]}]"#;
        let results = parse(report).expect("a report");
        assert_eq!(results.len(), 2);
        assert_eq!(results["[sig-a] A works"], Ran { seconds: 1.5, failure: None });
        assert_eq!(results["[sig-a] A fails"].failure.as_deref(), Some("timedout: too late"));
    }

    #[test]
    fn a_green_spec_that_fails_or_never_runs_is_seen() {
        let spec = |name: &str, verdict| Spec {
            phase: Phase::Parallel,
            verdict,
            upstream_seconds: 1.0,
            name: name.to_owned(),
        };
        let red = || Verdict::Red("#7: because".to_owned());
        let list = [
            spec("passes", Verdict::Green),
            spec("breaks", Verdict::Green),
            spec("vanishes", Verdict::Green),
            spec("mended", red()),
            spec("broken", red()),
        ];
        let ran = |failure: Option<&str>| Ran { seconds: 1.0, failure: failure.map(str::to_owned) };
        let results = BTreeMap::from([
            ("passes".to_owned(), ran(None)),
            ("breaks".to_owned(), ran(Some("failed: why"))),
            ("mended".to_owned(), ran(None)),
            ("broken".to_owned(), ran(Some("failed: why"))),
        ]);
        let wanted = Comparison {
            passed: 2,
            turned_red: vec!["breaks"],
            missing: vec!["vanishes"],
            turned_green: vec!["mended"],
            still_red: vec!["broken"],
        };
        assert_eq!(compare(&list.iter().collect::<Vec<_>>(), &results), wanted);
    }
}
