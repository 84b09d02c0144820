//! NodeAffinity: the pod's `nodeSelector` and node affinity against the labels and the name of a node.

use kedge_api::Pod;
use kedge_api::node_selector::{Required, Term, affinity};

use crate::framework::{ClusterEvent, Normalize, Plugin, PreFilter, Refusal, Score};
use crate::snapshot::Snapshot;

pub struct NodeAffinity;

const NAME: &str = "NodeAffinity";

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> PreFilter<'a> {
        let required = Required::of(pod);
        if required.accepts_all() {
            return PreFilter::Skip;
        }
        let names = required.names();
        let check = Box::new(move |row| match required.accepts(snapshot.node(row)) {
            true => Ok(()),
            false => Err(Refusal::unresolvable(NAME, "node(s) didn't match Pod's node affinity/selector")),
        });
        match names {
            None => PreFilter::Filter(check),
            Some(names) if names.is_empty() => {
                PreFilter::Reject(Refusal::unresolvable(NAME, "pod affinity terms conflict"))
            }
            Some(names) => PreFilter::FilterAmong(names, check),
        }
    }

    fn score<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> Option<Score<'a>> {
        let preferred: Vec<(i64, Term<'a>)> = affinity(pod)?
            .preferred_during_scheduling_ignored_during_execution
            .iter()
            .filter_map(|preferred| Some((i64::from(preferred.weight), Term::read(&preferred.preference)?)))
            .collect();
        if preferred.is_empty() {
            return None;
        }
        let of = move |row| {
            let node = snapshot.node(row);
            let liked = preferred.iter().filter(|(_, term)| term.accepts(node));
            liked.map(|(weight, _)| weight).sum()
        };
        Some(Score { of: Box::new(of), normalize: Normalize::LargestIsBest })
    }

    /// A preference that somebody wrote down means more than a tidy distribution.
    fn weight(&self) -> i64 {
        2
    }

    fn may_help(&self, pod: &Pod, event: ClusterEvent<'_>) -> bool {
        let required = Required::of(pod);
        match event {
            ClusterEvent::NodeAdded(node) => required.accepts(node),
            ClusterEvent::NodeUpdated { old, new } => !required.accepts(old) && required.accepts(new),
            ClusterEvent::PodLeft(_) => false,
        }
    }
}
