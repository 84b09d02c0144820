//! What a pod sends, and what reaches it through the host's stack.

use aya_ebpf::programs::TcContext;
use kedge_proxy_maps::*;

use crate::flow::{carry, collides, is_usable, open, redirect, send};
use crate::maps::{CONFIG, CT, EP, Scratch, count, is_local, now_seconds, scratch};
use crate::packet::{self, Kind, Other, parse};
use crate::refuse::refuse;
use crate::route::{masquerade, target};
use crate::service::{Chosen, choose, find};
use crate::{DROP, PASS, icmp};

/// `pod_in`: one lookup carries a known flow; everything else is judged once.
#[inline(always)]
pub fn ingress(ctx: &TcContext) -> i32 {
    let Some(scratch) = scratch() else { return DROP };
    match parse(ctx, &mut scratch.packet) {
        Ok(()) => {}
        Err(Other::Pass) => return PASS,
        Err(Other::Drop) => return DROP,
    }
    // SAFETY: the context is the program's own.
    scratch.ifindex = unsafe { (*ctx.skb.skb).ifindex };
    scratch.now = now_seconds();
    let packet = &scratch.packet;
    if packet.kind == Kind::Error {
        return error(ctx, scratch);
    }
    if let Some(flow) = CT.get_ptr_mut(&packet.key) {
        // SAFETY: see `carry`. A flow from another interface is a forged source, or a pod that inherited the address:
        // `judge` decides.
        if unsafe { (*flow).from == scratch.ifindex && is_usable(packet, &*flow, scratch.now) } {
            return carry(ctx, packet, flow, scratch.now, true);
        }
    }
    judge(ctx, scratch)
}

/// The address must be the pod's own: policy, affinity and the flow table rest on it.
#[inline(always)]
fn is_genuine(source: &Address, ifindex: u32) -> bool {
    // SAFETY: one word is read.
    unsafe { EP.get(source) }.is_some_and(|endpoint| endpoint.ifindex == ifindex)
}

/// A packet without a flow.
#[inline(never)]
fn judge(ctx: &TcContext, scratch: &mut Scratch) -> i32 {
    let packet = &scratch.packet;
    let key = &packet.key;
    if !is_genuine(&key.source, scratch.ifindex) {
        count(stat::DROPPED_SOURCE);
        return DROP;
    }
    // SAFETY: one word is read.
    if let Some(endpoint) = unsafe { EP.get(&key.destination) } {
        return to_pod(ctx, scratch, endpoint.ifindex);
    }
    if packet.has_service_protocol() {
        let opens = packet.may_open();
        let found = find(
            &key.destination,
            key.destination_port,
            key.protocol,
            scope::INTERNAL,
            opens,
        );
        if let Some(service) = found {
            scratch.service = service;
            return to_service(ctx, scratch);
        }
    }
    if is_local(&key.destination) || packet::is_multicast(&key.destination) {
        return PASS;
    }
    let Some(config) = CONFIG.get(0) else { return DROP };
    if packet.has_service_protocol()
        && key
            .destination
            .is_in(&config.service_prefix, &config.service_mask)
    {
        return refuse(ctx, packet);
    }
    if key
        .destination
        .is_in(&config.cluster_prefix, &config.cluster_mask)
    {
        return PASS;
    }
    to_world(ctx, scratch)
}

/// Straight to a pod of this node: no flow is kept, unless its answers would be taken for a service's.
#[inline(always)]
fn to_pod(ctx: &TcContext, scratch: &mut Scratch, to: u32) -> i32 {
    if scratch.packet.may_open() && collides(&scratch.packet.key) {
        begin(scratch, 0);
        scratch.flow.deliver = deliver::POD;
        scratch.flow.ifindex = to;
        return open_and_send(ctx, scratch, false);
    }
    let packet = &scratch.packet;
    if packet.ttl <= 1 {
        return PASS;
    }
    match packet::hop(ctx, packet) {
        Some(()) => redirect(deliver::POD, to),
        None => DROP,
    }
}

#[inline(never)]
fn to_service(ctx: &TcContext, scratch: &mut Scratch) -> i32 {
    begin(scratch, 0);
    match choose(scratch) {
        Chosen::Backend => {}
        Chosen::Refuse => return refuse(ctx, &scratch.packet),
        Chosen::Drop => return DROP,
    }
    let Some(masquerades) = target(ctx, scratch) else {
        return PASS;
    };
    if scratch.flow.ifindex == scratch.ifindex && scratch.flow.deliver == deliver::POD {
        // A pod that reaches itself would answer over its own loopback: it must see somebody else.
        let Some(config) = CONFIG.get(0) else { return DROP };
        scratch.flow.source = if scratch.packet.is_v4 {
            config.gateway4
        } else {
            config.gateway6
        };
    }
    open_and_send(ctx, scratch, masquerades)
}

#[inline(always)]
fn to_world(ctx: &TcContext, scratch: &mut Scratch) -> i32 {
    begin(scratch, 0);
    if !masquerade(ctx, scratch) {
        return PASS;
    }
    count(stat::MASQUERADED_FLOWS);
    open_and_send(ctx, scratch, true)
}

/// A flow for the packet that changes nothing yet.
#[inline(always)]
pub fn begin(scratch: &mut Scratch, from_uplink: u8) {
    let key = &scratch.packet.key;
    scratch.flow = Flow {
        source: key.source,
        destination: key.destination,
        source_port: key.source_port,
        destination_port: key.destination_port,
        deliver: deliver::STACK,
        reply: 0,
        from_uplink,
        reserved: 0,
        state: 0,
        ifindex: 0,
        from: scratch.ifindex,
        backend: 0,
        generation: 0,
        seen: scratch.now,
    };
}

#[inline(never)]
pub fn open_and_send(ctx: &TcContext, scratch: &mut Scratch, masquerades: bool) -> i32 {
    if !open(scratch, masquerades) {
        return DROP;
    }
    send(ctx, &scratch.packet, &scratch.flow, true)
}

/// An ICMP error from a pod: about a flow's packet, or about a direct one.
#[inline(never)]
fn error(ctx: &TcContext, scratch: &Scratch) -> i32 {
    if !is_genuine(&scratch.packet.key.source, scratch.ifindex) {
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
    let Some(scratch) = scratch() else { return PASS };
    if parse(ctx, &mut scratch.packet).is_err() {
        return PASS;
    }
    let packet = &scratch.packet;
    if packet.kind == Kind::Error {
        icmp::translate(ctx);
        return PASS;
    }
    match CT.get_ptr_mut(&packet.key) {
        // SAFETY: see `carry`.
        Some(flow) if unsafe { (*flow).reply != 0 && (*flow).from == 0 } => {
            carry(ctx, packet, flow, now_seconds(), false)
        }
        _ => PASS,
    }
}
