//! Roles and their bindings.

use super::access::{Fill, Read};
use super::usual::Usual;
use serde_json::Value;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) static ROLE: Usual = Usual {
    default: default_role,
    create_on_update: true,
    ..Usual::PLAIN
};

pub(super) static CLUSTER_ROLE: Usual = Usual {
    default: default_role,
    create_on_update: true,
    ..Usual::PLAIN
};

pub(super) static ROLE_BINDING: Usual = Usual {
    default: default_binding,
    create_on_update: true,
    ..Usual::PLAIN
};

pub(super) static CLUSTER_ROLE_BINDING: Usual = Usual {
    default: default_binding,
    create_on_update: true,
    ..Usual::PLAIN
};

fn default_role(object: &mut Value) {
    if object.lacks("rules") {
        object["rules"] = Value::Null;
    }
}

fn default_binding(object: &mut Value) {
    object.child("roleRef").fill_text("apiGroup", GROUP);
    object.each("subjects", |subject| {
        if matches!(subject.text("kind"), "User" | "Group") {
            subject.fill_text("apiGroup", GROUP);
        }
    });
}
