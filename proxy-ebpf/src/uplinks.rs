//! The node's own interfaces and addresses, followed by netlink: NodePorts answer on every address, whenever it came.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{LinkFlags, LinkLayerType};
use rtnetlink::{Handle, MulticastGroup};

use crate::{Datapath, Error};

/// Interfaces that can be uplinks, with their addresses, and all addresses of the node.
#[derive(Debug, Default, PartialEq, Eq)]
struct Observed {
    uplinks: BTreeMap<u32, Vec<IpAddr>>,
    locals: BTreeSet<IpAddr>,
}

/// Attaches to uplinks as they come; ends only with an error. Works in the namespace of the thread that starts it.
pub async fn follow(datapath: Arc<Datapath>) -> Result<(), Error> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, mut news) = rtnetlink::new_multicast_connection(&groups)
        .map_err(|source| Error::Netlink { doing: "follow interfaces and addresses".to_owned(), source })?;
    let connection = tokio::spawn(connection);
    let mut before = Observed::default();
    loop {
        let seen = observe(&handle, &datapath).await?;
        if seen != before {
            settle(&datapath, &before, &seen)?;
            before = seen;
        }
        if news.next().await.is_none() {
            connection.abort();
            return Err(Error::Ended("the netlink socket closed".to_owned()));
        }
        // Whatever else has come is answered by one look.
        while futures_util::FutureExt::now_or_never(news.next()).flatten().is_some() {}
    }
}

/// Everything is looked up anew: interfaces are few, and messages may have been lost.
async fn observe(handle: &Handle, datapath: &Datapath) -> Result<Observed, Error> {
    let failed = |source: rtnetlink::Error| Error::Netlink {
        doing: "list interfaces and addresses".to_owned(),
        source: std::io::Error::other(source),
    };
    let pods: BTreeSet<u32> = datapath.pods()?.into_iter().map(|(_, ifindex)| ifindex).collect();
    let mut candidates = BTreeSet::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await.map_err(failed)? {
        let is_ethernet = link.header.link_layer_type == LinkLayerType::Ether;
        if is_ethernet && link.header.flags.contains(LinkFlags::Up) && !pods.contains(&link.header.index) {
            candidates.insert(link.header.index);
        }
    }
    let mut seen = Observed::default();
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await.map_err(failed)? {
        // On a point-to-point link `Address` is the peer's; `Local` is ours wherever it is given.
        let ours = |attribute: &AddressAttribute| match attribute {
            AddressAttribute::Local(ip) => Some((0, *ip)),
            AddressAttribute::Address(ip) => Some((1, *ip)),
            _ => None,
        };
        let Some((_, ip)) = message.attributes.iter().filter_map(ours).min() else {
            continue;
        };
        if ip.is_loopback() || is_link_local(&ip) {
            continue;
        }
        seen.locals.insert(ip);
        if candidates.contains(&message.header.index) {
            seen.uplinks.entry(message.header.index).or_default().push(ip);
        }
    }
    Ok(seen)
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn settle(datapath: &Datapath, before: &Observed, seen: &Observed) -> Result<(), Error> {
    datapath.set_locals(&seen.locals)?;
    for (ifindex, addresses) in &seen.uplinks {
        if before.uplinks.get(ifindex) != Some(addresses) {
            tracing::info!(ifindex, ?addresses, "uplink attached");
            // An interface may vanish between the look and the deed; the message that says so is on its way.
            if let Err(error) = datapath.add_uplink(*ifindex, addresses) {
                tracing::warn!(ifindex, %error, "an interface cannot be attached");
            }
        }
    }
    for ifindex in before.uplinks.keys().filter(|ifindex| !seen.uplinks.contains_key(ifindex)) {
        if let Err(error) = datapath.remove_uplink(*ifindex) {
            tracing::warn!(ifindex, %error, "an interface cannot be detached");
        }
    }
    Ok(())
}
