//! The vocabulary of the scheduler framework, and what a plugin is.
//!
//! ```text
//!  queue ──► PreFilter ──► Filter (per node) ──► Score (per fitting node) ──► Reserve ──► Permit ──► Bind
//!    ▲           └───────────┴── no node fits ──► PostFilter ── message ──► unschedulable, until a hint
//!    └────────────────────────────────────────────────────────────────────────────────────┘ Bind failed: Unreserve
//! ```
//!
//! A plugin looks at a pod once and answers with a closure over the columns that it needs; the closure is then asked per
//! node. So nothing is parsed twice, and a plugin that has no opinion about a pod costs nothing. Reserve and Unreserve are
//! [`Snapshot::assume`] and [`Snapshot::forget`]; no plugin holds pods back at Permit; Bind is the shell's request.

use std::borrow::Cow;
use std::collections::BTreeSet;

use kedge_api::{Node, Pod};

use crate::snapshot::{Row, Snapshot};

pub const MAX_NODE_SCORE: i64 = 100;

/// May another pod's departure help?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Preemption could make room.
    Unschedulable,
    /// Nothing that pods do can help.
    UnschedulableAndUnresolvable,
}

/// Why a node, or every node, will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub plugin: &'static str,
    pub code: Code,
    pub reasons: Vec<Cow<'static, str>>,
}

impl Refusal {
    pub fn unschedulable(plugin: &'static str, reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { plugin, code: Code::Unschedulable, reasons: vec![reason.into()] }
    }

    pub fn unresolvable(plugin: &'static str, reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { plugin, code: Code::UnschedulableAndUnresolvable, reasons: vec![reason.into()] }
    }
}

/// Asked per node.
pub type Check<'a> = Box<dyn Fn(Row) -> Result<(), Refusal> + 'a>;

/// What a plugin says about a pod before it sees a node.
pub enum PreFilter<'a> {
    /// No opinion: every node passes.
    Skip,
    /// No node will do.
    Reject(Refusal),
    Filter(Check<'a>),
    /// Only the nodes of these names can pass, and they must pass the check too.
    FilterAmong(BTreeSet<String>, Check<'a>),
}

/// How raw scores become 0 to [`MAX_NODE_SCORE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalize {
    /// They already are.
    AsIs,
    /// The largest becomes the best.
    LargestIsBest,
    /// The largest becomes 0, and 0 the best.
    LargestIsWorst,
}

/// Asked per fitting node.
pub struct Score<'a> {
    pub of: Box<dyn Fn(Row) -> i64 + 'a>,
    pub normalize: Normalize,
}

/// Something that happened in the cluster and may have made room.
#[derive(Debug, Clone, Copy)]
pub enum ClusterEvent<'a> {
    NodeAdded(&'a Node),
    NodeUpdated {
        old: &'a Node,
        new: &'a Node,
    },
    /// A pod that had a node was deleted, ended, asks for less or turned out to be on another.
    PodLeft(&'a Pod),
}

/// One rule. Every extension point has a default: no opinion.
pub trait Plugin: Sync {
    /// Upstream's name of the plugin, in events, reports and configuration.
    fn name(&self) -> &'static str;

    /// PreEnqueue: the reason why the pod must not even be tried.
    fn pre_enqueue(&self, _pod: &Pod) -> Result<(), Refusal> {
        Ok(())
    }

    fn pre_filter<'a>(&self, _snapshot: &'a Snapshot, _pod: &'a Pod) -> PreFilter<'a> {
        PreFilter::Skip
    }

    fn score<'a>(&self, _snapshot: &'a Snapshot, _pod: &'a Pod) -> Option<Score<'a>> {
        None
    }

    /// The weight of this plugin's score.
    fn weight(&self) -> i64 {
        1
    }

    /// PostFilter: tells what became of the attempt to make room for a pod that fits nowhere.
    fn post_filter(&self, _snapshot: &Snapshot, _pod: &Pod, _refusals: &[(Row, Refusal)]) -> Option<String> {
        None
    }

    /// Queueing hint: after this plugin refused the pod, may the event change its mind? It may say yes in vain, never no in
    /// vain.
    fn may_help(&self, _pod: &Pod, _event: ClusterEvent<'_>) -> bool {
        false
    }
}

impl Normalize {
    pub fn apply(self, scores: &mut [i64]) {
        let largest = scores.iter().copied().max().unwrap_or(0);
        for score in scores {
            let share = if largest == 0 { 0 } else { MAX_NODE_SCORE * *score / largest };
            match self {
                Normalize::AsIs => {}
                Normalize::LargestIsBest => *score = share,
                Normalize::LargestIsWorst => *score = MAX_NODE_SCORE - share,
            }
        }
    }
}
