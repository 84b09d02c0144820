//! Cluster DNS, in the agent of every node: pods ask the Service `kube-dns`, whose endpoints are the nodes.
//!
//! Tasks: `run` starts the two listeners and keeps the objects by which pods find us; it ends with `shutdown` or when a
//! listener fails.

pub mod answer;
mod directory;
mod objects;
mod server;
mod upstream;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use kedge_client::Client;
use kedge_machinery::Backoff;
use tokio::sync::watch;

use answer::Zone;
use directory::Caches;
use server::{Clients, Resolver};
use upstream::Upstream;

#[derive(Debug, Clone)]
pub struct Settings {
    /// `cluster.local`
    pub domain: String,
    /// The address of the Service `kube-dns`: the tenth of the service range.
    pub cluster_ip: IpAddr,
    pub node_name: String,
    pub node_ip: IpAddr,
    /// 10053
    pub port: u16,
    /// Where pods have their addresses: they and the node are answered, nobody else.
    pub cluster_cidrs: Vec<IpNet>,
    /// Where other names are asked; none: the machine's own resolvers.
    pub upstream: Vec<SocketAddr>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cluster domain {domain}")]
    Domain { domain: String, source: hickory_proto::ProtoError },
    #[error("listen on {address} for DNS")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("serve DNS")]
    Serve(#[from] io::Error),
}

/// Serves until `shutdown`.
pub async fn run(
    settings: Settings,
    client: Client,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), Error> {
    let zone = Zone::new(&settings.domain)
        .map_err(|source| Error::Domain { domain: settings.domain.clone(), source })?;
    let address = SocketAddr::new(settings.node_ip, settings.port);
    let (udp, tcp) = server::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    let servers = match settings.upstream.as_slice() {
        [] => upstream::machine_nameservers(&[settings.cluster_ip, settings.node_ip]),
        given => given.to_vec(),
    };
    tracing::info!(%address, ?servers, "cluster DNS");
    tokio::select! {
        result = serve(&settings, client, zone, servers, udp, tcp) => result,
        _ = shutdown.wait_for(|stop| *stop) => Ok(()),
    }
}

async fn serve(
    settings: &Settings,
    client: Client,
    zone: Zone,
    servers: Vec<SocketAddr>,
    udp: tokio::net::UdpSocket,
    tcp: tokio::net::TcpListener,
) -> Result<(), Error> {
    let directory = Caches::start(&client).await;
    let clients = Clients { pods: settings.cluster_cidrs.clone(), node: settings.node_ip };
    let resolver = Arc::new(Resolver { zone, clients, directory, upstream: Upstream::new(servers) });
    // Whoever sees our endpoint may ask at once: the listeners are bound and the caches full by now.
    let announced = async {
        announce(settings, &client).await;
        std::future::pending().await
    };
    tokio::select! {
        result = server::serve_udp(udp, resolver.clone()) => Ok(result?),
        result = server::serve_tcp(tcp, resolver) => Ok(result?),
        never = announced => never,
    }
}

/// Until it is done: a cluster without kube-dns is no use to anybody, so there is nothing better to do than to try again.
async fn announce(settings: &Settings, client: &Client) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        let Settings { cluster_ip, node_name, node_ip, port, .. } = settings;
        match objects::ensure(client, *cluster_ip, node_name, *node_ip, *port).await {
            Ok(()) => return,
            Err(error) => {
                let delay = backoff.next_delay();
                tracing::debug!(%error, ?delay, "kube-dns is not announced yet");
                tokio::time::sleep(delay).await;
            }
        }
    }
}
