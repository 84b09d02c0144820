//! Kinds that extend the API: CustomResourceDefinitions, APIServices, webhooks and admission policies.

use super::access::{Fill, Read};
use super::extension_rules;
use super::usual::{ALL_METADATA, Usual};
use serde_json::{Value, json};

pub(super) static CUSTOM_RESOURCE_DEFINITION: Usual = Usual {
    status_keeps: ALL_METADATA,
    default: default_definition,
    status: Some(empty_definition_status),
    generation: &["spec"],
    unconditional_update: false,
    validate: extension_rules::validate_definition,
    validate_update: |object, _| extension_rules::validate_definition(object),
    ..Usual::PLAIN
};

pub(super) static API_SERVICE: Usual = Usual {
    default: |object| {
        object.child("spec").with("service", default_service_reference);
        object.child("status");
    },
    status: Some(local_status),
    unconditional_update: false,
    validate: extension_rules::validate_api_service,
    validate_update: |object, _| extension_rules::validate_api_service(object),
    ..Usual::PLAIN
};

/// What this server serves itself is there from the first moment.
fn local_status(service: &Value) -> Value {
    if !service["spec"]["service"].is_null() {
        return json!({});
    }
    json!({"conditions": [{
        "type": "Available", "status": "True", "reason": "Local", "message": "Local APIServices are always available",
        "lastTransitionTime": service["metadata"]["creationTimestamp"],
    }]})
}

pub(super) static VALIDATING_WEBHOOKS: Usual = Usual {
    default: |object| object.each("webhooks", default_webhook),
    generation: &["webhooks"],
    unconditional_update: false,
    validate: extension_rules::validate_webhooks,
    validate_update: |object, _| extension_rules::validate_webhooks(object),
    ..Usual::PLAIN
};

pub(super) static MUTATING_WEBHOOKS: Usual = Usual {
    default: |object| {
        object.each("webhooks", |webhook| {
            default_webhook(webhook);
            webhook.fill("reinvocationPolicy", "Never");
        });
    },
    generation: &["webhooks"],
    unconditional_update: false,
    validate: extension_rules::validate_webhooks,
    validate_update: |object, _| extension_rules::validate_webhooks(object),
    ..Usual::PLAIN
};

pub(super) static VALIDATING_POLICY: Usual = Usual {
    status_keeps: ALL_METADATA,
    default: |object| {
        default_policy(object.child("spec"));
        object.child("status");
    },
    status: Some(|_| json!({})),
    generation: &["spec"],
    unconditional_update: false,
    validate: extension_rules::validate_policy,
    validate_update: |object, _| extension_rules::validate_policy(object),
    ..Usual::PLAIN
};

pub(super) static MUTATING_POLICY: Usual = Usual {
    default: |object| default_policy(object.child("spec")),
    generation: &["spec"],
    unconditional_update: false,
    validate: extension_rules::validate_mutating_policy,
    validate_update: |object, _| extension_rules::validate_mutating_policy(object),
    ..Usual::PLAIN
};

pub(super) static POLICY_BINDING: Usual = Usual {
    default: |object| object.child("spec").with("matchResources", default_match),
    generation: &["spec"],
    unconditional_update: false,
    validate: extension_rules::validate_binding,
    validate_update: |object, _| extension_rules::validate_binding(object),
    ..Usual::PLAIN
};

fn default_definition(object: &mut Value) {
    let spec = object.child("spec");
    spec.child("conversion").fill_text("strategy", "None");
    spec.child("conversion").with("webhook", |webhook| {
        webhook.with("clientConfig", |config| config.with("service", default_service_reference));
    });
    let names = spec.child("names");
    let kind = names.text("kind").to_owned();
    names.fill_text("singular", &kind.to_lowercase());
    if !kind.is_empty() {
        names.fill_text("listKind", &format!("{kind}List"));
    }
}

fn empty_definition_status(object: &Value) -> Value {
    let versions = object["spec"].list("versions").iter();
    let stored: Vec<&str> =
        versions.filter(|version| version.flag("storage")).map(|v| v.text("name")).collect();
    json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": stored})
}

fn default_webhook(webhook: &mut Value) {
    webhook.fill("failurePolicy", "Fail");
    webhook.fill("matchPolicy", "Equivalent");
    webhook.fill("timeoutSeconds", 10);
    webhook.child("namespaceSelector");
    webhook.child("objectSelector");
    webhook.child("clientConfig").with("service", default_service_reference);
    webhook.each("rules", |rule| rule.fill("scope", "*"));
}

fn default_service_reference(service: &mut Value) {
    service.fill("port", 443);
}

fn default_policy(spec: &mut Value) {
    spec.fill("failurePolicy", "Fail");
    spec.with("matchConstraints", default_match);
}

fn default_match(constraints: &mut Value) {
    constraints.fill("matchPolicy", "Equivalent");
    constraints.child("namespaceSelector");
    constraints.child("objectSelector");
    for rules in ["resourceRules", "excludeResourceRules"] {
        constraints.each(rules, |rule| rule.fill("scope", "*"));
    }
}
