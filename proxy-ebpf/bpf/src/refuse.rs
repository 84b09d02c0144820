//! Refusals: a packet for a service without backends comes back as a TCP reset or "port unreachable", in microseconds and
//! without the stack, a socket or a rate limit being involved.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{bpf_csum_diff, bpf_redirect_peer, bpf_skb_change_tail, bpf_skb_store_bytes};
use aya_ebpf::programs::TcContext;
use kedge_proxy_maps::*;

use crate::maps::count;
use crate::packet::{ACK, Ipv4Header, Kind, Packet, RST, SYN, l4};
use crate::{DROP, PASS};

const ETHERNET: usize = 14;
/// What an ICMP error quotes of an IPv4 packet: its header and eight bytes.
const QUOTE: usize = 28;

#[repr(C)]
struct TcpHeader {
    source: u16,
    destination: u16,
    sequence: u32,
    acknowledgement: u32,
    offset_flags: [u8; 2],
    window: u16,
    checksum: u16,
    urgent: u16,
}

/// Turns the packet into its refusal and sends it back into the pod it came from.
#[inline(never)]
pub fn refuse(ctx: &TcContext, packet: &Packet) -> i32 {
    count(stat::REFUSED);
    let made = match (packet.kind, packet.is_v4) {
        (Kind::Tcp, is_v4) => reset(ctx, packet, is_v4),
        (_, true) => port_unreachable(ctx, packet),
        // The stack has no route for it and says so.
        (_, false) => return PASS,
    };
    if made.is_none() {
        return DROP;
    }
    // SAFETY: the skb is the program's own; the helper takes plain numbers.
    unsafe { bpf_redirect_peer((*ctx.skb.skb).ifindex, 0) as i32 }
}

#[inline(always)]
fn store<T>(ctx: &TcContext, offset: usize, value: &T) -> Option<()> {
    let from = core::ptr::from_ref(value).cast_mut().cast();
    // SAFETY: `value` is a whole object of its size on our stack.
    let result = unsafe { bpf_skb_store_bytes(ctx.skb.skb, offset as u32, from, size_of::<T>() as u32, 0) };
    (result == 0).then_some(())
}

#[inline(always)]
fn resize(skb: *mut __sk_buff, length: usize) -> Option<()> {
    // SAFETY: the skb is the program's own; packet pointers are not used across the call.
    let result = unsafe { bpf_skb_change_tail(skb, length as u32, 0) };
    (result == 0).then_some(())
}

/// The folded ones' complement checksum of a structure, on top of `seed`.
#[inline(always)]
fn checksum<T>(value: &T, seed: u32) -> u16 {
    let from = core::ptr::from_ref(value).cast_mut().cast();
    // SAFETY: the helper reads `size_of::<T>()` bytes of our stack, a multiple of four.
    let total = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, from, size_of::<T>() as u32, seed) } as u32;
    let folded = (total & 0xffff) + (total >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// The sum of the pseudo header, the same for both directions.
#[inline(always)]
fn pseudo_header(packet: &Packet, length: u16) -> u32 {
    let mut words = [
        0u32,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        u32::from(length.to_be()),
        u32::from((packet.key.protocol as u16).to_be()),
    ];
    if packet.is_v4 {
        words[0] = packet.key.source.words[3];
        words[1] = packet.key.destination.words[3];
    } else {
        words[..4].copy_from_slice(&packet.key.source.words);
        words[4..8].copy_from_slice(&packet.key.destination.words);
    }
    !u32::from(checksum(&words, 0)) & 0xffff
}

/// RFC 9293 3.10.7.1: to a segment with ACK the reset takes its number from there, to any other it acknowledges it.
#[inline(always)]
fn reset(ctx: &TcContext, packet: &Packet, is_v4: bool) -> Option<()> {
    let asked: TcpHeader = ctx.load(packet.l4()).ok()?;
    if packet.tcp_flags & RST != 0 {
        return None;
    }
    let had_ack = packet.tcp_flags & ACK != 0;
    let after = u32::from_be(asked.sequence).wrapping_add(u32::from(packet.tcp_flags & SYN != 0));
    let mut answer = TcpHeader {
        source: packet.key.destination_port,
        destination: packet.key.source_port,
        sequence: if had_ack { asked.acknowledgement } else { 0 },
        acknowledgement: if had_ack { 0 } else { after.to_be() },
        offset_flags: [5 << 4, if had_ack { RST } else { RST | ACK }],
        window: 0,
        checksum: 0,
        urgent: 0,
    };
    answer.checksum = checksum(&answer, pseudo_header(packet, size_of::<TcpHeader>() as u16));
    resize(ctx.skb.skb, l4(is_v4) + size_of::<TcpHeader>())?;
    store(ctx, l4(is_v4), &answer)?;
    if is_v4 {
        return store(ctx, ETHERNET, &ipv4_header(packet, TCP, size_of::<TcpHeader>()));
    }
    store(ctx, ETHERNET + 4, &(size_of::<TcpHeader>() as u16).to_be())?;
    store(
        ctx,
        ETHERNET + 8,
        &[packet.key.destination.words, packet.key.source.words],
    )
}

#[inline(always)]
fn port_unreachable(ctx: &TcContext, packet: &Packet) -> Option<()> {
    let quote: [u32; QUOTE / 4] = ctx.load(ETHERNET).ok()?;
    let mut answer = [0u32; 2 + QUOTE / 4];
    // Destination unreachable, port.
    answer[0] = u32::from_ne_bytes([3, 3, 0, 0]);
    answer[2..].copy_from_slice(&quote);
    let checksum = checksum(&answer, 0).to_ne_bytes();
    answer[0] = u32::from_ne_bytes([3, 3, checksum[0], checksum[1]]);
    resize(ctx.skb.skb, l4(true) + size_of_val(&answer))?;
    store(ctx, ETHERNET, &ipv4_header(packet, ICMP, size_of_val(&answer)))?;
    store(ctx, l4(true), &answer)
}

#[inline(always)]
fn ipv4_header(packet: &Packet, protocol: u8, payload: usize) -> Ipv4Header {
    let mut header = Ipv4Header {
        version_ihl: 0x45,
        tos: 0,
        length: ((size_of::<Ipv4Header>() + payload) as u16).to_be(),
        id: 0,
        fragment: 0x4000_u16.to_be(),
        ttl: 64,
        protocol,
        checksum: 0,
        source: packet.key.destination.words[3],
        destination: packet.key.source.words[3],
    };
    header.checksum = checksum(&header, 0);
    header
}
