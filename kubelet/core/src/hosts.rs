//! Host name, domain and /etc/hosts of a pod.

use kedge_api::Pod;
use kedge_api::pod::HostAlias;

/// `setHostnameAsFQDN` fails beyond what sethostname(2) takes.
const FQDN_BYTES_MAX: usize = 64;
const HOSTNAME_BYTES_MAX: usize = 63;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    pub name: String,
    /// Empty where the pod has no subdomain.
    pub domain: String,
    /// The fully qualified name is what `hostname` prints.
    pub as_fqdn: bool,
}

impl HostName {
    pub fn of_sandbox(&self) -> String {
        if self.as_fqdn && !self.domain.is_empty() {
            format!("{}.{}", self.name, self.domain)
        } else {
            self.name.clone()
        }
    }
}

pub fn host_name(pod: &Pod, cluster_domain: &str) -> Result<HostName, String> {
    if let Some(name) = &pod.spec.hostname_override {
        return Ok(HostName { name: name.clone(), domain: String::new(), as_fqdn: false });
    }
    let wanted = if pod.spec.hostname.is_empty() { &pod.metadata.name } else { &pod.spec.hostname };
    let name = truncated(wanted);
    let domain = match pod.spec.subdomain.as_str() {
        "" => String::new(),
        sub => format!("{sub}.{}.svc.{cluster_domain}", pod.metadata.namespace),
    };
    let as_fqdn = pod.spec.set_hostname_as_fqdn == Some(true);
    let host = HostName { name, domain, as_fqdn };
    let fqdn = host.of_sandbox();
    if as_fqdn && fqdn.len() > FQDN_BYTES_MAX {
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long ({FQDN_BYTES_MAX} characters is the max, {} characters requested)",
            fqdn.len()
        ));
    }
    Ok(host)
}

fn truncated(name: &str) -> String {
    let mut end = name.len().min(HOSTNAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].trim_end_matches(['-', '.']).to_owned()
}

/// The file that is mounted at /etc/hosts. With host network it is the node's own file plus the aliases.
pub fn hosts_file(pod: &Pod, host: &HostName, pod_ips: &[String], node_hosts: &str) -> String {
    let mut text = if pod.spec.host_network {
        format!("# Kubernetes-managed hosts file (host network).\n{node_hosts}")
    } else {
        managed(host, pod_ips)
    };
    text.push_str(&aliases(&pod.spec.host_aliases));
    text
}

fn managed(host: &HostName, pod_ips: &[String]) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    for ip in pod_ips {
        let line = match host.domain.as_str() {
            "" => format!("{ip}\t{}\n", host.name),
            domain => format!("{ip}\t{name}.{domain}\t{name}\n", name = host.name),
        };
        text.push_str(&line);
    }
    text
}

fn aliases(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let lines: Vec<String> =
        aliases.iter().map(|a| format!("{}\t{}\n", a.ip, a.hostnames.join("\t"))).collect();
    format!("\n# Entries added by HostAliases.\n{}", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn names() {
        let long = "a".repeat(62) + "-b";
        for (spec, name, domain, sandbox) in [
            (serde_json::json!({}), "p", "", "p"),
            (serde_json::json!({"hostname": "h", "subdomain": "s"}), "h", "s.n.svc.cluster.local", "h"),
            (
                serde_json::json!({"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": true}),
                "h",
                "s.n.svc.cluster.local",
                "h.s.n.svc.cluster.local",
            ),
            (serde_json::json!({"hostname": long}), &long[..62], "", &long[..62]),
            (
                serde_json::json!({"hostnameOverride": "o.x", "hostname": "h", "subdomain": "s"}),
                "o.x",
                "",
                "o.x",
            ),
        ] {
            let host = host_name(&pod(spec), "cluster.local").unwrap();
            assert_eq!(
                (host.name.as_str(), host.domain.as_str(), host.of_sandbox().as_str()),
                (name, domain, sandbox)
            );
        }
        let too_long = serde_json::json!({"hostname": "h".repeat(50), "subdomain": "s".repeat(40), "setHostnameAsFQDN": true});
        let error = host_name(&pod(too_long), "cluster.local").unwrap_err();
        assert!(
            error.ends_with("is too long (64 characters is the max, 111 characters requested)"),
            "{error}"
        );
    }

    #[test]
    fn file() {
        let pod = pod(
            serde_json::json!({"subdomain": "s", "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["one", "two"]}]}),
        );
        let host = host_name(&pod, "cluster.local").unwrap();
        let text = hosts_file(&pod, &host, &["10.244.0.2".to_owned()], "");
        assert!(text.contains("10.244.0.2\tp.s.n.svc.cluster.local\tp\n"), "{text}");
        assert!(text.ends_with("\n\n# Entries added by HostAliases.\n192.0.2.1\tone\ttwo\n"), "{text}");
    }
}
