//! The scheduler as a machine: changes of pods and nodes in, things to do out. The shell performs them and reports back.
//!
//! ```text
//!   pod_changed, node_changed ──► snapshot, queue ──next_action──► Bind ── bound, refused, unsure ┐
//!                                        ▲                     └─► Refuse (condition and event)  │
//!                                        └───────────────────────────────────────────────────────┘
//! ```
//!
//! Nothing here is kept over a restart: the pods and nodes of the API server are the whole state.

use std::sync::Arc;

use kedge_api::{Node, Pod};

use crate::decide::{Outcome, decide};
use crate::framework::ClusterEvent;
use crate::queue::{Counts, Queue, Time};
use crate::resources::Requests;
use crate::snapshot::{PodUid, Snapshot};

/// The name under which pods ask for us; one without a name does too.
pub const SCHEDULER_NAME: &str = "default-scheduler";

/// Something the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answered by [`Scheduler::bound`], [`Scheduler::bind_refused`] or [`Scheduler::bind_unsure`].
    Bind { pod: Arc<Pod>, node: String },
    /// Tell that the pod fits nowhere. Needs no answer.
    Refuse { pod: Arc<Pod>, message: String },
}

/// See the module.
#[derive(Debug, Default)]
pub struct Scheduler {
    snapshot: Snapshot,
    queue: Queue,
    /// Counts decisions, so that equal nodes take turns.
    seed: u64,
}

impl Scheduler {
    pub fn new(seed: u64) -> Scheduler {
        Scheduler { seed, ..Scheduler::default() }
    }

    /// What became of the pod of one name. `old` is the last state handed in here, if any.
    pub fn pod_changed(&mut self, old: Option<&Arc<Pod>>, new: Option<Arc<Pod>>, now: Time) {
        let same_pod = |old: &Pod| new.as_ref().is_some_and(|new| new.metadata.uid == old.metadata.uid);
        if let Some(old) = old
            && !same_pod(old)
        {
            self.pod_gone(old, now);
        }
        let Some(new) = new else { return };
        let uid = PodUid::of(&new);
        if new.is_terminal() {
            self.pod_gone(&new, now);
        } else if !new.spec.node_name.is_empty() {
            self.queue.remove(&uid);
            let resized = old.is_some_and(|old| {
                old.spec.node_name == new.spec.node_name && Requests::of(old) != Requests::of(&new)
            });
            // It may be on another node than the one we assumed.
            let left = self.snapshot.set_pod(Arc::clone(&new));
            if resized || left {
                self.queue.event(ClusterEvent::PodLeft(&new), now);
            }
        } else if !is_ours(&new) {
            self.queue.remove(&uid);
        } else if self.queue.contains(&uid) || !self.snapshot.is_assumed(&uid) {
            // Of a pod that was bound and is still assumed, this is news from before our binding.
            self.queue.set(new, now);
        }
    }

    pub fn node_changed(&mut self, name: &str, new: Option<Arc<Node>>, now: Time) {
        let Some(new) = new else {
            self.snapshot.remove_node(name);
            return;
        };
        let old = self.snapshot.shared_node(name);
        self.snapshot.set_node(Arc::clone(&new));
        let event = match &old {
            Some(old) => ClusterEvent::NodeUpdated { old, new: &new },
            None => ClusterEvent::NodeAdded(&new),
        };
        self.queue.event(event, now);
    }

    /// Decides on the next pod, if one waits. One that has a place already, whose binding may or may not have arrived, is bound
    /// to the same node again: anywhere else it takes two places until the watch tells. It does so only if the node is gone.
    pub fn next_action(&mut self, now: Time) -> Option<Action> {
        let pod = self.queue.pop(now)?;
        if let Some(node) = self.snapshot.assumed_node(&PodUid::of(&pod)) {
            return Some(Action::Bind { node: node.to_owned(), pod });
        }
        self.seed = self.seed.wrapping_add(1);
        Some(match decide(&self.snapshot, &pod, self.seed).outcome {
            Outcome::Node(node) => {
                self.snapshot.assume(Arc::clone(&pod), &node);
                Action::Bind { pod, node }
            }
            Outcome::Unschedulable(diagnosis) => {
                self.queue.refused(&PodUid::of(&pod), diagnosis.plugins(), now);
                Action::Refuse { pod, message: diagnosis.message() }
            }
        })
    }

    /// The API server took the binding.
    pub fn bound(&mut self, uid: &PodUid) {
        self.queue.remove(uid);
    }

    /// The API server refused the binding for certain: its place is free, unless an earlier request for it may have arrived.
    pub fn bind_refused(&mut self, pod: &Arc<Pod>, now: Time) {
        let uid = PodUid::of(pod);
        if self.snapshot.forget(&uid) {
            self.queue.event(ClusterEvent::PodLeft(pod), now);
        }
        self.queue.failed(&uid, now);
    }

    /// No answer, or somebody was faster: the pod may be on a node or gone. It keeps its place until the watch tells, and the
    /// binding is tried again until then.
    pub fn bind_unsure(&mut self, uid: &PodUid, now: Time) {
        self.snapshot.doubt(uid);
        self.queue.failed(uid, now);
    }

    /// When [`Scheduler::next_action`] may next have something to do.
    pub fn next_due(&self) -> Option<Time> {
        self.queue.next_due()
    }

    pub fn counts(&self) -> Counts {
        self.queue.counts()
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Deleted, or over: its place is free.
    fn pod_gone(&mut self, pod: &Arc<Pod>, now: Time) {
        let uid = PodUid::of(pod);
        self.queue.remove(&uid);
        if self.snapshot.remove_pod(&uid) {
            self.queue.event(ClusterEvent::PodLeft(pod), now);
        }
    }
}

fn is_ours(pod: &Pod) -> bool {
    let name = pod.spec.scheduler_name.as_str();
    (name.is_empty() || name == SCHEDULER_NAME) && pod.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};
    use std::collections::BTreeMap;
    use std::time::Duration;

    /// A scheduler with the last state of every pod, as a cache keeps it.
    #[derive(Default)]
    struct World {
        scheduler: Scheduler,
        pods: BTreeMap<String, Arc<Pod>>,
        now: u64,
    }

    impl World {
        fn new(nodes: &[&str]) -> World {
            let mut world = World::default();
            for text in nodes {
                world.node(text);
            }
            world
        }

        fn time(&self) -> Time {
            Duration::from_secs(self.now)
        }

        fn node(&mut self, text: &str) {
            let node = node(text);
            self.scheduler.node_changed(&node.metadata.name.clone(), Some(node), self.time());
        }

        fn pod(&mut self, text: &str) {
            let new = pod(text);
            let old = self.pods.insert(new.metadata.name.clone(), Arc::clone(&new));
            self.scheduler.pod_changed(old.as_ref(), Some(new), self.time());
        }

        fn delete(&mut self, name: &str) {
            let old = self.pods.remove(name);
            self.scheduler.pod_changed(old.as_ref(), None, self.time());
        }

        /// `pod>node` and `pod!` of all that there is to do.
        fn actions(&mut self) -> String {
            let now = self.time();
            let actions = std::iter::from_fn(|| self.scheduler.next_action(now));
            let texts: Vec<String> = actions
                .map(|action| match action {
                    Action::Bind { pod, node } => format!("{}>{node}", pod.metadata.name),
                    Action::Refuse { pod, .. } => format!("{}!", pod.metadata.name),
                })
                .collect();
            texts.join(" ")
        }
    }

    #[test]
    fn a_decision_counts_before_it_is_confirmed() {
        let mut world = World::new(&["a cpu=1"]);
        world.pod("x cpu=1");
        world.pod("y cpu=1");
        assert_eq!(world.actions(), "x>a y!");
    }

    #[test]
    fn old_news_of_a_pod_that_is_being_bound_changes_nothing() {
        let mut world = World::new(&["a cpu=1"]);
        world.pod("x cpu=1");
        assert_eq!(world.actions(), "x>a");
        world.scheduler.bound(&PodUid("x".into()));
        world.pod("x cpu=1 phase=Pending");
        assert_eq!(world.actions(), "");
        world.pod("x cpu=1 on=a");
        assert_eq!(world.scheduler.counts(), Counts::default());
    }

    #[test]
    fn a_failed_binding_gives_the_place_back_and_is_tried_again() {
        let mut world = World::new(&["a cpu=1"]);
        world.pod("x cpu=1");
        assert_eq!(world.actions(), "x>a");
        let pod = Arc::clone(&world.pods["x"]);
        world.scheduler.bind_refused(&pod, world.time());
        assert_eq!(world.actions(), "", "backing off");
        world.now = 1;
        assert_eq!(world.actions(), "x>a");
    }

    #[test]
    fn a_binding_without_an_answer_keeps_its_place() {
        let mut world = World::new(&["a cpu=1", "b cpu=1"]);
        world.pod("x cpu=1");
        let first = world.actions();
        world.scheduler.bind_unsure(&PodUid("x".into()), world.time());
        world.pod("y cpu=1");
        world.pod("z cpu=1");
        world.now = 1;
        let other = if first == "x>a" { "y>b" } else { "y>a" };
        assert_eq!(world.actions(), format!("{first} {other} z!"));
        // It had arrived after all.
        world.scheduler.bind_unsure(&PodUid("x".into()), world.time());
        world.pod(&format!("x cpu=1 on={}", &first[2..]));
        world.now = 100;
        assert_eq!(world.actions(), "");
    }

    /// Pod `x` may be on `a`, which goes away; it is sent to `b`.
    fn moved_in_doubt() -> World {
        let mut world = World::new(&["a cpu=1"]);
        world.pod("x cpu=1");
        assert_eq!(world.actions(), "x>a");
        world.scheduler.bind_unsure(&PodUid("x".into()), world.time());
        world.scheduler.node_changed("a", None, world.time());
        world.node("b cpu=1");
        world.now = 1;
        assert_eq!(world.actions(), "x>b");
        world
    }

    #[test]
    fn a_place_in_doubt_outlives_its_node() {
        let mut world = moved_in_doubt();
        world.node("a cpu=1");
        world.pod("y cpu=1");
        assert_eq!(world.actions(), "y!", "x may be on a or b");
        world.now = 2;
        world.pod("x cpu=1 on=b");
        assert_eq!(world.actions(), "y>a", "and it was b");
    }

    #[test]
    fn a_place_taken_in_vain_is_free_for_others() {
        let mut world = moved_in_doubt();
        world.pod("y cpu=1");
        assert_eq!(world.actions(), "y!");
        world.scheduler.bind_unsure(&PodUid("x".into()), world.time());
        world.now = 2;
        world.pod("x cpu=1 on=a");
        assert_eq!(world.actions(), "y>b");
    }

    #[test]
    fn a_binding_that_failed_by_deletion_leaves_nothing() {
        let mut world = World::new(&["a cpu=1"]);
        world.pod("x cpu=1");
        assert_eq!(world.actions(), "x>a");
        let pod = Arc::clone(&world.pods["x"]);
        world.delete("x");
        world.scheduler.bind_refused(&pod, world.time());
        assert_eq!(world.scheduler.counts(), Counts::default());
        world.pod("y cpu=1");
        assert_eq!(world.actions(), "y>a");
    }

    #[test]
    fn room_that_comes_is_used() {
        let mut world = World::new(&[]);
        world.pod("x cpu=1");
        assert_eq!(world.actions(), "x!");
        world.node("a cpu=1");
        world.now = 1;
        assert_eq!(world.actions(), "x>a");
        world.pod("x cpu=1 on=a");
        world.pod("y cpu=1");
        assert_eq!(world.actions(), "y!");
        world.now = 2;
        world.pod("x cpu=1 on=a phase=Succeeded");
        assert_eq!(world.actions(), "y>a", "an ended pod frees its place");
    }

    #[test]
    fn a_pod_of_the_same_name_is_another_pod() {
        let mut world = World::new(&["a cpu=1"]);
        world.pod("x cpu=1 on=a");
        let mut again = Pod::clone(&pod("x cpu=1"));
        again.metadata.uid = "x2".to_owned();
        let old = Arc::clone(&world.pods["x"]);
        world.scheduler.pod_changed(Some(&old), Some(Arc::new(again)), world.time());
        assert_eq!(world.actions(), "x>a");
    }

    #[test]
    fn pods_of_other_schedulers_and_pods_that_go_are_left_alone() {
        let mut world = World::new(&["a"]);
        let mut other = Pod::clone(&pod("x"));
        other.spec.scheduler_name = "mine".to_owned();
        world.scheduler.pod_changed(None, Some(Arc::new(other)), world.time());
        let mut going = Pod::clone(&pod("y"));
        going.metadata.deletion_timestamp = Some(kedge_api::Time(1));
        world.scheduler.pod_changed(None, Some(Arc::new(going)), world.time());
        assert_eq!(world.actions(), "");
    }
}
