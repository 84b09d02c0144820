//! Pods that wait for a node.
//!
//! ```text
//!            add                    pop
//!   (new) ────────► active ──────────────────► in flight ──bound──► (gone)
//!     │ gated         ▲  ▲                        │ │
//!     ▼               │  └── back-off is over     │ └─ failed (a request went wrong) ─► backing off
//!   gated ─ungated────┘            ▲              │
//!                                  │              ▼ refused (no node fits)
//!                              backing off ◄── unschedulable
//!                                     a hint, an update of the pod, or five minutes
//! ```
//!
//! Order: higher priority first, then who waits longest. Bounded by the number of pods in the cluster.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kedge_api::Pod;

use crate::framework::ClusterEvent;
use crate::plugins::PLUGINS;
use crate::snapshot::PodUid;

/// Time since any fixed instant that the caller keeps.
pub type Time = Duration;

const BACKOFF_INITIAL: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// An unschedulable pod is tried again after this long even if no hint came: hints are ours, and we may be wrong.
const UNSCHEDULABLE_MAX: Duration = Duration::from_secs(300);

/// Higher priority first, then the one that came first.
type Rank = (Reverse<i32>, u64);

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Active,
    InFlight,
    BackingOff {
        until: Time,
    },
    /// These plugins refused; the pod is tried again at `retry_at` in any case.
    Unschedulable {
        refused_by: BTreeSet<&'static str>,
        retry_at: Time,
    },
    Gated,
}

#[derive(Debug)]
struct Waiting {
    pod: Arc<Pod>,
    rank: Rank,
    attempts: u32,
    /// No attempt before this.
    backoff_until: Time,
    state: State,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    pods: BTreeMap<PodUid, Waiting>,
    active: BTreeSet<(Rank, PodUid)>,
    /// Pods that back off or are unschedulable, by the time at which they move on.
    due: BTreeSet<(Time, PodUid)>,
    arrivals: u64,
}

/// How many pods are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub active: usize,
    pub in_flight: usize,
    pub backing_off: usize,
    pub unschedulable: usize,
    pub gated: usize,
}

impl Queue {
    /// A pod without a node appeared or changed. A change of an unschedulable pod itself may be what it needed.
    pub fn set(&mut self, pod: Arc<Pod>, now: Time) {
        let uid = PodUid::of(&pod);
        let gated = PLUGINS.iter().any(|plugin| plugin.pre_enqueue(&pod).is_err());
        let Some(waiting) = self.pods.get_mut(&uid) else {
            self.add(uid, pod, gated);
            return;
        };
        let changed = wishes(&waiting.pod) != wishes(&pod);
        waiting.pod = pod;
        match &waiting.state {
            State::Gated if !gated => self.move_to(&uid, State::Active),
            State::Unschedulable { .. } if changed => self.try_again(&uid, now),
            State::Gated
            | State::Unschedulable { .. }
            | State::Active
            | State::InFlight
            | State::BackingOff { .. } => {}
        }
    }

    /// The pod is bound, over, or gone.
    pub fn remove(&mut self, uid: &PodUid) {
        self.leave(uid);
        self.pods.remove(uid);
    }

    pub fn contains(&self, uid: &PodUid) -> bool {
        self.pods.contains_key(uid)
    }

    /// The next pod to decide on; it stays in flight until it is removed, refused or failed.
    pub fn pop(&mut self, now: Time) -> Option<Arc<Pod>> {
        self.promote(now);
        let (_, uid) = self.active.first().cloned()?;
        self.move_to(&uid, State::InFlight);
        let waiting = self.pods.get_mut(&uid)?;
        waiting.attempts += 1;
        Some(Arc::clone(&waiting.pod))
    }

    /// No node fits; these plugins said no.
    pub fn refused(&mut self, uid: &PodUid, by: BTreeSet<&'static str>, now: Time) {
        self.back_off(uid, now);
        self.move_to(uid, State::Unschedulable { refused_by: by, retry_at: now + UNSCHEDULABLE_MAX });
    }

    /// Something else went wrong; try again after the back-off.
    pub fn failed(&mut self, uid: &PodUid, now: Time) {
        self.back_off(uid, now);
        self.try_again(uid, now);
    }

    /// Moves every unschedulable pod on for which one of its refusing plugins sees hope.
    pub fn event(&mut self, event: ClusterEvent<'_>, now: Time) {
        let hopeful: Vec<PodUid> = self
            .pods
            .iter()
            .filter(|(_, waiting)| is_hopeful(waiting, event))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in hopeful {
            self.try_again(&uid, now);
        }
    }

    /// When `pop` may next give something; None: only after a call that changes the queue.
    pub fn next_due(&self) -> Option<Time> {
        if self.active.is_empty() { self.due.first().map(|(at, _)| *at) } else { Some(Time::ZERO) }
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for waiting in self.pods.values() {
            *match waiting.state {
                State::Active => &mut counts.active,
                State::InFlight => &mut counts.in_flight,
                State::BackingOff { .. } => &mut counts.backing_off,
                State::Unschedulable { .. } => &mut counts.unschedulable,
                State::Gated => &mut counts.gated,
            } += 1;
        }
        counts
    }

    fn add(&mut self, uid: PodUid, pod: Arc<Pod>, gated: bool) {
        self.arrivals += 1;
        let rank = (Reverse(pod.spec.priority.unwrap_or(0)), self.arrivals);
        let waiting = Waiting { pod, rank, attempts: 0, backoff_until: Time::ZERO, state: State::Gated };
        self.pods.insert(uid.clone(), waiting);
        if !gated {
            self.move_to(&uid, State::Active);
        }
    }

    fn back_off(&mut self, uid: &PodUid, now: Time) {
        if let Some(waiting) = self.pods.get_mut(uid) {
            let doublings = waiting.attempts.saturating_sub(1).min(10);
            waiting.backoff_until = now + (BACKOFF_INITIAL * (1 << doublings)).min(BACKOFF_MAX);
        }
    }

    /// To the active pods, at the end of the back-off.
    fn try_again(&mut self, uid: &PodUid, now: Time) {
        let Some(waiting) = self.pods.get(uid) else { return };
        let until = waiting.backoff_until;
        let state = if until > now { State::BackingOff { until } } else { State::Active };
        self.move_to(uid, state);
    }

    fn promote(&mut self, now: Time) {
        while let Some((at, uid)) = self.due.first().cloned() {
            if at > now {
                break;
            }
            self.move_to(&uid, State::Active);
        }
    }

    /// Takes the pod out of the sets that its state stands for.
    fn leave(&mut self, uid: &PodUid) {
        let Some(waiting) = self.pods.get(uid) else { return };
        match &waiting.state {
            State::Active => self.active.remove(&(waiting.rank, uid.clone())),
            State::BackingOff { until: at } | State::Unschedulable { retry_at: at, .. } => {
                self.due.remove(&(*at, uid.clone()))
            }
            State::InFlight | State::Gated => true,
        };
    }

    fn move_to(&mut self, uid: &PodUid, state: State) {
        self.leave(uid);
        let Some(waiting) = self.pods.get_mut(uid) else {
            return;
        };
        match &state {
            State::Active => self.active.insert((waiting.rank, uid.clone())),
            State::BackingOff { until: at } | State::Unschedulable { retry_at: at, .. } => {
                self.due.insert((*at, uid.clone()))
            }
            State::InFlight | State::Gated => true,
        };
        waiting.state = state;
    }
}

fn is_hopeful(waiting: &Waiting, event: ClusterEvent<'_>) -> bool {
    let State::Unschedulable { refused_by, .. } = &waiting.state else {
        return false;
    };
    // Refused without a reason: there was no node at all, so any event may help.
    refused_by.is_empty()
        || PLUGINS
            .iter()
            .any(|plugin| refused_by.contains(plugin.name()) && plugin.may_help(&waiting.pod, event))
}

/// What a decision depends on; a change of status alone is no reason to try again.
fn wishes(pod: &Pod) -> (&kedge_api::pod::PodSpec, &kedge_api::meta::Labels) {
    (&pod.spec, &pod.metadata.labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn uid(name: &str) -> PodUid {
        PodUid(name.to_owned())
    }

    fn popped(queue: &mut Queue, now: u64) -> String {
        queue.pop(S(now)).map_or("-".to_owned(), |pod| pod.metadata.name.clone())
    }

    #[test]
    fn higher_priority_first_then_who_came_first() {
        let mut queue = Queue::default();
        for text in ["b", "a", "high priority=10", "low priority=-1"] {
            queue.set(pod(text), S(0));
        }
        let order: Vec<String> = (0..5).map(|_| popped(&mut queue, 0)).collect();
        assert_eq!(order, ["high", "b", "a", "low", "-"]);
        assert_eq!(queue.counts(), Counts { in_flight: 4, ..Counts::default() });
    }

    #[test]
    fn failures_back_off_from_one_second_to_ten() {
        let mut queue = Queue::default();
        queue.set(pod("a"), S(0));
        let mut now = S(0);
        let mut waits = Vec::new();
        for _ in 0..6 {
            queue.pop(now).unwrap();
            queue.failed(&uid("a"), now);
            let due = queue.next_due().unwrap();
            waits.push((due - now).as_secs());
            assert!(queue.pop(due - Duration::from_millis(1)).is_none());
            now = due;
        }
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn an_unschedulable_pod_waits_for_a_hint_of_the_plugin_that_refused() {
        let mut queue = Queue::default();
        queue.set(pod("a cpu=2"), S(0));
        popped(&mut queue, 0);
        queue.refused(&uid("a"), BTreeSet::from(["NodeResourcesFit"]), S(0));
        queue.event(ClusterEvent::NodeAdded(&node("small cpu=1")), S(5));
        assert_eq!(popped(&mut queue, 5), "-");
        queue.event(ClusterEvent::PodLeft(&pod("other memory=1Gi on=x port=80")), S(5));
        assert_eq!(popped(&mut queue, 5), "a", "it took one of the pods a node may run, at least");
        queue.refused(&uid("a"), BTreeSet::from(["NodeResourcesFit"]), S(6));
        queue.event(ClusterEvent::NodeAdded(&node("large cpu=4")), S(6));
        assert_eq!(popped(&mut queue, 6), "-", "still backing off");
        assert_eq!(popped(&mut queue, 8), "a");
    }

    #[test]
    fn without_a_hint_it_is_tried_after_five_minutes() {
        let mut queue = Queue::default();
        queue.set(pod("a"), S(0));
        popped(&mut queue, 0);
        queue.refused(&uid("a"), BTreeSet::from(["NodeName"]), S(0));
        assert_eq!(queue.next_due(), Some(UNSCHEDULABLE_MAX));
        assert_eq!(popped(&mut queue, 299), "-");
        assert_eq!(popped(&mut queue, 300), "a");
    }

    #[test]
    fn an_update_helps_only_if_it_changes_what_the_pod_wants() {
        let mut queue = Queue::default();
        queue.set(pod("a cpu=2"), S(0));
        popped(&mut queue, 0);
        queue.refused(&uid("a"), BTreeSet::from(["TaintToleration"]), S(0));
        queue.set(pod("a cpu=2 phase=Pending"), S(9));
        assert_eq!(popped(&mut queue, 9), "-");
        queue.set(pod("a cpu=2 tolerates=k:v:NoSchedule"), S(9));
        assert_eq!(popped(&mut queue, 9), "a");
    }

    #[test]
    fn a_gated_pod_waits_for_its_last_gate() {
        let mut queue = Queue::default();
        queue.set(pod("a gate=x"), S(0));
        assert_eq!((popped(&mut queue, 1000), queue.next_due()), ("-".to_owned(), None));
        queue.set(pod("a"), S(0));
        assert_eq!(popped(&mut queue, 0), "a");
        queue.remove(&uid("a"));
        assert_eq!(queue.counts(), Counts::default());
    }
}
