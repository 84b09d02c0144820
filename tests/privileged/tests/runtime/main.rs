//! The native runtime on a real kernel: containers of a busybox image below a real pause. Without root, each test prints a skip.

// The helpers of a test fail as the test does; clippy sees only the functions marked #[test].
#![allow(clippy::unwrap_used)]

mod node;
mod probe;

use kedge_cri_api::*;
use node::{Node, on_a_node};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn a_container_lives_and_leaves_nothing() {
    on_a_node("life", |node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("life")).await.unwrap();
        let status = node.cri.pod_sandbox_status(&pod).await.unwrap();
        assert!(status.ready && status.ips == ["10.244.0.9"], "{status:?}");
        let script = "echo $$ $(hostname) $FROM $X; cat /etc/resolv.conf /etc/hostname; echo err >&2; exit 7";
        let id = node.start(&pod, script, |config| config.envs = vec![("X".into(), "pod".into())]).await;
        let status = node.wait_exit(&id).await;
        assert_eq!((status.exit_code, status.reason.as_str(), status.pid), (7, "Error", None));
        assert!(status.started_at_ns > 0 && status.finished_at_ns >= status.started_at_ns);
        assert_eq!(node.log(&id).await, ["1 life image pod", "nameserver 10.96.0.10", "life", "err"]);
        node.remove(&pod).await;
        assert!(matches!(node.cri.container_status(&id).await, Err(Error::NotFound(_))));
    });
}

#[test]
fn a_stop_signal_is_heard_and_sigkill_follows() {
    on_a_node("stop", |node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("stop")).await.unwrap();
        let polite =
            node.start(&pod, "trap 'exit 3' TERM; echo up; while :; do sleep 0.02; done", |_| {}).await;
        let deaf = node.start(&pod, "trap '' TERM; sleep 1000 & wait; sleep 1000", |_| {}).await;
        until_logged(&node, &polite).await;
        node.cri.stop_container(&polite, 10).await.unwrap();
        assert_eq!(node.cri.container_status(&polite).await.unwrap().exit_code, 3);
        node.cri.stop_container(&deaf, 1).await.unwrap();
        assert_eq!(node.cri.container_status(&deaf).await.unwrap().exit_code, 137);
        node.cri.stop_container(&deaf, 1).await.unwrap();
        node.remove(&pod).await;
    });
}

/// Waits until the container has written its first line.
async fn until_logged(node: &Node, id: &ContainerId) {
    while node.log(id).await.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn execs_run_inside_and_time_out_as_a_tree() {
    on_a_node("exec", |node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("exec")).await.unwrap();
        let id = node.start(&pod, "sleep 1000", |_| {}).await;
        let words = |script: &str| ["sh", "-c", script].map(str::to_owned).to_vec();
        let script = "echo $FROM; echo no >&2; ls /proc/self/fd | wc -l; exit 5";
        let done = node.cri.exec_sync(&id, words(script), 10).await.unwrap();
        assert_eq!(
            (done.exit_code, &done.stdout[..], &done.stderr[..]),
            (5, &b"image\n4\n"[..], &b"no\n"[..])
        );
        let late = node.cri.exec_sync(&id, words("sleep 77 & sleep 77"), 1).await;
        assert!(matches!(late, Err(Error::DeadlineExceeded(_))), "{late:?}");
        let all =
            node.cri.exec_sync(&id, words("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"), 10).await.unwrap();
        let all = String::from_utf8(all.stdout).unwrap();
        assert!(all.contains("sleep 1000") && !all.contains("sleep 77"), "{all}");
        let flood = node.cri.exec_sync(&id, words("yes | head -c 20000000"), 120).await.unwrap();
        assert_eq!(flood.stdout.len(), 16 << 20);
        let missing = node.cri.exec_sync(&id, vec!["/no/such".into()], 10).await;
        assert!(missing.is_err());
        node.remove(&pod).await;
    });
}

#[test]
fn streams_carry_input_and_a_terminal() {
    on_a_node("streams", |node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("streams")).await.unwrap();
        let id = node
            .start(&pod, "read line; echo got $line; read line; echo got $line", |config| config.stdin = true)
            .await;
        let request =
            ExecRequest { cmd: vec!["cat".into()], stdin: true, stdout: true, ..ExecRequest::default() };
        let mut cat = node.cri.exec(&id, request).await.unwrap();
        let mut stdin = cat.stdin.take().unwrap();
        stdin.write_all(b"hello").await.unwrap();
        drop(stdin);
        let mut text = String::new();
        cat.stdout.as_mut().unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), cat.exit.await.unwrap()), ("hello", Ok(0)));
        // Input and size travel apart: the size may come a moment later.
        let sized = "read go; for i in $(seq 200); do stty size | grep 33 && exit; usleep 20000; done";
        let cmd = ["sh", "-c", sized].map(str::to_owned).to_vec();
        let request = ExecRequest { cmd, tty: true, stdin: true, stdout: true, stderr: false };
        let mut terminal = node.cri.exec(&id, request).await.unwrap();
        terminal.resize.as_ref().unwrap().send(TerminalSize { width: 101, height: 33 }).await.unwrap();
        let mut text = String::new();
        let mut chunk = [0; 256];
        terminal.stdin.as_mut().unwrap().write_all(b"go\n").await.unwrap();
        while let Ok(len @ 1..) = terminal.stdout.as_mut().unwrap().read(&mut chunk).await {
            text += std::str::from_utf8(&chunk[..len]).unwrap();
        }
        assert!(text.contains("33 101"), "{text:?}");
        let request = AttachRequest { stdin: true, stdout: true, ..AttachRequest::default() };
        let mut attached = node.cri.attach(&id, request).await.unwrap();
        attached.stdin.as_mut().unwrap().write_all(b"one\ntwo\n").await.unwrap();
        let mut text = String::new();
        attached.stdout.as_mut().unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "got one\ngot two\n");
        assert_eq!(attached.exit.await.unwrap(), Ok(0));
        node.remove(&pod).await;
    });
}

#[test]
fn the_daemon_dies_and_nothing_is_lost() {
    on_a_node("adopt", |mut node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("adopt")).await.unwrap();
        let stays = node.start(&pod, "echo up; sleep 1000", |_| {}).await;
        let go = node.roots.run.join("go");
        std::fs::create_dir(&go).unwrap();
        let ends =
            "while ! cat /go/now 2>/dev/null; do sleep 0.02; done; echo written while nobody looked; exit 7";
        let mount = Mount {
            container_path: "/go".into(),
            host_path: go.to_str().unwrap().into(),
            ..Mount::default()
        };
        let ends = node.start(&pod, ends, |config| config.mounts = vec![mount]).await;
        let pid = node.cri.container_status(&stays).await.unwrap().pid;
        let exit = node.roots.run.join("pods").join(&pod.0).join(&ends.0).join("exit");
        // The daemon's part is dropped: its connections close, as they would with its process.
        node.cri = node.elsewhere().await;
        std::fs::write(go.join("now"), "now\n").unwrap();
        while !exit.exists() {
            tokio::task::yield_now().await;
        }
        node.restart().await;
        assert_eq!(node.cri.container_status(&stays).await.unwrap().pid, pid);
        let status = node.cri.container_status(&ends).await.unwrap();
        assert_eq!((status.state, status.exit_code), (ContainerState::Exited, 7));
        assert!(node.log(&ends).await.contains(&"written while nobody looked".to_owned()));
        let inside = node.cri.exec_sync(&stays, vec!["echo".into(), "alive".into()], 10).await.unwrap();
        assert_eq!(inside.stdout, b"alive\n");
        node.remove(&pod).await;
    });
}

/// The record of the only sandbox, once it names a supervisor.
async fn only_record(node: &Node) -> (std::path::PathBuf, serde_json::Value) {
    let look = || {
        let folder = std::fs::read_dir(node.roots.run.join("pods")).ok()?.flatten().next()?.path();
        let text = std::fs::read_to_string(folder.join("sandbox.json")).ok()?;
        let record: serde_json::Value = serde_json::from_str(&text).ok()?;
        (record["pause_pid"].as_i64()? > 0).then_some((folder, record))
    };
    let found = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), found).await.expect("no sandbox is written down")
}

fn pidfd_of(record: &serde_json::Value) -> std::os::fd::OwnedFd {
    kedge_sys::process::pidfd_open(record["pause_pid"].as_i64().unwrap() as i32).unwrap()
}

fn has_ended(pidfd: &std::os::fd::OwnedFd) -> bool {
    let limit_ms = 20_000;
    kedge_sys::socket::poll_readable(&[std::os::fd::AsFd::as_fd(pidfd)], limit_ms).unwrap()[0]
}

/// kedge is killed while a sandbox has no network yet, or even before it could note the supervisor's number: the sandbox is
/// not taken for a ready one, and neither its supervisor nor its cgroup stays.
#[test]
fn a_sandbox_that_was_never_finished_is_cleared() {
    on_a_node("cut", |mut node| async move {
        for is_pid_known in [true, false] {
            node.network.is_stuck.store(true, std::sync::atomic::Ordering::SeqCst);
            let (folder, mut record) = tokio::select! {
                _ = node.cri.run_pod_sandbox(node.pod("cut")) => panic!("the network is stuck"),
                found = async {
                    node.network.stuck.notified().await;
                    only_record(&node).await
                } => found,
            };
            let pause = pidfd_of(&record);
            if !is_pid_known {
                record["pause_pid"] = 0.into();
                std::fs::write(folder.join("sandbox.json"), record.to_string()).unwrap();
            }
            node.cri = node.elsewhere().await;
            node.restart().await;
            assert_eq!(node.cri.list_pod_sandboxes().await.unwrap().len(), 0);
            assert!(has_ended(&pause) && !folder.exists());
        }
    });
}

/// What a network refuses to take down keeps neither processes nor the sandbox's name: it is not ready, and removed later.
#[test]
fn a_sandbox_without_a_network_is_told_and_can_be_removed() {
    on_a_node("broken", |node| async move {
        node.network.is_broken.store(true, std::sync::atomic::Ordering::SeqCst);
        let (failed, (_, record)) =
            tokio::join!(node.cri.run_pod_sandbox(node.pod("broken")), only_record(&node));
        assert!(failed.unwrap_err().to_string().contains("failed to set up the pod network"));
        let left = node.cri.list_pod_sandboxes().await.unwrap();
        assert!(left.len() == 1 && !left[0].ready, "{left:?}");
        assert!(!std::path::Path::new(&format!("/proc/{}", record["pause_pid"])).exists());
        node.network.is_broken.store(false, std::sync::atomic::Ordering::SeqCst);
        node.remove(&SandboxId(left[0].id.clone())).await;
    });
}

/// One folder that cannot be cleared (here: something is mounted there) is no reason for the node not to start.
#[test]
fn a_dead_pod_that_cannot_be_cleared_does_not_hold_the_node() {
    on_a_node("held", |mut node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("held")).await.unwrap();
        let (folder, record) = only_record(&node).await;
        let held = folder.join("held");
        std::fs::create_dir(&held).unwrap();
        let tmpfs = kedge_sys::mount::new_detached(c"tmpfs", &[], 0).unwrap();
        let point: std::os::fd::OwnedFd = std::fs::File::open(&held).unwrap().into();
        kedge_sys::mount::attach(std::os::fd::AsFd::as_fd(&tmpfs), std::os::fd::AsFd::as_fd(&point)).unwrap();
        drop(point);
        let pause = pidfd_of(&record);
        node.cri = node.elsewhere().await;
        kedge_sys::process::pidfd_send_signal(std::os::fd::AsFd::as_fd(&pause), libc::SIGKILL).unwrap();
        assert!(has_ended(&pause));
        node.restart().await;
        assert!(!node.cri.pod_sandbox_status(&pod).await.unwrap().ready);
        let held = std::ffi::CString::new(held.to_str().unwrap()).unwrap();
        kedge_sys::mount::unmount_lazily(&held).unwrap();
        node.remove(&pod).await;
    });
}

#[test]
fn a_dead_supervisor_ends_its_sandbox() {
    on_a_node("gone", |node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("gone")).await.unwrap();
        let id = node.start(&pod, "sleep 1000", |_| {}).await;
        let record =
            std::fs::read_to_string(node.roots.run.join("pods").join(&pod.0).join("sandbox.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let pause = kedge_sys::process::pidfd_open(record["pause_pid"].as_i64().unwrap() as i32).unwrap();
        kedge_sys::process::pidfd_send_signal(std::os::fd::AsFd::as_fd(&pause), libc::SIGKILL).unwrap();
        let status = node.wait_exit(&id).await;
        assert_eq!(status.exit_code, 137);
        assert!(!node.cri.pod_sandbox_status(&pod).await.unwrap().ready);
        node.remove(&pod).await;
    });
}

#[test]
fn a_start_error_names_the_file() {
    on_a_node("error", |node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("error")).await.unwrap();
        let id = node.create(&pod, "", |config| config.command = vec!["/no/such".into()]).await;
        let error = node.cri.start_container(&id).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "failed to start container: exec: \"/no/such\": stat /no/such: no such file or directory"
        );
        let status = node.cri.container_status(&id).await.unwrap();
        assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"));
        assert_eq!(status.message, error);
        let again = node.cri.start_container(&id).await;
        assert!(matches!(again, Err(Error::FailedPrecondition(_))), "{again:?}");
        node.remove(&pod).await;
    });
}

#[test]
fn users_and_groups() {
    on_a_node("users", |node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("users")).await.unwrap();
        type Change = fn(&mut ContainerSecurity);
        let cases: [(Change, &str); 4] = [
            (|_| {}, "0 0 0"),
            (|it| it.run_as_username = "app".into(), "1000 1001 1001 10"),
            (
                |it| {
                    (it.run_as_user, it.run_as_group, it.supplemental_groups) =
                        (Some(1000), Some(3000), vec![2000])
                },
                "1000 3000 3000 10 2000",
            ),
            (
                |it| {
                    (it.run_as_user, it.supplemental_groups, it.supplemental_groups_strict) =
                        (Some(4242), vec![5], true)
                },
                "4242 0 0 5",
            ),
        ];
        for (change, expected) in cases {
            let script = "echo $(id -u) $(id -g) $(id -G)";
            let (code, log) = node.run(&pod, script, |config| change(&mut config.security)).await;
            assert_eq!((code, log.join("|")), (0, expected.to_owned()));
        }
        node.remove(&pod).await;
    });
}

#[test]
fn user_namespaces_map_root() {
    on_a_node("userns", |node| async move {
        let mut config = node.pod("userns");
        config.namespaces.userns = Some(UserNamespace { host_id: 131_072, length: 65_536 });
        let pod = node.cri.run_pod_sandbox(config).await.unwrap();
        let script = "cat /proc/self/uid_map; id -u; echo x > /tmp/own && stat -c %u /tmp/own /bin/busybox; echo > /dev/null";
        let id = node.start(&pod, script, |_| {}).await;
        let status = node.wait_exit(&id).await;
        let log = node.log(&id).await;
        assert_eq!(status.exit_code, 0, "{log:?}");
        assert!(log[0].contains("131072"), "{log:?}");
        assert_eq!(&log[1..], ["0", "0", "0"]);
        node.remove(&pod).await;
    });
}

#[test]
fn a_shared_pid_namespace_has_a_powerless_init() {
    on_a_node("pids", |node| async move {
        let mut config = node.pod("pids");
        config.namespaces.pid = NamespaceMode::Pod;
        let pod = node.cri.run_pod_sandbox(config).await.unwrap();
        let script =
            "cat /proc/1/comm; ls /proc/1/root/etc; cat /proc/1/environ | wc -c; kill -0 1 && echo seen";
        let (_, log) =
            node.run(&pod, script, |config| config.security.namespaces.pid = NamespaceMode::Pod).await;
        assert_eq!(log.first().map(String::as_str), Some("pause"), "{log:?}");
        assert!(!log.iter().any(|line| line.contains("passwd")), "{log:?}");
        node.remove(&pod).await;
    });
}

#[test]
fn limits_are_in_the_cgroup_and_an_oom_kill_is_named() {
    on_a_node("limits", |node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("limits")).await.unwrap();
        let hog = "x=a; while :; do x=$x$x$x$x; done";
        let id = node.start(&pod, hog, |config| config.resources.memory_limit_bytes = 16 << 20).await;
        let status = node.wait_exit(&id).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"));
        let id = node.start(&pod, "sleep 1000", |_| {}).await;
        let stats = node.cri.container_stats(&id).await.unwrap();
        assert!(stats.memory_usage_bytes > 0 && stats.cpu_usage_core_ns > 0, "{stats:?}");
        node.remove(&pod).await;
    });
}

/// Root in a default pod makes a node for the kernel's log, or for the node's disk, and opens it: on cgroup v1 and v2 alike.
#[test]
fn only_harmless_devices_can_be_opened() {
    on_a_node("devices", |node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("devices")).await.unwrap();
        let script = "mknod /k c 1 11; mknod /disk b 7 0; mknod /n c 1 3; echo x > /n && echo null; \
                      head -c 3 /dev/zero | wc -c; (: > /k) 2>&1; (: < /disk) 2>&1; exit 0";
        let (code, log) = node.run(&pod, script, |_| {}).await;
        assert_eq!((code, &log[..2]), (0, &["null".to_owned(), "3".to_owned()][..]));
        let denied =
            |path: &str| log.iter().any(|line| line.contains(path) && line.contains("not permitted"));
        assert!(denied("/k") && denied("/disk"), "{log:?}");
        let script = ": > /dev/kmsg && echo open";
        let (_, log) = node
            .run(&pod, script, |config| {
                let path = "/dev/kmsg".to_owned();
                let device =
                    Device { container_path: path.clone(), host_path: path, permissions: "rw".into() };
                config.devices.push(device);
            })
            .await;
        assert_eq!(log, ["open"]);
        node.remove(&pod).await;
    });
}

/// Another container of the pod swaps the folder for a link to the node's root after everything was checked, before the start
/// (CVE-2017-1002101, CVE-2021-25741).
#[test]
fn a_sub_path_that_becomes_a_link_out_of_the_volume_is_refused() {
    on_a_node("subpath", |node| async move {
        let volume = node.roots.state.join("volume");
        std::fs::create_dir_all(volume.join("data")).unwrap();
        std::fs::write(volume.join("data/file"), "own").unwrap();
        let pod = node.cri.run_pod_sandbox(node.pod("subpath")).await.unwrap();
        let mount = Mount {
            container_path: "/data".into(),
            host_path: volume.to_str().unwrap().into(),
            sub_path: "data".into(),
            ..Mount::default()
        };
        let own = node.run(&pod, "cat /data/file", |config| config.mounts.push(mount.clone())).await;
        assert_eq!(own, (0, vec!["own".to_owned()]));
        for target in ["/", "../../../.."] {
            let swapped = node.create(&pod, "ls /data", |config| config.mounts.push(mount.clone())).await;
            let _ = std::fs::rename(volume.join("data"), volume.join("old"));
            std::os::unix::fs::symlink(target, volume.join("data")).unwrap();
            let error = node.cri.start_container(&swapped).await.unwrap_err();
            assert!(error.to_string().contains("subPath \"data\""), "{error}");
            std::fs::remove_file(volume.join("data")).unwrap();
        }
        node.remove(&pod).await;
    });
}

#[test]
fn logs_move_on_after_rotation() {
    on_a_node("rotate", |node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("rotate")).await.unwrap();
        let id = node.start(&pod, "echo first; read line; echo second", |config| config.stdin = true).await;
        until_logged(&node, &id).await;
        let path = node.cri.container_status(&id).await.unwrap().log_path;
        std::fs::rename(&path, format!("{path}.1")).unwrap();
        node.cri.reopen_container_log(&id).await.unwrap();
        let request = AttachRequest { stdin: true, ..AttachRequest::default() };
        let mut attached = node.cri.attach(&id, request).await.unwrap();
        attached.stdin.as_mut().unwrap().write_all(b"go\n").await.unwrap();
        node.wait_exit(&id).await;
        assert_eq!(node.log(&id).await, ["second"]);
        node.remove(&pod).await;
    });
}
