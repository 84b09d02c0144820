//! FlowSchemas and PriorityLevelConfigurations. They are stored; the server's own limits do not read them.

use super::access::{Fill, Read};
use super::usual::Usual;
use serde_json::{Value, json};

pub(super) static FLOW_SCHEMA: Usual = Usual {
    default: |object| {
        object.child("spec").fill_number("matchingPrecedence", 1000);
        object.child("status");
    },
    status: Some(|_| json!({})),
    generation: &["spec"],
    ..Usual::PLAIN
};

pub(super) static PRIORITY_LEVEL: Usual = Usual {
    default: default_priority_level,
    status: Some(|_| json!({})),
    generation: &["spec"],
    ..Usual::PLAIN
};

fn default_priority_level(object: &mut Value) {
    object.child("status");
    let spec = object.child("spec");
    spec.with("exempt", |exempt| {
        exempt.fill("nominalConcurrencyShares", 0);
        exempt.fill("lendablePercent", 0);
    });
    spec.with("limited", |limited| {
        limited.fill("nominalConcurrencyShares", 30);
        limited.fill("lendablePercent", 0);
        if limited["limitResponse"].text("type") == "Queue" {
            limited.child("limitResponse").with("queuing", |queuing| {
                queuing.fill_number("handSize", 8);
                queuing.fill_number("queues", 64);
                queuing.fill_number("queueLengthLimit", 50);
            });
        }
    });
}
