//! Container logs as files: rotation, links in `/var/log/containers`, and termination messages.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kedge_api::pod::{Container, Pod};
use kedge_cri_api::{ContainerId, ContainerState, ContainerStatus, Runtime};
use kedge_kubelet_core::{log_rotation, names, termination};

use crate::agent::Agent;
use crate::mounts::termination_log;
use crate::node::now;

/// inotify would wake us at every line of every pod; a look at the sizes costs one stat per container.
const ROTATION_PERIOD: Duration = Duration::from_secs(10);
/// How much of a log's end is read for a termination message.
const TAIL_BYTES: u64 = 64 * 1024;

pub(crate) async fn rotate_all(agent: Arc<Agent>) {
    // At once, and then from time to time: what a daemon was doing when it died is finished first.
    loop {
        match agent.runtime.list_containers().await {
            Ok(containers) => rotate_each(agent.runtime.as_ref(), &containers).await,
            Err(error) => tracing::warn!(%error, "listing containers for the rotation of their logs"),
        }
        tokio::time::sleep(ROTATION_PERIOD).await;
    }
}

async fn rotate_each(runtime: &dyn Runtime, containers: &[ContainerStatus]) {
    for container in containers.iter().filter(|container| container.state == ContainerState::Running) {
        if let Err(error) = rotate(runtime, container).await {
            tracing::warn!(%error, log = container.log_path, "log not rotated");
        }
    }
}

async fn reopen(runtime: &dyn Runtime, container: &ContainerStatus) -> io::Result<()> {
    let reopened = runtime.reopen_container_log(&ContainerId(container.id.clone())).await;
    reopened.map_err(|error| io::Error::other(error.to_string()))
}

async fn rotate(runtime: &dyn Runtime, container: &ContainerStatus) -> io::Result<()> {
    let path = Path::new(&container.log_path);
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        // Somebody renamed or removed it, a rotation that was cut short among them: the writer has the old file.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !container.log_path.is_empty() => {
            return reopen(runtime, container).await;
        }
        Err(_) => return Ok(()),
    };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let name = name.to_string_lossy().into_owned();
    let others =
        fs::read_dir(folder)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let others: Vec<String> = others.filter(|other| *other != name).collect();
    let plan = log_rotation::plan(&name, meta.len(), &others, &log_rotation::stamp(now().to_time()));
    let Some(rotated) = plan.rename_to else {
        return Ok(());
    };
    fs::rename(path, folder.join(&rotated))?;
    if let Err(error) = reopen(runtime, container).await {
        // The writer still has the renamed file: give it its name back, so that readers find it.
        fs::rename(folder.join(&rotated), path)?;
        return Err(error);
    }
    for old in plan.remove {
        fs::remove_file(folder.join(old))?;
    }
    Ok(())
}

/// `/var/log/containers/<pod>_<namespace>_<container>-<id>.log`, for log collectors.
pub(crate) fn link(agent: &Agent, pod: &Pod, container: &str, id: &str, attempt: u32) -> io::Result<()> {
    let log = agent.settings.log_folder(pod).join(container).join(format!("{attempt}.log"));
    let link = link_path(agent, pod, container, id);
    match std::os::unix::fs::symlink(log, link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

fn link_path(agent: &Agent, pod: &Pod, container: &str, id: &str) -> PathBuf {
    agent.config.roots.container_logs.join(names::container_log_link(pod, container, id))
}

/// The link and the log files of one container that was removed.
pub(crate) fn remove(agent: &Agent, pod: &Pod, status: &ContainerStatus) {
    let _ = fs::remove_file(link_path(agent, pod, &status.name, &status.id));
    let folder = agent.settings.log_folder(pod).join(&status.name);
    let live = format!("{}.log", status.attempt);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == live || name.strip_prefix(&live).is_some_and(|rest| rest.starts_with('.')) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// All logs of a pod that is gone.
pub(crate) fn remove_pod(agent: &Agent, pod: &Pod) {
    if let Err(error) = fs::remove_dir_all(agent.settings.log_folder(pod))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, pod = pod.full_name(), "logs not removed");
    }
}

/// What the container left to say; empty if nothing.
pub(crate) fn termination_message(
    pod_folder: &Path,
    container: &Container,
    status: &ContainerStatus,
) -> String {
    let path = termination_log(pod_folder, &container.name, status.attempt);
    let message = head_of_file(&path, termination::MESSAGE_BYTES_MAX as u64).unwrap_or_default();
    if termination::falls_back_to_log(container, status.exit_code, message.is_empty()) {
        let tail = tail_of_file(Path::new(&status.log_path)).unwrap_or_default();
        return termination::tail_of_log(&tail);
    }
    message
}

fn head_of_file(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines, beginning with a whole one.
fn tail_of_file(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match text.split_once('\n') {
        Some((_, rest)) if from > 0 => Ok(rest.to_owned()),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tests::fake::Fake;

    /// kedge died between renaming the log and telling the writer: the next one tells it, at its first look.
    #[tokio::test]
    async fn a_rotation_that_was_cut_short_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let container = |id: &str, log: &str, state: ContainerState| ContainerStatus {
            id: id.to_owned(),
            log_path: if log.is_empty() {
                String::new()
            } else {
                folder.path().join(log).display().to_string()
            },
            state,
            ..ContainerStatus::default()
        };
        fs::write(folder.path().join("1.log"), "text").unwrap();
        fs::write(folder.path().join("0.log.20260101-000000"), "text").unwrap();
        let containers = [
            container("cut", "0.log", ContainerState::Running),
            container("whole", "1.log", ContainerState::Running),
            container("silent", "", ContainerState::Running),
            container("over", "2.log", ContainerState::Exited),
        ];
        let runtime = Fake::default();
        rotate_each(&runtime, &containers).await;
        assert_eq!(*runtime.reopened.lock().unwrap(), [ContainerId("cut".to_owned())]);
    }
}
