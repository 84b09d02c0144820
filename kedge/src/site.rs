//! What this machine is: its boot, its address, its name, and the [`Roots`] that follow from the options.

use crate::failure::{Exit, Failure};
use clap::Args;
use kedge_machinery::Roots;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the node keeps its things; the same for every command.
#[derive(Debug, Clone, Args)]
pub struct SiteOptions {
    /// Put every folder of the node below this one.
    #[arg(
        long,
        env = "KEDGE_ROOT",
        default_value = "/",
        global = true,
        value_name = "DIR",
        hide_default_value = true
    )]
    pub root: PathBuf,
    /// Address of this node [default: the source address of the default route].
    #[arg(long, env = "KEDGE_NODE_IP", global = true, value_name = "IP")]
    pub node_ip: Option<IpAddr>,
    /// Name of this node [default: the host name].
    #[arg(long, env = "KEDGE_NODE_NAME", global = true, value_name = "NAME", alias = "hostname-override")]
    pub node_name: Option<String>,
    /// The cgroup below which pods are put, relative to the root of each tree.
    #[arg(long, env = "KEDGE_CGROUP_ROOT", default_value = "/", global = true, value_name = "PATH")]
    pub cgroup_root: String,
}

/// A node on this machine.
#[derive(Debug, Clone)]
pub struct Site {
    pub roots: Arc<Roots>,
    pub node_name: String,
}

impl SiteOptions {
    /// For commands that only look for what lies where.
    pub fn roots(&self) -> Result<Roots, Failure> {
        let boot_id = read_trimmed(Path::new("/proc/sys/kernel/random/boot_id"))?;
        let mut roots = Roots::below(&self.root, &boot_id);
        roots.cgroup_parent = self.cgroup_root.clone();
        roots.node_ip = self.node_ip;
        Ok(roots)
    }

    /// For a node that is to run.
    pub fn site(&self) -> Result<Site, Failure> {
        let mut roots = self.roots()?;
        roots.node_ip = Some(match self.node_ip {
            Some(ip) if ip.is_loopback() || ip.is_unspecified() => {
                let text = format!(
                    "--node-ip {ip} cannot be reached by pods: give an address of a network interface"
                );
                return Err(Failure::with(Exit::Usage, text));
            }
            Some(ip) => ip,
            None => default_address()?,
        });
        Ok(Site { roots: Arc::new(roots), node_name: self.name()? })
    }

    pub fn name(&self) -> Result<String, Failure> {
        let name = match &self.node_name {
            Some(name) => name.clone(),
            None => read_trimmed(Path::new("/proc/sys/kernel/hostname"))?.to_lowercase(),
        };
        if kedge_api::names::is_subdomain(&name) {
            return Ok(name);
        }
        let text = format!(
            "{name:?} cannot be a node's name (lower-case letters, digits, '-' and '.'): give --node-name"
        );
        Err(Failure::with(Exit::Usage, text))
    }
}

fn read_trimmed(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
    Ok(text.trim().to_owned())
}

/// The address the kernel would send from. Connecting a UDP socket asks it and sends nothing.
fn default_address() -> Result<IpAddr, Failure> {
    let targets: [(SocketAddr, SocketAddr); 2] = [
        (([0, 0, 0, 0], 0).into(), ([192, 0, 2, 1], 9).into()),
        (([0u16; 8], 0).into(), ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9).into()),
    ];
    for (local, target) in targets {
        let address = UdpSocket::bind(local)
            .and_then(|socket| socket.connect(target).map(|()| socket))
            .and_then(|socket| socket.local_addr());
        if let Ok(address) = address
            && !address.ip().is_loopback()
            && !address.ip().is_unspecified()
        {
            return Ok(address.ip());
        }
    }
    let text = "this machine has no default route, so its address is not known: give --node-ip";
    Err(Failure::with(Exit::Usage, text))
}
