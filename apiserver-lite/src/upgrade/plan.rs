//! Which request to a kubelet serves a request for a pod's stream.

use kedge_apiserver_core::registry::options::QueryString;
use kedge_apiserver_core::status::{ApiError, Finding, FindingKind, Findings};
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Log,
    Exec,
    Attach,
    PortForward,
}

impl Stream {
    pub(crate) fn of_subresource(name: &str) -> Option<Stream> {
        Some(match name {
            "log" => Stream::Log,
            "exec" => Stream::Exec,
            "attach" => Stream::Attach,
            "portforward" => Stream::PortForward,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// A log of a pod that is on no node has nothing in it.
    Empty,
    Ask {
        node: String,
        path: String,
    },
}

pub(super) fn plan(
    stream: Stream,
    pod: &Value,
    namespace: &str,
    name: &str,
    query: &QueryString,
) -> Result<Plan, ApiError> {
    if stream == Stream::Log {
        check_log_options(name, query)?;
    }
    let container = match stream {
        Stream::PortForward => String::new(),
        Stream::Log | Stream::Exec | Stream::Attach => container(pod, name, &query.text("container"))?,
    };
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    if node.is_empty() {
        return match stream {
            Stream::Log => Ok(Plan::Empty),
            Stream::Exec | Stream::Attach | Stream::PortForward => {
                Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")))
            }
        };
    }
    if stream == Stream::Exec && query.all("command").iter().all(String::is_empty) {
        return Err(ApiError::bad_request("you must specify at least one command for the container"));
    }
    let path = match stream {
        Stream::Log => {
            waiting(pod, name, &container, query)?;
            format!("/containerLogs/{namespace}/{name}/{container}{}", log_query(query))
        }
        Stream::Exec => format!("/exec/{namespace}/{name}/{container}{}", command_query(query)),
        Stream::Attach => format!("/attach/{namespace}/{name}/{container}{}", command_query(query)),
        Stream::PortForward => {
            let ports = query.all("ports").into_iter().map(|port| ("port", port));
            format!("/portForward/{namespace}/{name}{}", encode(ports))
        }
    };
    Ok(Plan::Ask { node, path })
}

/// All findings about the options of a log.
fn check_log_options(name: &str, query: &QueryString) -> Result<(), ApiError> {
    let mut findings = Findings::new();
    let number = |field: &str| query.get(field).and_then(|text| text.parse::<i64>().ok());
    for (field, least, why) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        if let Some(value) = number(field).filter(|value| *value < least) {
            let message = format!("Invalid value: {value}: {why}");
            findings.push(Finding { kind: FindingKind::Invalid, field: field.to_owned(), message });
        }
    }
    if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        let message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned();
        findings.push(Finding { kind: FindingKind::Forbidden, field: "[]".to_owned(), message });
    }
    match findings.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid("", "PodLogOptions", name, &findings)),
    }
}

const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

fn names(pod: &Value, list: &str) -> Vec<String> {
    let containers = pod["spec"][list].as_array().into_iter().flatten();
    containers.filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
}

/// The container that is meant: the named one, or the only one.
fn container(pod: &Value, name: &str, wanted: &str) -> Result<String, ApiError> {
    if !wanted.is_empty() {
        return match LISTS.iter().any(|list| names(pod, list).iter().any(|known| known == wanted)) {
            true => Ok(wanted.to_owned()),
            false => Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {name}"))),
        };
    }
    let mut containers = names(pod, "containers");
    if containers.len() == 1 {
        return Ok(containers.remove(0));
    }
    let mut message = format!(
        "a container name must be specified for pod {name}, choose one of: [{}]",
        containers.join(" ")
    );
    let init = names(pod, "initContainers");
    if !init.is_empty() {
        message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
    }
    Err(ApiError::bad_request(message))
}

/// A container that has not started yet has no log, but a reason.
fn waiting(pod: &Value, name: &str, container: &str, query: &QueryString) -> Result<(), ApiError> {
    let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    let statuses = lists.iter().filter_map(|list| pod["status"][list].as_array()).flatten();
    let Some(status) = statuses.into_iter().find(|status| status["name"] == container) else {
        return Ok(());
    };
    let has_ended_before = status["lastState"]["terminated"].is_object();
    if query.flag("previous") == Some(true) {
        return match has_ended_before {
            true => Ok(()),
            false => {
                let words =
                    format!("previous terminated container \"{container}\" in pod \"{name}\" not found");
                Err(ApiError::bad_request(words))
            }
        };
    }
    let reason = status["state"]["waiting"]["reason"].as_str();
    match reason.filter(|_| !has_ended_before) {
        None => Ok(()),
        Some(reason) => {
            let words = format!("container \"{container}\" in pod \"{name}\" is waiting to start: {reason}");
            Err(ApiError::bad_request(words))
        }
    }
}

fn log_query(query: &QueryString) -> String {
    let flags = ["follow", "previous", "timestamps"].into_iter();
    let flags = flags.filter(|name| query.flag(name) == Some(true)).map(|name| (name, "true".to_owned()));
    let values = ["sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream"].into_iter();
    let values = values.filter_map(|name| {
        query.get(name).filter(|text| !text.is_empty()).map(|text| (name, text.to_owned()))
    });
    encode(flags.chain(values))
}

fn command_query(query: &QueryString) -> String {
    let names = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")].into_iter();
    let flags =
        names.filter(|(name, _)| query.flag(name) == Some(true)).map(|(_, name)| (name, "1".to_owned()));
    encode(flags.chain(query.all("command").into_iter().map(|word| ("command", word))))
}

fn encode(pairs: impl Iterator<Item = (&'static str, String)>) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}
