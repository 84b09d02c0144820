//! Where a registry's images are fetched from: the vocabulary of `registries.yaml`, the file of k3s and RKE2, and the
//! list of endpoints it makes of a domain.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The whole file. An unknown key is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registries {
    /// By domain (`docker.io`, `registry:5000`), or `*` for all others.
    pub mirrors: BTreeMap<String, Mirror>,
    /// By host of an endpoint (`registry:5000`).
    pub configs: BTreeMap<String, HostConfig>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mirror {
    /// URLs, asked in order; the domain itself comes last.
    pub endpoint: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostConfig {
    pub auth: Option<HostAuth>,
    pub tls: Option<HostTls>,
}

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostAuth {
    pub username: String,
    pub password: String,
    pub identity_token: String,
}

impl std::fmt::Debug for HostAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostAuth of {:?}", self.username)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostTls {
    pub insecure_skip_verify: bool,
    pub ca_file: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Https,
    Http,
    /// A loopback address: TLS where the peer speaks it, else plain HTTP.
    HttpsElseHttp,
}

/// One place to ask. Requests go to `scheme://host{path}/v2/…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub scheme: Scheme,
    /// Host and port as written.
    pub host: String,
    /// What an endpoint's URL has before `/v2`.
    pub path: String,
    /// A mirror learns from `?ns=` which registry it stands for.
    pub mirror_of: Option<String>,
    pub tls: HostTls,
    pub auth: Option<HostAuth>,
}

impl Registries {
    /// Mirrors in order, then the registry itself.
    pub fn endpoints(&self, domain: &str) -> Result<Vec<Endpoint>, super::Error> {
        let mirrors = self.mirrors.get(domain).or_else(|| self.mirrors.get("*"));
        let urls = mirrors.map(|mirror| mirror.endpoint.as_slice()).unwrap_or_default();
        let mut endpoints = urls.iter().map(|url| self.mirror(url, domain)).collect::<Result<Vec<_>, _>>()?;
        let host = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
        let scheme = if is_loopback(host) { Scheme::HttpsElseHttp } else { Scheme::Https };
        endpoints.push(self.endpoint(scheme, host, "", None));
        Ok(endpoints)
    }

    fn mirror(&self, url: &str, domain: &str) -> Result<Endpoint, super::Error> {
        let invalid = || super::Error::Invalid {
            what: "mirror endpoint",
            why: format!("{url:?} is not an http(s) URL"),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
        let scheme = match scheme {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(invalid()),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() || host.contains(['@', ' ']) {
            return Err(invalid());
        }
        let path = path.trim_end_matches('/');
        let path = path.strip_suffix("v2").map_or(path, |path| path.trim_end_matches('/'));
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(self.endpoint(scheme, host, &path, Some(domain)))
    }

    fn endpoint(&self, scheme: Scheme, host: &str, path: &str, mirror_of: Option<&str>) -> Endpoint {
        let config = self.configs.get(host).or_else(|| self.configs.get(mirror_of.unwrap_or(host))).cloned();
        let config = config.unwrap_or_default();
        Endpoint {
            scheme,
            host: host.to_owned(),
            path: path.to_owned(),
            mirror_of: mirror_of.filter(|domain| *domain != host).map(str::to_owned),
            tls: config.tls.unwrap_or_default(),
            auth: config.auth,
        }
    }
}

/// `localhost`, 127.0.0.0/8 and ::1, with or without a port.
pub fn is_loopback(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(address, _)| address);
    let name = bracketed.unwrap_or_else(|| host.split(':').next().unwrap_or_default());
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(mirrors: &[(&str, &str)]) -> Registries {
        let mirrors = mirrors.iter().map(|(domain, urls)| {
            let endpoint = urls.split_whitespace().map(str::to_owned).collect();
            (domain.to_string(), Mirror { endpoint })
        });
        Registries { mirrors: mirrors.collect(), configs: BTreeMap::new() }
    }

    #[test]
    fn endpoints_in_order() {
        let check = |mirrors: &[(&str, &str)], domain: &str, expected: &[&str]| {
            let endpoints = registries(mirrors).endpoints(domain).unwrap();
            let shown: Vec<String> = endpoints
                .iter()
                .map(|e| {
                    format!("{:?} {}{} {}", e.scheme, e.host, e.path, e.mirror_of.as_deref().unwrap_or("-"))
                })
                .collect();
            assert_eq!(shown, expected, "{domain}");
        };
        check(&[], "docker.io", &["Https registry-1.docker.io -"]);
        check(&[], "127.0.0.1:5055", &["HttpsElseHttp 127.0.0.1:5055 -"]);
        check(
            &[("docker.io", "http://10.0.0.1:5000 https://m.example/proxy/v2/")],
            "docker.io",
            &[
                "Http 10.0.0.1:5000 docker.io",
                "Https m.example/proxy docker.io",
                "Https registry-1.docker.io -",
            ],
        );
        check(&[("*", "http://m")], "quay.io", &["Http m quay.io", "Https quay.io -"]);
        check(&[("r:5000", "http://r:5000")], "r:5000", &["Http r:5000 -", "Https r:5000 -"]);
    }

    #[test]
    fn a_bad_endpoint_is_named() {
        for bad in ["r:5000", "ftp://x", "http://", "http://u@h"] {
            let error = registries(&[("x.y", bad)]).endpoints("x.y").unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }

    #[test]
    fn loopback_hosts() {
        for host in ["localhost", "localhost:1", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["10.0.0.1", "localhost.example", "[::2]:1", "registry:5000"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
