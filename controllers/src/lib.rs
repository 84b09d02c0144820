//! Runs the controllers: one generic runner, shared caches, each controller under its own ServiceAccount.
//!
//! Tasks: one per controller (the runner's loop, which owns its queue), one per controller and watched kind (forwards
//! changes), at most [`runner::WORKERS`] short-lived ones per controller (one key each), and one for the garbage collector.
//! The error type is none: a controller that fails on a key tries again with back-off; a controller that panics is started
//! again by its runner and logged.

mod caches;
mod garbage;
mod namespace;
mod perform;
mod planned;
mod runner;

pub use caches::Shared;
pub use kedge_controllers_core::Settings;

use caches::Caches;
use kedge_client::{Client, Recorder};
use std::sync::Arc;
use tokio::sync::watch;

/// Gives the client of a ServiceAccount in kube-system, or of the user `system:kube-controller-manager` for "".
pub type Clients = Arc<dyn Fn(&str) -> Client + Send + Sync>;

pub struct Config {
    pub settings: Settings,
    /// `--controllers`: `*`, names, and `-name` to leave one out.
    pub controllers: Vec<String>,
}

/// The names that `--controllers` takes.
pub fn names() -> Vec<&'static str> {
    let settings = Settings { ca_pem: String::new(), cluster_cidr: String::new(), node_prefix: 24 };
    let mut names: Vec<&'static str> =
        kedge_controllers_core::controllers(&settings).iter().map(|controller| controller.name()).collect();
    names.extend([namespace::NAME, garbage::NAME]);
    names
}

/// Names in `--controllers` that do not exist.
pub fn unknown_names(list: &[String]) -> Vec<String> {
    let known = names();
    let unknown = |entry: &&String| {
        let name = entry.strip_prefix('-').unwrap_or(entry);
        name != "*" && !known.contains(&name)
    };
    list.iter().filter(unknown).cloned().collect()
}

fn is_enabled(list: &[String], name: &str) -> bool {
    let named = |entry: &String| entry == name;
    if list.iter().any(|entry| entry.strip_prefix('-') == Some(name)) {
        return false;
    }
    list.is_empty() || list.iter().any(|entry| named(entry) || entry == "*")
}

/// Runs until `shutdown` turns true.
pub async fn run(config: Config, clients: Clients, shared: Shared, mut shutdown: watch::Receiver<bool>) {
    let caches = Arc::new(Caches::start(clients(""), shared));
    let mut tasks = tokio::task::JoinSet::new();
    for controller in kedge_controllers_core::controllers(&config.settings) {
        if is_enabled(&config.controllers, controller.name()) {
            let client = clients(controller.account());
            let recorder = Recorder::start(client.clone(), controller.account(), "");
            let work = planned::Planned::new(controller, client, recorder, Arc::clone(&caches));
            tasks.spawn(runner::run(Arc::new(work), Arc::clone(&caches)));
        }
    }
    if is_enabled(&config.controllers, namespace::NAME) {
        let work = namespace::Namespaces::new(clients("namespace-controller"), Arc::clone(&caches));
        tasks.spawn(runner::run(Arc::new(work), Arc::clone(&caches)));
    }
    if is_enabled(&config.controllers, garbage::NAME) {
        tasks.spawn(garbage::run(clients("generic-garbage-collector")));
    }
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            ended = tasks.join_next() => match ended {
                Some(Err(error)) => tracing::error!(%error, "a controller's loop ended"),
                Some(Ok(())) => tracing::error!("a controller's loop returned"),
                None => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &[&str], enabled: &[&str]) {
        let list: Vec<String> = list.iter().map(|entry| (*entry).to_owned()).collect();
        let on: Vec<&str> = ["pod-garbage-collector-controller", "namespace-controller"]
            .into_iter()
            .filter(|name| is_enabled(&list, name))
            .collect();
        assert_eq!(on, enabled, "{list:?}");
    }

    #[test]
    fn lists_of_controllers() {
        check(&[], &["pod-garbage-collector-controller", "namespace-controller"]);
        check(&["*"], &["pod-garbage-collector-controller", "namespace-controller"]);
        check(&["*", "-namespace-controller"], &["pod-garbage-collector-controller"]);
        check(&["namespace-controller"], &["namespace-controller"]);
        assert_eq!(
            unknown_names(&["*".into(), "-nosuch".into(), "deployment-controller".into()]),
            ["-nosuch"]
        );
    }
}
