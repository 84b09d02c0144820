//! A node in its own network and mount namespaces, pods, and a namespace that stands for the outside.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;
use kedge_api::{EndpointSlice, Service};
use kedge_cni::BuiltIn;
use kedge_cni_api::{Attach, Network};
use kedge_machinery::Roots;
use kedge_proxy::{Attachment, Datapath};
use kedge_proxy_core::{Image, frontends};
use kedge_proxy_maps::{Address, Config};
use kedge_sys::clone::flags::{NEWNET, NEWNS};
use kedge_sys::namespace;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 250, 2);
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 250, 1);

/// The process can be in one cgroup at a time, so labs take turns.
static ALONE: Mutex<()> = Mutex::new(());

pub struct Lab {
    pub runtime: tokio::runtime::Runtime,
    pub datapath: Option<Arc<Datapath>>,
    pub network: Option<BuiltIn>,
    pub outside: OwnedFd,
    pub node: OwnedFd,
    pub roots: Roots,
    image: Image,
    cgroup: Option<Cgroup>,
    pods: u32,
    dir: tempfile::TempDir,
}

pub struct Pod {
    pub netns: OwnedFd,
    pub ip: IpAddr,
}

/// A new network namespace with lo up.
pub fn new_netns() -> OwnedFd {
    std::thread::spawn(|| {
        namespace::unshare(NEWNET).unwrap();
        namespace::bring_up_loopback().unwrap();
        namespace::open("thread-self", "net").unwrap()
    })
    .join()
    .unwrap()
}

/// Runs `work` with the namespace's sockets.
pub fn inside<T: Send>(netns: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    namespace::with_network(netns.as_fd(), work).unwrap()
}

/// Runs a test on a thread of its own in fresh namespaces, or says why not.
pub fn in_lab(attachment: Option<Attachment>, test: impl FnOnce(&mut Lab) + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: network tests need root");
        return;
    }
    let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let run = move || {
        namespace::unshare(NEWNET | NEWNS).unwrap();
        namespace::bring_up_loopback().unwrap();
        let private =
            rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).unwrap();
        let mut lab = Lab::new(attachment);
        test(&mut lab);
        lab.close();
    };
    let outcome = std::thread::spawn(run).join();
    drop(alone);
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

impl Lab {
    fn new(attachment: Option<Attachment>) -> Lab {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut roots = Roots::below(dir.path(), "lab");
        roots.node_ip = Some(NODE.into());
        let outside = new_netns();
        let node = namespace::open("thread-self", "net").unwrap();
        let uplink = runtime.block_on(wire_outside(&outside));
        let mut lab = Lab {
            runtime,
            datapath: None,
            network: None,
            outside,
            node,
            roots,
            image: Image::default(),
            cgroup: Cgroup::enter(),
            pods: 0,
            dir,
        };
        lab.open(attachment);
        lab.follow_uplinks(uplink);
        lab
    }

    /// Runs the task that finds uplinks until it has found ours.
    fn follow_uplinks(&mut self, uplink: u32) {
        let datapath = self.datapath().clone();
        let pin = self.roots.bpffs.join(format!("v1/links/up-{uplink}-out"));
        self.runtime.block_on(async {
            let follows = kedge_proxy::follow_uplinks(datapath.clone());
            let found = async {
                let is_attached = || match datapath.attachment() {
                    Attachment::Tcx => pin.exists(),
                    Attachment::Clsact => datapath.has_uplink(uplink).unwrap(),
                };
                while !is_attached() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                ended = follows => panic!("uplinks are not followed: {ended:?}"),
                () = found => {}
            }
        });
    }

    pub fn datapath(&self) -> &Arc<Datapath> {
        self.datapath.as_ref().unwrap()
    }

    /// What a starting daemon does.
    pub fn open(&mut self, attachment: Option<Attachment>) {
        let datapath = Arc::new(Datapath::open(&self.roots.bpffs, attachment).unwrap());
        datapath.configure(&self.config()).unwrap();
        if let Some(cgroup) = &self.cgroup {
            datapath.attach_sockets(&cgroup.path).unwrap();
        }
        let network = self.runtime.block_on(BuiltIn::open(&self.roots, datapath.clone())).unwrap();
        self.runtime.block_on(network.set_ranges(vec!["10.244.0.0/24".parse().unwrap()])).unwrap();
        self.datapath = Some(datapath);
        self.network = Some(network);
    }

    fn config(&self) -> Config {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let prefix = |text: &str| Address::from_ip(text.parse().unwrap());
        Config {
            cluster_prefix: prefix("10.244.0.0"),
            cluster_mask: Address::mask(true, 16),
            service_prefix: prefix("10.96.0.0"),
            service_mask: Address::mask(true, 16),
            gateway4: prefix("169.254.1.1"),
            gateway6: prefix("fe80::1"),
            node_port_min: 30000,
            node_port_max: 32767,
            nat_port_min: 61000,
            nat_port_max: 65535,
            netns_cookie: kedge_sys::bpf::netns_cookie(socket.as_fd()).unwrap(),
        }
    }

    /// Ends the daemon: its descriptors close, its pins stay.
    pub fn kill(&mut self) {
        self.network = None;
        self.datapath = None;
    }

    /// Programs a service `10.96.0.N` named `web` with these backends; `extra` goes into its spec.
    pub fn service(&mut self, last: u8, extra: &str, backends: &[(IpAddr, u16)]) -> Ipv4Addr {
        let vip = Ipv4Addr::new(10, 96, 0, last);
        let service = format!(
            r#"{{"metadata":{{"name":"web-{last}","namespace":"default"}},"spec":{{"clusterIP":"{vip}",
            "ports":[{{"name":"t","port":80,"protocol":"TCP","nodePort":{tcp}}},{{"name":"u","port":80,"protocol":"UDP","nodePort":{tcp}}}]{extra}}}}}"#,
            tcp = 30000 + u16::from(last),
        );
        let service: Service = serde_json::from_str(&service).unwrap();
        let slices: Vec<_> = backends.iter().map(slice).collect();
        let frontends = frontends(&service, &slices, "here");
        let name = ("default".to_owned(), format!("web-{last}"));
        let (changes, full) = self.image.sync(&name, &frontends, 0);
        assert!(full.is_empty());
        self.datapath().apply(&changes).unwrap();
        vip
    }

    /// Other roots of the same node, for a second network beside the first.
    pub fn roots_of(&self, name: &str) -> Roots {
        Roots::below(&self.dir.path().join(name), "lab")
    }

    /// Many services with ten backends each, none of which exists.
    pub fn crowd(&mut self, services: u32) {
        let mut changes = Vec::new();
        for number in 0..services {
            let [_, _, high, low] = number.to_be_bytes();
            let vip = Ipv4Addr::new(10, 97, high, low);
            let text = format!(
                r#"{{"metadata":{{"name":"crowd-{number}"}},"spec":{{"clusterIP":"{vip}","ports":[{{"name":"t","port":80}}]}}}}"#
            );
            let service: Service = serde_json::from_str(&text).unwrap();
            let backends: Vec<_> =
                (0..10).map(|n| slice(&(Ipv4Addr::new(10, 200 + n, high, low).into(), 80))).collect();
            let wanted = frontends(&service, &backends, "here");
            changes.extend(self.image.sync(&(String::new(), format!("crowd-{number}")), &wanted, 0).0);
        }
        let started = std::time::Instant::now();
        self.datapath().apply(&changes).unwrap();
        println!("of which in the kernel {:?}", started.elapsed());
    }

    /// How long one pod's network takes, without its namespace.
    pub fn attach_time(&mut self) -> std::time::Duration {
        self.pods += 1;
        let netns = new_netns();
        let request = self.attach_request();
        let network = self.network.as_ref().unwrap();
        let started = std::time::Instant::now();
        self.runtime.block_on(network.attach(netns.as_fd(), &request)).unwrap();
        started.elapsed()
    }

    fn attach_request(&self) -> Attach {
        let id = format!("{:x}pod5andb0x", self.pods);
        Attach {
            sandbox_id: id.clone(),
            pod_namespace: "default".to_owned(),
            pod_name: id.clone(),
            pod_uid: id,
            ifname: "eth0".to_owned(),
        }
    }

    pub fn pod(&mut self) -> Pod {
        self.pods += 1;
        let netns = new_netns();
        let request = self.attach_request();
        let network = self.network.as_ref().unwrap();
        let attached = self.runtime.block_on(network.attach(netns.as_fd(), &request)).unwrap();
        Pod { netns, ip: attached.ips[0] }
    }

    /// Everything back, and nothing left: no pin, no mount.
    fn close(mut self) {
        if let Some(network) = self.network.take() {
            self.runtime.block_on(network.remove()).unwrap();
        }
        drop(self.datapath.take());
        kedge_proxy::remove(&self.roots.bpffs).unwrap();
        let left: Vec<_> = std::fs::read_dir(&self.roots.bpffs).unwrap().collect();
        assert!(left.is_empty(), "left below the bpffs mount point: {left:?}");
        drop(self.cgroup);
        drop(self.dir);
    }
}

fn slice(backend: &(IpAddr, u16)) -> Arc<EndpointSlice> {
    let (ip, port) = backend;
    let text = format!(
        r#"{{"metadata":{{"name":"{ip}"}},"addressType":"IPv4","ports":[{{"name":"t","port":{port},"protocol":"TCP"}},
        {{"name":"u","port":{port},"protocol":"UDP"}}],"endpoints":[{{"addresses":["{ip}"],"nodeName":"here"}}]}}"#
    );
    Arc::new(serde_json::from_str(&text).unwrap())
}

/// The uplink of the node, its peer outside, and the default route. Returns the uplink's index.
async fn wire_outside(outside: &OwnedFd) -> u32 {
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    let peer = LinkMessageBuilder::<LinkUnspec>::new().name("eth0").setns_by_fd(outside.as_raw_fd()).build();
    let pair = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Veth)
        .name("uplink0")
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .up()
        .build();
    handle.link().add(pair).execute().await.unwrap();
    let uplink = address(&handle, "uplink0", NODE, 24).await;

    let far = netlink_in(outside);
    address(&far, "eth0", OUTSIDE, 24).await;
    let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(OUTSIDE).build();
    handle.route().add(default).execute().await.unwrap();
    uplink
}

/// Requests to the namespace behind `netns`.
pub fn netlink_in(netns: &OwnedFd) -> rtnetlink::Handle {
    let runtime = tokio::runtime::Handle::current();
    let (connection, handle, _) = inside(netns, || {
        let _entered = runtime.enter();
        rtnetlink::new_connection().unwrap()
    });
    tokio::spawn(connection);
    handle
}

/// Brings the interface up with one more address; returns its index.
pub async fn address(handle: &rtnetlink::Handle, name: &str, ip: Ipv4Addr, prefix: u8) -> u32 {
    let found = handle.link().get().match_name(name).execute().try_next().await.unwrap().unwrap();
    let index = found.header.index;
    handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await.unwrap();
    handle.address().add(index, ip.into(), prefix).execute().await.unwrap();
    index
}

/// A cgroup of our own in the unified tree, with this process in it: socket programs are not put on anybody else.
pub struct Cgroup {
    pub path: PathBuf,
    before: PathBuf,
}

impl Cgroup {
    fn enter() -> Option<Cgroup> {
        let is_unified = |path: &&Path| path.join("cgroup.controllers").exists();
        let root = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].iter().map(Path::new).find(is_unified)?;
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
        let path = root.join(format!("kedge-net-{}", std::process::id()));
        std::fs::create_dir_all(&path).ok()?;
        let cgroup = Cgroup { path, before: root.join(own) };
        std::fs::write(cgroup.path.join("cgroup.procs"), "0").ok()?;
        Some(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::write(self.before.join("cgroup.procs"), "0");
        let _ = std::fs::remove_dir(&self.path);
    }
}

pub fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

pub type Answer = io::Result<String>;
