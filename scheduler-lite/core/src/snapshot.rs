//! All nodes and what runs on them, as columns.
//!
//! Sketch: 5,000 nodes × 4 resources × 2 amounts × 8 bytes = 320 kB; a filter walks two of these columns, a few kB that the
//! CPU prefetches. Taints are kept as one number per node that stands for a list of taints: a cluster has few distinct
//! lists, and a pod is compared with each of them once.
//!
//! The snapshot is kept up to date change by change. A decision borrows it, so it cannot move meanwhile. A pod that we gave
//! to a node before the API server confirmed it is *assumed*: it counts like any other until it is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kedge_api::node::Taint;
use kedge_api::{Node, Pod};

use crate::images::{ImageSizes, Images};
use crate::ports::{HostPort, host_ports};
use crate::resources::{Amounts, CPU, MEMORY, Requests};

/// The row of a node. Rows of deleted nodes are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row(u32);

impl Row {
    pub fn index(self) -> usize {
        self.0 as usize
    }

    fn at(index: usize) -> Row {
        Row(u32::try_from(index).expect("fewer than 2^32 nodes"))
    }
}

/// One incarnation of a pod; a name may come again, a uid never does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodUid(pub String);

impl PodUid {
    pub fn of(pod: &Pod) -> PodUid {
        PodUid(pod.metadata.uid.clone())
    }
}

/// One resource on all nodes.
#[derive(Debug, Default, PartialEq)]
pub struct Column {
    pub allocatable: Vec<i64>,
    pub requested: Vec<i64>,
}

/// The number of a distinct list of taints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaintsId(u32);

impl TaintsId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// How sure we are that a pod is on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Confirmed,
    Assumed,
    /// Assumed, and a binding may have arrived: only the watch can free the place.
    Doubtful,
}

#[derive(Debug, PartialEq)]
struct Placed {
    pod: Arc<Pod>,
    /// One, or all that it may be on: a binding may have arrived before its node went away, and then another was tried.
    nodes: Vec<String>,
    requests: Requests,
    ports: Vec<HostPort>,
    standing: Standing,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Snapshot {
    rows: BTreeMap<String, Row>,
    free: Vec<Row>,
    nodes: Vec<Option<Arc<Node>>>,
    unschedulable: Vec<bool>,
    taints: Vec<TaintsId>,
    taint_lists: Vec<Vec<Taint>>,
    ports: Vec<Vec<HostPort>>,
    columns: BTreeMap<String, Column>,
    assumed_cpu: Vec<i64>,
    assumed_memory: Vec<i64>,
    images: Images,
    pods: BTreeMap<PodUid, Placed>,
    /// Pods by the name of their node, also of nodes that are not (or no longer) there.
    by_node: BTreeMap<String, BTreeSet<PodUid>>,
}

impl Snapshot {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The number of rows, those of deleted nodes included.
    pub fn rows_made(&self) -> usize {
        self.nodes.len()
    }

    pub fn row(&self, node: &str) -> Option<Row> {
        self.rows.get(node).copied()
    }

    /// The row at a position below [`Snapshot::rows_made`], if a node lives there.
    pub fn row_at(&self, position: usize) -> Option<Row> {
        self.nodes.get(position)?.as_ref().map(|_| Row::at(position))
    }

    /// All rows, by the names of their nodes.
    pub fn rows(&self) -> impl Iterator<Item = (&str, Row)> {
        self.rows.iter().map(|(name, row)| (name.as_str(), *row))
    }

    pub fn node(&self, row: Row) -> &Node {
        self.nodes[row.index()].as_ref().expect("a row in use has a node")
    }

    pub fn shared_node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes[self.row(name)?.index()].clone()
    }

    pub fn name(&self, row: Row) -> &str {
        &self.node(row).metadata.name
    }

    pub fn is_unschedulable(&self, row: Row) -> bool {
        self.unschedulable[row.index()]
    }

    pub fn taints(&self, row: Row) -> TaintsId {
        self.taints[row.index()]
    }

    /// The distinct lists of taints, by [`TaintsId::index`].
    pub fn taint_lists(&self) -> &[Vec<Taint>] {
        &self.taint_lists
    }

    pub fn ports(&self, row: Row) -> &[HostPort] {
        &self.ports[row.index()]
    }

    /// None: no node has ever offered this resource.
    pub fn column(&self, resource: &str) -> Option<&Column> {
        self.columns.get(resource)
    }

    /// Requests of CPU (thousandths) with an assumed use for those who request none.
    pub fn assumed_cpu(&self) -> &[i64] {
        &self.assumed_cpu
    }

    pub fn assumed_memory(&self) -> &[i64] {
        &self.assumed_memory
    }

    /// Where an image already is, with its size.
    pub fn image(&self, name: &str) -> Option<&ImageSizes> {
        self.images.get(name)
    }

    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Arc<Pod>> {
        let uids = self.by_node.get(node).into_iter().flatten();
        uids.filter_map(|uid| self.pods.get(uid).map(|placed| &placed.pod))
    }

    /// The node that we gave to a pod and that is not confirmed; None also if that node is not there.
    pub fn assumed_node(&self, uid: &PodUid) -> Option<&str> {
        let placed = self.pods.get(uid).filter(|placed| placed.standing != Standing::Confirmed)?;
        placed.nodes.iter().map(String::as_str).find(|node| self.row(node).is_some())
    }

    pub fn is_assumed(&self, uid: &PodUid) -> bool {
        self.pods.get(uid).is_some_and(|placed| placed.standing != Standing::Confirmed)
    }

    /// A node as it is; pods that came before it are counted.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone();
        let row = match self.row(&name) {
            Some(row) => row,
            None => self.make_row(&name),
        };
        let at = row.index();
        if let Some(old) = &self.nodes[at] {
            self.images.remove(row, &old.status.images);
        }
        self.images.add(row, &node.status.images);
        self.unschedulable[at] = node.spec.unschedulable;
        self.forget_unused_taints();
        self.taints[at] = self.intern_taints(&node.spec.taints);
        let allocatable = Amounts::read(&node.status.allocatable);
        for (resource, _) in allocatable.iter() {
            self.ensure_column(resource);
        }
        for (resource, column) in &mut self.columns {
            column.allocatable[at] = allocatable.get(resource);
        }
        self.nodes[at] = Some(node);
    }

    pub fn remove_node(&mut self, name: &str) {
        let Some(row) = self.rows.remove(name) else { return };
        let at = row.index();
        if let Some(node) = self.nodes[at].take() {
            self.images.remove(row, &node.status.images);
        }
        for column in self.columns.values_mut() {
            column.allocatable[at] = 0;
            column.requested[at] = 0;
        }
        self.assumed_cpu[at] = 0;
        self.assumed_memory[at] = 0;
        self.ports[at].clear();
        self.free.push(row);
    }

    /// A pod as the API server shows it. One that is not on a node yet keeps the place we assumed; one that is over frees its
    /// place. True: a place on another node than the pod's is free.
    pub fn set_pod(&mut self, pod: Arc<Pod>) -> bool {
        let uid = PodUid::of(&pod);
        if pod.is_terminal() {
            return self.remove_pod(&uid);
        }
        if pod.spec.node_name.is_empty() {
            return false;
        }
        let nodes = vec![pod.spec.node_name.clone()];
        let left = self.pods.get(&uid).is_some_and(|placed| placed.nodes != nodes);
        self.place(pod, nodes, Standing::Confirmed);
        left
    }

    /// False: the pod had no place.
    pub fn remove_pod(&mut self, uid: &PodUid) -> bool {
        let Some(placed) = self.pods.remove(uid) else {
            return false;
        };
        for node in &placed.nodes {
            self.account(&placed, node, -1);
            if let Some(uids) = self.by_node.get_mut(node) {
                uids.remove(uid);
                if uids.is_empty() {
                    self.by_node.remove(node);
                }
            }
        }
        true
    }

    /// Reserve: the pod counts as running on `node` until it is confirmed, forgotten or deleted. If it may be on others
    /// already, it counts there too: they may come back with it.
    pub fn assume(&mut self, pod: Arc<Pod>, node: &str) {
        let mut nodes = vec![node.to_owned()];
        let doubtful =
            self.pods.get(&PodUid::of(&pod)).filter(|placed| placed.standing == Standing::Doubtful);
        let standing = match doubtful {
            Some(placed) => {
                nodes.extend(placed.nodes.iter().filter(|other| *other != node).cloned());
                Standing::Doubtful
            }
            None => Standing::Assumed,
        };
        self.place(pod, nodes, standing);
    }

    /// Unreserve: gives back an assumed place, unless a binding may have arrived. False: it stays.
    pub fn forget(&mut self, uid: &PodUid) -> bool {
        let assumed = self.pods.get(uid).is_some_and(|placed| placed.standing == Standing::Assumed);
        assumed && self.remove_pod(uid)
    }

    /// The binding of an assumed pod may have arrived.
    pub fn doubt(&mut self, uid: &PodUid) {
        if let Some(placed) = self.pods.get_mut(uid)
            && placed.standing == Standing::Assumed
        {
            placed.standing = Standing::Doubtful;
        }
    }

    fn place(&mut self, pod: Arc<Pod>, nodes: Vec<String>, standing: Standing) {
        let uid = PodUid::of(&pod);
        self.remove_pod(&uid);
        let placed = Placed { requests: Requests::of(&pod), ports: host_ports(&pod), pod, nodes, standing };
        for node in &placed.nodes {
            self.account(&placed, node, 1);
            self.by_node.entry(node.clone()).or_default().insert(uid.clone());
        }
        self.pods.insert(uid, placed);
    }

    /// Adds (`sign` 1) or takes away (-1) what a pod uses on one of its nodes.
    fn account(&mut self, placed: &Placed, node: &str, sign: i64) {
        let Some(row) = self.row(node) else { return };
        let at = row.index();
        for (resource, amount) in placed.requests.exact.iter() {
            self.ensure_column(resource).requested[at] += sign * amount;
        }
        self.assumed_cpu[at] += sign * placed.requests.assumed.get(CPU);
        self.assumed_memory[at] += sign * placed.requests.assumed.get(MEMORY);
        let ports = &mut self.ports[at];
        for port in &placed.ports {
            if sign > 0 {
                ports.push(port.clone());
            } else if let Some(found) = ports.iter().position(|used| used == port) {
                ports.swap_remove(found);
            }
        }
    }

    fn make_row(&mut self, name: &str) -> Row {
        let row = self.free.pop().unwrap_or_else(|| self.push_row());
        self.rows.insert(name.to_owned(), row);
        let uids = self.by_node.get(name).cloned().unwrap_or_default();
        for uid in uids {
            // Taken out for the time of the call, so that the columns may be changed.
            if let Some(placed) = self.pods.remove(&uid) {
                self.account(&placed, name, 1);
                self.pods.insert(uid, placed);
            }
        }
        row
    }

    fn push_row(&mut self) -> Row {
        let row = Row::at(self.nodes.len());
        self.nodes.push(None);
        self.unschedulable.push(false);
        let untainted = self.intern_taints(&[]);
        self.taints.push(untainted);
        self.ports.push(Vec::new());
        self.assumed_cpu.push(0);
        self.assumed_memory.push(0);
        for column in self.columns.values_mut() {
            column.allocatable.push(0);
            column.requested.push(0);
        }
        row
    }

    fn ensure_column(&mut self, resource: &str) -> &mut Column {
        let rows = self.nodes.len();
        self.columns
            .entry(resource.to_owned())
            .or_insert_with(|| Column { allocatable: vec![0; rows], requested: vec![0; rows] })
    }

    /// Lists that no node has any more are dropped when they are the larger part.
    fn forget_unused_taints(&mut self) {
        if self.taint_lists.len() <= 2 * self.nodes.len() + 16 {
            return;
        }
        let lists = std::mem::take(&mut self.taint_lists);
        for position in 0..self.nodes.len() {
            self.taints[position] = self.intern_taints(&lists[self.taints[position].index()]);
        }
    }

    fn intern_taints(&mut self, taints: &[Taint]) -> TaintsId {
        // The time of a taint differs from node to node and decides nothing here.
        let plain: Vec<Taint> =
            taints.iter().map(|taint| Taint { time_added: None, ..taint.clone() }).collect();
        let found = self.taint_lists.iter().position(|list| *list == plain);
        let index = found.unwrap_or_else(|| {
            self.taint_lists.push(plain);
            self.taint_lists.len() - 1
        });
        TaintsId(u32::try_from(index).expect("fewer lists of taints than nodes ever seen"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::PODS;
    use crate::testing::{node, pod};

    /// What the CPU column and the count of pods say about node `a`.
    fn used(snapshot: &Snapshot) -> (i64, i64) {
        let row = snapshot.row("a").unwrap().index();
        let of = |resource| snapshot.column(resource).map_or(0, |column| column.requested[row]);
        (of(CPU), of(PODS))
    }

    #[test]
    fn an_assumed_pod_counts_until_it_is_forgotten_or_confirmed() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("a cpu=4"));
        snapshot.assume(pod("x cpu=1"), "a");
        assert_eq!(used(&snapshot), (1000, 1));
        // An update that came before our binding does not take the place away.
        snapshot.set_pod(pod("x cpu=1"));
        assert_eq!(used(&snapshot), (1000, 1));
        snapshot.forget(&PodUid("x".into()));
        assert_eq!(used(&snapshot), (0, 0));
        snapshot.assume(pod("x cpu=1"), "a");
        snapshot.set_pod(pod("x cpu=1 on=a"));
        snapshot.forget(&PodUid("x".into()));
        assert_eq!(used(&snapshot), (1000, 1), "confirmed");
        snapshot.set_pod(pod("x cpu=1 on=a phase=Succeeded"));
        assert_eq!(used(&snapshot), (0, 0));
    }

    #[test]
    fn pods_may_come_before_their_node_and_outlive_it() {
        let mut snapshot = Snapshot::default();
        snapshot.set_pod(pod("x cpu=1 on=a port=80"));
        snapshot.set_node(node("a cpu=4"));
        assert_eq!(used(&snapshot), (1000, 1));
        snapshot.remove_node("a");
        snapshot.set_node(node("b cpu=4"));
        assert!(snapshot.ports(snapshot.row("b").unwrap()).is_empty(), "the row was used again");
        snapshot.set_node(node("a cpu=8"));
        assert_eq!(used(&snapshot), (1000, 1));
        assert_eq!(snapshot.ports(snapshot.row("a").unwrap()).len(), 1);
    }

    #[test]
    fn nodes_with_equal_taints_share_a_list() {
        let mut snapshot = Snapshot::default();
        for text in ["a taint=k:v:NoSchedule", "b taint=k:v:NoSchedule", "c"] {
            snapshot.set_node(node(text));
        }
        assert_eq!(snapshot.taint_lists().len(), 2);
        for value in 0..100 {
            snapshot.set_node(node(&format!("a taint=k:{value}:NoSchedule")));
        }
        assert!(snapshot.taint_lists().len() < 30, "lists that are gone are forgotten");
        assert_ne!(snapshot.taints(snapshot.row("a").unwrap()), snapshot.taints(snapshot.row("b").unwrap()));
    }
}
