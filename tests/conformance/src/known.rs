//! Known-green lists. What upstream was recorded to do stands in exactly one of two lists: the cases that are equal, and those
//! that differ, each with a reason. A green case that differs is a failure. A case that became equal and is still listed as
//! different is news, so that a change for the better breaks nobody; whoever sees it moves the line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[derive(Debug, Default)]
pub struct Known {
    pub green: BTreeSet<String>,
    /// Why it differs, by case.
    pub different: BTreeMap<String, String>,
}

impl Known {
    /// Reads `NAME.txt` (a case a line) and `NAME-different.tsv` (case, tab, reason) of the folder `known-green`.
    pub fn read(name: &str) -> Known {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("known-green");
        let text = |file: String| {
            let path = folder.join(file);
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let (green, different) = (text(format!("{name}.txt")), text(format!("{name}-different.tsv")));
        Known::parse(&green, &different)
    }

    fn parse(green: &str, different: &str) -> Known {
        let reasons = different.lines().map(|line| {
            let (case, why) = line.split_once('\t').unwrap_or_else(|| panic!("no reason: {line}"));
            (case.to_owned(), why.to_owned())
        });
        Known { green: green.lines().map(str::to_owned).collect(), different: reasons.collect() }
    }

    /// What of all `cases` these are `equal`, held against the lists.
    pub fn judge(&self, cases: &BTreeSet<String>, equal: &BTreeSet<String>) -> Verdict {
        let Verdict { mut findings, mut news } = Verdict::default();
        for case in cases {
            match (self.green.contains(case), self.different.contains_key(case), equal.contains(case)) {
                (true, false, true) | (false, true, false) => {}
                (true, false, false) => findings.push(format!("{case}: is listed as equal, and differs")),
                (false, true, true) => news.push(format!("{case}: is equal, and listed as different")),
                (false, false, is) => findings.push(format!("{case}: is in no list (equal: {is})")),
                (true, true, _) => findings.push(format!("{case}: is in both lists")),
            }
        }
        let listed = self.green.iter().chain(self.different.keys());
        findings
            .extend(listed.filter(|c| !cases.contains(*c)).map(|c| format!("{c}: there is no such case")));
        Verdict { findings, news }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong, one line each.
    pub findings: Vec<String>,
    /// What became better.
    pub news: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_in_one_list_and_behaves_as_listed() {
        let set = |words: &str| words.split_whitespace().map(str::to_owned).collect::<BTreeSet<String>>();
        let known = Known::parse("a\ne\ngone\nboth\n", "c\twhy\nboth\twhy\n");
        let verdict = known.judge(&set("a c d e both"), &set("a c"));
        let wanted = [
            "both: is in both lists",
            "d: is in no list (equal: false)",
            "e: is listed as equal, and differs",
            "gone: there is no such case",
        ];
        assert_eq!(verdict.findings, wanted);
        assert_eq!(verdict.news, ["c: is equal, and listed as different"]);
    }
}
