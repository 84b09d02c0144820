//! Performs the writes of a plan in order and stops at the first failure.

use kedge_api::Resource;
use kedge_client::{Client, DeleteOptions, Event, PatchKind, Recorder, Result};
use kedge_controllers_core::{EventSpec, Op, Write};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Performed {
    /// The last revision written, per kind.
    pub revisions: BTreeMap<Resource, u64>,
    pub failure: Option<String>,
}

pub async fn all(client: &Client, recorder: &Recorder, writes: Vec<Write>) -> Performed {
    let mut performed = Performed::default();
    for write in writes {
        match one(client, &write).await {
            Ok(object) => {
                if let Some(revision) = revision(&object) {
                    let seen = performed.revisions.entry(write.of).or_insert(0);
                    *seen = revision.max(*seen);
                }
                if let Some(event) = write.on_success {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    tell(recorder, with(event, "{name}", name));
                }
            }
            // Somebody was faster; the cache will tell.
            Err(error) if error.is_not_found() && !matches!(write.op, Op::Create(_)) => {}
            Err(error) => {
                let words = error.to_string();
                if let Some(event) = write.on_failure {
                    tell(recorder, with(event, "{error}", &words));
                }
                performed.failure = Some(words);
                break;
            }
        }
    }
    performed
}

async fn one(client: &Client, write: &Write) -> Result<Value> {
    let (of, namespace) = (write.of, write.namespace.as_str());
    match &write.op {
        Op::Create(object) => client.create(of, namespace, object).await,
        Op::Replace { name, object } => client.replace(of, namespace, name, "", object).await,
        Op::Patch { name, subresource, strategic: true, patch } => {
            client.patch(of, namespace, name, subresource, PatchKind::Strategic, patch).await
        }
        Op::Patch { name, subresource, strategic: false, patch } => {
            update(client, of, namespace, (name, subresource), patch).await
        }
        Op::Delete { name, uid, grace_period_s } => {
            let options = DeleteOptions {
                uid: Some(uid.clone()),
                grace_period_s: *grace_period_s,
                propagation_policy: grace_period_s.is_none().then_some("Background"),
                ..DeleteOptions::default()
            };
            client.delete(of, namespace, name, &options).await
        }
    }
}

/// Reads, merges and writes back under the read resourceVersion: upstream's roles let most controllers `update` what they
/// look after, and not `patch` it.
pub async fn update(
    client: &Client,
    of: Resource,
    namespace: &str,
    (name, subresource): (&str, &str),
    patch: &Value,
) -> Result<Value> {
    let mut object: Value = client.get(of, namespace, name).await?;
    kedge_controllers_core::plan::merge(&mut object, patch);
    client.replace(of, namespace, name, subresource, &object).await
}

fn revision(object: &Value) -> Option<u64> {
    // The Status of a finished deletion carries no revision of its own.
    if object["kind"] == "Status" {
        return None;
    }
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}

fn with(mut event: EventSpec, placeholder: &str, text: &str) -> EventSpec {
    event.message = event.message.replace(placeholder, text);
    event
}

pub fn tell(recorder: &Recorder, event: EventSpec) {
    recorder.tell(Event {
        about: event.about,
        kind: event.kind,
        reason: event.reason.to_owned(),
        message: event.message,
    });
}
