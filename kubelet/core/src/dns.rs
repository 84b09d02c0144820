//! resolv.conf of a pod, from `dnsPolicy` and `dnsConfig`.

use kedge_api::Pod;
use kedge_cri_api::DnsConfig;

/// What glibc and musl read.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_BYTES_MAX: usize = 2048;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterDns {
    pub servers: Vec<String>,
    /// `cluster.local`
    pub domain: String,
}

/// The node's own resolv.conf.
pub fn parse_resolv_conf(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(str::to_owned)),
            // The last search (or domain) line counts.
            Some("search" | "domain") => {
                config.searches = words.map(|word| word.trim_end_matches('.').to_owned()).collect();
            }
            Some("options") => config.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    config
}

pub fn pod_dns(pod: &Pod, cluster: &ClusterDns, host: &DnsConfig) -> DnsConfig {
    let mut config = match pod.spec.dns_policy.as_str() {
        "None" => DnsConfig::default(),
        "Default" => host.clone(),
        "ClusterFirst" | "" if pod.spec.host_network => host.clone(),
        // Without a cluster DNS there is only the node's.
        _ if cluster.servers.is_empty() => host.clone(),
        _ => cluster_first(pod, cluster, host),
    };
    if let Some(own) = pod.spec.dns_config.as_deref() {
        append_new(&mut config.servers, &own.nameservers);
        append_new(&mut config.searches, &own.searches);
        for option in &own.options {
            config.options.retain(|known| known.split(':').next() != Some(option.name.as_str()));
            config.options.push(match option.value.as_deref() {
                Some(value) if !value.is_empty() => format!("{}:{value}", option.name),
                _ => option.name.clone(),
            });
        }
    }
    limit(config)
}

fn cluster_first(pod: &Pod, cluster: &ClusterDns, host: &DnsConfig) -> DnsConfig {
    let domain = &cluster.domain;
    let namespace = &pod.metadata.namespace;
    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    append_new(&mut searches, &host.searches);
    DnsConfig { servers: cluster.servers.clone(), searches, options: vec!["ndots:5".to_owned()] }
}

fn append_new(list: &mut Vec<String>, more: &[String]) {
    for entry in more {
        if !list.contains(entry) {
            list.push(entry.clone());
        }
    }
}

fn limit(mut config: DnsConfig) -> DnsConfig {
    config.servers.truncate(NAMESERVERS_MAX);
    config.searches.truncate(SEARCHES_MAX);
    while config.searches.iter().map(|search| search.len() + 1).sum::<usize>() > SEARCH_BYTES_MAX + 1 {
        config.searches.pop();
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: serde_json::Value, servers: &[&str], searches: &[&str], options: &[&str]) {
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"metadata": {"namespace": "n"}, "spec": spec}))
                .unwrap();
        let cluster = ClusterDns { servers: vec!["10.96.0.10".into()], domain: "cluster.local".into() };
        let host = parse_resolv_conf("# a\nnameserver 192.0.2.53\nsearch example.test.\noptions ndots:2\n");
        let seen = pod_dns(&pod, &cluster, &host);
        assert_eq!(
            (&seen.servers[..], &seen.searches[..], &seen.options[..]),
            (
                &servers.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..],
                &searches.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..],
                &options.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..],
            ),
            "{spec}"
        );
    }

    #[test]
    fn policies() {
        let cluster = ["n.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.test"];
        check(serde_json::json!({}), &["10.96.0.10"], &cluster, &["ndots:5"]);
        check(serde_json::json!({"dnsPolicy": "Default"}), &["192.0.2.53"], &["example.test"], &["ndots:2"]);
        check(serde_json::json!({"hostNetwork": true}), &["192.0.2.53"], &["example.test"], &["ndots:2"]);
        check(
            serde_json::json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
            &["10.96.0.10"],
            &cluster,
            &["ndots:5"],
        );
        check(
            serde_json::json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
            &["1.1.1.1"],
            &["a"],
            &["ndots:2", "edns0"],
        );
        check(
            serde_json::json!({"dnsPolicy": "ClusterFirst", "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}),
            &["10.96.0.10"],
            &cluster,
            &["ndots:1"],
        );
    }
}
