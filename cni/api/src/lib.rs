//! The port between the runtime and the pod network: the trait [`Network`].

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No address is left in the node's podCIDR.
    #[error("no free address in {0}")]
    Exhausted(String),
    /// The node has no podCIDR yet, or the network cannot serve for the moment; the text is for the node's Ready condition.
    #[error("network is not ready: {0}")]
    NotReady(String),
    #[error("{doing}: {cause}")]
    Failed { doing: String, cause: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    pub sandbox_id: String,
    pub pod_namespace: String,
    pub pod_name: String,
    pub pod_uid: String,
    /// The interface inside, normally `eth0`.
    pub ifname: String,
}

/// What a pod got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub ips: Vec<IpAddr>,
    /// Name and index of the host's end of the veth pair.
    pub host_ifname: String,
    pub host_ifindex: u32,
    pub mac: [u8; 6],
    pub mtu: u32,
}

/// Gives pods their network. `detach` is idempotent and succeeds without a network namespace.
#[async_trait::async_trait]
pub trait Network: Send + Sync {
    /// Brings up the link, addresses and routes of a pod in the network namespace behind `netns`, and the datapath on its host end.
    async fn attach(&self, netns: BorrowedFd<'_>, request: &Attach) -> Result<Attachment, Error>;
    async fn detach(&self, sandbox_id: &str) -> Result<(), Error>;
    /// At start: everything that belongs to none of these sandboxes is released.
    async fn retain(&self, sandbox_ids: &[String]) -> Result<(), Error>;
    /// Err with the reason while pods cannot be attached.
    fn ready(&self) -> Result<(), Error>;
}

/// The datapath as the pod network sees it: told of each pod's link before the pod starts, and of its end.
pub trait PodLink: Send + Sync {
    /// Puts the programs on the host's end of a pod's veth and makes its addresses known. May be called again.
    fn attach(&self, ifindex: u32, ips: &[IpAddr]) -> Result<(), Error>;
    /// Forgets a pod; its interface may be gone already.
    fn detach(&self, ifindex: u32, ips: &[IpAddr]) -> Result<(), Error>;
    /// Forgets every pod but these.
    fn retain(&self, pods: &[(u32, Vec<IpAddr>)]) -> Result<(), Error>;
}
