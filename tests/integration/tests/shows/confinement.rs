//! What root in a default container may not do. The shell is busybox, brought in by a hostPath; bpf, keyctl and clone3, which
//! it lacks, are tried in tests/privileged.

use kedge_integration::lab::Lab;
use std::fs;

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: default}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: kedge.local/hello:1
    args: [sleep, infinity]
    securityContext: {runAsUser: 0}
    volumeMounts: [{name: busybox, mountPath: /busybox}]
  volumes: [{name: busybox, hostPath: {path: BUSYBOX}}]
"#;

/// Upstream's masked paths (pkg/securitycontext); a kernel may lack some.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

#[test]
fn root_in_a_default_container_is_confined() {
    let Some(lab) = Lab::or_skip() else { return };
    let busybox = lab.root().join("busybox");
    fs::create_dir(&busybox).expect("a folder");
    let program = lab.node(&["sh", "-c", "command -v busybox"]).ok();
    fs::copy(program.trim(), busybox.join("busybox")).expect("busybox, which is static");
    lab.kedge("start").ok();
    lab.apply(&POD.replace("BUSYBOX", &busybox.display().to_string())).ok();
    lab.pods_are_ready("default");
    let run = |script: &str| {
        let script = format!("b=/busybox/busybox; {script}");
        lab.kubectl_words(&["exec", "default", "--", "/busybox/busybox", "sh", "-c", &script])
    };
    assert_eq!(run("$b id -u").ok().trim(), "0", "it is root");
    for path in MASKED {
        let shown = run(&format!(
            "if [ -d {path} ]; then $b ls -A {path}; elif [ -e {path} ]; then $b head -c 1 {path}; fi"
        ));
        assert_eq!(shown.ok(), "", "{path} shows something");
    }
    for path in [
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ] {
        // Not every kernel has each.
        let tried = run(&format!("[ ! -e {path} ] || echo 1 >{path}"));
        let refused =
            ["Read-only file system", "Permission denied"].iter().any(|why| tried.stderr.contains(why));
        assert!(
            refused || tried.succeeded() && !run(&format!("[ -e {path} ]")).succeeded(),
            "{path}: {tried}"
        );
    }
    for attempt in [
        "mount -t tmpfs none /tmp",
        "mount -o remount,rw /proc/sys",
        "umount /proc/kcore",
        "unshare -m true",
        "unshare -U true",
        "unshare -n true",
        "ip link add dummy0 type veth peer name dummy1",
    ] {
        let tried = run(&format!("$b {attempt}"));
        let said = tried.stderr.to_lowercase();
        let refused = ["not permitted", "denied", "read-only"].iter().any(|why| said.contains(why));
        assert!(!tried.succeeded() && refused, "{attempt} was not refused: {tried}");
    }
}
