//! Services: which frontend a packet names, and which backend it gets.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use kedge_proxy_maps::*;

use crate::maps::{AFF, BACKENDS, CONFIG, LIST, MAGLEV, SVC, Scratch, count, is_local};

/// A chosen backend, or why there is none.
pub enum Choice {
    Refuse,
    Drop,
    Backend { id: u32, backend: Backend },
}

/// Finds the service of a destination. A NodePort is found through `LOCAL`, so it answers on every address of the node;
/// `opens` keeps an established connection of the host that happens to sit on such a port from being taken for one.
#[inline(always)]
pub fn find(address: &Address, port: u16, protocol: u32, scope: u8, opens: bool) -> Option<ServiceValue> {
    let mut key = ServiceKey {
        address: *address,
        port,
        protocol: protocol as u8,
        scope,
    };
    // SAFETY: the value is copied at once; see `pick` for a torn read.
    if let Some(value) = unsafe { SVC.get(key) } {
        return Some(*value);
    }
    let config = CONFIG.get(0)?;
    let number = u16::from_be(port);
    if !opens || number < config.node_port_min || number > config.node_port_max || !is_local(address) {
        return None;
    }
    key.address = Address::UNSPECIFIED;
    // SAFETY: as above.
    unsafe { SVC.get(key) }.copied()
}

/// Picks a backend: the one that the client already has (session affinity), else by Maglev where the service has a table
/// (frontends that several nodes may answer), else at random.
#[inline(always)]
pub fn pick(service: &ServiceValue, client: &Address, hash: u32, now: u32) -> Choice {
    if service.count == 0 {
        return if service.flags & service_flag::DROP_IF_EMPTY != 0 {
            Choice::Drop
        } else {
            Choice::Refuse
        };
    }
    let affinity = AffinityKey {
        client: *client,
        service: service.service,
    };
    if service.affinity_seconds != 0 {
        if let Some((id, backend)) = remembered(&affinity, service.affinity_seconds, now) {
            return Choice::Backend { id, backend };
        }
    }
    // An id whose backend was just removed means that the list was swapped under us: try once more.
    let Some((id, backend)) = draw(service, hash).or_else(|| draw(service, random())) else {
        return Choice::Refuse;
    };
    if service.affinity_seconds != 0 {
        let chosen = Affinity {
            backend: id,
            generation: backend.generation,
            seen: now,
        };
        let _ = AFF.insert(affinity, chosen, 0);
    }
    Choice::Backend { id, backend }
}

#[inline(always)]
fn remembered(key: &AffinityKey, seconds: u32, now: u32) -> Option<(u32, Backend)> {
    let entry = AFF.get_ptr_mut(key)?;
    // SAFETY: the element stays in map memory; a torn read is caught by the generation.
    let entry = unsafe { &mut *entry };
    if now.wrapping_sub(entry.seen) >= seconds {
        return None;
    }
    let id = entry.backend;
    let backend = live(id)?;
    if backend.generation != entry.generation {
        return None;
    }
    entry.seen = now;
    Some((id, backend))
}

#[inline(always)]
fn draw(service: &ServiceValue, hash: u32) -> Option<(u32, Backend)> {
    let id = if service.maglev_size != 0 {
        *MAGLEV.get(service.maglev.wrapping_add(scale(hash, service.maglev_size)))?
    } else {
        *LIST.get(service.list.wrapping_add(scale(random(), service.count)))?
    };
    Some((id, live(id)?))
}

#[inline(always)]
fn live(id: u32) -> Option<Backend> {
    let backend = BACKENDS.get(id)?;
    if backend.live == 0 { None } else { Some(*backend) }
}

/// What became of a packet for a service.
pub enum Chosen {
    /// The flow leads to a backend.
    Backend,
    Refuse,
    Drop,
}

/// Points the flow at a backend of the service in scratch.
#[inline(never)]
pub fn choose(scratch: &mut Scratch) -> Chosen {
    let key = &scratch.packet.key;
    match pick(&scratch.service, &key.source, hash(key), scratch.now) {
        Choice::Backend { id, backend } => {
            count(stat::SERVICE_FLOWS);
            scratch.flow.destination = backend.address;
            scratch.flow.destination_port = backend.port;
            scratch.flow.backend = id;
            scratch.flow.generation = backend.generation;
            Chosen::Backend
        }
        Choice::Refuse => Chosen::Refuse,
        Choice::Drop => {
            count(stat::DROPPED_EMPTY);
            Chosen::Drop
        }
    }
}

/// Maps a 32-bit number evenly onto `0..limit` without a division.
#[inline(always)]
fn scale(number: u32, limit: u32) -> u32 {
    ((u64::from(number) * u64::from(limit)) >> 32) as u32
}

#[inline(always)]
pub fn random() -> u32 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_get_prandom_u32() }
}

/// A hash of the client's side and the frontend that every node computes alike.
#[inline(always)]
pub fn hash(key: &FlowKey) -> u32 {
    let ports = u32::from(key.source_port) << 16 | u32::from(key.destination_port);
    let mut state = ports ^ key.protocol;
    for word in [
        key.source.words[0],
        key.source.words[1],
        key.source.words[3],
        key.destination.words[3],
    ] {
        state = (state ^ word).wrapping_mul(0x9e37_79b1);
        state ^= state >> 15;
    }
    state
}
