//! Packets: the tuple read from the headers, and the tuple written back with every checksum right.
//!
//! Headers are read and written in place. Layer-4 checksums go through the kernel's helper, because only it knows whether
//! the checksum is finished, partial (left to the device) or complete. IPv4 options and IPv6 extension headers are passed
//! by untouched; IPv4 fragments after the first find their ports in `FRAG`.
//!
//! Header structures have their natural alignment although packets do not: the machines we run on load words from any
//! address, and the verifier allows it there; byte by byte, parsing would cost several times as much.

use aya_ebpf::bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR};
use aya_ebpf::programs::TcContext;
use kedge_proxy_maps::*;

use crate::maps::FRAG;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;

/// What one hop less changes in the header's sum; the time to live is the first byte of its 16-bit word.
const ONE_HOP: u32 = !(u16::from_ne_bytes([1, 0]) as u32);

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Udp,
    EchoRequest,
    EchoReply,
    /// An ICMP error; its key is that of the quoted packet.
    Error,
    /// A fragment that has no layer-4 header.
    Fragment,
}

pub struct Packet {
    pub key: FlowKey,
    pub kind: Kind,
    pub is_v4: bool,
    pub tcp_flags: u8,
    /// Time to live, hop limit.
    pub ttl: u8,
}

/// Why there is no [`Packet`].
pub enum Other {
    /// Not ours to judge: ARP, neighbour discovery, other protocols.
    Pass,
    Drop,
}

#[repr(C)]
pub struct Ipv4Header {
    pub version_ihl: u8,
    pub tos: u8,
    pub length: u16,
    pub id: u16,
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: u16,
    pub source: u32,
    pub destination: u32,
}

#[repr(C)]
struct Ipv6Header {
    version_class_label: u32,
    length: u16,
    next: u8,
    hops: u8,
    source: [u32; 4],
    destination: [u32; 4],
}

/// The first eight bytes of TCP, UDP and ICMP alike.
#[repr(C)]
struct Ports {
    source: u16,
    destination: u16,
    /// ICMP: the echo id.
    id: u16,
    sequence: u16,
}

impl Packet {
    #[inline(always)]
    pub fn l4(&self) -> usize {
        l4(self.is_v4)
    }

    #[inline(always)]
    pub fn is_opening_syn(&self) -> bool {
        self.kind == Kind::Tcp && self.tcp_flags & (SYN | ACK) == SYN
    }

    /// A packet that may begin something: TCP only by a SYN, anything else by every packet.
    #[inline(always)]
    pub fn may_open(&self) -> bool {
        self.kind != Kind::Tcp || self.is_opening_syn()
    }

    #[inline(always)]
    pub fn has_service_protocol(&self) -> bool {
        self.kind == Kind::Tcp || self.kind == Kind::Udp
    }
}

#[inline(always)]
pub const fn l4(is_v4: bool) -> usize {
    ETHERNET + if is_v4 { IPV4 } else { IPV6 }
}

/// A header in the packet's linear part. The pointer is good until the next helper that may move the packet.
#[inline(always)]
pub fn header<T>(ctx: &TcContext, offset: usize) -> Option<*mut T> {
    let (start, end) = bounds(ctx);
    if start + offset + size_of::<T>() > end {
        return None;
    }
    Some((start + offset) as *mut T)
}

/// `data` and `data_end` of the context, in instructions of fixed form: the verifier refuses a load through a context
/// pointer that was added to, which is what the compiler makes of a field it reads often.
#[inline(always)]
fn bounds(ctx: &TcContext) -> (usize, usize) {
    let (start, end): (usize, usize);
    // SAFETY: two loads from `struct __sk_buff`, whose layout is the kernel's promise.
    unsafe {
        core::arch::asm!(
            "{start} = *(u32 *)({skb} + 76)",
            "{end} = *(u32 *)({skb} + 80)",
            skb = in(reg) ctx.skb.skb,
            start = out(reg) start,
            end = out(reg) end,
        );
    }
    (start, end)
}

/// Reads the headers into `packet`.
#[inline(always)]
pub fn parse(ctx: &TcContext, packet: &mut Packet) -> Result<(), Other> {
    let protocol = ctx.skb.protocol() as u16;
    if protocol == 0x0800_u16.to_be() {
        if header::<[u8; ETHERNET + IPV4 + 20]>(ctx, 0).is_none() {
            // Short packets stay short; a longer one gets its headers into the linear part.
            let _ = ctx.pull_data((ETHERNET + IPV4 + 20) as u32);
        }
        parse_v4(ctx, packet)
    } else if protocol == 0x86dd_u16.to_be() {
        if header::<[u8; ETHERNET + IPV6 + 20]>(ctx, 0).is_none() {
            let _ = ctx.pull_data((ETHERNET + IPV6 + 20) as u32);
        }
        parse_v6(ctx, packet)
    } else {
        Err(Other::Pass)
    }
}

#[inline(always)]
fn parse_v4(ctx: &TcContext, packet: &mut Packet) -> Result<(), Other> {
    let ip = header::<Ipv4Header>(ctx, ETHERNET).ok_or(Other::Pass)?;
    // SAFETY: `header` checked the bounds; the structure is plain words.
    let ip = unsafe { &*ip };
    if ip.version_ihl != 0x45 {
        return Err(Other::Pass);
    }
    *packet = Packet {
        key: FlowKey {
            source: Address::v4(ip.source),
            destination: Address::v4(ip.destination),
            source_port: 0,
            destination_port: 0,
            protocol: ip.protocol.into(),
        },
        kind: Kind::Fragment,
        is_v4: true,
        tcp_flags: 0,
        ttl: ip.ttl,
    };
    let fragment = u16::from_be(ip.fragment);
    if fragment & 0x3fff == 0 {
        return read_l4(ctx, packet);
    }
    let id = u32::from(ip.id);
    parse_fragment(ctx, packet, id, fragment & 0x1fff != 0)
}

#[inline(always)]
fn parse_fragment(ctx: &TcContext, packet: &mut Packet, id: u32, is_later: bool) -> Result<(), Other> {
    let key = FragmentKey {
        source: packet.key.source,
        destination: packet.key.destination,
        id,
        protocol: packet.key.protocol,
    };
    if is_later {
        // SAFETY: the copy is of plain words; a torn read costs one fragment.
        let ports = *unsafe { FRAG.get(key) }.ok_or(Other::Drop)?;
        packet.key.source_port = ports.source_port;
        packet.key.destination_port = ports.destination_port;
        return Ok(());
    }
    read_l4(ctx, packet)?;
    let ports = FragmentPorts {
        source_port: packet.key.source_port,
        destination_port: packet.key.destination_port,
    };
    let _ = FRAG.insert(key, ports, 0);
    Ok(())
}

#[inline(always)]
fn parse_v6(ctx: &TcContext, packet: &mut Packet) -> Result<(), Other> {
    let ip = header::<Ipv6Header>(ctx, ETHERNET).ok_or(Other::Pass)?;
    // SAFETY: `header` checked the bounds; the structure is plain words.
    let ip = unsafe { &*ip };
    *packet = Packet {
        key: FlowKey {
            source: Address { words: ip.source },
            destination: Address {
                words: ip.destination,
            },
            source_port: 0,
            destination_port: 0,
            protocol: ip.next.into(),
        },
        kind: Kind::Fragment,
        is_v4: false,
        tcp_flags: 0,
        ttl: ip.hops,
    };
    read_l4(ctx, packet)
}

#[inline(always)]
fn read_l4(ctx: &TcContext, packet: &mut Packet) -> Result<(), Other> {
    let ports = header::<Ports>(ctx, packet.l4()).ok_or(Other::Pass)?;
    // SAFETY: `header` checked the bounds; the structure is plain words.
    let ports = unsafe { &*ports };
    match packet.key.protocol as u8 {
        TCP => {
            packet.kind = Kind::Tcp;
            let flags = header::<u8>(ctx, packet.l4() + 13).ok_or(Other::Pass)?;
            // SAFETY: in bounds, see above.
            packet.tcp_flags = unsafe { *flags };
        }
        UDP => packet.kind = Kind::Udp,
        ICMP | ICMPV6 => {
            let kind_byte = ports.source.to_ne_bytes()[0];
            packet.kind = icmp_kind(packet.is_v4, kind_byte).ok_or(Other::Pass)?;
            match packet.kind {
                Kind::EchoRequest => packet.key.source_port = ports.id,
                Kind::EchoReply => packet.key.destination_port = ports.id,
                _ => {}
            }
            return Ok(());
        }
        _ => return Err(Other::Pass),
    }
    packet.key.source_port = ports.source;
    packet.key.destination_port = ports.destination;
    Ok(())
}

#[inline(always)]
fn icmp_kind(is_v4: bool, kind: u8) -> Option<Kind> {
    match (is_v4, kind) {
        (true, 8) | (false, 128) => Some(Kind::EchoRequest),
        (true, 0) | (false, 129) => Some(Kind::EchoReply),
        (true, 3 | 11 | 12) | (false, 1..=4) => Some(Kind::Error),
        _ => None,
    }
}

/// Multicast of either family, and IPv4 broadcast.
#[inline(always)]
pub fn is_multicast(address: &Address) -> bool {
    if address.is_v4() {
        return u32::from_be(address.words[3]) >= 0xe000_0000;
    }
    address.words[0].to_ne_bytes()[0] == 0xff
}

/// Ones' complement addition of 32-bit sums.
#[inline(always)]
pub fn sum(a: u32, b: u32) -> u32 {
    let (total, carry) = a.overflowing_add(b);
    total + carry as u32
}

#[inline(always)]
fn difference(old: &Address, new: &Address, is_v4: bool) -> u32 {
    let mut total = sum(!old.words[3], new.words[3]);
    if !is_v4 {
        total = sum(total, sum(!old.words[0], new.words[0]));
        total = sum(total, sum(!old.words[1], new.words[1]));
        total = sum(total, sum(!old.words[2], new.words[2]));
    }
    total
}

/// Adds a difference to an internet checksum.
#[inline(always)]
pub fn adjust(checksum: u16, difference: u32) -> u16 {
    let mut total = sum(u32::from(!checksum), difference);
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    !(total as u16)
}

/// Writes the flow's tuple over the packet's. `hop` takes one from the time to live, as a router does.
#[inline(always)]
pub fn rewrite(ctx: &TcContext, packet: &Packet, flow: &Flow, hop: bool) -> Option<()> {
    let addresses = sum(
        difference(&packet.key.source, &flow.source, packet.is_v4),
        difference(&packet.key.destination, &flow.destination, packet.is_v4),
    );
    if packet.is_v4 {
        let ip = header::<Ipv4Header>(ctx, ETHERNET)?;
        // SAFETY: `header` checked the bounds; the structure is plain words.
        let ip = unsafe { &mut *ip };
        ip.source = flow.source.words[3];
        ip.destination = flow.destination.words[3];
        let mut change = addresses;
        if hop {
            ip.ttl = packet.ttl - 1;
            change = sum(change, ONE_HOP);
        }
        ip.checksum = adjust(ip.checksum, change);
    } else {
        let ip = header::<Ipv6Header>(ctx, ETHERNET)?;
        // SAFETY: `header` checked the bounds; the structure is plain words.
        let ip = unsafe { &mut *ip };
        put(&mut ip.source, &flow.source);
        put(&mut ip.destination, &flow.destination);
        if hop {
            ip.hops = packet.ttl - 1;
        }
    }
    if packet.kind == Kind::Fragment {
        return Some(());
    }
    let ports = write_ports(ctx, packet, flow)?;
    fix_l4_checksum(ctx, packet, addresses, ports)
}

/// Word by word: an array assignment becomes a call of a byte loop.
#[inline(always)]
fn put(to: &mut [u32; 4], from: &Address) {
    let [a, b, c, d] = from.words;
    (to[0], to[1], to[2], to[3]) = (a, b, c, d);
}

/// Returns the difference for the checksum.
#[inline(always)]
fn write_ports(ctx: &TcContext, packet: &Packet, flow: &Flow) -> Option<u32> {
    let ports = header::<Ports>(ctx, packet.l4())?;
    // SAFETY: `header` checked the bounds; the structure is plain words.
    let ports = unsafe { &mut *ports };
    match packet.kind {
        Kind::EchoRequest => ports.id = flow.source_port,
        Kind::EchoReply => ports.id = flow.destination_port,
        _ => {
            ports.source = flow.source_port;
            ports.destination = flow.destination_port;
        }
    }
    let source = sum(!u32::from(packet.key.source_port), flow.source_port.into());
    Some(sum(
        source,
        sum(
            !u32::from(packet.key.destination_port),
            flow.destination_port.into(),
        ),
    ))
}

#[inline(always)]
fn fix_l4_checksum(ctx: &TcContext, packet: &Packet, addresses: u32, ports: u32) -> Option<()> {
    let (offset, flags, has_pseudo_header) = match packet.key.protocol as u8 {
        TCP => (packet.l4() + 16, 0, true),
        UDP => (packet.l4() + 6, u64::from(BPF_F_MARK_MANGLED_0), true),
        _ => (packet.l4() + 2, 0, !packet.is_v4),
    };
    // A size of 0 in the flags means: `to` is a finished difference. The pseudo header's part is a call of its own,
    // because a partial checksum holds only that part.
    if has_pseudo_header {
        ctx.l4_csum_replace(offset, 0, addresses.into(), flags | u64::from(BPF_F_PSEUDO_HDR))
            .ok()?;
    }
    if ports != 0 && ports != u32::MAX {
        ctx.l4_csum_replace(offset, 0, ports.into(), flags).ok()?;
    }
    Some(())
}

/// Takes one from the time to live of a packet that keeps its tuple.
#[inline(always)]
pub fn hop(ctx: &TcContext, packet: &Packet) -> Option<()> {
    if packet.is_v4 {
        let ip = header::<Ipv4Header>(ctx, ETHERNET)?;
        // SAFETY: `header` checked the bounds; the structure is plain words.
        let ip = unsafe { &mut *ip };
        ip.ttl = packet.ttl - 1;
        ip.checksum = adjust(ip.checksum, ONE_HOP);
    } else {
        let ip = header::<Ipv6Header>(ctx, ETHERNET)?;
        // SAFETY: `header` checked the bounds; the structure is plain words.
        unsafe { (*ip).hops = packet.ttl - 1 };
    }
    Some(())
}
