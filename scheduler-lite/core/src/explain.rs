//! Every plugin's verdict on every node: what `kedge why pod` prints.

use std::fmt;

use kedge_api::Pod;

use crate::decide::{Filters, Outcome, decide, plugin_scores};
use crate::framework::Refusal;
use crate::plugins::PLUGINS;
use crate::snapshot::{Row, Snapshot};

/// The answer for one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub pod: String,
    /// Set when the pod is not even tried.
    pub held_back: Option<Refusal>,
    /// A refusal that holds for every node.
    pub rejected: Option<Refusal>,
    /// By name.
    pub nodes: Vec<NodeVerdict>,
    /// Where the pod would go, or the message of its event.
    pub outcome: Result<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeVerdict {
    pub node: String,
    /// Plugins that had an opinion, in their order. Unlike a decision, this asks on after the first refusal.
    pub filters: Vec<(&'static str, Result<(), Refusal>)>,
    /// Weighted; empty for a node that does not fit.
    pub scores: Vec<(&'static str, i64)>,
}

impl NodeVerdict {
    pub fn fits(&self) -> bool {
        self.filters.iter().all(|(_, verdict)| verdict.is_ok())
    }

    pub fn score(&self) -> i64 {
        self.scores.iter().map(|(_, score)| score).sum()
    }
}

pub fn explain(snapshot: &Snapshot, pod: &Pod, seed: u64) -> Explanation {
    let filters = Filters::prepare(snapshot, pod);
    let mut nodes: Vec<NodeVerdict> = Vec::new();
    let mut fitting: Vec<(usize, Row)> = Vec::new();
    for (name, row) in snapshot.rows() {
        let asked = filters.checks.iter().map(|(plugin, check)| (*plugin, check(row))).collect();
        let verdict = NodeVerdict { node: name.to_owned(), filters: asked, scores: Vec::new() };
        if verdict.fits() && filters.rejected.is_none() {
            fitting.push((nodes.len(), row));
        }
        nodes.push(verdict);
    }
    let rows: Vec<Row> = fitting.iter().map(|(_, row)| *row).collect();
    for plugin in PLUGINS {
        let Some(score) = plugin.score(snapshot, pod) else {
            continue;
        };
        for ((at, _), score) in fitting.iter().zip(plugin_scores(plugin, &score, &rows)) {
            nodes[*at].scores.push((plugin.name(), score));
        }
    }
    Explanation {
        pod: pod.full_name(),
        held_back: PLUGINS.iter().find_map(|plugin| plugin.pre_enqueue(pod).err()),
        rejected: filters.rejected,
        nodes,
        outcome: match decide(snapshot, pod, seed).outcome {
            Outcome::Node(name) => Ok(name),
            Outcome::Unschedulable(diagnosis) => Err(diagnosis.message()),
        },
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refusal) = &self.held_back {
            return writeln!(
                f,
                "{} is held back: {}: {}",
                self.pod,
                refusal.plugin,
                refusal.reasons.join(", ")
            );
        }
        match &self.outcome {
            Ok(node) => writeln!(f, "{} fits on {node}", self.pod)?,
            Err(message) => writeln!(f, "{} fits nowhere: {message}", self.pod)?,
        }
        if let Some(refusal) = &self.rejected {
            writeln!(f, "  every node: {} refuses: {}", refusal.plugin, refusal.reasons.join(", "))?;
        }
        self.nodes.iter().try_for_each(|node| node.fmt(f))
    }
}

impl fmt::Display for NodeVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scores.is_empty() {
            true => writeln!(f, "  {}", self.node)?,
            false => writeln!(f, "  {} (score {})", self.node, self.score())?,
        }
        for (plugin, verdict) in &self.filters {
            match verdict {
                Ok(()) => writeln!(f, "    {plugin:<32} ok")?,
                Err(refusal) => writeln!(f, "    {plugin:<32} no: {}", refusal.reasons.join(", "))?,
            }
        }
        for (plugin, score) in &self.scores {
            writeln!(f, "    {plugin:<32} scores {score}")?;
        }
        Ok(())
    }
}
