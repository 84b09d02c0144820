//! Sysctls of a pod: which names belong to a namespace, and values that are one value.

use kedge_cri_api::NamespaceMode;
use kedge_cri_api::PodSandboxConfig;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("sysctl {0:?} is not a name of a namespaced sysctl")]
    Name(String),
    #[error("sysctl {0:?}: the value has characters that no sysctl takes")]
    Value(String),
    #[error("sysctl {0:?} belongs to a namespace that this pod shares with the node")]
    HostNamespace(String),
}

/// Paths below /proc/sys with their values. Upstream's kubelet decides which are allowed; this decides which are possible.
pub fn plan(config: &PodSandboxConfig) -> Result<Vec<(String, String)>, Error> {
    config.sysctls.iter().map(|(name, value)| plan_one(config, name, value)).collect()
}

fn plan_one(config: &PodSandboxConfig, name: &str, value: &str) -> Result<(String, String), Error> {
    let is_name = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let path = name.replace('.', "/");
    if !path.split('/').all(is_name) {
        return Err(Error::Name(name.to_owned()));
    }
    let is_value = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    if value.len() > 1024 || !value.bytes().all(is_value) {
        return Err(Error::Value(name.to_owned()));
    }
    const IPC: [&str; 8] = [
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
    ];
    let mode = if path.starts_with("net/") {
        config.namespaces.network
    } else if IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/") {
        config.namespaces.ipc
    } else {
        return Err(Error::Name(name.to_owned()));
    };
    match mode {
        NamespaceMode::Node => Err(Error::HostNamespace(name.to_owned())),
        NamespaceMode::Pod | NamespaceMode::Container => Ok((path, value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, value: &str, expected: Result<&str, Error>) {
        let mut config = PodSandboxConfig::default();
        config.namespaces.ipc = NamespaceMode::Node;
        config.sysctls.insert(name.into(), value.into());
        let planned = plan(&config).map(|mut planned| planned.remove(0).0);
        assert_eq!(planned, expected.map(str::to_owned));
    }

    #[test]
    fn only_namespaced_names_and_plain_values() {
        check("net.ipv4.ip_local_port_range", "32770 60000", Ok("net/ipv4/ip_local_port_range"));
        check("net/core/somaxconn", "1", Ok("net/core/somaxconn"));
        check("kernel.core_pattern", "|/x", Err(Error::Name("kernel.core_pattern".into())));
        check("net.ipv4...core", "1", Err(Error::Name("net.ipv4...core".into())));
        check("net.a", "1\nkernel.x=2", Err(Error::Value("net.a".into())));
        check("kernel.shmmax", "1", Err(Error::HostNamespace("kernel.shmmax".into())));
    }
}
