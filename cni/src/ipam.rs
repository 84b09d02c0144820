//! Pod addresses: one lease file for each sandbox, on tmpfs, because a reboot ends every sandbox.
//!
//! Addresses are handed out in a circle, so that one that was just given back rests as long as possible: a peer may still
//! send to its former owner.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use kedge_cni_api::Error;
use serde::{Deserialize, Serialize};

/// What a sandbox holds. On disk with a version; a file of another version is an error that names the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    pub version: u32,
    pub sandbox_id: String,
    pub ips: Vec<IpAddr>,
    pub ifname: String,
    /// 0 until the link exists.
    pub ifindex: u32,
}

const LEASE_VERSION: u32 = 1;

/// The file with the node's ranges, one a line, beside the leases.
const RANGES: &str = "ranges";

/// What [`Leases::put_ranges`] wrote; nothing where it never did, and nothing of a line that is no range.
pub fn read_ranges(dir: &Path) -> io::Result<Vec<IpNet>> {
    match fs::read_to_string(dir.join(RANGES)) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[derive(Debug)]
pub struct Leases {
    dir: PathBuf,
    leases: BTreeMap<String, Lease>,
    /// The offset in the range where the next search begins.
    next: u128,
}

impl Leases {
    /// Reads what an earlier daemon of this boot left. A broken file is set aside with a warning: its sandbox will be
    /// released like any unknown one.
    pub fn open(dir: &Path) -> io::Result<Leases> {
        fs::create_dir_all(dir)?;
        let mut leases = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read(&path) {
                Ok(lease) => drop(leases.insert(lease.sandbox_id.clone(), lease)),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "unreadable lease removed");
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok(Leases { dir: dir.to_owned(), leases, next: 0 })
    }

    pub fn get(&self, sandbox_id: &str) -> Option<&Lease> {
        self.leases.get(sandbox_id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    /// One free address of the range; the first and last of an IPv4 range are nobody's.
    pub fn pick(&mut self, range: &IpNet) -> Result<IpAddr, Error> {
        let taken: BTreeSet<IpAddr> =
            self.leases.values().flat_map(|lease| lease.ips.iter().copied()).collect();
        let size = usable(range);
        // One more try than there are leases must find a free one.
        for step in 0..size.min(taken.len() as u128 + 1) {
            let offset = (self.next + step) % size;
            let address = nth(range, offset + 1);
            if !taken.contains(&address) {
                self.next = (offset + 1) % size;
                return Ok(address);
            }
        }
        Err(Error::Exhausted(range.to_string()))
    }

    /// Writes a lease whole before it counts.
    pub fn put(&mut self, sandbox_id: &str, ips: Vec<IpAddr>, ifname: &str, ifindex: u32) -> io::Result<()> {
        let lease = Lease {
            version: LEASE_VERSION,
            sandbox_id: sandbox_id.to_owned(),
            ips,
            ifname: ifname.to_owned(),
            ifindex,
        };
        let path = self.path(sandbox_id);
        let temporary = path.with_extension("tmp");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&lease)?)?;
        fs::rename(&temporary, &path)?;
        self.leases.insert(sandbox_id.to_owned(), lease);
        Ok(())
    }

    /// Whose unreachable routes stand from now on, for whoever has to take them back after a crash.
    pub fn put_ranges(&self, ranges: &[IpNet]) -> io::Result<()> {
        let lines: String = ranges.iter().map(|range| format!("{range}\n")).collect();
        let temporary = self.dir.join("ranges.tmp");
        fs::write(&temporary, lines)?;
        fs::rename(&temporary, self.dir.join(RANGES))
    }

    pub fn remove(&mut self, sandbox_id: &str) -> io::Result<()> {
        self.leases.remove(sandbox_id);
        match fs::remove_file(self.path(sandbox_id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, sandbox_id: &str) -> PathBuf {
        self.dir.join(format!("{sandbox_id}.json"))
    }
}

fn read(path: &Path) -> io::Result<Lease> {
    let lease: Lease = serde_json::from_slice(&fs::read(path)?)?;
    if lease.version != LEASE_VERSION {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("version {}", lease.version)));
    }
    Ok(lease)
}

/// How many addresses the range has to give.
fn usable(range: &IpNet) -> u128 {
    let host_bits = range.max_prefix_len() - range.prefix_len();
    // An IPv6 range is cut to what a node can ever hold.
    let size = 1u128 << host_bits.min(32);
    size.saturating_sub(2).max(1)
}

fn nth(range: &IpNet, offset: u128) -> IpAddr {
    match range.network() {
        IpAddr::V4(base) => Ipv4Addr::from(u32::from(base).wrapping_add(offset as u32)).into(),
        IpAddr::V6(base) => Ipv6Addr::from(u128::from(base).wrapping_add(offset)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases() -> (tempfile::TempDir, Leases) {
        let dir = tempfile::tempdir().unwrap();
        let leases = Leases::open(dir.path()).unwrap();
        (dir, leases)
    }

    fn take(leases: &mut Leases, id: &str, range: &str) -> Result<String, String> {
        let ip = leases.pick(&range.parse().unwrap()).map_err(|error| error.to_string())?;
        leases.put(id, vec![ip], "veth", 1).unwrap();
        Ok(ip.to_string())
    }

    #[test]
    fn ranges_are_remembered() {
        let (dir, leases) = leases();
        assert_eq!(read_ranges(dir.path()).unwrap(), []);
        let ranges = ["10.244.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()];
        leases.put_ranges(&ranges).unwrap();
        assert_eq!(read_ranges(dir.path()).unwrap(), ranges);
        assert_eq!(Leases::open(dir.path()).unwrap().iter().count(), 0, "it is no lease");
    }

    #[test]
    fn addresses_go_round_and_run_out() {
        let (_dir, mut leases) = leases();
        let range = "10.244.0.0/29";
        for (id, ip) in [("a", "10.244.0.1"), ("b", "10.244.0.2"), ("c", "10.244.0.3"), ("d", "10.244.0.4")] {
            assert_eq!(take(&mut leases, id, range).as_deref(), Ok(ip));
        }
        leases.remove("a").unwrap();
        // The one given back last is handed out last.
        assert_eq!(take(&mut leases, "e", range).as_deref(), Ok("10.244.0.5"));
        assert_eq!(take(&mut leases, "f", range).as_deref(), Ok("10.244.0.6"));
        assert_eq!(take(&mut leases, "g", range).as_deref(), Ok("10.244.0.1"));
        assert_eq!(take(&mut leases, "h", range), Err("no free address in 10.244.0.0/29".to_owned()));
    }

    #[test]
    fn leases_survive_the_daemon_and_broken_files_do_not() {
        let (dir, mut leases) = leases();
        take(&mut leases, "a", "fd00::/64").unwrap();
        fs::write(dir.path().join("b.json"), "{").unwrap();
        fs::write(
            dir.path().join("c.json"),
            r#"{"version":9,"sandboxId":"c","ips":[],"ifname":"","ifindex":0}"#,
        )
        .unwrap();
        let again = Leases::open(dir.path()).unwrap();
        assert_eq!(again.iter().count(), 1);
        assert_eq!(again.get("a").unwrap().ips, ["fd00::1".parse::<IpAddr>().unwrap()]);
        assert!(!dir.path().join("b.json").exists());
    }
}
