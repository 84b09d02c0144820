//! The kinds of `networking.k8s.io`.

use super::access::{Fill, Read};
use super::field::{Path, invalid};
use super::usual::Usual;
use crate::status::Findings;
use serde_json::{Value, json};

pub(super) static INGRESS: Usual = Usual {
    default: |object| {
        object.child("spec");
        object.child("status").child("loadBalancer");
    },
    status: Some(|_| json!({"loadBalancer": {}})),
    generation: &["spec"],
    ..Usual::PLAIN
};

pub(super) static INGRESS_CLASS: Usual = Usual {
    default: |object| {
        object
            .child("spec")
            .with("parameters", |parameters| parameters.fill("scope", "Cluster"));
    },
    generation: &["spec"],
    ..Usual::PLAIN
};

pub(super) static NETWORK_POLICY: Usual = Usual {
    default: default_network_policy,
    generation: &["spec"],
    ..Usual::PLAIN
};

pub(super) static SERVICE_CIDR: Usual = Usual {
    default: |object| {
        object.child("status");
    },
    status: Some(|_| json!({})),
    ..Usual::PLAIN
};

fn default_network_policy(object: &mut Value) {
    let spec = object.child("spec");
    spec.child("podSelector");
    if spec.lacks("policyTypes") {
        let has_egress = !spec.lacks("egress");
        spec["policyTypes"] = if has_egress {
            json!(["Ingress", "Egress"])
        } else {
            json!(["Ingress"])
        };
    }
    for direction in ["ingress", "egress"] {
        spec.each(direction, |rule| rule.each("ports", default_port));
    }
}

fn default_port(port: &mut Value) {
    port.fill("protocol", "TCP");
}

/// Old fields take any text that reads as a range.
pub(super) fn validate_cidr(text: &str, path: &Path) -> Findings {
    if text.parse::<ipnet::IpNet>().is_ok() {
        return Findings::new();
    }
    vec![invalid(
        path,
        text,
        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
    )]
}
