//! `kedge status`: exit code 0 when the node is Ready, 3 when kedge does not run, 4 when something is not ready.

use crate::control::{Status, call_blocking};
use crate::failure::{Exit, Failure, Outcome};
use crate::options::{Output, StatusOptions};
use crate::site::SiteOptions;
use http::Method;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn status(site: &SiteOptions, options: &StatusOptions) -> Outcome {
    let roots = site.roots()?;
    let bytes = call_blocking(&roots, Method::GET, "/v1/status", Box::new(std::io::empty()))?;
    let status: Status = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::new(format!("unexpected answer: {error}")))?;
    match options.output {
        Output::Json => println!("{}", String::from_utf8_lossy(&bytes)),
        Output::Text => print(&status),
    }
    if status.not_ready.is_empty() {
        return Ok(());
    }
    Err(Failure::with(Exit::NotReady, format!("not ready: {}", status.not_ready)))
}

fn print(status: &Status) {
    println!("kedge {} (pid {})", status.version, status.pid);
    let ready = if status.not_ready.is_empty() { "Ready" } else { "NotReady" };
    println!("node {}: {ready}", status.node);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    println!("{:<16} {:<12} {:>9} {:>9}  LAST END", "PART", "STATE", "SINCE", "RESTARTS");
    for (name, part) in &status.components {
        let age = format!("{} s", now.saturating_sub(part.since));
        let end = part.last_end.as_deref().unwrap_or("");
        println!("{name:<16} {:<12} {age:>9} {:>9}  {end}", part.state, part.restarts);
    }
}
