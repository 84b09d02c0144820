//! What runs beside requests, in named parts: one that ends or panics is started again alone, and whoever waits is told.

use kedge_machinery::Backoff;
use std::future::Future;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

const RESTART_INITIAL: Duration = Duration::from_millis(200);
const RESTART_MAX: Duration = Duration::from_secs(30);
/// Ends that nobody has asked for yet; more are only logged.
const ENDS: usize = 16;

/// A part ended before the shutdown and is started again.
#[derive(Debug, thiserror::Error)]
#[error("the API server's {part} {why}")]
pub struct Ended {
    pub part: &'static str,
    pub why: String,
}

pub struct Parts {
    tasks: JoinSet<()>,
    ends: (mpsc::Sender<Ended>, mpsc::Receiver<Ended>),
    shutdown: watch::Receiver<bool>,
}

impl Parts {
    pub fn new(shutdown: watch::Receiver<bool>) -> Parts {
        Parts { tasks: JoinSet::new(), ends: mpsc::channel(ENDS), shutdown }
    }

    /// Runs what `start` makes until the shutdown.
    pub fn keep<F>(&mut self, part: &'static str, mut start: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (mut shutdown, ends) = (self.shutdown.clone(), self.ends.0.clone());
        self.tasks.spawn(async move {
            let mut backoff = Backoff::new(RESTART_INITIAL, RESTART_MAX);
            loop {
                let ended = tokio::spawn(start()).await;
                if *shutdown.borrow() {
                    return;
                }
                let why = ended.err().map_or_else(|| "ended".to_owned(), |error| error.to_string());
                let delay = backoff.next_delay();
                tracing::error!(part, why, ?delay, "a part of the API server ended and is started again");
                drop(ends.try_send(Ended { part, why }));
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    _ = shutdown.wait_for(|stop| *stop) => {}
                }
            }
        });
    }

    /// Returns after the shutdown, when every part has ended; with an error as soon as a part had to be started again.
    pub async fn wait(&mut self) -> Result<(), Ended> {
        loop {
            tokio::select! {
                Some(ended) = self.ends.1.recv() => return Err(ended),
                joined = self.tasks.join_next() => if joined.is_none() { return Ok(()) },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_is_started_again_and_told() {
        let (stop, shutdown) = watch::channel(false);
        let mut parts = Parts::new(shutdown.clone());
        let (mut starts, (seen, mut runs)) = (0, mpsc::channel(4));
        parts.keep("listener", move || {
            starts += 1;
            let (start, seen, mut shutdown) = (starts, seen.clone(), shutdown.clone());
            async move {
                seen.send(start).await.expect("the test listens");
                assert!(start > 1, "as planned");
                drop(shutdown.wait_for(|stop| *stop).await);
            }
        });
        let ended = parts.wait().await.expect_err("the first run panics");
        assert!(ended.part == "listener" && ended.why.contains("panic"), "{ended}");
        assert_eq!((runs.recv().await, runs.recv().await), (Some(1), Some(2)));
        stop.send_replace(true);
        assert!(parts.wait().await.is_ok());
    }
}
