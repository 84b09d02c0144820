//! ICMP errors about translated packets: the quoted tuple is turned back into the one its sender knows, so that "port
//! unreachable" reaches a UDP client of a service and "fragmentation needed" a pod behind the node's address. IPv4.

use aya_ebpf::programs::TcContext;
use kedge_proxy_maps::*;

use crate::maps::CT;
use crate::packet::{Ipv4Header, adjust, header, sum};

const OUTER: usize = 14;
const ERROR: usize = OUTER + 20;
const INNER: usize = ERROR + 8;
const INNER_L4: usize = INNER + 20;

#[repr(C)]
struct IcmpHeader {
    kind: u8,
    code: u8,
    checksum: u16,
    rest: u32,
}

#[repr(C)]
struct InnerPorts {
    source: u16,
    destination: u16,
}

/// The flow that the error is about: the entry that translates packets in the error's own direction.
#[inline(always)]
fn quoted_flow(ctx: &TcContext) -> Option<Flow> {
    let inner = header::<Ipv4Header>(ctx, INNER)?;
    let ports = header::<InnerPorts>(ctx, INNER_L4)?;
    // SAFETY: `header` checked the bounds; the structures are plain words.
    let (inner, ports) = unsafe { (&*inner, &*ports) };
    if inner.version_ihl != 0x45 || (inner.protocol != TCP && inner.protocol != UDP) {
        return None;
    }
    let key = FlowKey {
        source: Address::v4(inner.destination),
        destination: Address::v4(inner.source),
        source_port: ports.destination,
        destination_port: ports.source,
        protocol: inner.protocol.into(),
    };
    // SAFETY: the value is copied at once.
    unsafe { CT.get(key) }.copied()
}

/// Translates an error in place and returns its flow; `None` if it is about nothing of ours.
#[inline(never)]
pub fn translate(ctx: &TcContext) -> Option<Flow> {
    let _ = ctx.pull_data((INNER_L4 + 8) as u32);
    let flow = quoted_flow(ctx)?;
    let outer = header::<Ipv4Header>(ctx, OUTER)?;
    let error = header::<IcmpHeader>(ctx, ERROR)?;
    let inner = header::<Ipv4Header>(ctx, INNER)?;
    let ports = header::<InnerPorts>(ctx, INNER_L4)?;
    // SAFETY: `header` checked the bounds; the structures are plain words and do not overlap.
    let (outer, error, inner, ports) = unsafe { (&mut *outer, &mut *error, &mut *inner, &mut *ports) };

    // An error from the backend itself seems to come from the service; one from a router keeps its source.
    let source = if outer.source == inner.destination {
        flow.source.words[3]
    } else {
        outer.source
    };
    let change = sum(
        sum(!outer.source, source),
        sum(!outer.destination, flow.destination.words[3]),
    );
    outer.checksum = adjust(outer.checksum, change);
    outer.source = source;
    outer.destination = flow.destination.words[3];

    let mut change = sum(!inner.source, flow.destination.words[3]);
    change = sum(change, sum(!inner.destination, flow.source.words[3]));
    let checksum = adjust(inner.checksum, change);
    // The header's sum and its checksum change by opposite amounts: in the ICMP checksum only the ports remain.
    let mut total = sum(change, sum(!u32::from(inner.checksum), checksum.into()));
    total = sum(total, sum(!u32::from(ports.source), flow.destination_port.into()));
    total = sum(total, sum(!u32::from(ports.destination), flow.source_port.into()));
    inner.checksum = checksum;
    inner.source = flow.destination.words[3];
    inner.destination = flow.source.words[3];
    ports.source = flow.destination_port;
    ports.destination = flow.source_port;
    error.checksum = adjust(error.checksum, total);
    Some(flow)
}
