//! Where a translated packet goes, and whose address it wears outside the cluster.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as FibLookup};
use aya_ebpf::helpers::bpf_fib_lookup;
use aya_ebpf::programs::TcContext;
use kedge_proxy_maps::*;

use crate::maps::{CONFIG, EP, Scratch, UPLINK, is_local};
use crate::packet::Packet;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Sets how the flow's destination is reached and says whether the source was masqueraded; `None` if there is no way.
#[inline(always)]
pub fn target(ctx: &TcContext, scratch: &mut Scratch) -> Option<bool> {
    let flow = &mut scratch.flow;
    // SAFETY: one word is read.
    if let Some(endpoint) = unsafe { EP.get(&flow.destination) } {
        flow.deliver = deliver::POD;
        flow.ifindex = endpoint.ifindex;
        return Some(false);
    }
    let config = CONFIG.get(0)?;
    let in_cluster = flow
        .destination
        .is_in(&config.cluster_prefix, &config.cluster_mask);
    if is_local(&flow.destination) || in_cluster {
        flow.deliver = deliver::STACK;
        return Some(false);
    }
    masquerade(ctx, scratch).then_some(true)
}

/// Sends the flow out of the uplink that the routing table names, from that uplink's address. False: no such way, and the
/// stack may say so.
#[inline(never)]
pub fn masquerade(ctx: &TcContext, scratch: &mut Scratch) -> bool {
    let Scratch { packet, flow, .. } = scratch;
    let Some(ifindex) = egress_ifindex(ctx, packet, flow) else {
        return false;
    };
    // SAFETY: the value is copied at once.
    let Some(uplink) = (unsafe { UPLINK.get(ifindex) }) else {
        return false;
    };
    let address = if packet.is_v4 {
        uplink.address4
    } else {
        uplink.address6
    };
    if address.is_unspecified() {
        return false;
    }
    flow.source = address;
    flow.deliver = deliver::UPLINK;
    flow.ifindex = ifindex;
    true
}

#[inline(always)]
fn egress_ifindex(ctx: &TcContext, packet: &Packet, flow: &Flow) -> Option<u32> {
    // SAFETY: the structure is plain words, for which zero is a value.
    let mut fib: FibLookup = unsafe { core::mem::zeroed() };
    fib.family = if packet.is_v4 { AF_INET } else { AF_INET6 };
    fib.l4_protocol = packet.key.protocol as u8;
    // SAFETY: the context is the program's own.
    fib.ifindex = unsafe { (*ctx.skb.skb).ifindex };
    if packet.is_v4 {
        fib.__bindgen_anon_3.ipv4_src = packet.key.source.words[3];
        fib.__bindgen_anon_4.ipv4_dst = flow.destination.words[3];
    } else {
        fib.__bindgen_anon_3.ipv6_src = packet.key.source.words;
        fib.__bindgen_anon_4.ipv6_dst = flow.destination.words;
    }
    // SAFETY: context and parameters are ours, the length is the structure's.
    let result = unsafe { bpf_fib_lookup(ctx.as_ptr(), &mut fib, size_of::<FibLookup>() as i32, 0) };
    (result == i64::from(BPF_FIB_LKUP_RET_SUCCESS) || result == i64::from(BPF_FIB_LKUP_RET_NO_NEIGH))
        .then_some(fib.ifindex)
}
