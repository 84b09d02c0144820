//! Why a pod fits nowhere, as a value and in upstream's words.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::framework::Refusal;
use crate::snapshot::Row;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    pub nodes: usize,
    /// A plugin refused before it saw a node.
    pub rejected: Option<Refusal>,
    pub refusals: Vec<(Row, Refusal)>,
    /// Plugins that ruled nodes out by name, and how many.
    pub excluding: BTreeSet<&'static str>,
    pub excluded: usize,
    /// What PostFilter plugins tell.
    pub post_filter: Vec<String>,
}

impl Diagnosis {
    /// The plugins whose mind an event must change.
    pub fn plugins(&self) -> BTreeSet<&'static str> {
        let refusals = self.rejected.iter().chain(self.refusals.iter().map(|(_, refusal)| refusal));
        refusals.map(|refusal| refusal.plugin).chain(self.excluding.iter().copied()).collect()
    }

    /// The message of the condition and of the event.
    pub fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut message = match &self.rejected {
            Some(refusal) => format!("0/{} nodes are available: {}.", self.nodes, refusal.reasons.join(", ")),
            None => fit_message(self.nodes, &self.reasons()),
        };
        if !self.post_filter.is_empty() {
            message.push(' ');
            message.push_str(&self.post_filter.join(", "));
        }
        message
    }

    fn reasons(&self) -> BTreeMap<Cow<'_, str>, usize> {
        let mut reasons: BTreeMap<Cow<'_, str>, usize> = BTreeMap::new();
        for reason in self.refusals.iter().flat_map(|(_, refusal)| &refusal.reasons) {
            *reasons.entry(Cow::Borrowed(reason)).or_default() += 1;
        }
        if self.excluded > 0 {
            let plugins: Vec<&str> = self.excluding.iter().copied().collect();
            let reason = format!("node(s) didn't satisfy plugin(s) [{}]", plugins.join(" "));
            reasons.insert(reason.into(), self.excluded);
        }
        reasons
    }
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`, sorted as text, counts included.
pub fn fit_message<R: AsRef<str>>(nodes: usize, reasons: &BTreeMap<R, usize>) -> String {
    let mut parts: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{count} {}", reason.as_ref())).collect();
    parts.sort();
    match parts.is_empty() {
        true => format!("0/{nodes} nodes are available:"),
        false => format!("0/{nodes} nodes are available: {}.", parts.join(", ")),
    }
}
