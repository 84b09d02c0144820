//! `conformance [FOCUS]`: upstream's own suite against a lab node, judged by the committed list (`list`). Nothing is tried
//! twice. The specs that take at least 100 s run in a ginkgo of their own beside the others, so that none of them starts
//! last; serial ones run when the others have ended.
//!
//! ```text
//!   conformance ── lab run ── conformance --inside: kedge start, image load, ginkgo …, kedge delete
//!        │                                               │ report, log
//!        └────────────── compare with the list ──────────┘
//! ```

mod list;
mod report;
mod run;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use regex_lite::Regex;

use crate::suites::outcome::Tally;
use crate::{embed, tools};
use list::{Phase, Spec, Verdict};
use report::{Comparison, Results};

const LIST: &str = "tests/conformance/known-green/e2e-specs.tsv";
/// Letters of a failure that are printed; the log has all.
const FAILURE_LETTERS_MAX: usize = 600;

#[derive(Args, Clone)]
pub struct Options {
    /// Specs whose names this matches, green or not; without it the green ones
    focus: Option<String>,
    /// Specs that are listed as red, too
    #[arg(long)]
    all: bool,
    /// Only specs of this phase: parallel, long or serial
    #[arg(long)]
    phase: Vec<String>,
    /// Processes of ginkgo, each with one spec at a time
    #[arg(long, default_value_t = 12)]
    procs: u32,
    /// The lab's number
    #[arg(long, default_value_t = 201)]
    lab: u8,
    /// The kedge to judge instead of the one that is built
    #[arg(long)]
    kedge: Option<PathBuf>,
    /// Already in the lab: run what this folder asks for
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

/// The specs of every landing.
pub fn landing(root: &Path) -> Tally {
    let options = Options {
        focus: None,
        all: false,
        phase: vec![Phase::Parallel.to_string()],
        procs: 12,
        lab: 201,
        kedge: Some(embed::target(root).join("ci/kedge")),
        inside: None,
    };
    if !rustix::process::geteuid().is_root() {
        return Tally { skips: vec!["conformance: a lab needs root".to_owned()], ..Tally::default() };
    }
    match judged(root, &options) {
        Ok(tally) => tally,
        Err(why) => Tally::of_check("conformance", Err(why)),
    }
}

pub fn run(root: &Path, options: &Options) -> Result<(), String> {
    if let Some(folder) = &options.inside {
        return run::inside(folder);
    }
    let mut options = options.clone();
    if options.kedge.is_none() {
        embed::run(root)?;
        embed::cargo(root, &["build", "--workspace", "--profile", "ci", "--bins", "--tests"])?;
        options.kedge = Some(embed::target(root).join("ci/kedge"));
    }
    let tally = judged(root, &options)?;
    println!("{tally}");
    if tally.failed == 0 { Ok(()) } else { Err("specs that were green are red".to_owned()) }
}

fn judged(root: &Path, options: &Options) -> Result<Tally, String> {
    let text = fs::read_to_string(root.join(LIST)).map_err(|error| format!("{LIST}: {error}"))?;
    let specs = list::parse(&text).map_err(|why| format!("{LIST}, {why}"))?;
    let asked = asked(&specs, options)?;
    if asked.is_empty() {
        return Err("no spec of the list is asked for".to_owned());
    }
    let images = tools::conformance(root)?;
    let folder = embed::target(root).join("conformance");
    let start = Instant::now();
    let kedge = options.kedge.as_deref().expect("the caller says which kedge is judged");
    let results = run::outside(&folder, &asked, options, kedge, &images)?;
    print_seconds(&asked, &results, start.elapsed().as_secs());
    let comparison = report::compare(&asked, &results);
    print(&comparison, &results, &folder);
    Ok(tally(&comparison))
}

fn asked<'a>(specs: &'a [Spec], options: &Options) -> Result<Vec<&'a Spec>, String> {
    let focus = options.focus.as_deref().map(Regex::new).transpose();
    let focus = focus.map_err(|error| format!("the focus is no regular expression: {error}"))?;
    let is_asked = |spec: &&Spec| {
        let of_phase = options.phase.is_empty() || options.phase.contains(&spec.phase.to_string());
        let by_default = options.all || spec.verdict == Verdict::Green;
        of_phase && focus.as_ref().map_or(by_default, |focus| focus.is_match(&spec.name))
    };
    Ok(specs.iter().filter(is_asked).collect())
}

fn print_seconds(asked: &[&Spec], results: &Results, wall: u64) {
    let (mut ours, mut upstreams) = (0.0, 0.0);
    println!("  seconds  upstream  spec");
    for spec in asked {
        if let Some(ran) = results.get(&spec.name) {
            let mark = if ran.failure.is_none() { ' ' } else { '!' };
            println!("{mark}{:>8.1}  {:>8.1}  {}", ran.seconds, spec.upstream_seconds, spec.name);
            ours += ran.seconds;
            upstreams += spec.upstream_seconds;
        }
    }
    println!(" {ours:>8.1}  {upstreams:>8.1}  in all, {wall} s by the clock");
}

fn print(comparison: &Comparison<'_>, results: &Results, folder: &Path) {
    for name in comparison.turned_red.iter().chain(&comparison.still_red) {
        let failure = results.get(*name).and_then(|ran| ran.failure.as_deref());
        let words: String = failure.unwrap_or("never ran").chars().take(FAILURE_LETTERS_MAX).collect();
        let known = if comparison.turned_red.contains(name) { "RED" } else { "red as listed" };
        println!("{known}: {name}\n    {}", words.trim_end().replace('\n', "\n    "));
    }
    for name in &comparison.missing {
        println!("NEVER RAN: {name}");
    }
    for name in &comparison.turned_green {
        println!("green, listed as red: mend {LIST}: {name}");
    }
    if !comparison.turned_red.is_empty() || !comparison.missing.is_empty() {
        println!("what ginkgo and kedge said is in {}", folder.display());
    }
}

fn tally(comparison: &Comparison<'_>) -> Tally {
    let failed = comparison.turned_red.len() + comparison.missing.len();
    Tally {
        passed: comparison.passed,
        failed: u32::try_from(failed).unwrap_or(u32::MAX),
        skips: comparison.still_red.iter().map(|name| format!("red as listed: {name}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(focus: Option<&str>, phase: &[&str]) -> Options {
        Options {
            focus: focus.map(str::to_owned),
            all: false,
            phase: phase.iter().map(|phase| (*phase).to_owned()).collect(),
            procs: 1,
            lab: 1,
            kedge: None,
            inside: None,
        }
    }

    #[test]
    fn a_focus_takes_red_specs_too() {
        let text = "phase\tverdict\tseconds\tspec\nparallel\tgreen\t1\ta\nlong\tgreen\t200\tb\nparallel\t#7: no\t1\tc\n";
        let specs = list::parse(text).expect("a list");
        let names = |options: &Options| -> String {
            asked(&specs, options).expect("specs").iter().map(|spec| spec.name.as_str()).collect()
        };
        assert_eq!(names(&options(None, &[])), "ab");
        assert_eq!(names(&options(None, &["parallel"])), "a");
        assert_eq!(names(&options(Some("[bc]"), &[])), "bc");
        assert_eq!(names(&Options { all: true, ..options(None, &["parallel"]) }), "ac");
        assert!(asked(&specs, &options(Some("["), &[])).is_err());
    }

    #[test]
    fn a_spec_that_turned_red_fails() {
        let comparison =
            Comparison { passed: 3, turned_red: vec!["a"], missing: vec!["b"], ..Comparison::default() };
        assert_eq!(tally(&comparison).to_string(), "3 passed, 2 failed, 0 skipped");
    }
}
