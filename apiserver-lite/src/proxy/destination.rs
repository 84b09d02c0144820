//! Where a proxied request goes: `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT` of a pod, a service or a node.

use kedge_apiserver_core::status::ApiError;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    Address(Scheme, SocketAddr),
    /// The node's own kubelet, which wants the API server's certificate.
    Kubelet,
}

/// The name in a path, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Id<'a> {
    pub scheme: Scheme,
    pub name: &'a str,
    /// Empty: the first or the kubelet's.
    pub port: &'a str,
}

impl Id<'_> {
    /// `what` is a pod, service or node.
    pub(super) fn parse<'a>(id: &'a str, what: &str) -> Result<Id<'a>, ApiError> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => ("", "", ""),
        };
        let scheme = match scheme {
            "" | "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            _ => None,
        };
        match scheme.filter(|_| !name.is_empty()) {
            Some(scheme) => Ok(Id { scheme, name, port }),
            None => Err(ApiError::bad_request(format!("invalid {what} request {id:?}"))),
        }
    }
}

pub(super) fn of_pod(id: &Id<'_>, pod: &Value) -> Result<Destination, ApiError> {
    let ip = pod["status"]["podIP"].as_str().unwrap_or_default();
    let mut containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let first = containers.find_map(|container| container["ports"][0]["containerPort"].as_u64());
    let default = if id.scheme == Scheme::Https { 443 } else { 80 };
    let port = match id.port {
        "" => first.unwrap_or(default).to_string(),
        port => port.to_owned(),
    };
    address(id.scheme, ip, &port)
}

/// The name of the service's port that is meant; endpoints know ports by name only.
pub(super) fn port_name<'a>(id: &Id<'a>, service: &'a Value) -> Result<&'a str, ApiError> {
    let Ok(number) = id.port.parse::<u64>() else { return Ok(id.port) };
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    match ports.find(|port| port["port"] == number) {
        Some(port) => Ok(port["name"].as_str().unwrap_or_default()),
        None => Err(unavailable(format!("no service port {number} found for service {:?}", id.name))),
    }
}

/// One of the ready addresses that have the port; `seed` says which.
pub(super) fn of_service(
    id: &Id<'_>,
    port: &str,
    endpoints: &Value,
    seed: usize,
) -> Result<Destination, ApiError> {
    let mut ready: Vec<(&str, u64)> = Vec::new();
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        let mut ports = subset["ports"].as_array().into_iter().flatten();
        let found = ports.find(|found| found["name"].as_str().unwrap_or_default() == port);
        let Some(number) = found.and_then(|found| found["port"].as_u64()) else { continue };
        let addresses = subset["addresses"].as_array().into_iter().flatten();
        // Only addresses that belong to pods: others could lead anywhere.
        let pods = addresses.filter(|address| address["targetRef"]["kind"] == "Pod");
        ready.extend(pods.filter_map(|address| Some((address["ip"].as_str()?, number))));
    }
    match ready.is_empty() {
        true => Err(unavailable(format!("no endpoints available for service {:?}", id.name))),
        false => {
            let (ip, port) = ready[seed % ready.len()];
            address(id.scheme, ip, &port.to_string())
        }
    }
}

pub(super) fn of_node(id: &Id<'_>, kubelet: SocketAddr) -> Result<Destination, ApiError> {
    if id.port.is_empty() || id.port == kubelet.port().to_string() {
        return Ok(Destination::Kubelet);
    }
    address(id.scheme, &kubelet.ip().to_string(), id.port)
}

/// Loopback and link-local addresses would be the API server's own machine's.
fn address(scheme: Scheme, ip: &str, port: &str) -> Result<Destination, ApiError> {
    let ip: IpAddr = ip.parse().map_err(|_| unavailable("no address to proxy to".to_owned()))?;
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || is_link_local {
        return Err(ApiError::bad_request("address not allowed"));
    }
    let port = port.parse().map_err(|_| ApiError::bad_request(format!("invalid port {port:?}")))?;
    Ok(Destination::Address(scheme, SocketAddr::new(ip, port)))
}

pub(super) fn unavailable(message: String) -> ApiError {
    ApiError::new(503, "ServiceUnavailable", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn show(destination: Result<Destination, ApiError>) -> String {
        match destination {
            Ok(Destination::Kubelet) => "kubelet".to_owned(),
            Ok(Destination::Address(scheme, address)) => format!("{}://{address}", scheme.name()),
            Err(error) => format!("{} {}", error.code, error.message),
        }
    }

    #[test]
    fn pods() {
        let pod = |ip: &str, ports: Value| json!({"spec": {"containers": [{"ports": ports}]}, "status": {"podIP": ip}});
        let check = |id: &str, pod: &Value, expected: &str| {
            assert_eq!(show(Id::parse(id, "pod").and_then(|id| of_pod(&id, pod))), expected, "{id}");
        };
        let plain = pod("10.0.0.1", json!([]));
        check("p", &plain, "http://10.0.0.1:80");
        check("p", &pod("10.0.0.1", json!([{"containerPort": 8080}])), "http://10.0.0.1:8080");
        check("https:p:", &plain, "https://10.0.0.1:443");
        check("https:p:8443", &plain, "https://10.0.0.1:8443");
        check("p:81", &plain, "http://10.0.0.1:81");
        check("p:x", &plain, "400 invalid port \"x\"");
        check("ftp:p:1", &plain, "400 invalid pod request \"ftp:p:1\"");
        check(":1", &plain, "400 invalid pod request \":1\"");
        check("p", &pod("127.0.0.1", json!([])), "400 address not allowed");
        check("p", &pod("169.254.169.254", json!([])), "400 address not allowed");
        check("p", &pod("", json!([])), "503 no address to proxy to");
    }

    #[test]
    fn services() {
        let service = json!({"spec": {"ports": [{"name": "web", "port": 80}, {"name": "tls", "port": 443}]}});
        let pod = json!({"kind": "Pod"});
        let endpoints = json!({"subsets": [{
            "addresses": [{"ip": "10.0.0.1", "targetRef": pod}, {"ip": "10.0.0.2", "targetRef": pod}, {"ip": "8.8.8.8"}],
            "ports": [{"name": "web", "port": 8080}],
        }]});
        let find = |id: &str, seed: usize| {
            let id = Id::parse(id, "service")?;
            of_service(&id, port_name(&id, &service)?, &endpoints, seed)
        };
        let check =
            |id: &str, seed: usize, expected: &str| assert_eq!(show(find(id, seed)), expected, "{id}");
        check("s:80", 0, "http://10.0.0.1:8080");
        check("s:web", 1, "http://10.0.0.2:8080");
        check("https:s:web", 2, "https://10.0.0.1:8080");
        check("s:443", 0, "503 no endpoints available for service \"s\"");
        check("s:81", 0, "503 no service port 81 found for service \"s\"");
    }

    #[test]
    fn nodes() {
        let kubelet: SocketAddr = "10.1.0.1:10250".parse().unwrap();
        let check = |id: &str, expected: &str| {
            assert_eq!(show(Id::parse(id, "node").and_then(|id| of_node(&id, kubelet))), expected, "{id}");
        };
        check("n", "kubelet");
        check("n:10250", "kubelet");
        check("n:9100", "http://10.1.0.1:9100");
    }
}
