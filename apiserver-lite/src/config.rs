//! What a server is started with, and why it may fail to.

use crate::pki::PkiError;
use crate::store::OpenError;
use ipnet::Ipv4Net;
use kedge_machinery::Roots;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Config {
    /// PKI below `roots.kubernetes`, the database below `roots.state`.
    pub roots: Arc<Roots>,
    pub node_name: String,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address that clients in the cluster are told: the endpoint of `kubernetes.default`.
    pub advertise: IpAddr,
    pub service_cidr: Ipv4Net,
    pub cluster_domain: String,
    /// More names and addresses for the serving certificate.
    pub extra_names: Vec<String>,
    /// Static tokens, one `token,user,uid,"group,…"` a line, as upstream's flag of this name.
    pub token_auth_file: Option<PathBuf>,
}

impl Config {
    /// The documented defaults for a node with this address.
    pub fn new(roots: Arc<Roots>, node_name: &str, advertise: IpAddr) -> Config {
        let listen = SocketAddr::new([0, 0, 0, 0].into(), roots.ports.api);
        Config {
            roots,
            node_name: node_name.to_owned(),
            listen,
            advertise,
            service_cidr: Ipv4Net::new_assert([10, 96, 0, 0].into(), 16),
            cluster_domain: "cluster.local".to_owned(),
            extra_names: Vec::new(),
            token_auth_file: None,
        }
    }

    /// The first address of the service range: `kubernetes.default`.
    pub fn service_address(&self) -> std::net::Ipv4Addr {
        (u32::from(self.service_cidr.network()) + 1).into()
    }
}

/// Why the server did not start. Each text is one sentence with what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{address} is in use by another program: stop it, or choose another --secure-port")]
    PortInUse { address: SocketAddr },
    #[error("cannot listen on {address} ({cause}): choose an address of this machine with --bind-address")]
    Listen { address: SocketAddr, cause: String },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error("the serving certificate cannot be used ({0}): delete it and start again, a fresh one is made")]
    Certificate(String),
    #[error("cannot read --token-auth-file: {0}")]
    Tokens(String),
    #[error("cannot prepare the cluster's first objects: {0}")]
    Bootstrap(String),
}
