//! Runs one probe.

use std::time::Duration;

use kedge_api::pod::{Container, GrpcAction, Probe};
use kedge_cri_api::{ContainerId, Error, Runtime};
use kedge_kubelet_core::env::host_port;
use kedge_kubelet_core::fields::go_quote;
use kedge_kubelet_core::probe::{Outcome, port};
use kedge_kubelet_core::termination::head;

use crate::http_client::{self, Get};

const USER_AGENT: &str = "kube-probe/1.36";
/// Of an output that becomes an event.
const OUTPUT_BYTES_MAX: usize = 10 * 1024;

/// Where a probe goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub container: Container,
    pub container_id: ContainerId,
    pub pod_ip: String,
}

pub(crate) async fn run(probe: &Probe, target: &Target, timeout: Duration, runtime: &dyn Runtime) -> Outcome {
    if let Some(action) = &probe.exec {
        return exec(&action.command, target, timeout, runtime).await;
    }
    if let Some(action) = &probe.http_get {
        return match port(&action.port, &target.container) {
            Ok(port) => http(action, port, target, timeout).await,
            Err(cause) => Outcome::Unknown(cause),
        };
    }
    if let Some(action) = &probe.tcp_socket {
        return match port(&action.port, &target.container) {
            Ok(port) => tcp(host(&action.host, target), port, timeout).await,
            Err(cause) => Outcome::Unknown(cause),
        };
    }
    match &probe.grpc {
        Some(action) => grpc(action, target, timeout).await,
        None => Outcome::Unknown("missing probe handler".to_owned()),
    }
}

fn host<'a>(own: &'a str, target: &'a Target) -> &'a str {
    if own.is_empty() { &target.pod_ip } else { own }
}

async fn exec(command: &[String], target: &Target, timeout: Duration, runtime: &dyn Runtime) -> Outcome {
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    match runtime.exec_sync(&target.container_id, command.to_vec(), seconds).await {
        Ok(done) => {
            let output = [done.stdout, done.stderr].concat();
            let output = head(&String::from_utf8_lossy(&output), OUTPUT_BYTES_MAX).to_owned();
            if done.exit_code == 0 { Outcome::Success } else { Outcome::Failure(output) }
        }
        Err(Error::DeadlineExceeded(_)) => {
            let command = go_quote(&command.join(" "));
            Outcome::Failure(format!("command timed out: {command} timed out after {seconds}s"))
        }
        Err(error) => Outcome::Unknown(format!("rpc error: code = Unknown desc = {error}")),
    }
}

async fn http(
    action: &kedge_api::pod::HttpGetAction,
    port: u16,
    target: &Target,
    timeout: Duration,
) -> Outcome {
    let get = Get {
        https: action.scheme.eq_ignore_ascii_case("https"),
        host: host(&action.host, target).to_owned(),
        port,
        path: action.path.clone(),
        headers: action
            .http_headers
            .iter()
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect(),
        user_agent: USER_AGENT,
    };
    match http_client::get(&get, timeout).await {
        Ok((code, _)) if (200..400).contains(&code) => Outcome::Success,
        Ok((code, _)) => Outcome::Failure(format!("HTTP probe failed with statuscode: {code}")),
        Err(cause) => Outcome::Failure(cause),
    }
}

async fn tcp(host: &str, port: u16, timeout: Duration) -> Outcome {
    match tokio::time::timeout(timeout, http_client::dial(host, port)).await {
        Ok(Ok(_)) => Outcome::Success,
        Ok(Err(cause)) => Outcome::Failure(cause),
        Err(_) => Outcome::Failure(format!("dial tcp {}: i/o timeout", authority(host, port))),
    }
}

fn authority(host: &str, port: u16) -> String {
    host.parse().map_or_else(|_| format!("{host}:{port}"), |address| host_port(address, port))
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

async fn grpc(action: &GrpcAction, target: &Target, timeout: Duration) -> Outcome {
    let port = u16::try_from(action.port).unwrap_or(0);
    let address = authority(&target.pod_ip, port);
    let late = format!("timeout: health rpc did not complete within {}s", timeout.as_secs());
    let check = check_health(&address, action.service.clone().unwrap_or_default());
    match tokio::time::timeout(timeout, check).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failure(late),
    }
}

async fn check_health(address: &str, service: String) -> Outcome {
    let failed =
        |cause: String| Outcome::Failure(format!("error: failed to connect service {address:?}: {cause}"));
    let endpoint = match tonic::transport::Endpoint::from_shared(format!("http://{address}")) {
        Ok(endpoint) => endpoint,
        Err(error) => return failed(error.to_string()),
    };
    let channel = match endpoint.connect().await {
        Ok(channel) => channel,
        Err(error) => return failed(error.to_string()),
    };
    let mut client = tonic::client::Grpc::new(channel);
    if let Err(error) = client.ready().await {
        return failed(error.to_string());
    }
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let request = tonic::Request::new(HealthCheckRequest { service });
    match client.unary(request, path, codec).await {
        Ok(response) => match response.into_inner().status {
            SERVING => Outcome::Success,
            status => {
                Outcome::Failure(format!("service unhealthy (responded with {:?})", status_name(status)))
            }
        },
        Err(error) if error.code() == tonic::Code::Unimplemented => Outcome::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            error.message()
        )),
        Err(error) => Outcome::Failure(format!("error: health rpc probe failed: {error}")),
    }
}

fn status_name(status: i32) -> &'static str {
    match status {
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}
