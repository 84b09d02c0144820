//! A probe inside a default container: this very test program, mounted there with its libraries, tries what must be refused.

use std::fs;
use std::io::Read;

use kedge_cri_api::{Mount, Runtime};
use kedge_sys::Errno;
use kedge_sys::clone::flags;

use crate::node::on_a_node;

/// Outside it does nothing; inside it prints one line per attempt.
#[test]
fn probe_inside() {
    if std::env::var_os("KEDGE_PROBE").is_none() {
        return;
    }
    println!();
    for (name, kind) in [("user", flags::NEWUSER), ("mount", flags::NEWNS), ("net", flags::NEWNET)] {
        report(&format!("unshare {name}"), kedge_sys::namespace::unshare(kind).err());
    }
    report("bpf", kedge_sys::probe::bpf());
    report("keyctl", kedge_sys::probe::keyctl());
    report("clone3", kedge_sys::probe::clone3());
    report("fsopen", kedge_sys::mount::Fs::open(c"tmpfs").err());
    for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list"] {
        let mut byte = [0];
        let len = fs::File::open(path).and_then(|mut file| file.read(&mut byte)).unwrap_or(0);
        println!("{path}: {len} bytes");
    }
    for path in [
        "/proc/sys/kernel/hostname",
        "/proc/sysrq-trigger",
        "/sys/kernel/profiling",
        "/sys/fs/cgroup/memory/release_agent",
    ] {
        let opened = fs::OpenOptions::new().write(true).open(path);
        report(path, opened.err().and_then(|error| Errno::from_io_error(&error)));
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    for field in ["CapInh", "CapEff", "CapAmb", "Seccomp"] {
        println!("{}", status.lines().find(|line| line.starts_with(&format!("{field}:"))).unwrap());
    }
}

fn report(name: &str, errno: Option<Errno>) {
    println!("{name}: {errno:?}");
}

#[test]
fn a_default_container_is_refused() {
    on_a_node("probe", |node| async move {
        let pod = node.cri.run_pod_sandbox(node.pod("probe")).await.unwrap();
        let own = std::env::current_exe().unwrap();
        let bind = |host: &str, inside: &str| Mount {
            container_path: inside.into(),
            host_path: host.into(),
            readonly: true,
            ..Mount::default()
        };
        let (code, log) = node
            .run(&pod, "", |config| {
                let words =
                    ["/probe", "--exact", "probe::probe_inside", "--nocapture", "--test-threads", "1"];
                config.command = words.map(str::to_owned).to_vec();
                config.envs = vec![("KEDGE_PROBE".into(), "1".into())];
                config.mounts = vec![bind(own.to_str().unwrap(), "/probe")];
                config.mounts.extend(["/usr/lib", "/lib", "/lib64"].map(|path| bind(path, path)));
            })
            .await;
        assert_eq!(code, 0, "{log:?}");
        let see = |name: &str| {
            let line = log.iter().find_map(|line| line.strip_prefix(&format!("{name}:")));
            line.unwrap_or_else(|| panic!("{name} is not in {log:#?}")).trim().to_owned()
        };
        for name in ["unshare user", "unshare mount", "unshare net", "bpf", "keyctl", "fsopen"] {
            assert_eq!(see(name), format!("{:?}", Some(Errno::PERM)), "{name}");
        }
        assert_eq!(see("clone3"), format!("{:?}", Some(Errno::NOSYS)));
        for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list"] {
            assert_eq!(see(path), "0 bytes");
        }
        assert_eq!(see("/proc/sys/kernel/hostname"), format!("{:?}", Some(Errno::ROFS)));
        // Not every kernel has these.
        for path in ["/proc/sysrq-trigger", "/sys/kernel/profiling", "/sys/fs/cgroup/memory/release_agent"] {
            assert_ne!(see(path), "None", "{path}");
        }
        assert_eq!((see("CapInh"), see("CapAmb")), ("0000000000000000".into(), "0000000000000000".into()));
        assert_eq!((see("CapEff"), see("Seccomp")), ("00000000a80425fb".into(), "2".into()));
        node.remove(&pod).await;
    });
}
