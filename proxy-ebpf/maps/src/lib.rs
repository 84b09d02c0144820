//! One definition of each eBPF map's key and value, shared by the programs (`proxy-ebpf/bpf`), the core that computes map
//! contents and the shell that writes them.
//!
//! Byte order: addresses and ports are kept as they stand in a packet (network order), everything else is a native number.
//! An address always takes 16 bytes, IPv4 as `::ffff:a.b.c.d`, so that one set of programs serves both families. No
//! structure has hidden padding: `zerocopy` refuses to derive otherwise, and each size is asserted below.

#![no_std]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Raised whenever a layout changes: pins of another version are replaced, not reused.
pub const LAYOUT_VERSION: u32 = 1;

macro_rules! map_struct {
    ($(#[$doc:meta])* $name:ident, $size:literal, { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }
        const _: () = assert!(size_of::<$name>() == $size);
    };
}

map_struct! {
    /// A v4-mapped or IPv6 address in network order. Words rather than bytes, because the programs compare and copy words.
    Address, 16, { words: [u32; 4], }
}

map_struct! {
    /// `SVC` key: where a client sends.
    ServiceKey, 20, {
        /// The virtual address; [`Address::UNSPECIFIED`] for a NodePort, which every address in `LOCAL` answers.
        address: Address,
        /// Network order.
        port: u16,
        /// IPPROTO_TCP or IPPROTO_UDP.
        protocol: u8,
        /// One of [`scope`].
        scope: u8,
    }
}

map_struct! {
    /// `SVC` value. Never edited in place by the programs; one element update swaps a service's whole set of backends.
    ServiceValue, 32, {
        /// First index in `LIST`.
        list: u32,
        /// Backends in the list.
        count: u32,
        /// First index in `MAGLEV`.
        maglev: u32,
        /// Slots of the Maglev table; 0: pick from the list at random.
        maglev_size: u32,
        /// Identity of the service port, for `AFF`.
        service: u32,
        /// Seconds that a client stays with a backend; 0: no affinity.
        affinity_seconds: u32,
        /// Bits of [`service_flag`].
        flags: u32,
        reserved: u32,
    }
}

map_struct! {
    /// `BACKENDS` value, at the backend's stable id. Id 0 is never used, so that 0 means none.
    Backend, 24, {
        address: Address,
        /// Network order.
        port: u16,
        /// 1 while the id is in use.
        live: u16,
        /// Raised whenever the id is given to another address and port.
        generation: u32,
    }
}

map_struct! {
    /// `CT` key: a packet's tuple exactly as it arrives at a hook. A flow has two entries, one for each direction, each
    /// under the tuple that its packets carry before translation. ICMP echo puts its id in the asking side's port.
    FlowKey, 40, {
        source: Address,
        destination: Address,
        source_port: u16,
        destination_port: u16,
        /// A whole word, so that building a key needs no padding.
        protocol: u32,
    }
}

map_struct! {
    /// `CT` value: what the packet's tuple becomes, and where it goes. Service translation, hairpin, masquerade and moved
    /// source ports are all this one form; the other direction's entry is its inverse.
    Flow, 64, {
        source: Address,
        destination: Address,
        source_port: u16,
        destination_port: u16,
        /// One of [`deliver`].
        deliver: u8,
        /// 1 for the entry of the replies.
        reply: u8,
        /// 1 if `from` is an uplink.
        from_uplink: u8,
        reserved: u8,
        /// Bits of [`flow_state`].
        state: u32,
        /// The interface that `deliver` names.
        ifindex: u32,
        /// The interface where this direction's packets arrive; 0: the host's own stack.
        from: u32,
        /// The backend's id and generation; 0 where no service is involved.
        backend: u32,
        generation: u32,
        /// Coarse seconds since boot of the last packet seen, exact to [`FLOW_TOUCH_SECONDS`].
        seen: u32,
    }
}

map_struct! {
    /// `EP` value, keyed by the pod's address: the host's end of its veth pair.
    Endpoint, 8, { ifindex: u32, flags: u32, }
}

map_struct! {
    /// `AFF` key.
    AffinityKey, 20, { client: Address, service: u32, }
}

map_struct! {
    /// `AFF` value.
    Affinity, 12, { backend: u32, generation: u32, seen: u32, }
}

map_struct! {
    /// `SOCKREV` key: a host socket and the backend address it was sent to.
    SocketKey, 32, { cookie: u64, address: Address, port: u16, reserved: u16, protocol: u32, }
}

map_struct! {
    /// `SOCKREV` value: the service address that the process named.
    SocketPeer, 20, { address: Address, port: u16, reserved: u16, }
}

map_struct! {
    /// `UPLINK` value, keyed by interface index: the address that masqueraded packets take there.
    Uplink, 32, { address4: Address, address6: Address, }
}

map_struct! {
    /// `FRAG` key: which datagram a fragment belongs to.
    FragmentKey, 40, { source: Address, destination: Address, id: u32, protocol: u32, }
}

map_struct! {
    /// `FRAG` value: the ports that only the first fragment carries.
    FragmentPorts, 4, { source_port: u16, destination_port: u16, }
}

map_struct! {
    /// The one element of `CONFIG`.
    Config, 112, {
        /// Pods of the whole cluster; traffic among them keeps its addresses.
        cluster_prefix: Address,
        cluster_mask: Address,
        /// Service addresses; one that is nobody's is refused.
        service_prefix: Address,
        service_mask: Address,
        /// The address a pod sees when it reaches itself through a service, and its default gateway.
        gateway4: Address,
        gateway6: Address,
        /// Host order, inclusive.
        node_port_min: u16,
        node_port_max: u16,
        /// Source ports for masqueraded and moved flows, outside the host's own ephemeral range. Host order, inclusive.
        nat_port_min: u16,
        nat_port_max: u16,
        /// Only sockets of this network namespace are the socket programs' business.
        netns_cookie: u64,
    }
}

/// Who asks. The same address may have other backends for clients outside (`externalTrafficPolicy: Local`).
pub mod scope {
    /// Pods and processes of this node.
    pub const INTERNAL: u8 = 0;
    /// Packets that arrive on an uplink.
    pub const EXTERNAL: u8 = 1;
}

pub mod service_flag {
    /// Without a backend drop silently instead of refusing: a `Local` policy without local endpoints, as kube-proxy does.
    pub const DROP_IF_EMPTY: u32 = 1;
}

/// What becomes of a translated packet.
pub mod deliver {
    /// The host's own stack takes it.
    pub const STACK: u8 = 0;
    /// Into the pod behind the veth `ifindex`.
    pub const POD: u8 = 1;
    /// Out of the uplink `ifindex`, to the neighbour that the routing table names.
    pub const UPLINK: u8 = 2;
}

pub mod flow_state {
    pub const FIN_REQUEST: u32 = 1;
    pub const FIN_REPLY: u32 = 2;
    pub const RESET: u32 = 4;
}

/// Indices of `STATS`.
pub mod stat {
    pub const SERVICE_FLOWS: u32 = 0;
    pub const MASQUERADED_FLOWS: u32 = 1;
    pub const REFUSED: u32 = 2;
    pub const DROPPED_SOURCE: u32 = 3;
    pub const DROPPED_NO_PORT: u32 = 4;
    pub const DROPPED_EMPTY: u32 = 5;
    pub const MOVED_PORTS: u32 = 6;
    pub const REPICKED: u32 = 7;
    pub const REPAIRED: u32 = 8;
    pub const COUNT: u32 = 16;
}

/// Map capacities. `LIST` is twice `BACKENDS`' worth: a swap writes the whole new list beside the old one.
pub const SERVICES_MAX: u32 = 1 << 16;
pub const LIST_MAX: u32 = 1 << 18;
pub const BACKENDS_MAX: u32 = 1 << 17;
pub const MAGLEV_MAX: u32 = 1 << 19;
pub const FLOWS_MAX: u32 = 1 << 17;
pub const ENDPOINTS_MAX: u32 = 4096;
pub const AFFINITIES_MAX: u32 = 1 << 15;
pub const SOCKETS_MAX: u32 = 1 << 15;
pub const LOCALS_MAX: u32 = 1024;
pub const UPLINKS_MAX: u32 = 64;
pub const FRAGMENTS_MAX: u32 = 1024;

/// A flow's entries vouch for each other this often: each renews the other's place in the LRU, or puts it back.
pub const FLOW_TOUCH_SECONDS: u32 = 4;
/// A UDP or echo flow idle for so long is over.
pub const DATAGRAM_IDLE_SECONDS: u32 = 180;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;

/// The third word of a v4-mapped address.
const MAPPED: u32 = 0xffff_u32.to_be();

impl Address {
    pub const UNSPECIFIED: Address = Address { words: [0; 4] };

    /// From the four bytes of an IPv4 address as one word in network order.
    #[inline(always)]
    pub const fn v4(word: u32) -> Address {
        Address { words: [0, 0, MAPPED, word] }
    }

    pub const fn from_v4_octets(octets: [u8; 4]) -> Address {
        Address::v4(u32::from_ne_bytes(octets))
    }

    pub const fn from_octets(octets: [u8; 16]) -> Address {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Address {
            words: [
                u32::from_ne_bytes([a, b, c, d]),
                u32::from_ne_bytes([e, f, g, h]),
                u32::from_ne_bytes([i, j, k, l]),
                u32::from_ne_bytes([m, n, o, p]),
            ],
        }
    }

    pub fn from_ip(ip: core::net::IpAddr) -> Address {
        match ip {
            core::net::IpAddr::V4(v4) => Address::from_v4_octets(v4.octets()),
            core::net::IpAddr::V6(v6) => Address::from_octets(v6.octets()),
        }
    }

    pub fn to_ip(self) -> core::net::IpAddr {
        let mut octets = [0; 16];
        for (chunk, word) in octets.chunks_exact_mut(4).zip(self.words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        core::net::Ipv6Addr::from(octets).to_canonical()
    }

    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.words[0] == 0 && self.words[1] == 0 && self.words[2] == MAPPED
    }

    #[inline(always)]
    pub const fn is_unspecified(&self) -> bool {
        self.words[0] | self.words[1] | self.words[2] | self.words[3] == 0
    }

    /// The mask of a prefix; `prefix` counts within the address's own family.
    pub fn mask(is_v4: bool, prefix: u8) -> Address {
        let bits = u32::from(prefix.min(128)) + if is_v4 { 96 } else { 0 };
        let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits.min(128)) };
        Address::from_octets(mask.to_be_bytes())
    }

    /// Whether the address lies in a prefix; an all-zero mask holds nothing, which is how a family is left unset.
    #[inline(always)]
    pub const fn is_in(&self, prefix: &Address, mask: &Address) -> bool {
        let (a, p, m) = (self.words, prefix.words, mask.words);
        (m[0] | m[1] | m[2] | m[3]) != 0
            && a[0] & m[0] == p[0]
            && a[1] & m[1] == p[1]
            && a[2] & m[2] == p[2]
            && a[3] & m[3] == p[3]
    }
}

impl FlowKey {
    /// The key under which the answers to this tuple arrive.
    #[inline(always)]
    pub const fn inverse(&self) -> FlowKey {
        FlowKey {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }
}

impl Flow {
    /// The key of the other direction's entry: the inverse of the translated tuple.
    #[inline(always)]
    pub const fn partner(&self, protocol: u32) -> FlowKey {
        FlowKey {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol,
        }
    }

    /// How the other direction's packets are delivered: to where this direction's come from.
    #[inline(always)]
    pub const fn return_path(&self) -> (u8, u32) {
        if self.from == 0 {
            return (deliver::STACK, 0);
        }
        (if self.from_uplink != 0 { deliver::UPLINK } else { deliver::POD }, self.from)
    }

    #[inline(always)]
    pub const fn is_closed(&self) -> bool {
        let both = flow_state::FIN_REQUEST | flow_state::FIN_REPLY;
        self.state & flow_state::RESET != 0 || self.state & both == both
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn addresses_round_trip() {
        for text in ["10.96.0.1", "0.0.0.0", "fd00::1", "::"] {
            let ip: core::net::IpAddr = text.parse().unwrap();
            assert_eq!(Address::from_ip(ip).to_ip().to_string(), text);
        }
        assert!(Address::from_ip("10.0.0.1".parse().unwrap()).is_v4());
        assert!(!Address::from_ip("fd00::1".parse().unwrap()).is_v4());
    }

    #[test]
    fn prefixes_hold_their_own_addresses_only() {
        for (prefix, bits, address, inside) in [
            ("10.244.0.0", 16, "10.244.3.4", true),
            ("10.244.0.0", 16, "10.245.0.1", false),
            ("fd00::", 64, "fd00::5", true),
            ("fd00::", 64, "fd00:0:0:1::5", false),
            ("10.244.0.0", 16, "::a:f4:0:1", false),
        ] {
            let prefix: core::net::IpAddr = prefix.parse().unwrap();
            let mask = Address::mask(prefix.is_ipv4(), bits);
            let address = Address::from_ip(address.parse().unwrap());
            assert_eq!(address.is_in(&Address::from_ip(prefix), &mask), inside, "{prefix}/{bits}");
        }
        assert!(!Address::v4(1).is_in(&Address::UNSPECIFIED, &Address::UNSPECIFIED));
    }

    #[test]
    fn the_partner_of_an_untranslated_flow_is_the_inverse_key() {
        let key = FlowKey {
            source: Address::from_v4_octets([10, 0, 0, 1]),
            destination: Address::from_v4_octets([10, 0, 0, 2]),
            source_port: 1,
            destination_port: 2,
            protocol: TCP.into(),
        };
        let flow = Flow {
            source: key.source,
            destination: key.destination,
            source_port: key.source_port,
            destination_port: key.destination_port,
            ..Flow::default()
        };
        assert_eq!(flow.partner(TCP.into()), key.inverse());
        assert_eq!(key.inverse().inverse(), key);
    }
}
