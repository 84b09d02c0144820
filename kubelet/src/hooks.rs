//! postStart and preStop.

use std::time::Duration;

use kedge_api::pod::{Container, HttpGetAction, LifecycleHandler, Pod};
use kedge_cri_api::{ContainerId, Runtime};
use kedge_kubelet_core::fields::go_quote;
use kedge_kubelet_core::names;
use kedge_kubelet_core::probe::port;

use crate::http_client::{self, Get};

/// Upstream's client has no deadline of its own here; the grace period bounds preStop, and this one postStart.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Place<'a> {
    pub pod: &'a Pod,
    pub container: &'a Container,
    pub id: &'a ContainerId,
    pub pod_ip: &'a str,
}

/// Runs a hook to its end. Err is what the container's waiting state shows.
pub(crate) async fn run(
    handler: &LifecycleHandler,
    place: &Place<'_>,
    runtime: &dyn Runtime,
) -> Result<(), String> {
    let of = format!(
        "for Container {} in Pod {} failed - error: ",
        go_quote(&place.container.name),
        go_quote(&names::pod_in_messages(place.pod))
    );
    if let Some(action) = &handler.exec {
        let command = action.command.join(" ");
        return exec(&action.command, place, runtime)
            .await
            .map_err(|cause| format!("Exec lifecycle hook ([{command}]) {of}{cause}"));
    }
    if let Some(action) = &handler.http_get {
        return http(action, place)
            .await
            .map_err(|cause| format!("HTTP lifecycle hook ({}) {of}{cause}", action.path));
    }
    if let Some(action) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    match &handler.tcp_socket {
        // Deprecated in the API and never run by upstream either: it is there for old manifests.
        Some(_) | None => Err(format!("{of}invalid handler: there is no action to run")),
    }
}

async fn exec(command: &[String], place: &Place<'_>, runtime: &dyn Runtime) -> Result<(), String> {
    let done = runtime.exec_sync(place.id, command.to_vec(), 0).await.map_err(|error| error.to_string())?;
    if done.exit_code == 0 {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    Err(format!(
        "command '{}' exited with {}: {}, message: {}",
        command.join(" "),
        done.exit_code,
        output,
        go_quote(&output)
    ))
}

async fn http(action: &HttpGetAction, place: &Place<'_>) -> Result<(), String> {
    let get = Get {
        https: action.scheme.eq_ignore_ascii_case("https"),
        host: if action.host.is_empty() { place.pod_ip.to_owned() } else { action.host.clone() },
        port: port(&action.port, place.container)?,
        path: action.path.clone(),
        headers: action
            .http_headers
            .iter()
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect(),
        user_agent: "kube-lifecycle/1.36",
    };
    // Any answer is a success: the hook was told.
    http_client::get(&get, HTTP_TIMEOUT).await.map(drop)
}
