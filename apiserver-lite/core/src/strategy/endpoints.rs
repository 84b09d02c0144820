//! EndpointSlices, and the older Endpoints.

use super::access::{Fill, Read};
use super::usual::Usual;
use serde_json::Value;

pub(super) static ENDPOINT_SLICE: Usual = Usual {
    default: default_slice,
    generation: &["addressType", "endpoints", "ports"],
    ..Usual::PLAIN
};

pub(super) static ENDPOINTS: Usual = Usual {
    default: |object| {
        object.each("subsets", |subset| {
            subset.each("ports", |port| port.fill_text("protocol", "TCP"))
        });
    },
    create_on_update: true,
    ..Usual::PLAIN
};

fn default_slice(object: &mut Value) {
    for list in ["endpoints", "ports"] {
        if object.lacks(list) {
            object[list] = Value::Null;
        }
    }
    object.each("endpoints", |endpoint| {
        endpoint.child("conditions");
    });
    object.each("ports", |port| {
        port.fill("name", "");
        port.fill("protocol", "TCP");
    });
}
