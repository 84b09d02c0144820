//! Limits as cgroup files, for v1 and v2. The shell writes them; a file that the node does not have is its business.

use kedge_cri_api::LinuxContainerResources;

/// One write. `controller` picks the v1 tree, and on v2 says which controller must be enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub controller: &'static str,
    pub file: String,
    pub value: String,
}

fn write(controller: &'static str, file: &str, value: impl ToString) -> Write {
    Write { controller, file: file.to_owned(), value: value.to_string() }
}

/// CPU shares (2 to 262144) to weight (1 to 10000), as the kubelet and every runtime convert them: so that 1024 is 100 on a curve
/// through both ends (opencontainers/runc 1.3, KEP-2254 follow-up).
pub fn weight_of_shares(shares: i64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

/// What to write for v1 trees.
pub fn v1(resources: &LinuxContainerResources) -> Vec<Write> {
    let mut writes = Vec::new();
    if resources.memory_limit_bytes > 0 {
        writes.push(write("memory", "memory.limit_in_bytes", resources.memory_limit_bytes));
    }
    if resources.memory_swap_limit_bytes > 0 {
        writes.push(write("memory", "memory.memsw.limit_in_bytes", resources.memory_swap_limit_bytes));
    }
    if resources.cpu_shares > 0 {
        writes.push(write("cpu", "cpu.shares", resources.cpu_shares.max(2)));
    }
    if resources.cpu_period_us > 0 {
        writes.push(write("cpu", "cpu.cfs_period_us", resources.cpu_period_us));
    }
    if resources.cpu_quota_us != 0 {
        writes.push(write("cpu", "cpu.cfs_quota_us", resources.cpu_quota_us));
    }
    writes.extend(shared(resources));
    for (size, bytes) in &resources.hugepage_limits {
        writes.push(write("hugetlb", &format!("hugetlb.{size}.limit_in_bytes"), bytes));
    }
    writes
}

/// What to write on a v2 node.
pub fn v2(resources: &LinuxContainerResources) -> Vec<Write> {
    let mut writes = Vec::new();
    if resources.memory_limit_bytes > 0 {
        writes.push(write("memory", "memory.max", resources.memory_limit_bytes));
        let swap = resources.memory_swap_limit_bytes - resources.memory_limit_bytes;
        if resources.memory_swap_limit_bytes > 0 && swap >= 0 {
            writes.push(write("memory", "memory.swap.max", swap));
        }
    }
    if resources.cpu_shares > 0 {
        writes.push(write("cpu", "cpu.weight", weight_of_shares(resources.cpu_shares)));
    }
    let period = if resources.cpu_period_us > 0 { resources.cpu_period_us } else { 100_000 };
    match resources.cpu_quota_us {
        0 => {}
        quota if quota > 0 => writes.push(write("cpu", "cpu.max", format!("{quota} {period}"))),
        _ => writes.push(write("cpu", "cpu.max", format!("max {period}"))),
    }
    writes.extend(shared(resources));
    for (size, bytes) in &resources.hugepage_limits {
        writes.push(write("hugetlb", &format!("hugetlb.{size}.max"), bytes));
    }
    // A name with a slash would leave the cgroup.
    let plain = resources.unified.iter().filter(|(file, _)| !file.contains('/'));
    writes.extend(plain.map(|(file, value)| write("memory", file, value)));
    writes
}

/// The files that are the same on both.
fn shared(resources: &LinuxContainerResources) -> Vec<Write> {
    let mut writes = Vec::new();
    if resources.pids_limit != 0 {
        let limit =
            if resources.pids_limit > 0 { resources.pids_limit.to_string() } else { "max".to_owned() };
        writes.push(write("pids", "pids.max", limit));
    }
    for (file, value) in [("cpuset.cpus", &resources.cpuset_cpus), ("cpuset.mems", &resources.cpuset_mems)] {
        if !value.is_empty() {
            writes.push(write("cpuset", file, value));
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        let weights = [0, 2, 102, 1024, 2048, 262_144, 1_000_000].map(weight_of_shares);
        assert_eq!(weights, [1, 1, 17, 100, 174, 10_000, 10_000]);
    }

    #[test]
    fn limits_become_files() {
        let resources = LinuxContainerResources {
            cpu_period_us: 100_000,
            cpu_quota_us: 20_000,
            cpu_shares: 204,
            memory_limit_bytes: 1 << 20,
            memory_swap_limit_bytes: 1 << 20,
            pids_limit: -1,
            hugepage_limits: vec![("2MB".into(), 0)],
            ..LinuxContainerResources::default()
        };
        let text = |writes: Vec<Write>| {
            writes.iter().map(|write| format!("{}={}", write.file, write.value)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            text(v1(&resources)),
            "memory.limit_in_bytes=1048576 memory.memsw.limit_in_bytes=1048576 cpu.shares=204 \
             cpu.cfs_period_us=100000 cpu.cfs_quota_us=20000 pids.max=max hugetlb.2MB.limit_in_bytes=0"
        );
        assert_eq!(
            text(v2(&resources)),
            "memory.max=1048576 memory.swap.max=0 cpu.weight=29 cpu.max=20000 100000 pids.max=max hugetlb.2MB.max=0"
        );
        assert_eq!(v1(&LinuxContainerResources::default()), []);
    }
}
