//! What stands in the maps, and the writes that lead from there to what should.
//!
//! Order keeps every reader safe: backends before the lists that name them, lists before the service element that points
//! at them; going away, the other way round. An update of one element of `SVC` is the moment of change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kedge_proxy_maps::{BACKENDS_MAX, Backend, LIST_MAX, MAGLEV_MAX, ServiceKey, ServiceValue};

use crate::region::Regions;
use crate::{BackendAddress, Change, Frontend, PortId, maglev};

/// Namespace and name.
pub type ServiceName = (String, String);

/// The maps' contents as an earlier daemon left them.
#[derive(Debug, Clone, Default)]
pub struct Pinned {
    pub services: Vec<(ServiceKey, ServiceValue)>,
    /// All of `LIST`.
    pub list: Vec<u32>,
    /// All of `BACKENDS`, by id.
    pub backends: Vec<Backend>,
}

/// A service element and the backends that its list names, in list order.
#[derive(Debug, Clone)]
struct Entry {
    value: ServiceValue,
    backends: Vec<BackendAddress>,
    /// The service that owns it; none right after a restart.
    owner: Option<ServiceName>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    id: u32,
    /// Entries whose list names it.
    references: u32,
}

#[derive(Debug)]
pub struct Image {
    entries: BTreeMap<ServiceKey, Entry>,
    owned: BTreeMap<ServiceName, BTreeSet<ServiceKey>>,
    slots: BTreeMap<BackendAddress, Slot>,
    /// By id, the generation it last had.
    generations: Vec<u32>,
    /// Ids given back, oldest first, so that each rests as long as possible.
    free_ids: VecDeque<u32>,
    list: Regions,
    maglev: Regions,
    ports: BTreeMap<PortId, u32>,
    next_port: u32,
}

impl Default for Image {
    fn default() -> Self {
        Image {
            entries: BTreeMap::new(),
            owned: BTreeMap::new(),
            slots: BTreeMap::new(),
            // Id 0 means none.
            generations: vec![0],
            free_ids: VecDeque::new(),
            list: Regions::new(LIST_MAX),
            maglev: Regions::new(MAGLEV_MAX),
            ports: BTreeMap::new(),
            next_port: 1,
        }
    }
}

/// The writes of one sync by phase.
#[derive(Default)]
struct Writes {
    backends: Vec<Change>,
    lists: Vec<Change>,
    tables: Vec<Change>,
    services: Vec<Change>,
    removals: Vec<Change>,
    /// Backends that lost a reference, to be cleared if it was the last.
    released: Vec<BackendAddress>,
}

impl Image {
    /// Takes over what is pinned, so that ids and generations that live flows hold keep their meaning. An element that
    /// contradicts itself is left out; the first full sync writes it anew.
    pub fn restore(pinned: &Pinned) -> Image {
        let mut image = Image::default();
        let used =
            pinned.backends.iter().rposition(|backend| backend.generation != 0).map_or(1, |last| last + 1);
        image.generations =
            pinned.backends[..used.min(pinned.backends.len())].iter().map(|b| b.generation).collect();
        if image.generations.is_empty() {
            image.generations.push(0);
        }
        for (id, backend) in pinned.backends.iter().enumerate().take(used).skip(1) {
            if backend.live == 0 || image.slots.contains_key(&(backend.address, backend.port)) {
                image.free_ids.push_back(id as u32);
            } else {
                image.slots.insert((backend.address, backend.port), Slot { id: id as u32, references: 0 });
            }
        }
        for (key, value) in &pinned.services {
            image.restore_entry(*key, *value, pinned);
        }
        image
    }

    fn restore_entry(&mut self, key: ServiceKey, value: ServiceValue, pinned: &Pinned) {
        let range = value.list as usize..value.list.saturating_add(value.count) as usize;
        let ids = pinned.list.get(range).unwrap_or_default();
        let backends: Vec<BackendAddress> = ids
            .iter()
            .filter_map(|id| pinned.backends.get(*id as usize).filter(|backend| backend.live != 0))
            .map(|backend| (backend.address, backend.port))
            .collect();
        let is_whole = backends.len() == value.count as usize
            && backends.iter().all(|backend| self.slots.contains_key(backend))
            && self.list.claim(value.list, value.count)
            && self.maglev.claim(value.maglev, value.maglev_size);
        // Zero backends where there should be some makes the next sync rewrite the element.
        let (value, backends) =
            if is_whole { (value, backends) } else { (ServiceValue::default(), Vec::new()) };
        for backend in &backends {
            self.slots.entry(*backend).and_modify(|slot| slot.references += 1);
        }
        self.next_port = self.next_port.max(value.service + 1);
        self.entries.insert(key, Entry { value, backends, owner: None });
    }

    /// Brings one service up to date; no frontends removes it. `Err` names a map that is full; what could be done is in
    /// the changes all the same.
    pub fn sync(
        &mut self,
        name: &ServiceName,
        frontends: &[Frontend],
        now_ms: u64,
    ) -> (Vec<Change>, Vec<&'static str>) {
        let mut writes = Writes::default();
        let mut full = Vec::new();
        let mut keys = BTreeSet::new();
        for frontend in frontends {
            if self.is_taken(&frontend.key, name) {
                // Two services claim one external address: the first keeps it.
                continue;
            }
            keys.insert(frontend.key);
            if let Err(map) = self.sync_frontend(name, frontend, now_ms, &mut writes) {
                full.push(map);
            }
        }
        let before = self.owned.insert(name.clone(), keys.clone()).unwrap_or_default();
        for key in before.difference(&keys) {
            self.remove(key, now_ms, &mut writes);
        }
        if frontends.is_empty() {
            self.owned.remove(name);
            self.ports.retain(|port, _| (&port.namespace, &port.service) != (&name.0, &name.1));
        }
        (self.finish(writes), full)
    }

    /// After every service has been synced: removes what no service owns.
    pub fn sweep(&mut self, now_ms: u64) -> Vec<Change> {
        let mut writes = Writes::default();
        let orphans: Vec<ServiceKey> =
            self.entries.iter().filter(|(_, entry)| entry.owner.is_none()).map(|(key, _)| *key).collect();
        for key in orphans {
            self.remove(&key, now_ms, &mut writes);
        }
        let unused: Vec<BackendAddress> =
            self.slots.iter().filter(|(_, slot)| slot.references == 0).map(|(backend, _)| *backend).collect();
        writes.released.extend(unused);
        self.finish(writes)
    }

    /// Names of services that have frontends.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.owned.keys()
    }

    fn is_taken(&self, key: &ServiceKey, name: &ServiceName) -> bool {
        self.entries.get(key).and_then(|entry| entry.owner.as_ref()).is_some_and(|owner| owner != name)
    }

    fn sync_frontend(
        &mut self,
        name: &ServiceName,
        frontend: &Frontend,
        now_ms: u64,
        writes: &mut Writes,
    ) -> Result<(), &'static str> {
        let service = self.port_number(frontend);
        let wants_table = frontend.consistent && frontend.backends.len() > 1;
        if let Some(entry) = self.entries.get_mut(&frontend.key) {
            let value = &entry.value;
            let same = value.service == service
                && value.affinity_seconds == frontend.affinity_seconds
                && value.flags == frontend.flags
                && (value.maglev_size != 0) == wants_table
                && entry.backends.iter().eq(frontend.backends.iter());
            if same {
                entry.owner = Some(name.clone());
                return Ok(());
            }
        }
        let backends: Vec<BackendAddress> = frontend.backends.iter().copied().collect();
        let value = self.write_lists(&backends, wants_table, now_ms, writes)?;
        let value = ServiceValue {
            service,
            affinity_seconds: frontend.affinity_seconds,
            flags: frontend.flags,
            ..value
        };
        writes.services.push(Change::Service { key: frontend.key, value });
        let entry = Entry { value, backends, owner: Some(name.clone()) };
        if let Some(old) = self.entries.insert(frontend.key, entry) {
            self.give_back(old, now_ms, writes);
        }
        Ok(())
    }

    /// Backends, list and table of a frontend; on a full map everything taken is given back.
    fn write_lists(
        &mut self,
        backends: &[BackendAddress],
        wants_table: bool,
        now_ms: u64,
        writes: &mut Writes,
    ) -> Result<ServiceValue, &'static str> {
        let count = backends.len() as u32;
        let list = self.list.take(count, now_ms).ok_or("LIST")?;
        let maglev_size = if wants_table { maglev::size(backends.len()) } else { 0 };
        let Some(maglev) = self.maglev.take(maglev_size, now_ms) else {
            self.list.give_back(list, count, now_ms);
            return Err("MAGLEV");
        };
        let mut ids = Vec::with_capacity(backends.len());
        for (index, backend) in backends.iter().enumerate() {
            let Some(id) = self.acquire(backend, writes) else {
                writes.released.extend(&backends[..index]);
                self.list.give_back(list, count, now_ms);
                self.maglev.give_back(maglev, maglev_size, now_ms);
                return Err("BACKENDS");
            };
            ids.push(id);
        }
        if wants_table {
            let table = maglev::table(backends).into_iter().map(|index| ids[index]).collect();
            writes.tables.push(Change::Maglev { at: maglev, ids: table });
        }
        if count != 0 {
            writes.lists.push(Change::List { at: list, ids });
        }
        Ok(ServiceValue { list, count, maglev, maglev_size, ..ServiceValue::default() })
    }

    /// The backend's id, with one more reference.
    fn acquire(&mut self, backend: &BackendAddress, writes: &mut Writes) -> Option<u32> {
        if let Some(slot) = self.slots.get_mut(backend) {
            slot.references += 1;
            return Some(slot.id);
        }
        let fresh =
            || (self.generations.len() < BACKENDS_MAX as usize).then_some(self.generations.len() as u32);
        // Fresh ids first: a used one rests while it can.
        let id = fresh().or_else(|| self.free_ids.pop_front())?;
        if id as usize == self.generations.len() {
            self.generations.push(0);
        }
        let generation = self.generations[id as usize].wrapping_add(1).max(1);
        self.generations[id as usize] = generation;
        self.slots.insert(*backend, Slot { id, references: 1 });
        let value = Backend { address: backend.0, port: backend.1, live: 1, generation };
        writes.backends.push(Change::Backend { id, value });
        Some(id)
    }

    fn remove(&mut self, key: &ServiceKey, now_ms: u64, writes: &mut Writes) {
        if let Some(old) = self.entries.remove(key) {
            writes.removals.push(Change::RemoveService { key: *key });
            self.give_back(old, now_ms, writes);
        }
    }

    fn give_back(&mut self, old: Entry, now_ms: u64, writes: &mut Writes) {
        self.list.give_back(old.value.list, old.value.count, now_ms);
        self.maglev.give_back(old.value.maglev, old.value.maglev_size, now_ms);
        writes.released.extend(old.backends);
    }

    /// Puts the phases in order and clears the backends that nobody names any more.
    fn finish(&mut self, writes: Writes) -> Vec<Change> {
        let mut changes = writes.backends;
        changes.extend(writes.lists);
        changes.extend(writes.tables);
        changes.extend(writes.services);
        changes.extend(writes.removals);
        for backend in writes.released {
            let Some(slot) = self.slots.get_mut(&backend) else {
                continue;
            };
            slot.references = slot.references.saturating_sub(1);
            if slot.references != 0 {
                continue;
            }
            let id = slot.id;
            self.slots.remove(&backend);
            self.free_ids.push_back(id);
            // The address stays readable for whoever looks at a flow's past; only `live` matters to the programs.
            let value = Backend {
                address: backend.0,
                port: backend.1,
                live: 0,
                generation: self.generations[id as usize],
            };
            changes.push(Change::Backend { id, value });
        }
        changes
    }

    /// A number for the service port that stays while the service does, and over restarts.
    fn port_number(&mut self, frontend: &Frontend) -> u32 {
        if let Some(number) = self.ports.get(&frontend.port) {
            return *number;
        }
        let pinned =
            self.entries.get(&frontend.key).map(|entry| entry.value.service).filter(|number| *number != 0);
        let number =
            pinned.filter(|number| !self.ports.values().any(|used| used == number)).unwrap_or_else(|| {
                self.next_port += 1;
                self.next_port - 1
            });
        self.ports.insert(frontend.port.clone(), number);
        number
    }
}

#[cfg(test)]
mod tests;
