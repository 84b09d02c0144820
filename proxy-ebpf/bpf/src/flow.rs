//! Flows: the pair of `CT` entries behind every translated connection.
//!
//! ```text
//! request entry   (client, frontend) → (client or our address, backend)
//! reply entry     (backend, what it saw as client) → (frontend, client)
//! ```
//!
//! The reply entry is claimed first and never taken from a flow that lives: where two flows would look the same to their
//! backend (two services, or a service and a direct connection, from one source port), the later one's source port moves.
//! The entries vouch for each other: if the LRU evicts one, the other puts it back within seconds.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_redirect_neigh, bpf_redirect_peer};
use aya_ebpf::programs::TcContext;
use kedge_proxy_maps::*;

use crate::maps::{BACKENDS, CONFIG, CT, Scratch, count, now_seconds};
use crate::packet::{self, FIN, Kind, Packet, RST};
use crate::{DROP, PASS};

/// Tries to find a free source port; at this many the packet is dropped and counted.
const PORT_TRIES: u32 = 6;

/// Whether a flow that the packet hit may still carry it. A client that opens anew gets a new choice once the old
/// connection is over or its backend gone; a datagram also when its backend was removed or the flow has been idle.
#[inline(always)]
pub fn is_usable(packet: &Packet, flow: &Flow, now: u32) -> bool {
    if flow.reply != 0 {
        return true;
    }
    if packet.kind == Kind::Tcp {
        return !packet.is_opening_syn() || !(flow.is_closed() || is_orphan(flow));
    }
    !is_orphan(flow) && now.wrapping_sub(flow.seen) < DATAGRAM_IDLE_SECONDS
}

/// The flow's backend was removed, or its id belongs to another.
#[inline(always)]
fn is_orphan(flow: &Flow) -> bool {
    if flow.backend == 0 {
        return false;
    }
    match BACKENDS.get(flow.backend) {
        Some(backend) => backend.live == 0 || backend.generation != flow.generation,
        None => true,
    }
}

/// Sends a packet the flow's way and keeps the flow's books. `may_redirect` is false at egress hooks, where the stack has
/// already decided.
#[inline(always)]
pub fn carry(ctx: &TcContext, packet: &Packet, flow: *mut Flow, now: u32, may_redirect: bool) -> i32 {
    // SAFETY: the pointer comes from a lookup in this program run; map memory outlives it. A concurrent reuse of the
    // element by the LRU can at worst misdirect this one packet.
    let flow = unsafe { &mut *flow };
    if packet.tcp_flags & (FIN | RST) != 0 {
        note_end(packet, flow);
    }
    if now.wrapping_sub(flow.seen) >= FLOW_TOUCH_SECONDS {
        flow.seen = now;
        let copy = *flow;
        vouch(&packet.key, &copy);
    }
    send(ctx, packet, flow, may_redirect)
}

/// Rewrites and delivers.
#[inline(always)]
pub fn send(ctx: &TcContext, packet: &Packet, flow: &Flow, may_redirect: bool) -> i32 {
    let (deliver, ifindex) = (flow.deliver, flow.ifindex);
    let routes = may_redirect && deliver != deliver::STACK;
    if routes && packet.ttl <= 1 {
        // The stack says "time exceeded".
        return PASS;
    }
    if packet::rewrite(ctx, packet, flow, routes).is_none() {
        return DROP;
    }
    if routes { redirect(deliver, ifindex) } else { PASS }
}

#[inline(always)]
pub fn redirect(deliver: u8, ifindex: u32) -> i32 {
    // SAFETY: both helpers take plain numbers; without parameters redirect_neigh asks the routing table.
    unsafe {
        if deliver == deliver::POD {
            bpf_redirect_peer(ifindex, 0) as i32
        } else {
            bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) as i32
        }
    }
}

/// Marks both entries when either side ends the connection.
#[inline(never)]
fn note_end(packet: &Packet, flow: &mut Flow) {
    let bit = match (packet.tcp_flags & RST != 0, flow.reply) {
        (true, _) => flow_state::RESET,
        (false, 0) => flow_state::FIN_REQUEST,
        (false, _) => flow_state::FIN_REPLY,
    };
    flow.state |= bit;
    if let Some(partner) = CT.get_ptr_mut(flow.partner(packet.key.protocol)) {
        // SAFETY: as in `carry`.
        unsafe { (*partner).state |= bit };
    }
}

/// Renews the partner's place in the LRU, or puts it back.
#[inline(never)]
fn vouch(key: &FlowKey, flow: &Flow) {
    let partner = flow.partner(key.protocol);
    if let Some(other) = CT.get_ptr_mut(partner) {
        // SAFETY: as in `carry`.
        unsafe { (*other).seen = flow.seen };
        return;
    }
    count(stat::REPAIRED);
    let _ = CT.insert(partner, other_direction(key, flow), u64::from(BPF_NOEXIST));
}

/// The entry of the opposite direction: what one delivers to is where the other comes from.
#[inline(always)]
fn other_direction(key: &FlowKey, flow: &Flow) -> Flow {
    let (deliver, ifindex) = flow.return_path();
    Flow {
        source: key.destination,
        destination: key.source,
        source_port: key.destination_port,
        destination_port: key.source_port,
        deliver,
        reply: flow.reply ^ 1,
        from_uplink: u8::from(flow.deliver == deliver::UPLINK),
        reserved: 0,
        state: flow.state,
        ifindex,
        from: flow.ifindex,
        backend: flow.backend,
        generation: flow.generation,
        seen: flow.seen,
    }
}

/// Opens the flow of the packet: claims the reply entry, moving the source port if need be, then writes the request entry.
/// `masquerades` says that the source became one of our addresses.
#[inline(never)]
pub fn open(scratch: &mut Scratch, masquerades: bool) -> bool {
    let Some(config) = CONFIG.get(0) else { return false };
    let span = u32::from(config.nat_port_max.wrapping_sub(config.nat_port_min)) + 1;
    let mut pick = u32::from(u16::from_be(scratch.packet.key.source_port));
    let mut moves = masquerades;
    for _ in 0..PORT_TRIES {
        let moved = (config.nat_port_min + (pick % span) as u16).to_be();
        scratch.flow.source_port = if moves {
            moved
        } else {
            scratch.packet.key.source_port
        };
        if claim(scratch) {
            return CT
                .insert(&scratch.packet.key, &scratch.flow, u64::from(BPF_ANY))
                .is_ok();
        }
        moves = true;
        // SAFETY: the helper takes nothing.
        pick = unsafe { bpf_get_prandom_u32() };
    }
    count(stat::DROPPED_NO_PORT);
    false
}

/// Takes the reply entry if it is free, our own, or left over from a flow that has ended.
#[inline(never)]
fn claim(scratch: &mut Scratch) -> bool {
    let Scratch {
        packet,
        flow,
        reply,
        partner,
        ..
    } = scratch;
    let key = &packet.key;
    *partner = flow.partner(key.protocol);
    *reply = other_direction(key, flow);
    if CT.insert(&*partner, &*reply, u64::from(BPF_NOEXIST)).is_ok() {
        return true;
    }
    let Some(other) = CT.get_ptr_mut(&*partner) else {
        return false;
    };
    // SAFETY: as in `carry`.
    let other = unsafe { &*other };
    let is_ours = other.destination == key.source
        && other.destination_port == key.source_port
        && other.source == key.destination
        && other.source_port == key.destination_port;
    if !is_ours && is_live(other, key.protocol, flow.seen) {
        count(stat::MOVED_PORTS);
        return false;
    }
    CT.insert(&*partner, &*reply, u64::from(BPF_ANY)).is_ok()
}

#[inline(always)]
pub fn is_live(flow: &Flow, protocol: u32, now: u32) -> bool {
    if protocol == u32::from(TCP) {
        return !flow.is_closed();
    }
    now.wrapping_sub(flow.seen) < DATAGRAM_IDLE_SECONDS
}

/// Whether the answers to a direct packet would be mistaken for a service flow's: the reply entry exists and lives.
#[inline(always)]
pub fn collides(key: &FlowKey) -> bool {
    // SAFETY: as in `carry`.
    match unsafe { CT.get(key.inverse()) } {
        Some(flow) => flow.reply != 0 && is_live(flow, key.protocol, now_seconds()),
        None => false,
    }
}
