//! Usage of a container, read from its cgroup's files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kedge_cri_api::{ContainerId, ContainerStats, Result};

use super::cgroups::field;
use super::{Container, Cri, blocking, records};

impl Cri {
    pub(super) async fn stats(self: &Arc<Self>, id: &ContainerId) -> Result<ContainerStats> {
        let (cri, container) = (self.clone(), self.container(&id.0)?);
        blocking(move || cri.read_stats(&container)).await
    }

    fn read_stats(&self, container: &Container) -> ContainerStats {
        let group = container.group();
        let mut stats = ContainerStats { timestamp_ns: records::now_ns(), ..ContainerStats::default() };
        (stats.writable_layer_bytes, stats.writable_layer_inodes) =
            usage(&self.layers(&container.id).join("upper"));
        let text = |directory: Option<PathBuf>, file: &str| {
            directory.and_then(|directory| fs::read_to_string(directory.join(file)).ok()).unwrap_or_default()
        };
        let number =
            |directory: Option<PathBuf>, file: &str| text(directory, file).trim().parse().unwrap_or(0);
        let (memory, inactive, rss) = if self.cgroups.is_v2() {
            let unified = || self.cgroups.unified(&group);
            let cpu = text(unified(), "cpu.stat");
            stats.cpu_usage_core_ns = field(&cpu, "usage_usec").unwrap_or(0) * 1000;
            stats.memory_usage_bytes = number(unified(), "memory.current");
            (text(unified(), "memory.stat"), "inactive_file", "anon")
        } else {
            let memory = || self.cgroups.v1("memory", &group);
            stats.cpu_usage_core_ns = number(self.cgroups.v1("cpuacct", &group), "cpuacct.usage");
            stats.memory_usage_bytes = number(memory(), "memory.usage_in_bytes");
            (text(memory(), "memory.stat"), "total_inactive_file", "total_rss")
        };
        let of = |name: &str| field(&memory, name).unwrap_or(0);
        stats.memory_working_set_bytes = stats.memory_usage_bytes.saturating_sub(of(inactive));
        stats.memory_rss_bytes = of(rss);
        stats.memory_page_faults = of("pgfault");
        stats.memory_major_page_faults = of("pgmajfault");
        stats
    }
}

/// Bytes and inodes below a directory, without following anything out of it.
fn usage(directory: &Path) -> (u64, u64) {
    let Ok(entries) = fs::read_dir(directory) else {
        return (0, 0);
    };
    entries.flatten().fold((0, 1), |(bytes, inodes), entry| {
        let Ok(metadata) = entry.metadata() else {
            return (bytes, inodes);
        };
        let own = metadata.blocks() * 512;
        if metadata.is_dir() {
            let (below, count) = usage(&entry.path());
            (bytes + own + below, inodes + count)
        } else {
            (bytes + own, inodes + 1)
        }
    })
}
