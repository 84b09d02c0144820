//! `kedge check`: what this machine lacks and how to mend it. Features are probed, by using them
//! where that leaves no trace and else by what the kernel says of itself; never by name of machine.

use crate::failure::{Failure, Outcome};
use crate::options::{CheckOptions, Output};
use crate::site::SiteOptions;
use serde::Serialize;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

/// One finding.
#[derive(Debug, Serialize)]
struct Finding {
    feature: &'static str,
    /// `ok`, `missing` (kedge cannot run) or `degraded` (it runs with less).
    verdict: &'static str,
    detail: String,
    /// What to do about it; empty when all is well.
    mend: &'static str,
}

struct Probe {
    feature: &'static str,
    required: bool,
    mend: &'static str,
    run: fn(&SiteOptions) -> Result<String, String>,
}

const PROBES: [Probe; 9] = [
    Probe { feature: "root", required: true, mend: "run kedge with sudo", run: root },
    Probe { feature: "kernel", required: true, mend: "use a kernel of 5.15 or later", run: kernel },
    Probe {
        feature: "cgroups",
        required: true,
        mend: "mount cgroup2 on /sys/fs/cgroup, or the v1 controllers cpu, memory and pids",
        run: cgroups,
    },
    Probe { feature: "overlayfs", required: true, mend: "load the module: modprobe overlay", run: overlay },
    Probe {
        feature: "bpf",
        required: true,
        mend: "use a kernel with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF",
        run: bpf,
    },
    Probe {
        feature: "namespaces",
        required: true,
        mend: "use a kernel with net, pid, ipc and uts namespaces",
        run: namespaces,
    },
    Probe {
        feature: "user-namespaces",
        required: false,
        mend: "raise user.max_user_namespaces; until then hostUsers: false is refused",
        run: user_namespaces,
    },
    Probe {
        feature: "resource-limits",
        required: false,
        mend: "give CAP_SYS_RESOURCE; until then oom_score_adj below our own cannot be set",
        run: resource_limits,
    },
    Probe { feature: "ports", required: true, mend: "stop the program that holds the port", run: ports },
];

pub fn check(site: &SiteOptions, options: &CheckOptions) -> Outcome {
    let findings: Vec<Finding> = PROBES.iter().map(|probe| examine(probe, site, &options.without)).collect();
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&findings).unwrap_or_default()),
        Output::Text => findings.iter().for_each(print),
    }
    let missing = findings.iter().filter(|finding| finding.verdict == "missing").count();
    if missing == 0 {
        Ok(())
    } else {
        Err(Failure::new(format!("{missing} things are missing on this machine")))
    }
}

fn examine(probe: &Probe, site: &SiteOptions, hidden: &[String]) -> Finding {
    let hidden = hidden.iter().any(|name| name == probe.feature);
    let result = if hidden { Err("treated as missing (--without)".to_owned()) } else { (probe.run)(site) };
    let (verdict, detail, mend) = match result {
        Ok(detail) => ("ok", detail, ""),
        Err(detail) if probe.required => ("missing", detail, probe.mend),
        Err(detail) => ("degraded", detail, probe.mend),
    };
    Finding { feature: probe.feature, verdict, detail, mend }
}

fn print(finding: &Finding) {
    println!("{:<9} {:<16} {}", finding.verdict, finding.feature, finding.detail);
    if !finding.mend.is_empty() {
        println!("{:<26} -> {}", "", finding.mend);
    }
}

fn root(_: &SiteOptions) -> Result<String, String> {
    let uid = rustix::process::geteuid();
    if uid.is_root() { Ok("uid 0".to_owned()) } else { Err(format!("uid {}", uid.as_raw())) }
}

fn kernel(_: &SiteOptions) -> Result<String, String> {
    let release = read("/proc/sys/kernel/osrelease")?;
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= (5, 15) { Ok(release) } else { Err(release) }
}

fn cgroups(_: &SiteOptions) -> Result<String, String> {
    let mounts = read("/proc/self/mountinfo")?;
    let v1 = |name: &str| {
        mounts
            .lines()
            .any(|line| line.contains(" - cgroup ") && line.split([',', ' ']).any(|word| word == name))
    };
    let v2 = mounts.lines().any(|line| line.contains(" - cgroup2 "));
    let v2_controllers = ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    let has = |name: &str| v1(name) || v2_controllers.split_whitespace().any(|controller| controller == name);
    let lacking: Vec<&str> = ["cpu", "memory", "pids"].into_iter().filter(|name| !has(name)).collect();
    let mode = match (v2, v1("memory")) {
        (true, true) => "hybrid",
        (true, false) => "v2",
        (false, _) => "v1",
    };
    if lacking.is_empty() {
        Ok(mode.to_owned())
    } else {
        Err(format!("{mode}, without {}", lacking.join(", ")))
    }
}

/// Opening a file system context mounts nothing, and loads the module as a mount would.
fn overlay(_: &SiteOptions) -> Result<String, String> {
    let flags = rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC;
    rustix::mount::fsopen("overlay", flags)
        .map(|_| "known to the kernel".to_owned())
        .map_err(|error| error.to_string())
}

/// The programs are loaded with the kernel's BTF; the sysctl exists where bpf(2) is built in.
fn bpf(_: &SiteOptions) -> Result<String, String> {
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err("the kernel has no BTF".to_owned());
    }
    match read("/proc/sys/kernel/unprivileged_bpf_disabled") {
        Ok(_) => Ok("bpf(2) with BTF".to_owned()),
        Err(_) => Err("bpf(2) is not built in".to_owned()),
    }
}

fn namespaces(_: &SiteOptions) -> Result<String, String> {
    let lacking: Vec<&str> = ["net", "pid", "ipc", "uts", "mnt"]
        .into_iter()
        .filter(|name| !Path::new("/proc/self/ns").join(name).exists())
        .collect();
    if lacking.is_empty() {
        Ok("net, pid, ipc, uts, mnt".to_owned())
    } else {
        Err(format!("without {}", lacking.join(", ")))
    }
}

fn user_namespaces(_: &SiteOptions) -> Result<String, String> {
    let most = read("/proc/sys/user/max_user_namespaces")?;
    if most == "0" || !Path::new("/proc/self/ns/user").exists() {
        return Err("none can be made".to_owned());
    }
    Ok(format!("up to {most}"))
}

fn resource_limits(_: &SiteOptions) -> Result<String, String> {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = read("/proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
    let bits = u64::from_str_radix(effective.trim(), 16).map_err(|error| error.to_string())?;
    if bits >> CAP_SYS_RESOURCE & 1 == 1 {
        Ok("CAP_SYS_RESOURCE".to_owned())
    } else {
        Err("no CAP_SYS_RESOURCE".to_owned())
    }
}

fn ports(site: &SiteOptions) -> Result<String, String> {
    let roots = site.roots().map_err(|failure| failure.text)?;
    if crate::control::is_running(&roots) {
        return Ok("in use by kedge itself".to_owned());
    }
    let ports = roots.ports;
    let all = [ports.api, ports.kubelet, ports.proxy_health, ports.kubelet_health, ports.dns];
    let taken: Vec<String> = all
        .into_iter()
        .filter(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_err())
        .map(|port| port.to_string())
        .collect();
    if taken.is_empty() {
        Ok(all.map(|port| port.to_string()).join(", "))
    } else {
        Err(format!("in use: {}", taken.join(", ")))
    }
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| format!("{path}: {error}"))
}
