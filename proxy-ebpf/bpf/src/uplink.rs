//! What arrives from outside: replies to our own flows, and clients of NodePorts and external addresses.

use aya_ebpf::programs::TcContext;
use kedge_proxy_maps::*;

use crate::flow::{carry, is_usable, open, redirect, send};
use crate::maps::{CT, count, now_seconds};
use crate::packet::{Kind, Packet, parse};
use crate::pod::new_flow;
use crate::route::target;
use crate::service::{Choice, find, hash, pick};
use crate::{DROP, PASS, icmp};

/// `up_in`
#[inline(always)]
pub fn ingress(ctx: &TcContext) -> i32 {
    let packet = match parse(ctx) {
        Ok(packet) => packet,
        Err(_) => return PASS,
    };
    if packet.kind == Kind::Error {
        return match icmp::translate(ctx) {
            Some(flow) if flow.deliver != deliver::STACK => redirect(flow.deliver, flow.ifindex),
            _ => PASS,
        };
    }
    let now = now_seconds();
    if let Some(flow) = CT.get_ptr_mut(packet.key) {
        // SAFETY: see `carry`. Replies may take another uplink than the requests did.
        if unsafe { (*flow).from_uplink != 0 && is_usable(&packet, &*flow, now) } {
            return carry(ctx, &packet, flow, now, true);
        }
    }
    if !packet.has_service_protocol() {
        return PASS;
    }
    let key = &packet.key;
    match find(&key.destination, key.destination_port, key.protocol, scope::EXTERNAL, packet.may_open()) {
        Some(service) => to_service(ctx, &packet, &service, now),
        None => PASS,
    }
}

/// The client's address is kept where the backend is a pod of this node, because its answers pass by here anyway.
#[inline(never)]
fn to_service(ctx: &TcContext, packet: &Packet, service: &ServiceValue, now: u32) -> i32 {
    let key = &packet.key;
    let (id, backend) = match pick(service, &key.source, hash(key), now) {
        Choice::Backend { id, backend } => (id, backend),
        // No socket listens there: the stack refuses, in its own name.
        Choice::Refuse | Choice::NoService => return PASS,
        Choice::Drop => {
            count(stat::DROPPED_EMPTY);
            return DROP;
        }
    };
    count(stat::SERVICE_FLOWS);
    // SAFETY: the context is the program's own.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    let mut flow = new_flow(key, ifindex, now);
    flow.from_uplink = 1;
    flow.destination = backend.address;
    flow.destination_port = backend.port;
    flow.backend = id;
    flow.generation = backend.generation;
    let Some(masquerades) = target(ctx, packet, &mut flow) else { return PASS };
    if !open(key, &mut flow, masquerades) {
        return DROP;
    }
    send(ctx, packet, &flow, true)
}
