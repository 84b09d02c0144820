//! The two requests of the scheduler.

use kedge_api::Pod;
use kedge_api::resource::PODS;
use kedge_client::{Client, PatchKind, Result};
use kedge_scheduler_core::writes;
use serde_json::Value;
use std::sync::Arc;

/// Binds through the `binding` subresource. A pod that is gone or already somewhere is an error like any other: the watch
/// tells what became of it.
pub async fn bind(client: Client, pod: Arc<Pod>, node: String) -> Result<()> {
    let meta = &pod.metadata;
    let body = writes::binding(&pod, &node);
    let _: Value = client.create_subresource(PODS, &meta.namespace, &meta.name, "binding", &body).await?;
    Ok(())
}

/// Writes a condition. A failure is only logged: the condition is written again with the next refusal.
pub async fn patch_status(client: Client, pod: Arc<Pod>, patch: Value) {
    let meta = &pod.metadata;
    let patched: Result<Value> =
        client.patch(PODS, &meta.namespace, &meta.name, "status", PatchKind::Strategic, &patch).await;
    match patched {
        Err(error) if !error.is_not_found() && !error.is_conflict() => {
            tracing::warn!(pod = pod.full_name(), %error, "condition not written");
        }
        Ok(_) | Err(_) => {}
    }
}
