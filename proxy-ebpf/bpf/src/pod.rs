//! What a pod sends, and what reaches it through the host's stack.

use aya_ebpf::programs::TcContext;
use kedge_proxy_maps::*;

use crate::flow::{carry, collides, is_usable, open, redirect, send};
use crate::maps::{CONFIG, CT, EP, count, is_local, now_seconds};
use crate::packet::{self, Kind, Other, Packet, parse};
use crate::refuse::refuse;
use crate::route::{masquerade, target};
use crate::service::{Choice, find, hash, pick};
use crate::{DROP, PASS, icmp};

/// `pod_in`: one lookup carries a known flow; everything else is judged once.
#[inline(always)]
pub fn ingress(ctx: &TcContext) -> i32 {
    let packet = match parse(ctx) {
        Ok(packet) => packet,
        Err(Other::Pass) => return PASS,
        Err(Other::Drop) => return DROP,
    };
    // SAFETY: the context is the program's own.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    if packet.kind == Kind::Error {
        return error(ctx, &packet, ifindex);
    }
    let now = now_seconds();
    if let Some(flow) = CT.get_ptr_mut(packet.key) {
        // SAFETY: see `carry`. A flow from another interface is a forged source, or a pod that inherited the address:
        // the check below decides.
        if unsafe { (*flow).from == ifindex && is_usable(&packet, &*flow, now) } {
            return carry(ctx, &packet, flow, now, true);
        }
    }
    judge(ctx, &packet, ifindex, now)
}

/// The address must be the pod's own: policy, affinity and the flow table rest on it.
#[inline(always)]
fn is_genuine(source: &Address, ifindex: u32) -> bool {
    // SAFETY: one word is read.
    unsafe { EP.get(source) }.is_some_and(|endpoint| endpoint.ifindex == ifindex)
}

/// A packet without a flow.
#[inline(never)]
fn judge(ctx: &TcContext, packet: &Packet, ifindex: u32, now: u32) -> i32 {
    let key = &packet.key;
    if !is_genuine(&key.source, ifindex) {
        count(stat::DROPPED_SOURCE);
        return DROP;
    }
    // SAFETY: one word is read.
    if let Some(endpoint) = unsafe { EP.get(key.destination) } {
        return to_pod(ctx, packet, ifindex, endpoint.ifindex, now);
    }
    if packet.has_service_protocol() {
        let opens = packet.may_open();
        if let Some(service) =
            find(&key.destination, key.destination_port, key.protocol, scope::INTERNAL, opens)
        {
            return to_service(ctx, packet, &service, ifindex, now);
        }
    }
    if is_local(&key.destination) || packet::is_multicast(&key.destination) {
        return PASS;
    }
    let Some(config) = CONFIG.get(0) else { return DROP };
    if packet.has_service_protocol() && key.destination.is_in(&config.service_prefix, &config.service_mask) {
        return refuse(ctx, packet);
    }
    if key.destination.is_in(&config.cluster_prefix, &config.cluster_mask) {
        return PASS;
    }
    to_world(ctx, packet, ifindex, now)
}

/// Straight to a pod of this node: no flow is kept, unless its answers would be taken for a service's.
#[inline(always)]
fn to_pod(ctx: &TcContext, packet: &Packet, from: u32, to: u32, now: u32) -> i32 {
    if packet.may_open() && collides(&packet.key) {
        let mut flow = new_flow(&packet.key, from, now);
        flow.deliver = deliver::POD;
        flow.ifindex = to;
        if !open(&packet.key, &mut flow, false) {
            return DROP;
        }
        return send(ctx, packet, &flow, true);
    }
    if packet.ttl <= 1 {
        return PASS;
    }
    match packet::hop(ctx, packet) {
        Some(()) => redirect(deliver::POD, to),
        None => DROP,
    }
}

#[inline(never)]
fn to_service(ctx: &TcContext, packet: &Packet, service: &ServiceValue, from: u32, now: u32) -> i32 {
    let key = &packet.key;
    let (id, backend) = match pick(service, &key.source, hash(key), now) {
        Choice::Backend { id, backend } => (id, backend),
        Choice::Refuse | Choice::NoService => return refuse(ctx, packet),
        Choice::Drop => {
            count(stat::DROPPED_EMPTY);
            return DROP;
        }
    };
    count(stat::SERVICE_FLOWS);
    let mut flow = new_flow(key, from, now);
    flow.destination = backend.address;
    flow.destination_port = backend.port;
    flow.backend = id;
    flow.generation = backend.generation;
    let Some(masquerades) = target(ctx, packet, &mut flow) else { return PASS };
    if flow.ifindex == from && flow.deliver == deliver::POD {
        // A pod that reaches itself would answer over its own loopback: it must see somebody else.
        let Some(config) = CONFIG.get(0) else { return DROP };
        flow.source = if packet.is_v4 { config.gateway4 } else { config.gateway6 };
    }
    if !open(key, &mut flow, masquerades) {
        return DROP;
    }
    send(ctx, packet, &flow, true)
}

#[inline(never)]
fn to_world(ctx: &TcContext, packet: &Packet, from: u32, now: u32) -> i32 {
    let mut flow = new_flow(&packet.key, from, now);
    if !masquerade(ctx, packet, &mut flow) {
        return PASS;
    }
    if !open(&packet.key, &mut flow, true) {
        return DROP;
    }
    count(stat::MASQUERADED_FLOWS);
    send(ctx, packet, &flow, true)
}

/// A flow that changes nothing yet.
#[inline(always)]
pub fn new_flow(key: &FlowKey, from: u32, now: u32) -> Flow {
    Flow {
        source: key.source,
        destination: key.destination,
        source_port: key.source_port,
        destination_port: key.destination_port,
        from,
        seen: now,
        ..Flow::default()
    }
}

/// An ICMP error from a pod: about a flow's packet, or about a direct one.
#[inline(never)]
fn error(ctx: &TcContext, packet: &Packet, ifindex: u32) -> i32 {
    if !is_genuine(&packet.key.source, ifindex) {
        count(stat::DROPPED_SOURCE);
        return DROP;
    }
    match icmp::translate(ctx) {
        Some(flow) if flow.deliver != deliver::STACK => redirect(flow.deliver, flow.ifindex),
        _ => PASS,
    }
}

/// `pod_out` and `up_out`: what the stack sends is on its way already; a flow's replies get their names back.
#[inline(always)]
pub fn egress(ctx: &TcContext) -> i32 {
    let packet = match parse(ctx) {
        Ok(packet) => packet,
        Err(_) => return PASS,
    };
    if packet.kind == Kind::Error {
        icmp::translate(ctx);
        return PASS;
    }
    match CT.get_ptr_mut(packet.key) {
        // SAFETY: see `carry`.
        Some(flow) if unsafe { (*flow).reply != 0 && (*flow).from == 0 } => {
            carry(ctx, &packet, flow, now_seconds(), false)
        }
        _ => PASS,
    }
}
