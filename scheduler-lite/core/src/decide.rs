//! One decision: PreFilter, Filter, Score, and PostFilter where nothing fits.
//!
//! Sketch: a filter is a closure call of some nanoseconds, so 5,000 nodes × 6 filters are some 100 µs. In a large cluster
//! not every node needs to be looked at: as upstream, the search stops when enough nodes fit, and begins elsewhere the next
//! time. The caller's `seed` says where; it also picks among equal scores, so a seed that counts up goes round.

use std::collections::BTreeSet;

use kedge_api::Pod;

use crate::diagnosis::Diagnosis;
use crate::framework::{Check, Plugin, PreFilter, Refusal, Score};
use crate::plugins::PLUGINS;
use crate::snapshot::{Row, Snapshot};

/// Smaller clusters are looked at whole.
const FITTING_MIN: usize = 100;
const FITTING_MIN_PERCENT: usize = 5;

/// What is to become of a pod, and what it cost to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub outcome: Outcome,
    /// Nodes that were filtered, and of these those that were scored.
    pub filtered: usize,
    pub scored: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Node(String),
    Unschedulable(Diagnosis),
}

/// The filters of a pod, ready to be asked per node.
pub(crate) struct Filters<'a> {
    pub rejected: Option<Refusal>,
    pub checks: Vec<(&'static str, Check<'a>)>,
    /// Names of the only nodes that can pass, and the plugins that said so.
    pub among: Option<BTreeSet<String>>,
    pub excluding: BTreeSet<&'static str>,
}

impl<'a> Filters<'a> {
    /// All PreFilters; after the first rejection the others are not asked.
    pub fn prepare(snapshot: &'a Snapshot, pod: &'a Pod) -> Filters<'a> {
        let mut filters =
            Filters { rejected: None, checks: Vec::new(), among: None, excluding: BTreeSet::new() };
        for plugin in PLUGINS {
            match plugin.pre_filter(snapshot, pod) {
                PreFilter::Skip => {}
                PreFilter::Reject(refusal) => {
                    filters.rejected = Some(refusal);
                    break;
                }
                PreFilter::Filter(check) => filters.checks.push((plugin.name(), check)),
                PreFilter::FilterAmong(names, check) => {
                    filters.checks.push((plugin.name(), check));
                    filters.excluding.insert(plugin.name());
                    filters.among = Some(match filters.among.take() {
                        Some(standing) => &standing & &names,
                        None => names,
                    });
                }
            }
        }
        filters
    }

    /// The first refusal, in the order of the plugins.
    fn ask(&self, row: Row) -> Result<(), Refusal> {
        self.checks.iter().try_for_each(|(_, check)| check(row))
    }
}

/// Where `pod` should run. Nothing changes; the caller assumes the answer, or puts the pod away.
pub fn decide(snapshot: &Snapshot, pod: &Pod, seed: u64) -> Decision {
    let filters = Filters::prepare(snapshot, pod);
    if filters.rejected.is_some() {
        return Decision { outcome: refuse(snapshot, pod, filters, Vec::new()), filtered: 0, scored: 0 };
    }
    let wanted = fitting_wanted(snapshot.len());
    let mut fitting = Vec::new();
    let mut refusals = Vec::new();
    for row in candidates(snapshot, filters.among.as_ref(), seed, wanted) {
        match filters.ask(row) {
            Ok(()) => fitting.push(row),
            Err(refusal) => refusals.push((row, refusal)),
        }
        if fitting.len() >= wanted {
            break;
        }
    }
    let filtered = fitting.len() + refusals.len();
    let (outcome, scored) = match fitting.as_slice() {
        [] => (refuse(snapshot, pod, filters, refusals), 0),
        [only] => (Outcome::Node(snapshot.name(*only).to_owned()), 0),
        many => {
            let best = pick(&total_scores(snapshot, pod, many), seed);
            (Outcome::Node(snapshot.name(many[best]).to_owned()), many.len())
        }
    };
    Decision { outcome, filtered, scored }
}

/// How many fitting nodes are enough to choose from.
fn fitting_wanted(nodes: usize) -> usize {
    if nodes < FITTING_MIN {
        return nodes.max(1);
    }
    let percent = 50usize.saturating_sub(nodes / 125).max(FITTING_MIN_PERCENT);
    (nodes * percent / 100).max(FITTING_MIN)
}

/// All rows that may be asked, from a place that the seed moves on by as many nodes as one search wants.
fn candidates<'a>(
    snapshot: &'a Snapshot,
    among: Option<&'a BTreeSet<String>>,
    seed: u64,
    wanted: usize,
) -> Box<dyn Iterator<Item = Row> + 'a> {
    if let Some(names) = among {
        return Box::new(names.iter().filter_map(|name| snapshot.row(name)));
    }
    let rows = snapshot.rows_made();
    let start = match u64::try_from(rows) {
        Ok(rows @ 1..) => usize::try_from(seed.wrapping_mul(wanted as u64) % rows).unwrap_or(0),
        Ok(0) | Err(_) => 0,
    };
    Box::new((start..rows).chain(0..start).filter_map(|position| snapshot.row_at(position)))
}

fn refuse(snapshot: &Snapshot, pod: &Pod, filters: Filters<'_>, refusals: Vec<(Row, Refusal)>) -> Outcome {
    let excluded = match &filters.among {
        Some(_) => snapshot.len().saturating_sub(refusals.len()),
        None => 0,
    };
    let post_filter =
        PLUGINS.iter().filter_map(|plugin| plugin.post_filter(snapshot, pod, &refusals)).collect();
    Outcome::Unschedulable(Diagnosis {
        nodes: snapshot.len(),
        rejected: filters.rejected,
        refusals,
        excluding: filters.excluding,
        excluded,
        post_filter,
    })
}

/// The weighted scores of one plugin for these rows.
pub(crate) fn plugin_scores(plugin: &dyn Plugin, score: &Score<'_>, rows: &[Row]) -> Vec<i64> {
    let mut scores: Vec<i64> = rows.iter().map(|row| (score.of)(*row)).collect();
    score.normalize.apply(&mut scores);
    for score in &mut scores {
        *score *= plugin.weight();
    }
    scores
}

fn total_scores(snapshot: &Snapshot, pod: &Pod, rows: &[Row]) -> Vec<i64> {
    let mut totals = vec![0; rows.len()];
    for plugin in PLUGINS {
        let Some(score) = plugin.score(snapshot, pod) else {
            continue;
        };
        for (total, score) in totals.iter_mut().zip(plugin_scores(plugin, &score, rows)) {
            *total += score;
        }
    }
    totals
}

/// The position of the best score; of several, the one whose turn it is.
fn pick(totals: &[i64], seed: u64) -> usize {
    let best = totals.iter().max();
    let mut ties: Vec<usize> = (0..totals.len()).filter(|&at| Some(&totals[at]) == best).collect();
    // Candidates come rotated by the seed; in order again, so that counting up visits each in turn.
    ties.sort_unstable();
    let turn = usize::try_from(seed % ties.len() as u64).unwrap_or(0);
    ties[turn]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod, snapshot};

    fn chosen(snapshot: &Snapshot, text: &str, seed: u64) -> String {
        match decide(snapshot, &pod(text), seed).outcome {
            Outcome::Node(name) => name,
            Outcome::Unschedulable(diagnosis) => diagnosis.message(),
        }
    }

    #[test]
    fn equal_nodes_take_turns() {
        let nodes = snapshot(&["a cpu=4 memory=8Gi", "b cpu=4 memory=8Gi", "c cpu=4 memory=8Gi"]);
        let turns: BTreeSet<String> = (0..3).map(|seed| chosen(&nodes, "p cpu=1", seed)).collect();
        assert_eq!(turns.len(), 3, "{turns:?}");
        assert_eq!(
            chosen(&nodes, "p cpu=1", 1),
            chosen(&nodes, "p cpu=1", 1),
            "the same seed decides the same"
        );
    }

    #[test]
    fn the_emptier_node_wins() {
        let nodes = snapshot(&["a cpu=4 memory=8Gi", "b cpu=4 memory=8Gi", "x cpu=2 memory=4Gi on=a"]);
        for seed in 0..4 {
            assert_eq!(chosen(&nodes, "p cpu=1 memory=1Gi", seed), "b");
        }
    }

    #[test]
    fn no_nodes() {
        assert_eq!(chosen(&Snapshot::default(), "p", 0), "no nodes available to schedule pods");
    }

    fn large(cpu: &str) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for number in 0..5000 {
            snapshot.set_node(node(&format!("n{number} cpu={cpu} memory=8Gi label=zone:z{}", number % 3)));
        }
        snapshot
    }

    /// The promise for large clusters, as work and not as time: a pod that fits is placed after a tenth of the nodes, one
    /// that fits nowhere is refused after each node was looked at once and none scored.
    #[test]
    fn a_decision_among_5000_nodes_looks_at_few() {
        let roomy = large("4");
        let decision = decide(&roomy, &pod("p cpu=1"), 7);
        assert!(matches!(decision.outcome, Outcome::Node(_)));
        assert_eq!((decision.filtered, decision.scored), (500, 500));
        let decision = decide(&roomy, &pod("p cpu=1 selector=zone:z1"), 7);
        assert_eq!(decision.scored, 500);
        assert!(decision.filtered <= 1500, "{}", decision.filtered);
        let decision = decide(&large("1"), &pod("p cpu=2"), 7);
        assert!(matches!(decision.outcome, Outcome::Unschedulable(_)));
        assert_eq!((decision.filtered, decision.scored), (5000, 0));
    }

    #[test]
    fn searches_of_a_large_cluster_begin_at_different_nodes() {
        let nodes = large("4");
        let chosen: BTreeSet<String> = (0..10).map(|seed| chosen(&nodes, "p cpu=1", seed)).collect();
        assert_eq!(chosen.len(), 10);
    }
}
