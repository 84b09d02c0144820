//! What is no object of the store: reviews, tokens, component statuses, and the streams that end at a kubelet.

use crate::answer::{self, Answer, Wanted};
use crate::body::BoxBody;
use crate::context::{Context, now};
use crate::service::{Call, not_allowed};
use crate::{proxy, upgrade};
use kedge_apiserver_core::attributes::Attributes;
use kedge_apiserver_core::authentication::reviews::self_subject_review;
use kedge_apiserver_core::authorization::reviews as access_reviews;
use kedge_apiserver_core::registry::encode::decode;
use kedge_apiserver_core::registry::negotiate::Transform;
use kedge_apiserver_core::registry::route::Target;
use kedge_apiserver_core::status::{ApiError, qualified};
use serde_json::{Value, json};
use std::sync::Arc;

/// Subresources whose requests are passed on to a kubelet, a pod or a service.
pub fn is_stream(name: &str) -> bool {
    matches!(name, "log" | "exec" | "attach" | "portforward" | "proxy")
}

/// Answers a POST of a kind that is not stored, or of a token.
pub fn create(
    context: &Context,
    target: &Target,
    attributes: &Attributes,
    value: Value,
    wanted: &Wanted,
    warnings: &[String],
) -> Answer {
    let answered = match (target.kind.group, target.kind.plural) {
        ("", "serviceaccounts") => {
            let jti = uuid::Uuid::new_v4().to_string();
            let (namespace, name) = (&target.namespace, &target.name);
            let mut granted =
                context.authenticator.token_request(namespace, name, &value, &context.objects, now(), &jti);
            if let Ok(granted) = &mut granted {
                granted["metadata"]["managedFields"] = value["metadata"]["managedFields"].clone();
                kedge_apiserver_core::registry::metadata::drop_null(granted, "managedFields");
            }
            granted
        }
        ("authentication.k8s.io", "tokenreviews") => {
            context.authenticator.token_review(value, &context.objects, now())
        }
        ("authentication.k8s.io", "selfsubjectreviews") => {
            Ok(self_subject_review(&attributes.user, &now().to_string()))
        }
        _ => {
            let authorizer = context.access.read();
            access_reviews::create(&authorizer, attributes, value).unwrap_or_else(|| Err(not_allowed()))
        }
    }?;
    if target.kind.group == "authorization.k8s.io"
        && matches!(wanted.representation.transform, Transform::Table(_))
    {
        return Err(no_table(target));
    }
    let mut response = answer::value(201, &answered, wanted);
    answer::warn(&mut response, warnings);
    Ok(response)
}

/// A review has no columns to show.
fn no_table(target: &Target) -> ApiError {
    let resource = qualified(target.kind.plural, target.kind.group);
    let message = format!("the resource {resource} does not support being converted to a Table");
    ApiError::new(406, "NotAcceptable", message)
}

const COMPONENT_STATUS: &str = "v1 ComponentStatus is deprecated in v1.19+";
/// The parts that upstream reports; ours live in one process with the server.
const COMPONENTS: [&str; 3] = ["controller-manager", "scheduler", "etcd-0"];

fn component(name: &str) -> Value {
    json!({
        "kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name},
        "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}],
    })
}

pub fn get(target: &Target, wanted: &Wanted) -> Answer {
    let mut response = match COMPONENTS.contains(&target.name.as_str()) {
        true => answer::value(200, &component(&target.name), wanted),
        false => answer::error(&ApiError::not_found("", "componentstatus", &target.name), wanted),
    };
    answer::warn(&mut response, &[COMPONENT_STATUS.to_owned()]);
    Ok(response)
}

pub fn list(_target: &Target, wanted: &Wanted) -> Answer {
    let items: Vec<Value> = COMPONENTS.iter().map(|name| component(name)).collect();
    let document = json!({"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": items});
    let mut response = answer::value(200, &document, wanted);
    answer::warn(&mut response, &[COMPONENT_STATUS.to_owned()]);
    Ok(response)
}

/// Passes a stream on.
pub async fn stream(context: &Arc<Context>, call: Call, body: BoxBody, target: &Target) -> Answer {
    let subresource = target.subresource.map_or("", |subresource| subresource.name);
    if subresource == "proxy" {
        return proxy::serve(context, call, body, target).await;
    }
    let entry = context.store.get(&target.key());
    let Some(entry) = entry else {
        return Err(ApiError::not_found(target.kind.group, target.kind.plural, &target.name));
    };
    match upgrade::Kind::of_subresource(subresource) {
        Some(kind) => upgrade::stream(context, call, body, target, kind, &decode(&entry)).await,
        None => Err(not_allowed()),
    }
}
