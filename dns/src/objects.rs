//! The objects by which pods find us: the Service `kube-dns`, as every cluster has it, and this node's slice of its
//! endpoints. There is one slice for each node, and each node writes only its own.

use std::net::IpAddr;

use kedge_api::resource::{ENDPOINT_SLICES, SERVICES};
use kedge_client::{Client, PatchKind, Result};
use serde_json::{Value, json};

const NAMESPACE: &str = "kube-system";
const SERVICE: &str = "kube-dns";

/// `kube-dns`; its endpoints are ours, so it has no selector for a controller to follow.
pub fn service(cluster_ip: IpAddr) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    })
}

pub fn slice(node_name: &str, node_ip: IpAddr, port: u16) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{SERVICE}-{node_name}"),
            "namespace": NAMESPACE,
            "labels": {
                "kubernetes.io/service-name": SERVICE,
                "endpointslice.kubernetes.io/managed-by": "dns.kedge",
            },
        },
        "addressType": if node_ip.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{
            "addresses": [node_ip],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": node_name,
        }],
        "ports": [
            {"name": "dns", "port": port, "protocol": "UDP"},
            {"name": "dns-tcp", "port": port, "protocol": "TCP"},
        ],
    })
}

/// Creates both, and corrects this node's slice where its address has changed.
pub async fn ensure(
    client: &Client,
    cluster_ip: IpAddr,
    node_name: &str,
    node_ip: IpAddr,
    port: u16,
) -> Result<()> {
    // Asked first: a create of a Service that exists is refused for its address, not for its name.
    match client.get::<Value>(SERVICES, NAMESPACE, SERVICE).await {
        Err(error) if error.is_not_found() => {
            client.create::<Value>(SERVICES, NAMESPACE, &service(cluster_ip)).await.map(drop)?;
        }
        other => drop(other?),
    }
    let wanted = slice(node_name, node_ip, port);
    match client.create::<Value>(ENDPOINT_SLICES, NAMESPACE, &wanted).await {
        Err(error) if !error.is_already_exists() => return Err(error),
        Ok(_) => return Ok(()),
        Err(_) => {}
    }
    let name = format!("{SERVICE}-{node_name}");
    let patch = json!({"endpoints": wanted["endpoints"], "ports": wanted["ports"]});
    client.patch::<Value>(ENDPOINT_SLICES, NAMESPACE, &name, "", PatchKind::Merge, &patch).await.map(drop)
}
