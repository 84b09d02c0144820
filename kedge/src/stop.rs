//! `kedge stop` and `kedge delete`.

use crate::control::{self, call_blocking};
use crate::failure::{Exit, Failure, Outcome};
use crate::kubeconfig;
use crate::options::{DeleteOptions, StopOptions};
use crate::site::SiteOptions;
use http::Method;
use kedge_cri_api::{ContainerId, ContainerState, ContainerStatus, Runtime, SandboxId};
use kedge_machinery::Roots;
use kedge_sys::cgroup;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The annotation of a container that holds the grace of its pod.
const GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
/// Of a pod that does not say, as the API's default, in seconds.
const GRACE_S: i64 = 30;
/// A pod that asks for more does not hold up its machine.
const GRACE_MAX_S: i64 = 600;
const STOP_LIMIT: Duration = Duration::from_secs(GRACE_MAX_S.unsigned_abs() + 30);
const GROUP_LIMIT: Duration = Duration::from_secs(5);

pub fn stop(site: &SiteOptions, options: &StopOptions) -> Outcome {
    let roots = site.roots()?;
    match stop_running(&roots, options.keep_pods) {
        Err(failure) if failure.exit == Exit::NotRunning => {
            println!("kedge is not running");
            Ok(())
        }
        Err(failure) => Err(failure),
        Ok(()) => {
            println!("kedge has stopped; its state is kept in {}", roots.state.display());
            Ok(())
        }
    }
}

/// Asks the running kedge to end and waits until it has.
fn stop_running(roots: &Roots, keep_pods: bool) -> Outcome {
    let path = if keep_pods { "/v1/stop?pods=keep" } else { "/v1/stop?pods=end" };
    let status = call_blocking(roots, Method::GET, "/v1/status", Box::new(std::io::empty()))?;
    let status: control::Status = serde_json::from_slice(&status)
        .map_err(|error| Failure::new(format!("unexpected answer: {error}")))?;
    let pid = i32::try_from(status.pid).ok().and_then(rustix::process::Pid::from_raw);
    let watch =
        pid.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
    call_blocking(roots, Method::POST, path, Box::new(std::io::empty()))?;
    if let Some(process) = watch {
        let mut poll = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
        let limit = rustix::event::Timespec { tv_sec: STOP_LIMIT.as_secs() as i64, tv_nsec: 0 };
        let ended = rustix::event::poll(&mut poll, Some(&limit))
            .map_err(|error| Failure::new(format!("waiting for kedge to end: {error}")))?;
        if ended == 0 {
            let text = format!("kedge (pid {}) has not ended after {} s", status.pid, STOP_LIMIT.as_secs());
            return Err(Failure::new(text));
        }
    }
    Ok(())
}

/// What the pod of a container asked for.
fn grace_s(container: &ContainerStatus) -> i64 {
    let own = container.annotations.get(GRACE).and_then(|text| text.parse().ok());
    own.unwrap_or(GRACE_S).clamp(0, GRACE_MAX_S)
}

/// Stops every container with its pod's grace, side by side, then the sandboxes.
pub async fn end_pods(runtime: &dyn Runtime) {
    let began = Instant::now();
    let (containers, sandboxes) = match (runtime.list_containers().await, runtime.list_pod_sandboxes().await)
    {
        (Ok(containers), Ok(sandboxes)) => (containers, sandboxes),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "the pods cannot be listed and keep running");
            return;
        }
    };
    let running = containers.iter().filter(|container| container.state == ContainerState::Running);
    let stops = running.map(|container| async {
        let id = ContainerId(container.id.clone());
        if let Err(error) = runtime.stop_container(&id, grace_s(container)).await {
            tracing::warn!(container = container.name, %error, "could not be stopped");
        }
    });
    futures_util::future::join_all(stops).await;
    for sandbox in &sandboxes {
        let id = SandboxId(sandbox.id.clone());
        for result in [runtime.stop_pod_sandbox(&id).await, runtime.remove_pod_sandbox(&id).await] {
            if let Err(error) = result {
                tracing::warn!(pod = sandbox.name, %error, "sandbox could not be removed");
            }
        }
    }
    tracing::info!(pods = sandboxes.len(), took = ?began.elapsed(), "pods have ended");
}

pub fn delete(site: &SiteOptions, options: &DeleteOptions) -> Outcome {
    let roots = site.roots()?;
    match stop_running(&roots, false) {
        Err(failure) if failure.exit == Exit::NotRunning => {}
        other => other?,
    }
    if !options.no_kubeconfig {
        kubeconfig::remove()?;
    }
    unmount_below(&roots.kubelet)?;
    remove_run(&roots)?;
    remove_cgroups(&roots)?;
    for folder in [&roots.kubelet, &roots.pod_logs, &roots.container_logs, &roots.state, &roots.log] {
        remove_folder(folder)?;
    }
    remove_kubernetes(&roots)?;
    println!("kedge is gone from this machine");
    Ok(())
}

/// What a node has until the next reboot.
pub fn remove_run(roots: &Roots) -> Outcome {
    remove_network(roots)?;
    unmount_below(&roots.run)?;
    remove_folder(&roots.run)
}

/// What the datapath and the pod network keep outside of the pods; a killed kedge leaves it for its successor.
fn remove_network(roots: &Roots) -> Outcome {
    if roots.bpffs.exists() {
        kedge_proxy::remove(&roots.bpffs).map_err(|error| Failure::of(&error))?;
    }
    crate::control::command_runtime()?
        .block_on(kedge_cni::remove_left_over(roots))
        .map_err(|error| Failure::of(&error))
}

/// Our files in `/etc/kubernetes` and the configuration; the folder goes when nothing else is in it.
fn remove_kubernetes(roots: &Roots) -> Outcome {
    remove_folder(&roots.kubernetes.join("pki"))?;
    for file in [
        "admin.conf",
        "kubelet.conf",
        "scheduler.conf",
        "controller-manager.conf",
        "proxy.conf",
        "super-admin.conf",
    ] {
        match std::fs::remove_file(roots.kubernetes.join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::new(format!(
                    "cannot remove {file} in {}: {error}",
                    roots.kubernetes.display()
                )));
            }
            _ => {}
        }
    }
    for folder in [&roots.kubernetes, &roots.config] {
        // Somebody else's files keep it.
        let _ = std::fs::remove_dir(folder);
    }
    Ok(())
}

fn remove_folder(path: &Path) -> Outcome {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(format!("cannot remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Takes every mount at or below `path` off, the deepest first.
fn unmount_below(path: &Path) -> Outcome {
    let table = std::fs::read_to_string("/proc/self/mountinfo")
        .map_err(|error| Failure::new(format!("cannot read the mounts: {error}")))?;
    let mut points: Vec<String> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|point| Path::new(point).starts_with(path))
        .collect();
    points.reverse();
    for point in points {
        rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH)
            .map_err(|error| Failure::new(format!("cannot unmount {point}: {error}")))?;
    }
    Ok(())
}

/// mountinfo writes blanks and backslashes in octal (proc(5)).
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Ends what is left in our groups and removes them from every tree.
fn remove_cgroups(roots: &Roots) -> Outcome {
    let failed = |error: std::io::Error| Failure::new(format!("cannot remove the cgroups: {error}"));
    let trees = cgroup::Trees::discover().map_err(failed)?;
    let parent = Path::new(roots.cgroup_parent.trim_start_matches('/'));
    for group in ["kubepods", "kedge"] {
        let directories: Vec<PathBuf> =
            trees.roots().into_iter().map(|tree| tree.join(parent).join(group)).collect();
        cgroup::kill_and_remove(&directories, GROUP_LIMIT).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pod_has_its_own_grace() {
        for (written, grace) in
            [(Some("1"), 1), (Some("90"), 90), (Some("86400"), GRACE_MAX_S), (None, GRACE_S)]
        {
            let annotations = written.map(|text| (GRACE.to_owned(), text.to_owned())).into_iter().collect();
            assert_eq!(grace_s(&ContainerStatus { annotations, ..ContainerStatus::default() }), grace);
        }
    }

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape("/a\\040b"), "/a b");
        assert_eq!(unescape("/plain"), "/plain");
        assert_eq!(unescape("/tail\\"), "/tail\\");
    }
}
