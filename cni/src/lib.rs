//! The built-in pod network: a veth pair, one address and two routes for each pod, without a bridge, ARP or a daemon in the
//! way of a packet. What happens to packets is the datapath's, which is told of every link through [`PodLink`].
//!
//! A pod's links, addresses and routes live and die with its network namespace. What this crate must remember is the lease.

mod ipam;
mod netlink;

use std::fs;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};

use ipnet::IpNet;
use kedge_cni_api::{Attach, Attachment, Error, Network, PodLink};
use kedge_machinery::Roots;

use ipam::Leases;
use netlink::Netlink;

pub use netlink::{GATEWAY4, GATEWAY6};

/// Room for the headers of an overlay, kept free from the first node on: changing a running pod's MTU breaks connections.
const OVERLAY_BYTES: u32 = 50;
const ETHERNET_MTU: u32 = 1500;

pub struct BuiltIn {
    host: Netlink,
    link: Arc<dyn PodLink>,
    leases: Mutex<Leases>,
    /// The ranges that the node's pods get their addresses from, one for each family.
    ranges: RwLock<Vec<IpNet>>,
    node_ip: Option<IpAddr>,
    mtu: u32,
}

impl BuiltIn {
    /// In the calling thread's network namespace, which must be the node's.
    pub async fn open(roots: &Roots, link: Arc<dyn PodLink>) -> Result<BuiltIn, Error> {
        let host = Netlink::open().map_err(|cause| failed("open a netlink socket", cause))?;
        let dir = dir(roots);
        let leases =
            Leases::open(&dir).map_err(|cause| failed(format!("read leases in {}", dir.display()), cause))?;
        let uplink = netlink::uplink_mtu(&host.handle).await?;
        let mtu = uplink.unwrap_or(ETHERNET_MTU).saturating_sub(OVERLAY_BYTES);
        Ok(BuiltIn {
            host,
            link,
            leases: Mutex::new(leases),
            ranges: RwLock::new(Vec::new()),
            node_ip: roots.node_ip,
            mtu,
        })
    }

    /// The node's podCIDRs, once the API server has given them. Until then no pod can be attached.
    pub async fn set_ranges(&self, ranges: Vec<IpNet>) -> Result<(), Error> {
        self.leases().put_ranges(&ranges).map_err(|cause| failed("write the node's ranges", cause))?;
        for range in &ranges {
            netlink::add_unreachable(&self.host.handle, range).await?;
        }
        *self.ranges.write().expect("no panic happens under this lock") = ranges;
        Ok(())
    }

    /// Takes back what is not any pod's own, when the pods have ended.
    pub async fn remove(&self) -> Result<(), Error> {
        let ids: Vec<String> = self.leases().iter().map(|lease| lease.sandbox_id.clone()).collect();
        for id in ids {
            self.detach(&id).await?;
        }
        let ranges = std::mem::take(&mut *self.ranges.write().expect("no panic happens under this lock"));
        delete_ranges(&self.host, &ranges).await
    }

    fn leases(&self) -> std::sync::MutexGuard<'_, Leases> {
        self.leases.lock().expect("no panic happens under this lock")
    }

    fn ranges(&self) -> Vec<IpNet> {
        self.ranges.read().expect("no panic happens under this lock").clone()
    }

    /// Takes an address of each range and writes the lease before anything can use it.
    fn lease(&self, sandbox_id: &str, ifname: &str) -> Result<Vec<IpAddr>, Error> {
        let ranges = self.ranges();
        if ranges.is_empty() {
            return Err(Error::NotReady("the node has no podCIDR yet".to_owned()));
        }
        let mut leases = self.leases();
        let ips = ranges.iter().map(|range| leases.pick(range)).collect::<Result<Vec<_>, _>>()?;
        leases.put(sandbox_id, ips.clone(), ifname, 0).map_err(|cause| failed("write the lease", cause))?;
        Ok(ips)
    }

    /// The links of one pod. On an error the caller drops the lease; the links go with the namespace.
    async fn connect(
        &self,
        netns: BorrowedFd<'_>,
        request: &Attach,
        ips: &[IpAddr],
    ) -> Result<Attachment, Error> {
        let host = &self.host.handle;
        let ifname = host_ifname(&request.sandbox_id);
        let (host_mac, pod_mac) = macs(ips);
        netlink::add_veth(host, (&ifname, &request.ifname), (host_mac, pod_mac), self.mtu, netns).await?;
        let (ifindex, _) = netlink::link(host, &ifname).await?;
        allow_forwarding(&ifname, ips);

        let pod =
            Netlink::open_in(netns).map_err(|cause| failed("open a netlink socket in the pod", cause))?;
        let (pod_ifindex, _) = netlink::link(&pod.handle, &request.ifname).await?;
        netlink::configure_pod(&pod.handle, pod_ifindex, ips, host_mac).await?;
        for ip in ips {
            netlink::add_pod_route(host, ifindex, *ip, pod_mac, self.node_ip).await?;
        }
        self.link.attach(ifindex, ips)?;
        self.leases()
            .put(&request.sandbox_id, ips.to_vec(), &ifname, ifindex)
            .map_err(|cause| failed("write the lease", cause))?;
        Ok(Attachment {
            ips: ips.to_vec(),
            host_ifname: ifname,
            host_ifindex: ifindex,
            mac: pod_mac,
            mtu: self.mtu,
        })
    }
}

fn dir(roots: &Roots) -> PathBuf {
    roots.run.join("network")
}

async fn delete_ranges(host: &Netlink, ranges: &[IpNet]) -> Result<(), Error> {
    for range in ranges {
        netlink::delete_unreachable(&host.handle, range).await?;
    }
    Ok(())
}

/// Takes back what a killed daemon has left in the calling thread's network namespace. What belongs to pods goes with
/// their namespaces.
pub async fn remove_left_over(roots: &Roots) -> Result<(), Error> {
    let ranges = ipam::read_ranges(&dir(roots)).map_err(|cause| failed("read the node's ranges", cause))?;
    let host = Netlink::open().map_err(|cause| failed("open a netlink socket", cause))?;
    delete_ranges(&host, &ranges).await
}

#[async_trait::async_trait]
impl Network for BuiltIn {
    async fn attach(&self, netns: BorrowedFd<'_>, request: &Attach) -> Result<Attachment, Error> {
        let ips = self.lease(&request.sandbox_id, &host_ifname(&request.sandbox_id))?;
        let connected = self.connect(netns, request, &ips).await;
        if connected.is_err() {
            self.leases().remove(&request.sandbox_id).map_err(|cause| failed("remove the lease", cause))?;
        }
        connected
    }

    async fn detach(&self, sandbox_id: &str) -> Result<(), Error> {
        let Some(lease) = self.leases().get(sandbox_id).cloned() else {
            return Ok(());
        };
        self.link.detach(lease.ifindex, &lease.ips)?;
        for ip in &lease.ips {
            netlink::delete_pod_route(&self.host.handle, lease.ifindex, *ip).await?;
        }
        self.leases().remove(sandbox_id).map_err(|cause| failed("remove the lease", cause))
    }

    async fn retain(&self, sandbox_ids: &[String]) -> Result<(), Error> {
        let gone: Vec<String> = self
            .leases()
            .iter()
            .filter(|lease| !sandbox_ids.contains(&lease.sandbox_id))
            .map(|lease| lease.sandbox_id.clone())
            .collect();
        for sandbox_id in gone {
            self.detach(&sandbox_id).await?;
        }
        let pods: Vec<(u32, Vec<IpAddr>)> =
            self.leases().iter().map(|lease| (lease.ifindex, lease.ips.clone())).collect();
        // Links that outlived a daemon keep their programs; a datapath that was lost gets them again here.
        for (ifindex, ips) in &pods {
            if let Err(error) = self.link.attach(*ifindex, ips) {
                tracing::warn!(ifindex, %error, "a pod's link cannot be attached to the datapath");
            }
        }
        self.link.retain(&pods)
    }

    fn ready(&self) -> Result<(), Error> {
        if self.ranges.read().expect("no panic happens under this lock").is_empty() {
            return Err(Error::NotReady("the node has no podCIDR yet".to_owned()));
        }
        Ok(())
    }
}

fn failed(doing: impl Into<String>, cause: std::io::Error) -> Error {
    Error::Failed { doing: doing.into(), cause: cause.to_string() }
}

/// The kernel allows 15 bytes; eleven digits of the sandbox id keep two pods apart.
fn host_ifname(sandbox_id: &str) -> String {
    let digits: String = sandbox_id.chars().filter(char::is_ascii_alphanumeric).take(11).collect();
    format!("veth{digits}")
}

/// Locally administered addresses made from the pod's own, so that neither end has to be asked for its own.
fn macs(ips: &[IpAddr]) -> ([u8; 6], [u8; 6]) {
    let tail = match ips.first() {
        Some(IpAddr::V4(ip)) => ip.octets(),
        Some(IpAddr::V6(ip)) => {
            let octets = ip.octets();
            [octets[12], octets[13], octets[14], octets[15]]
        }
        None => [0; 4],
    };
    let with = |second: u8| [0x0a, second, tail[0], tail[1], tail[2], tail[3]];
    (with(0x57), with(0x58))
}

/// The stack forwards only what comes from a pod's own link. Where /proc/sys is read-only, packets that need the stack's
/// routing are lost; those that the datapath carries are not.
fn allow_forwarding(ifname: &str, ips: &[IpAddr]) {
    for ip in ips {
        let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
        let path = PathBuf::from(format!("/proc/sys/net/{family}/conf/{ifname}/forwarding"));
        if let Err(error) = fs::write(&path, "1") {
            tracing::warn!(path = %path.display(), %error, "forwarding stays off");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_fit() {
        assert_eq!(host_ifname("0123456789abcdef0123"), "veth0123456789a");
        assert_eq!(host_ifname("a-b"), "vethab");
    }

    #[test]
    fn macs_are_local_and_differ() {
        let (host, pod) = macs(&["10.244.0.7".parse().unwrap()]);
        assert_eq!(host, [0x0a, 0x57, 10, 244, 0, 7]);
        assert_ne!(host, pod);
        assert_eq!(host[0] & 3, 2);
    }
}
