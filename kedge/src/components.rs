//! The parts that run, how they are, and that a part which ends is started again alone.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

const RESTART_INITIAL: Duration = Duration::from_millis(200);
const RESTART_MAX: Duration = Duration::from_secs(30);
/// A part that ran this long starts over with the shortest delay.
const STEADY: Duration = Duration::from_secs(60);

/// One part, as `kedge status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// `running`, `restarting`, `stopped`.
    pub state: String,
    pub restarts: u32,
    /// Seconds since the Unix epoch.
    pub since: u64,
    /// Why it last ended.
    pub last_end: Option<String>,
}

#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, Component>>>);

impl Board {
    pub fn all(&self) -> BTreeMap<String, Component> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, name: &str, state: &str, ended: Option<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let component = all.entry(name.to_owned()).or_insert_with(|| Component {
            state: String::new(),
            restarts: 0,
            since: 0,
            last_end: None,
        });
        component.state = state.to_owned();
        component.since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if ended.is_some() {
            component.restarts += 1;
            component.last_end = ended;
        }
    }

    /// Runs a part until shutdown; when it ends or panics before, it is started again after a delay that doubles.
    pub async fn keep<F, E>(
        self,
        name: &'static str,
        mut shutdown: watch::Receiver<bool>,
        mut start: impl FnMut() -> F,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut backoff = kedge_machinery::Backoff::new(RESTART_INITIAL, RESTART_MAX);
        loop {
            self.set(name, "running", None);
            let began = tokio::time::Instant::now();
            let ended = tokio::spawn(start()).await;
            if *shutdown.borrow() {
                self.set(name, "stopped", None);
                return;
            }
            let why = match ended {
                Ok(Ok(())) => "returned".to_owned(),
                Ok(Err(error)) => crate::failure::Failure::of(&error).text,
                Err(error) => format!("panicked: {error}"),
            };
            if began.elapsed() > STEADY {
                backoff.reset();
            }
            let delay = backoff.next_delay();
            tracing::error!(component = name, why, ?delay, "a component ended and is started again");
            self.set(name, "restarting", Some(why));
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                _ = shutdown.wait_for(|stop| *stop) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_is_started_again() {
        let (stop, shutdown) = watch::channel(false);
        let board = Board::default();
        let mut starts = 0;
        let seen = board.clone();
        board
            .keep("x", shutdown, move || {
                starts += 1;
                if starts == 3 {
                    stop.send_replace(true);
                }
                let panics = starts == 1;
                async move {
                    assert!(!panics, "as planned");
                    Ok::<(), std::io::Error>(())
                }
            })
            .await;
        let component = &seen.all()["x"];
        assert_eq!((component.restarts, component.state.as_str()), (2, "stopped"));
    }
}
