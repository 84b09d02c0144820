//! The datapath of one node: its programs, maps and links, all pinned below the node's own bpffs, so that traffic flows
//! while no daemon runs. Opening it again takes over the maps with their contents and swaps each link's program between
//! two packets.
//!
//! ```text
//! <bpffs>/v1/maps/SVC …        contents survive
//! <bpffs>/v1/links/up-7-in …   one pin per link, named by interface index
//! ```
//!
//! Link operations work in the calling thread's network namespace, which must be the node's.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use aya::Ebpf;
use aya::programs::Program;
use kedge_proxy_core::{Change, Pinned};
use kedge_proxy_maps::{
    Address, Config, Endpoint, FlowKey, LAYOUT_VERSION, ServiceKey, ServiceValue, Uplink,
};
use kedge_sys::bpf::{self, AttachType, Map};
use zerocopy::{FromBytes, IntoBytes};

use crate::Error;
use crate::clsact;
use crate::error::Doing;
use crate::load::{self, SOCKET_PROGRAMS};

const BPF_FS_MAGIC: rustix::fs::FsWord = 0xcafe_4a11;

/// How packet programs hold on to uplinks, which other programs may share. A pod's veth is ours alone and always has
/// clsact: a tcx link waits for two RCU grace periods, and a pod's start with it (attach p50 31 ms against 1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// bpf links, kernel 6.6 and later.
    Tcx,
    /// A clsact qdisc with direct-action filters.
    Clsact,
}

/// Which end of the node an interface is; its names begin programs and pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Pod,
    Uplink,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Pod => "pod",
            Role::Uplink => "up",
        }
    }
}

pub struct Datapath {
    links: PathBuf,
    programs: Ebpf,
    attachment: Attachment,
    maps: Maps,
    /// Serialises what changes links and their pins.
    linking: Mutex<()>,
}

/// The maps that user space writes.
pub(crate) struct Maps {
    pub services: Map,
    pub list: Map,
    pub backends: Map,
    pub maglev: Map,
    endpoints: Map,
    locals: Map,
    uplinks: Map,
    config: Map,
    flows: Map,
}

impl Maps {
    fn open(dir: &Path) -> Result<Maps, Error> {
        let open = |name: &str| Map::open(&dir.join(name)).doing(|| format!("open map {name}"));
        Ok(Maps {
            services: open("SVC")?,
            list: open("LIST")?,
            backends: open("BACKENDS")?,
            maglev: open("MAGLEV")?,
            endpoints: open("EP")?,
            locals: open("LOCAL")?,
            uplinks: open("UPLINK")?,
            config: open("CONFIG")?,
            flows: open("CT")?,
        })
    }
}

impl Datapath {
    /// Opens the node's datapath below `bpffs`, mounting that if it is no bpffs yet.
    pub fn open(bpffs: &Path, attachment: Option<Attachment>) -> Result<Datapath, Error> {
        ensure_bpffs(bpffs)?;
        let root = bpffs.join(format!("v{LAYOUT_VERSION}"));
        let (maps, links) = (root.join("maps"), root.join("links"));
        for dir in [&maps, &links] {
            fs::create_dir_all(dir).doing(|| format!("create {}", dir.display()))?;
        }
        let programs = load::load(&maps)?;
        let maps = Maps::open(&maps)?;
        let mut datapath =
            Datapath { links, programs, attachment: Attachment::Tcx, maps, linking: Mutex::new(()) };
        datapath.attachment = attachment.unwrap_or_else(|| probe_attachment(&datapath.programs));
        datapath.renew_links()?;
        datapath.renew_pods()?;
        Ok(datapath)
    }

    pub fn attachment(&self) -> Attachment {
        self.attachment
    }

    /// What the service maps hold, for a core that starts.
    pub fn pinned(&self) -> Result<Pinned, Error> {
        let (keys, values) = self.maps.services.dump().doing(|| "read SVC".to_owned())?;
        let services = records::<ServiceKey>(&keys).zip(records::<ServiceValue>(&values)).collect();
        let (ids, list) = self.maps.list.dump().doing(|| "read LIST".to_owned())?;
        debug_assert_eq!(ids.len(), list.len(), "both are words");
        let (_, backends) = self.maps.backends.dump().doing(|| "read BACKENDS".to_owned())?;
        Ok(Pinned { services, list: records(&list).collect(), backends: records(&backends).collect() })
    }

    /// One of the programs' counters, summed over CPUs; indices are in `kedge_proxy_maps::stat`.
    pub fn stat(&self, index: u32) -> Result<u64, Error> {
        let map = self.programs.map("STATS").expect("the object is ours and has every map we name");
        let counters = aya::maps::PerCpuArray::<_, u64>::try_from(map);
        let read = counters.and_then(|counters| counters.get(&index, 0));
        let values =
            read.map_err(|cause| Error::Load { what: "STATS".to_owned(), cause: Box::new(cause) })?;
        Ok(values.iter().sum())
    }

    /// Entries of the flow table, a live flow being two.
    pub fn flow_entries(&self) -> Result<usize, Error> {
        let (keys, _) = self.maps.flows.dump().doing(|| "read CT".to_owned())?;
        Ok(keys.len() / size_of::<FlowKey>())
    }

    fn program(&self, name: &str) -> BorrowedFd<'_> {
        program(&self.programs, name)
    }

    /// Puts this build's programs behind every link that an earlier one left pinned. A link without its interface or
    /// cgroup is dropped.
    fn renew_links(&self) -> Result<(), Error> {
        for entry in fs::read_dir(&self.links).doing(|| "list link pins".to_owned())? {
            let path = entry.doing(|| "list link pins".to_owned())?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let Some(program) = program_of_pin(&name) else {
                continue;
            };
            let link = bpf::get(&path).doing(|| format!("open link {name}"))?;
            match bpf::link_update(link.as_fd(), self.program(program)) {
                Ok(()) => tracing::debug!(link = name, "link updated"),
                Err(error) => {
                    tracing::debug!(link = name, %error, "dead link dropped");
                    fs::remove_file(&path).doing(|| format!("unpin {name}"))?;
                }
            }
        }
        Ok(())
    }

    /// Filters on pods' links are replaced as atomically as links are updated. A pod whose interface is gone stays until
    /// the pod network says so.
    fn renew_pods(&self) -> Result<(), Error> {
        let interfaces: BTreeSet<u32> = self.pods()?.into_iter().map(|(_, ifindex)| ifindex).collect();
        for ifindex in interfaces {
            if let Err(error) = self.attach_interface(Role::Pod, ifindex) {
                tracing::debug!(ifindex, %error, "a pod's interface is gone");
            }
        }
        Ok(())
    }

    /// Writes the node-wide parameters.
    pub fn configure(&self, config: &Config) -> Result<(), Error> {
        self.maps.config.update(0u32.as_bytes(), config.as_bytes()).doing(|| "write CONFIG".to_owned())
    }

    /// Attaches the socket programs to a cgroup2 directory (its root, so that every process is below).
    pub fn attach_sockets(&self, cgroup2: &Path) -> Result<(), Error> {
        let _linking = self.linking.lock().expect("no panic happens under this lock");
        let cgroup = fs::File::open(cgroup2).doing(|| format!("open {}", cgroup2.display()))?;
        for name in SOCKET_PROGRAMS {
            let pin = self.links.join(format!("sock-{name}"));
            if pin.exists() {
                continue;
            }
            let link = bpf::link_cgroup(self.program(name), cgroup.as_fd(), socket_attach_type(name))
                .doing(|| format!("attach {name} to {}", cgroup2.display()))?;
            bpf::pin(link.as_fd(), &pin).doing(|| format!("pin {name}"))?;
        }
        Ok(())
    }

    /// Brings a pod's veth and addresses into the datapath.
    pub fn add_pod(&self, ifindex: u32, addresses: &[IpAddr]) -> Result<(), Error> {
        self.attach_interface(Role::Pod, ifindex)?;
        let endpoint = Endpoint { ifindex, flags: 0 };
        for address in addresses {
            self.maps
                .endpoints
                .update(Address::from_ip(*address).as_bytes(), endpoint.as_bytes())
                .doing(|| format!("write endpoint {address}"))?;
        }
        Ok(())
    }

    pub fn remove_pod(&self, ifindex: u32, addresses: &[IpAddr]) -> Result<(), Error> {
        for address in addresses {
            let key = Address::from_ip(*address);
            // Another pod may have got the address meanwhile.
            let current =
                self.maps.endpoints.lookup(key.as_bytes()).doing(|| format!("read endpoint {address}"))?;
            let is_ours = current
                .is_some_and(|value| Endpoint::read_from_bytes(&value).is_ok_and(|e| e.ifindex == ifindex));
            if is_ours {
                self.maps.endpoints.delete(key.as_bytes()).doing(|| format!("delete endpoint {address}"))?;
            }
        }
        self.detach_interface(Role::Pod, ifindex)
    }

    /// Every pod that the datapath knows: address and interface.
    pub fn pods(&self) -> Result<Vec<(IpAddr, u32)>, Error> {
        let (keys, values) = self.maps.endpoints.dump().doing(|| "read endpoints".to_owned())?;
        let addresses = records::<Address>(&keys).map(Address::to_ip);
        Ok(addresses.zip(records::<Endpoint>(&values).map(|endpoint| endpoint.ifindex)).collect())
    }

    pub fn add_uplink(&self, ifindex: u32, addresses: &[IpAddr]) -> Result<(), Error> {
        let first = |wants_v4: bool| {
            addresses
                .iter()
                .find(|ip| ip.is_ipv4() == wants_v4)
                .map_or(Address::UNSPECIFIED, |ip| Address::from_ip(*ip))
        };
        let uplink = Uplink { address4: first(true), address6: first(false) };
        // Replies must find their way back before anything is masqueraded.
        self.attach_interface(Role::Uplink, ifindex)?;
        self.maps
            .uplinks
            .update(ifindex.as_bytes(), uplink.as_bytes())
            .doing(|| format!("write uplink {ifindex}"))
    }

    pub fn has_uplink(&self, ifindex: u32) -> Result<bool, Error> {
        let found = self.maps.uplinks.lookup(ifindex.as_bytes());
        found.map(|value| value.is_some()).doing(|| format!("read uplink {ifindex}"))
    }

    pub fn remove_uplink(&self, ifindex: u32) -> Result<(), Error> {
        self.maps.uplinks.delete(ifindex.as_bytes()).doing(|| format!("delete uplink {ifindex}"))?;
        self.detach_interface(Role::Uplink, ifindex)
    }

    /// The node's own addresses, all of them, without loopback's.
    pub fn set_locals(&self, addresses: &BTreeSet<IpAddr>) -> Result<(), Error> {
        let (keys, _) = self.maps.locals.dump().doing(|| "read LOCAL".to_owned())?;
        let wanted: BTreeSet<Address> = addresses.iter().map(|ip| Address::from_ip(*ip)).collect();
        for key in keys.chunks_exact(size_of::<Address>()) {
            let stays = Address::read_from_bytes(key).is_ok_and(|address| wanted.contains(&address));
            if !stays {
                self.maps.locals.delete(key).doing(|| "delete from LOCAL".to_owned())?;
            }
        }
        for address in &wanted {
            self.maps
                .locals
                .update(address.as_bytes(), 1u32.as_bytes())
                .doing(|| "write LOCAL".to_owned())?;
        }
        Ok(())
    }

    /// Applies changes in the order given; the core has put them so that no reader meets a dangling reference.
    pub fn apply(&self, changes: &[Change]) -> Result<(), Error> {
        crate::apply::apply(&self.maps, changes)
    }

    fn holds_by(&self, role: Role) -> Attachment {
        match role {
            Role::Pod => Attachment::Clsact,
            Role::Uplink => self.attachment,
        }
    }

    fn attach_interface(&self, role: Role, ifindex: u32) -> Result<(), Error> {
        let _linking = self.linking.lock().expect("no panic happens under this lock");
        for (direction, at) in [("in", AttachType::TcxIngress), ("out", AttachType::TcxEgress)] {
            let name = format!("{}_{direction}", role.name());
            let program = self.program(&name);
            let attached = match self.holds_by(role) {
                Attachment::Clsact => clsact::attach(ifindex, at, program, &name),
                Attachment::Tcx => attach_link(ifindex, at, program, &self.link_pin(ifindex, direction)),
            };
            attached.doing(|| format!("attach {name} to interface {ifindex}"))?;
        }
        Ok(())
    }

    fn detach_interface(&self, role: Role, ifindex: u32) -> Result<(), Error> {
        let _linking = self.linking.lock().expect("no panic happens under this lock");
        match self.holds_by(role) {
            Attachment::Clsact => match clsact::detach(ifindex) {
                Err(error) if error.raw_os_error() != Some(rustix::io::Errno::NODEV.raw_os_error()) => {
                    Err(error).doing(|| format!("detach interface {ifindex}"))
                }
                _ => Ok(()),
            },
            Attachment::Tcx => {
                remove_pin(&self.link_pin(ifindex, "in"))?;
                remove_pin(&self.link_pin(ifindex, "out"))
            }
        }
    }

    fn link_pin(&self, ifindex: u32, direction: &str) -> PathBuf {
        self.links.join(format!("up-{ifindex}-{direction}"))
    }
}

fn program<'a>(programs: &'a Ebpf, name: &str) -> BorrowedFd<'a> {
    let program = programs.program(name).expect("load() has loaded every program we name");
    let fd = match program {
        Program::SchedClassifier(program) => program.fd(),
        Program::CgroupSockAddr(program) => program.fd(),
        other => unreachable!("no program of ours is a {:?}", other.prog_type()),
    };
    fd.expect("load() has loaded every program we name").as_fd()
}

/// tcx came with 6.6. Attaching to interface 0 asks without touching anything: a kernel that knows tcx misses the
/// interface, another one does not know the attach type.
fn probe_attachment(programs: &Ebpf) -> Attachment {
    match bpf::link_interface(program(programs, "pod_in"), 0, AttachType::TcxIngress) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {
            Attachment::Tcx
        }
        _ => Attachment::Clsact,
    }
}

/// Does this kernel take our programs, and how would uplinks hold them? Everything is loaded and dropped again.
pub fn probe() -> Result<Attachment, Error> {
    load::load_unpinned().map(|programs| probe_attachment(&programs))
}

/// Takes every program off and unpins everything: what `kedge delete` leaves. No datapath need be open, so that it also
/// serves after a kedge that was killed: what is pinned says what there is. Unmounting the node's bpffs takes the last
/// reference to links and maps that no process holds.
pub fn remove(bpffs: &Path) -> Result<(), Error> {
    let root = bpffs.join(format!("v{LAYOUT_VERSION}"));
    let links = root.join("links");
    for ifindex in filtered_uplinks(&root)? {
        clsact::detach(ifindex).doing(|| format!("detach from interface {ifindex}"))?;
    }
    for pin in fs::read_dir(&links).into_iter().flatten().flatten() {
        if let Ok(link) = bpf::get(&pin.path()) {
            let _ = bpf::link_detach(link.as_fd());
        }
    }
    if is_bpffs(bpffs) {
        rustix::mount::unmount(bpffs, rustix::mount::UnmountFlags::DETACH)
            .map_err(|source| Error::Mount { path: bpffs.to_owned(), source: source.into() })?;
    }
    Ok(())
}

/// Uplinks that have filters because their kernel knows no tcx links.
fn filtered_uplinks(root: &Path) -> Result<Vec<u32>, Error> {
    let Ok(uplinks) = Map::open(&root.join("maps/UPLINK")) else { return Ok(Vec::new()) };
    let (keys, _) = uplinks.dump().doing(|| "read UPLINK".to_owned())?;
    let has_link = |ifindex: &u32| root.join(format!("links/up-{ifindex}-in")).exists();
    Ok(records::<u32>(&keys).filter(|ifindex| !has_link(ifindex)).collect())
}

/// A dumped map's bytes as its keys or values.
fn records<T: FromBytes>(bytes: &[u8]) -> impl Iterator<Item = T> + '_ {
    bytes.chunks_exact(size_of::<T>()).filter_map(|bytes| T::read_from_bytes(bytes).ok())
}

/// Attaches by a link and pins it; a pinned link that still has its interface gets the program instead.
fn attach_link(ifindex: u32, at: AttachType, program: BorrowedFd<'_>, pin: &Path) -> io::Result<()> {
    if let Ok(link) = bpf::get(pin) {
        if bpf::link_update(link.as_fd(), program).is_ok() {
            return Ok(());
        }
        fs::remove_file(pin)?;
    }
    let link = bpf::link_interface(program, ifindex, at)?;
    bpf::pin(link.as_fd(), pin)
}

fn remove_pin(pin: &Path) -> Result<(), Error> {
    if let Ok(link) = bpf::get(pin) {
        let _ = bpf::link_detach(link.as_fd());
    }
    match fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("unpin {}", pin.display()))
        }
        _ => Ok(()),
    }
}

fn program_of_pin(name: &str) -> Option<&'static str> {
    let is = |prefix: &str, suffix: &str| name.starts_with(prefix) && name.ends_with(suffix);
    match () {
        () if is("up-", "-in") => Some("up_in"),
        () if is("up-", "-out") => Some("up_out"),
        () => {
            let socket = name.strip_prefix("sock-")?;
            SOCKET_PROGRAMS.iter().copied().find(|program| *program == socket)
        }
    }
}

fn socket_attach_type(program: &str) -> AttachType {
    match program {
        "connect4" => AttachType::Inet4Connect,
        "connect6" => AttachType::Inet6Connect,
        "sendmsg4" => AttachType::Udp4Sendmsg,
        "sendmsg6" => AttachType::Udp6Sendmsg,
        "recvmsg4" => AttachType::Udp4Recvmsg,
        "recvmsg6" => AttachType::Udp6Recvmsg,
        "getpeername4" => AttachType::Inet4Getpeername,
        _ => AttachType::Inet6Getpeername,
    }
}

fn is_bpffs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == BPF_FS_MAGIC)
}

fn ensure_bpffs(path: &Path) -> Result<(), Error> {
    let fail = |source: io::Error| Error::Mount { path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(fail)?;
    if is_bpffs(path) {
        return Ok(());
    }
    let flags = rustix::mount::MountFlags::NOSUID
        | rustix::mount::MountFlags::NODEV
        | rustix::mount::MountFlags::NOEXEC;
    rustix::mount::mount("bpf", path, "bpf", flags, Some(c"mode=0700")).map_err(|source| fail(source.into()))
}
