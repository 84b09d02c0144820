//! Which nodes a pod's `nodeSelector` and node affinity select.

use std::collections::BTreeSet;

use crate::pod::{NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm};
use crate::selector::{Operator, Requirement};
use crate::{Node, Pod};

pub fn affinity(pod: &Pod) -> Option<&NodeAffinity> {
    pod.spec.affinity.as_ref()?.node_affinity.as_ref()
}

/// What must hold: every label of the selector, and one of the terms if there is a list of terms.
pub struct Required<'a> {
    pod: &'a Pod,
    /// A term that is empty or cannot be read accepts no node, and is left out.
    terms: Option<Vec<Term<'a>>>,
}

/// All of it must hold.
pub struct Term<'a> {
    labels: Vec<Requirement>,
    fields: &'a [NodeSelectorRequirement],
}

impl<'a> Required<'a> {
    pub fn of(pod: &'a Pod) -> Required<'a> {
        let required = affinity(pod)
            .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
        let terms =
            required.map(|selector| selector.node_selector_terms.iter().filter_map(Term::read).collect());
        Required { pod, terms }
    }

    pub fn accepts_all(&self) -> bool {
        self.pod.spec.node_selector.is_empty() && self.terms.is_none()
    }

    pub fn accepts(&self, node: &Node) -> bool {
        let labels = &node.metadata.labels;
        let selected = self.pod.spec.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value));
        selected && self.terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.accepts(node)))
    }

    /// The only names that can be accepted, if every term names its nodes.
    pub fn names(&self) -> Option<BTreeSet<String>> {
        let terms = self.terms.as_ref().filter(|terms| !terms.is_empty())?;
        let mut names = BTreeSet::new();
        for term in terms {
            names.append(&mut term.names()?);
        }
        Some(names)
    }
}

impl<'a> Term<'a> {
    pub fn read(term: &'a NodeSelectorTerm) -> Option<Term<'a>> {
        if term.match_expressions.is_empty() && term.match_fields.is_empty() {
            return None;
        }
        let labels: Option<Vec<Requirement>> = term.match_expressions.iter().map(requirement).collect();
        Some(Term { labels: labels?, fields: &term.match_fields })
    }

    pub fn accepts(&self, node: &Node) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(&node.metadata.labels))
            && self.fields.iter().all(|field| accepts_field(field, &node.metadata.name))
    }

    pub fn names(&self) -> Option<BTreeSet<String>> {
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
