//! The node-wide parameters that the programs read.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use ipnet::IpNet;
use kedge_proxy_maps::{Address, Config};

use crate::error::Doing;
use crate::{Error, Settings};

const GATEWAY4: [u8; 4] = [169, 254, 1, 1];
const GATEWAY6: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// What Linux hands out to its own sockets unless told otherwise.
const EPHEMERAL: (u16, u16) = (32768, 60999);

/// Addresses are v4-mapped, so one prefix serves one family; where both are set, the first counts. A node of two families
/// needs two prefixes here: that is the business of the issue that brings dual stack.
pub fn config(settings: &Settings) -> Result<Config, Error> {
    let socket =
        UdpSocket::bind(("127.0.0.1", 0)).doing(|| "open a socket of this network namespace".to_owned())?;
    let netns_cookie = kedge_sys::bpf::netns_cookie(socket.as_fd())
        .doing(|| "read the network namespace's cookie".to_owned())?;
    let (cluster_prefix, cluster_mask) = prefix(settings.cluster_cidrs.first());
    let (service_prefix, service_mask) = prefix(settings.service_cidrs.first());
    let (nat_port_min, nat_port_max) = nat_ports(ephemeral_ports());
    Ok(Config {
        cluster_prefix,
        cluster_mask,
        service_prefix,
        service_mask,
        gateway4: Address::from_v4_octets(GATEWAY4),
        gateway6: Address::from_octets(GATEWAY6),
        node_port_min: settings.node_ports.0,
        node_port_max: settings.node_ports.1,
        nat_port_min,
        nat_port_max,
        netns_cookie,
    })
}

fn prefix(net: Option<&IpNet>) -> (Address, Address) {
    match net {
        Some(net) => (Address::from_ip(net.network()), Address::mask(net.addr().is_ipv4(), net.prefix_len())),
        None => (Address::UNSPECIFIED, Address::UNSPECIFIED),
    }
}

fn ephemeral_ports() -> (u16, u16) {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(min), Some(max)) => (min, max),
        _ => EPHEMERAL,
    }
}

/// Ports that no socket of the node gets by chance: above the ephemeral range, or below it where little is left above.
fn nat_ports((min, max): (u16, u16)) -> (u16, u16) {
    const ENOUGH: u16 = 2000;
    if u16::MAX - max >= ENOUGH {
        return (max + 1, u16::MAX);
    }
    // Without room on either side a clash with the node's own sockets is the lesser evil.
    if min > 10_000 + ENOUGH { (10_000, min - 1) } else { (61_000, u16::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masqueraded_ports_keep_clear_of_the_hosts_own() {
        for (ephemeral, expected) in [
            ((32768, 60999), (61000, 65535)),
            ((32768, 65000), (10000, 32767)),
            ((1024, 65000), (61000, 65535)),
        ] {
            assert_eq!(nat_ports(ephemeral), expected, "{ephemeral:?}");
        }
    }
}
