//! `/healthz` and `/livez` on port 10256, in kube-proxy's form: load balancers ask whether this node takes traffic. Plain
//! HTTP/1.1 without keep-alive, because the answer is one line and the port is open to the world: each connection gets
//! one short turn, and few are served at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::Error;

const CONNECTIONS_MAX: usize = 32;
const TURN: Duration = Duration::from_secs(2);

/// When the maps were last brought up to date, in seconds of the epoch; 0: never yet.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<AtomicU64>);

impl Health {
    pub fn updated(&self) {
        self.0.store(now(), Ordering::Relaxed);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub async fn serve(port: u16, health: Health) -> Result<(), Error> {
    let failed =
        |source| Error::Netlink { doing: format!("listen on port {port} for health checks"), source };
    let listener = TcpListener::bind(("0.0.0.0", port)).await.map_err(failed)?;
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let health = health.clone();
        tokio::spawn(async move {
            let _slot = slot;
            // A peer that dawdles or breaks off is nobody's problem but its own.
            let _ = tokio::time::timeout(TURN, answer(stream, &health)).await;
        });
    }
}

async fn answer(mut stream: TcpStream, health: &Health) -> std::io::Result<()> {
    let mut request = [0; 1024];
    let length = stream.read(&mut request).await?;
    let path = request[..length].split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let response = respond(path, health.0.load(Ordering::Relaxed), now());
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

fn respond(path: &[u8], updated: u64, now: u64) -> String {
    let (status, body) = match path {
        b"/healthz" | b"/livez" => {
            let status = if updated == 0 { "503 Service Unavailable" } else { "200 OK" };
            (status, format!(r#"{{"lastUpdated":{updated},"currentTime":{now},"nodeEligible":true}}"#))
        }
        _ => ("404 Not Found", String::new()),
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unhealthy_until_the_first_sync() {
        for (path, updated, status) in [
            ("/healthz", 0, "503"),
            ("/healthz", 5, "200"),
            ("/livez", 5, "200"),
            ("/", 5, "404"),
            ("", 5, "404"),
        ] {
            let response = respond(path.as_bytes(), updated, 7);
            assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {response}");
        }
    }
}
