//! The rtnetlink requests of the pod network, each one acknowledged.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use kedge_cni_api::Error;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute};
use netlink_packet_route::neighbour::NeighbourState;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteScope, RouteType};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

/// The default gateway that every pod sees; no interface has it, a permanent neighbour answers for it.
pub const GATEWAY4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

const LOOPBACK: u32 = 1;

/// A netlink socket of one network namespace, and the task that serves it.
pub struct Netlink {
    pub handle: Handle,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Netlink {
    /// In the calling thread's namespace.
    pub fn open() -> io::Result<Netlink> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Netlink { handle, task: tokio::spawn(connection) })
    }

    /// In the namespace behind `netns`: the socket keeps the namespace in which it was made.
    pub fn open_in(netns: BorrowedFd<'_>) -> io::Result<Netlink> {
        let runtime = tokio::runtime::Handle::current();
        kedge_sys::namespace::with_network(netns, || {
            let _entered = runtime.enter();
            Netlink::open()
        })?
    }
}

fn failed(doing: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Error {
    let doing = doing.into();
    |cause| Error::Failed { doing, cause: cause.to_string() }
}

/// Creates a veth pair in one request: the host's end here and up, the pod's end, down, inside its namespace.
pub async fn add_veth(
    host: &Handle,
    names: (&str, &str),
    macs: ([u8; 6], [u8; 6]),
    mtu: u32,
    netns: BorrowedFd<'_>,
) -> Result<(), Error> {
    let peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(names.1)
        .mtu(mtu)
        .address(macs.1.to_vec())
        .setns_by_fd(netns.as_raw_fd())
        .build();
    let pair = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Veth)
        .name(names.0)
        .mtu(mtu)
        .address(macs.0.to_vec())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .up()
        .build();
    host.link().add(pair).execute().await.map_err(failed(format!("create veth {}", names.0)))
}

/// Index and MTU of an interface.
pub async fn link(handle: &Handle, name: &str) -> Result<(u32, u32), Error> {
    let mut links = handle.link().get().match_name(name).execute();
    let message =
        links.try_next().await.map_err(failed(format!("look up interface {name}")))?.ok_or_else(|| {
            Error::Failed { doing: format!("look up interface {name}"), cause: "not found".to_owned() }
        })?;
    let mtu = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    Ok((message.header.index, mtu.unwrap_or(0)))
}

/// Lo and eth0 up, the address, and the way out.
pub async fn configure_pod(
    pod: &Handle,
    ifindex: u32,
    ips: &[IpAddr],
    host_mac: [u8; 6],
) -> Result<(), Error> {
    for index in [LOOPBACK, ifindex] {
        let up = LinkUnspec::new_with_index(index).up().build();
        pod.link().set(up).execute().await.map_err(failed("bring the pod's interfaces up"))?;
    }
    for ip in ips {
        let host_length = if ip.is_ipv4() { 32 } else { 128 };
        let add = pod.address().add(ifindex, *ip, host_length);
        add.execute().await.map_err(failed(format!("add address {ip}")))?;
        let gateway = gateway_of(ip);
        let neighbour = pod.neighbours().add(ifindex, gateway).link_layer_address(&host_mac);
        neighbour
            .state(NeighbourState::Permanent)
            .execute()
            .await
            .map_err(failed(format!("add the gateway's neighbour entry {gateway}")))?;
        for route in [link_route(gateway, ifindex, None), default_route(gateway, ifindex)] {
            pod.route().add(route).execute().await.map_err(failed("add the pod's routes"))?;
        }
    }
    Ok(())
}

pub fn gateway_of(ip: &IpAddr) -> IpAddr {
    if ip.is_ipv4() { GATEWAY4.into() } else { GATEWAY6.into() }
}

/// The host's way to a pod: a route and a permanent neighbour, so that nobody ever asks by ARP.
pub async fn add_pod_route(
    host: &Handle,
    ifindex: u32,
    ip: IpAddr,
    pod_mac: [u8; 6],
    source: Option<IpAddr>,
) -> Result<(), Error> {
    let route = host.route().add(link_route(ip, ifindex, source)).replace();
    route.execute().await.map_err(failed(format!("add the host's route to {ip}")))?;
    let neighbour =
        host.neighbours().add(ifindex, ip).link_layer_address(&pod_mac).state(NeighbourState::Permanent);
    neighbour.replace().execute().await.map_err(failed(format!("add the neighbour entry of {ip}")))
}

/// `ip dev ifindex scope link`, with a preferred source of the same family.
fn link_route(ip: IpAddr, ifindex: u32, source: Option<IpAddr>) -> RouteMessage {
    match (ip, source) {
        (IpAddr::V4(ip), source) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(ip, 32)
                .output_interface(ifindex)
                .scope(RouteScope::Link);
            match source {
                Some(IpAddr::V4(source)) => route.pref_source(source).build(),
                _ => route.build(),
            }
        }
        (IpAddr::V6(ip), source) => {
            let route =
                RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(ip, 128).output_interface(ifindex);
            match source {
                Some(IpAddr::V6(source)) => route.pref_source(source).build(),
                _ => route.build(),
            }
        }
    }
}

fn default_route(gateway: IpAddr, ifindex: u32) -> RouteMessage {
    match gateway {
        IpAddr::V4(gateway) => {
            RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(ifindex).build()
        }
        IpAddr::V6(gateway) => {
            RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).output_interface(ifindex).build()
        }
    }
}

/// Addresses of the range without a pod are unreachable, rather than sent out of the uplink.
fn unreachable(range: &IpNet) -> RouteMessage {
    let mut route = match range {
        IpNet::V4(range) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(range.network(), range.prefix_len())
            .kind(RouteType::Unreachable)
            .build(),
        IpNet::V6(range) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(range.network(), range.prefix_len())
            .kind(RouteType::Unreachable)
            .build(),
    };
    route.header.scope = RouteScope::Universe;
    route
}

pub async fn add_unreachable(host: &Handle, range: &IpNet) -> Result<(), Error> {
    let add = host.route().add(unreachable(range)).replace();
    add.execute().await.map_err(failed(format!("add the unreachable route {range}")))
}

pub async fn delete_unreachable(host: &Handle, range: &IpNet) -> Result<(), Error> {
    ignore_absent(host.route().del(unreachable(range)).execute().await)
        .map_err(failed(format!("delete the unreachable route {range}")))
}

pub async fn delete_pod_route(host: &Handle, ifindex: u32, ip: IpAddr) -> Result<(), Error> {
    ignore_absent(host.route().del(link_route(ip, ifindex, None)).execute().await)
        .map_err(failed(format!("delete the host's route to {ip}")))
}

fn ignore_absent(result: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    const ABSENT: [rustix::io::Errno; 3] =
        [rustix::io::Errno::SRCH, rustix::io::Errno::NODEV, rustix::io::Errno::NOENT];
    match result {
        Err(rtnetlink::Error::NetlinkError(error))
            if ABSENT.iter().any(|errno| error.raw_code() == -errno.raw_os_error()) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// MTU of the interface behind the default route.
pub async fn uplink_mtu(host: &Handle) -> Result<Option<u32>, Error> {
    let mut routes = host.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    let mut uplink = None;
    while let Some(route) = routes.try_next().await.map_err(failed("list routes"))? {
        let is_default =
            route.header.destination_prefix_length == 0 && route.header.address_family == AddressFamily::Inet;
        if is_default && uplink.is_none() {
            uplink = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            });
        }
    }
    let Some(index) = uplink else { return Ok(None) };
    let mut links = host.link().get().match_index(index).execute();
    let message = links.try_next().await.map_err(failed("look up the uplink"))?;
    Ok(message.and_then(|message| {
        message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        })
    }))
}
