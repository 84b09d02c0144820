//! The folder of static pods, read again whenever something in it changes.
//!
//! Task: one. It tells the dispatcher the whole set; a file that cannot be used is said once and passed over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use inotify::{Inotify, WatchMask};
use kedge_api::{Pod, Time};
use kedge_kubelet_core::static_pods::from_manifest;
use serde_json::Value;
use tokio::sync::watch;

use crate::agent::Agent;

/// A manifest is small; whatever is larger is something else.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files beyond that are passed over.
const FILES_MAX: usize = 500;
/// How often a folder that cannot be watched (it is not there, say) is looked at, as upstream does always.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// Editors write in several steps.
const SETTLE: Duration = Duration::from_millis(50);

pub(crate) struct StaticPod {
    pub pod: Arc<Pod>,
    /// All of the manifest, with defaults: what the mirror pod is made of.
    pub object: Value,
}

pub(crate) type Set = Arc<Vec<Arc<StaticPod>>>;

pub(crate) fn folder(agent: &Agent) -> PathBuf {
    agent.config.roots.kubernetes.join("manifests")
}

pub(crate) async fn follow(agent: Arc<Agent>, found: watch::Sender<Set>) {
    let folder = folder(&agent);
    let mut complaints = Vec::new();
    loop {
        let watching = Inotify::init().and_then(|inotify| {
            let what = WatchMask::CLOSE_WRITE | WatchMask::MOVE | WatchMask::DELETE | WatchMask::DELETE_SELF;
            inotify.watches().add(&folder, what)?;
            inotify.into_event_stream([0; 1024])
        });
        let (set, said) = read(&folder, &agent.config.node_name);
        for complaint in said.iter().filter(|complaint| !complaints.contains(*complaint)) {
            tracing::warn!(complaint, "a static pod is not started");
        }
        complaints = said;
        found.send_replace(Arc::new(set));
        match watching {
            // The first change is enough: all is read again, and watched from before that.
            Ok(mut events) => {
                events.next().await;
                tokio::time::sleep(SETTLE).await;
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// The pods of all manifests in the order of their names, and what is wrong with the others.
pub(crate) fn read(folder: &Path, node_name: &str) -> (Vec<Arc<StaticPod>>, Vec<String>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')));
    files.sort();
    let (mut pods, mut complaints) = (Vec::new(), Vec::new());
    for file in files.iter().take(FILES_MAX) {
        match read_file(file, node_name) {
            Ok(pod) => pods.push(Arc::new(pod)),
            Err(why) => complaints.push(format!("{}: {why}", file.display())),
        }
    }
    (pods, complaints)
}

fn read_file(file: &Path, node_name: &str) -> Result<StaticPod, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{size} bytes, more than {FILE_BYTES_MAX}"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    // JSON is YAML.
    let manifest: Value = serde_yaml_ng::from_str(&text).map_err(|error| error.to_string())?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seen = Time(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let object = from_manifest(manifest, node_name, seen)?;
    let pod: Pod = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    Ok(StaticPod { pod: Arc::new(pod), object })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_manifest_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let pod =
            "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: i}]}\n";
        for (name, text) in [("web.yaml", pod), (".web.yaml.swp", "x"), ("bad.yaml", "a: [")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let (pods, complaints) = read(folder.path(), "n");
        let names: Vec<&str> = pods.iter().map(|found| found.pod.metadata.name.as_str()).collect();
        assert_eq!((names, complaints.len()), (vec!["web-n"], 1));
        assert!(complaints[0].contains("bad.yaml: "), "{complaints:?}");
    }
}
