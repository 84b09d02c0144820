//! What runs beside requests: the follower of the authorizer, compaction, bootstrap objects, the `kubernetes` Service.

use crate::access::Observer;
use crate::config::Error;
use crate::context::Context;
use crate::parts::Parts;
use crate::service::ApiService;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use kedge_api::{Identity, kinds};
use kedge_apiserver_core::authorization::OBSERVED;
use kedge_apiserver_core::bootstrap;
use kedge_apiserver_core::objects::Objects;
use kedge_apiserver_core::registry::{kubernetes, route};
use kedge_store::Revision;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// History is kept for this long; a client that was away for less goes on where it was.
const KEEP: Duration = Duration::from_secs(300);
/// More history than this is dropped sooner.
const HISTORY_BYTES_MAX: usize = 48 * 1024 * 1024;
const RECONCILE: Duration = Duration::from_secs(10);

/// Starts following the store, and rebuilds what lives in memory from it.
pub fn follow(context: &Arc<Context>) -> Result<(), Error> {
    for (group, plural) in OBSERVED {
        let Some(kind) = kinds::stored(group, plural) else {
            continue;
        };
        let observer = Observer { access: context.access.clone(), group, plural };
        let prefix = route::key(kind, "", "");
        let started = context.store.watch(&prefix, context.store.revision(), Box::new(observer));
        started.map_err(|error| Error::Bootstrap(error.to_string()))?;
    }
    for service in context.objects.list("", "services", None) {
        context.services.observe(&service);
    }
    Ok(())
}

pub fn spawn(context: &Arc<Context>, service: &ApiService, address: SocketAddr, parts: &mut Parts) {
    let shared = context.clone();
    parts.keep("compaction", move || compact(shared.clone()));
    let (shared, service) = (context.clone(), service.clone());
    parts.keep("kubernetes service", move || {
        keep_kubernetes_service(shared.clone(), service.clone(), address.port())
    });
}

/// Drops history by age and by size.
async fn compact(context: Arc<Context>) {
    let mut shutdown = context.shutdown.clone();
    let mut aged = context.store.revision();
    let mut next_age = tokio::time::Instant::now() + KEEP;
    let mut timer = tokio::time::interval(Duration::from_secs(15));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        let due = tokio::time::Instant::now() >= next_age;
        let (compacted, bytes) = context.store.history();
        let newest = context.store.revision();
        let target = if bytes > HISTORY_BYTES_MAX {
            // Half of what there is, by revision: cheap to say, and right when sizes are alike.
            Revision(compacted.0 + (newest.0 - compacted.0) / 2)
        } else if due {
            aged
        } else {
            continue;
        };
        if due {
            aged = newest;
            next_age = tokio::time::Instant::now() + KEEP;
        }
        if target <= compacted {
            continue;
        }
        let store = context.store.clone();
        match tokio::task::spawn_blocking(move || store.compact(target)).await {
            Ok(Ok(())) => tracing::debug!(%target, "history was compacted"),
            Ok(Err(error)) => tracing::warn!(%error, "history was not compacted"),
            Err(error) => tracing::warn!(%error, "compaction panicked"),
        }
    }
}

/// The identity of the server's own writes.
fn own_identity() -> Identity {
    Identity::new("system:apiserver", &["system:masters"])
}

/// Sends one request to ourselves.
pub async fn request(service: &ApiService, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Content-Type", "application/json")
        .header("User-Agent", "kube-apiserver")
        .extension(own_identity())
        .body(crate::body::full(bytes))
        .expect("our own paths are valid");
    let Ok(response) = service.clone().handle(request).await;
    let code = response.status().as_u16();
    let bytes =
        response.into_body().collect().await.map(|collected| collected.to_bytes()).unwrap_or_default();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// Creates what a new cluster starts with; what is there already stays as it is.
pub async fn bootstrap(context: &Context, service: &ApiService) -> Result<(), String> {
    let cluster = [
        kubernetes::service_cidr(&context.config.service_cidr.to_string()),
        kubernetes::authentication(&context.pki.ca, &context.pki.front_proxy_ca),
    ];
    for object in bootstrap::objects().into_iter().chain(cluster) {
        ensure(service, &object).await?;
    }
    Ok(())
}

async fn ensure(service: &ApiService, object: &Value) -> Result<(), String> {
    let collection = collection_of(object).ok_or_else(|| format!("no such kind: {object}"))?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if request(service, "GET", &format!("{collection}/{name}"), None).await.0 == 200 {
        return Ok(());
    }
    match request(service, "POST", &collection, Some(object)).await {
        (201, created) if !created["aggregationRule"].is_null() => {
            let owned = bootstrap::collected(created);
            match request(service, "PUT", &format!("{collection}/{name}"), Some(&owned)).await {
                (200 | 409, _) => Ok(()),
                (code, answer) => Err(format!("{collection}/{name}: {code} {}", answer["message"])),
            }
        }
        (201 | 409, _) => Ok(()),
        (code, answer) => Err(format!("{collection}/{name}: {code} {}", answer["message"])),
    }
}

/// The path of the collection that an object belongs to.
fn collection_of(object: &Value) -> Option<String> {
    let api_version = object["apiVersion"].as_str()?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = kinds::by_kind(group, version, object["kind"].as_str()?)?;
    let base = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    Some(match object["metadata"]["namespace"].as_str().filter(|_| kind.namespaced) {
        Some(namespace) => format!("{base}/namespaces/{namespace}/{}", kind.plural),
        None => format!("{base}/{}", kind.plural),
    })
}

/// Keeps Service `kubernetes` and its endpoints in namespace `default` as they must be.
async fn keep_kubernetes_service(context: Arc<Context>, service: ApiService, port: u16) {
    let mut shutdown = context.shutdown.clone();
    let mut timer = tokio::time::interval(RECONCILE);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        let wanted = kubernetes::objects(context.config.service_address(), context.config.advertise, port);
        for object in wanted {
            if let Err(error) = reconcile(&service, &object).await {
                tracing::warn!(error, "service kubernetes is not as it must be");
            }
        }
    }
}

async fn reconcile(service: &ApiService, wanted: &Value) -> Result<(), String> {
    ensure(service, wanted).await?;
    let collection = collection_of(wanted).unwrap_or_default();
    let path = format!("{collection}/{}", wanted["metadata"]["name"].as_str().unwrap_or_default());
    let (_, present) = request(service, "GET", &path, None).await;
    let Some(changed) = kubernetes::corrected(&present, wanted) else {
        return Ok(());
    };
    match request(service, "PUT", &path, Some(&changed)).await {
        (200 | 409, _) => Ok(()),
        (code, answer) => Err(format!("{path}: {code} {}", answer["message"])),
    }
}
