//! What arrives from outside: replies to our own flows, and clients of NodePorts and external addresses.

use aya_ebpf::programs::TcContext;
use kedge_proxy_maps::*;

use crate::flow::{carry, is_usable, redirect};
use crate::maps::{CT, Scratch, now_seconds, scratch};
use crate::packet::{Kind, parse};
use crate::pod::{begin, open_and_send};
use crate::route::target;
use crate::service::{Chosen, choose, find};
use crate::{DROP, PASS, icmp};

/// `up_in`
#[inline(always)]
pub fn ingress(ctx: &TcContext) -> i32 {
    let Some(scratch) = scratch() else { return PASS };
    if parse(ctx, &mut scratch.packet).is_err() {
        return PASS;
    }
    let packet = &scratch.packet;
    if packet.kind == Kind::Error {
        return match icmp::translate(ctx) {
            Some(flow) if flow.deliver != deliver::STACK => redirect(flow.deliver, flow.ifindex),
            _ => PASS,
        };
    }
    scratch.now = now_seconds();
    if let Some(flow) = CT.get_ptr_mut(&packet.key) {
        // SAFETY: see `carry`. Replies may take another uplink than the requests did.
        if unsafe { (*flow).from_uplink != 0 && is_usable(packet, &*flow, scratch.now) } {
            return carry(ctx, packet, flow, scratch.now, true);
        }
    }
    if !packet.has_service_protocol() {
        return PASS;
    }
    // SAFETY: the context is the program's own.
    scratch.ifindex = unsafe { (*ctx.skb.skb).ifindex };
    judge(ctx, scratch)
}

/// A packet without a flow. The client's address is kept where the backend is a pod of this node, because its answers
/// pass by here anyway.
#[inline(never)]
fn judge(ctx: &TcContext, scratch: &mut Scratch) -> i32 {
    let key = &scratch.packet.key;
    let opens = scratch.packet.may_open();
    let Some(service) = find(
        &key.destination,
        key.destination_port,
        key.protocol,
        scope::EXTERNAL,
        opens,
    ) else {
        return PASS;
    };
    scratch.service = service;
    begin(scratch, 1);
    match choose(scratch) {
        Chosen::Backend => {}
        // No socket listens there: the stack refuses, in its own name.
        Chosen::Refuse => return PASS,
        Chosen::Drop => return DROP,
    }
    let Some(masquerades) = target(ctx, scratch) else {
        return PASS;
    };
    open_and_send(ctx, scratch, masquerades)
}
