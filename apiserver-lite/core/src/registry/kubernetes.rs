//! Service `kubernetes`: how pods find the API server.

use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

const NAME: &str = "kubernetes";
const LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";

/// The Service, its Endpoints and its EndpointSlice.
pub fn objects(service: Ipv4Addr, endpoint: IpAddr, port: u16) -> [Value; 3] {
    let family = if endpoint.is_ipv4() { "IPv4" } else { "IPv6" };
    [
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": NAME, "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {
                "type": "ClusterIP", "clusterIP": service.to_string(), "ipFamilyPolicy": "SingleStack",
                "sessionAffinity": "None",
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": NAME, "namespace": "default", "labels": {LABEL: "true"}},
            "subsets": [{
                "addresses": [{"ip": endpoint.to_string()}],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }],
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": NAME, "namespace": "default", "labels": {"kubernetes.io/service-name": NAME}},
            "addressType": family,
            "endpoints": [{"addresses": [endpoint.to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }),
    ]
}

/// The ServiceCIDR of the range that the server was started with.
pub fn service_cidr(range: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": NAME},
        "spec": {"cidrs": [range]},
    })
}

/// What aggregated servers and kubelets read to trust the clients that this server trusts.
pub fn authentication(client_ca: &str, front_proxy_ca: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "client-ca-file": client_ca,
            "requestheader-client-ca-file": front_proxy_ca,
            "requestheader-allowed-names": "[\"front-proxy\"]",
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]",
        },
    })
}

/// The present object with what matters corrected; None: it is as wanted.
pub fn corrected(present: &Value, wanted: &Value) -> Option<Value> {
    let mut changed = present.clone();
    for path in ["/spec/ports", "/subsets", "/endpoints", "/ports"] {
        if let (Some(wanted), Some(place)) = (wanted.pointer(path), changed.pointer_mut(path)) {
            *place = wanted.clone();
        }
    }
    for (key, value) in wanted["metadata"]["labels"].as_object().into_iter().flatten() {
        changed["metadata"]["labels"][key.as_str()] = value.clone();
    }
    (changed != *present).then_some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_port_is_corrected() {
        let [service, ..] = objects([10, 96, 0, 1].into(), [10, 0, 0, 1].into(), 6443);
        assert_eq!(corrected(&service, &service), None);
        let mut moved = service.clone();
        moved["spec"]["ports"][0]["targetPort"] = 1.into();
        assert_eq!(corrected(&moved, &service), Some(service));
    }
}
