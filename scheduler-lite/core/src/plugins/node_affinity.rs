//! NodeAffinity: the pod's `nodeSelector` and node affinity against the labels and the name of a node.

use std::collections::BTreeSet;

use kedge_api::pod::{NodeAffinity as Affinity, NodeSelectorRequirement, NodeSelectorTerm};
use kedge_api::selector::{Operator, Requirement};
use kedge_api::{Node, Pod};

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

fn affinity(pod: &Pod) -> Option<&Affinity> {
    pod.spec.affinity.as_ref()?.node_affinity.as_ref()
}

/// What must hold: every label of the selector, and one of the terms if there is a list of terms.
struct Required<'a> {
    pod: &'a Pod,
    /// A term that is empty or cannot be read accepts no node, and is left out.
    terms: Option<Vec<Term<'a>>>,
}

/// All of it must hold.
struct Term<'a> {
    labels: Vec<Requirement>,
    fields: &'a [NodeSelectorRequirement],
}

impl<'a> Required<'a> {
    fn of(pod: &'a Pod) -> Required<'a> {
        let required = affinity(pod)
            .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
        let terms =
            required.map(|selector| selector.node_selector_terms.iter().filter_map(Term::read).collect());
        Required { pod, terms }
    }

    fn accepts_all(&self) -> bool {
        self.pod.spec.node_selector.is_empty() && self.terms.is_none()
    }

    fn accepts(&self, node: &Node) -> bool {
        let labels = &node.metadata.labels;
        let selected = self.pod.spec.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value));
        selected && self.terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.accepts(node)))
    }

    /// The only names that can be accepted, if every term names its nodes.
    fn names(&self) -> Option<BTreeSet<String>> {
        let terms = self.terms.as_ref().filter(|terms| !terms.is_empty())?;
        let mut names = BTreeSet::new();
        for term in terms {
            names.append(&mut term.names()?);
        }
        Some(names)
    }
}

impl<'a> Term<'a> {
    fn read(term: &'a NodeSelectorTerm) -> Option<Term<'a>> {
        if term.match_expressions.is_empty() && term.match_fields.is_empty() {
            return None;
        }
        let labels: Option<Vec<Requirement>> = term.match_expressions.iter().map(requirement).collect();
        Some(Term { labels: labels?, fields: &term.match_fields })
    }

    fn accepts(&self, node: &Node) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(&node.metadata.labels))
            && self.fields.iter().all(|field| accepts_field(field, &node.metadata.name))
    }

    fn names(&self) -> Option<BTreeSet<String>> {
        let lists = self.fields.iter().filter(|field| field.key == "metadata.name" && field.operator == "In");
        lists.map(|field| field.values.iter().cloned().collect::<BTreeSet<String>>()).reduce(|a, b| &a & &b)
    }
}

/// `metadata.name` is the only field there is.
fn accepts_field(field: &NodeSelectorRequirement, name: &str) -> bool {
    let listed = field.values.iter().any(|value| value == name);
    match (field.key.as_str(), field.operator.as_str()) {
        ("metadata.name", "In") => listed,
        ("metadata.name", "NotIn") => !listed,
        _ => false,
    }
}

fn requirement(expression: &NodeSelectorRequirement) -> Option<Requirement> {
    let operator = match expression.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return None,
    };
    Requirement::new(&expression.key, operator, expression.values.clone()).ok()
}
