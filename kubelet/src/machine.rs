//! What the Node object tells about this machine, read once at the start.

use std::io;
use std::path::Path;

use kedge_kubelet_core::node::Machine;

use crate::{Config, Error};

pub(crate) fn read(config: &Config) -> Result<Machine, Error> {
    let meminfo = file("/proc/meminfo")?;
    let kibibytes = |key: &str| kibibytes(&meminfo, key);
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let trimmed = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpus = std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1));
    Ok(Machine {
        host_name: config.node_name.clone(),
        node_ips: vec![config.node_ip.to_string()],
        cpus,
        memory_bytes: kibibytes("MemTotal") * 1024,
        disk_bytes: disk_bytes(&config.roots.kubelet),
        huge_pages: huge_pages(),
        machine_id: trimmed("/etc/machine-id"),
        system_uuid: trimmed("/sys/class/dmi/id/product_uuid").to_lowercase(),
        boot_id: config.roots.boot_id.clone(),
        kernel_version: trimmed("/proc/sys/kernel/osrelease"),
        os_image: pretty.unwrap_or("Linux").trim_matches('"').to_owned(),
        architecture: architecture().to_owned(),
        swap_bytes: kibibytes("SwapTotal") * 1024,
        version: config.version.clone(),
        runtime_version: String::new(),
        kubelet_port: config.roots.ports.kubelet,
    })
}

/// All of it, as the kernel counts.
pub(crate) fn memory_bytes() -> io::Result<i64> {
    Ok(kibibytes(&std::fs::read_to_string("/proc/meminfo")?, "MemTotal") * 1024)
}

fn kibibytes(meminfo: &str, key: &str) -> i64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn file(path: &str) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|cause| Error::Machine { what: path.to_owned(), cause })
}

/// Go's name of the architecture, which labels and images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The size of the file system that holds `path`, or its nearest folder that exists.
fn disk_bytes(path: &Path) -> i64 {
    let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    rustix::fs::statvfs(existing)
        .map_or(0, |stat| i64::try_from(stat.f_blocks * stat.f_frsize).unwrap_or(i64::MAX))
}

fn huge_pages() -> Vec<(String, i64)> {
    let Ok(sizes) = std::fs::read_dir("/sys/kernel/mm/hugepages") else {
        return Vec::new();
    };
    let mut found: Vec<(i64, i64)> = sizes.flatten().filter_map(|entry| one_size(&entry).ok()).collect();
    found.sort_unstable();
    let name = |kib: i64| {
        if kib >= 1 << 20 {
            format!("hugepages-{}Gi", kib >> 20)
        } else {
            format!("hugepages-{}Mi", kib >> 10)
        }
    };
    found.into_iter().map(|(kib, pages)| (name(kib), kib * 1024 * pages)).collect()
}

/// (KiB of a page, number of pages) of `hugepages-2048kB`.
fn one_size(entry: &std::fs::DirEntry) -> io::Result<(i64, i64)> {
    let name = entry.file_name().to_string_lossy().into_owned();
    let kib = name.strip_prefix("hugepages-").and_then(|rest| rest.strip_suffix("kB")?.parse().ok());
    let kib = kib.ok_or_else(|| io::Error::other("not a page size"))?;
    let pages = std::fs::read_to_string(entry.path().join("nr_hugepages"))?;
    Ok((kib, pages.trim().parse().unwrap_or(0)))
}
