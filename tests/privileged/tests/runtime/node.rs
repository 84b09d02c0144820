//! A node for one test: its own mount namespace, folders, cgroup parent and image, and a network that does nothing.

use std::fs;
use std::future::Future;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kedge_cni_api::{Attach, Attachment, Network};
use kedge_cri::Cri;
use kedge_cri::rootfs::{ImageConfig, ImageMount, ImageStore};
use kedge_cri_api::*;
use kedge_machinery::Roots;

const APPLETS: &[&str] = &[
    "sh", "cat", "id", "sleep", "ls", "echo", "mount", "kill", "hostname", "head", "tr", "yes", "nc", "stty",
    "stat", "wc", "mknod",
];
pub const IMAGE: &str = "sha256:test";

pub struct Node {
    pub roots: Arc<Roots>,
    pub cri: Arc<Cri>,
    pub network: Arc<TestNetwork>,
    images: Arc<Image>,
    pause: &'static [u8],
    base: PathBuf,
}

struct Image(ImageMount);

#[async_trait::async_trait]
impl ImageStore for Image {
    async fn mount_plan(&self, _: &str) -> Result<ImageMount> {
        Ok(self.0.clone())
    }
    fn hold(&self, _: Vec<String>) {}
}

/// Gives every pod one address; on request it never answers, or refuses everything.
#[derive(Default)]
pub struct TestNetwork {
    pub is_stuck: AtomicBool,
    /// Told when a call begins to wait for ever.
    pub stuck: tokio::sync::Notify,
    pub is_broken: AtomicBool,
}

impl TestNetwork {
    async fn answer(&self) -> std::result::Result<(), kedge_cni_api::Error> {
        if self.is_stuck.load(Ordering::SeqCst) {
            self.stuck.notify_one();
            std::future::pending::<()>().await;
        }
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(kedge_cni_api::Error::NotReady("broken by the test".into()));
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Network for TestNetwork {
    async fn attach(
        &self,
        _: BorrowedFd<'_>,
        _: &Attach,
    ) -> std::result::Result<Attachment, kedge_cni_api::Error> {
        self.answer().await?;
        let ips = vec!["10.244.0.9".parse().unwrap()];
        Ok(Attachment { ips, host_ifname: String::new(), host_ifindex: 0, mac: [0; 6], mtu: 1500 })
    }
    async fn detach(&self, _: &str) -> std::result::Result<(), kedge_cni_api::Error> {
        self.answer().await
    }
    async fn retain(&self, _: &[String]) -> std::result::Result<(), kedge_cni_api::Error> {
        Ok(())
    }
    fn ready(&self) -> std::result::Result<(), kedge_cni_api::Error> {
        Ok(())
    }
}

/// Pause as somebody has built it: named by KEDGE_PAUSE, or beside this test.
fn pause_program() -> Option<&'static [u8]> {
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().nth(3).unwrap();
    let candidates = [
        std::env::var_os("KEDGE_PAUSE").map(PathBuf::from).unwrap_or_default(),
        target.join("embed/pause"),
        target.join("x86_64-unknown-linux-musl/pause/pause"),
        own.ancestors().nth(2).unwrap().join("pause"),
    ];
    candidates.iter().find_map(|path| fs::read(path).ok()).map(|bytes| &*bytes.leak())
}

/// Runs a test on a node of its own, or says why not.
pub fn on_a_node<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Node) -> F + Send + 'static) {
    if std::env::var_os("KEDGE_PROBE").is_some() {
        return;
    }
    let (is_root, busybox) = (rustix::process::geteuid().is_root(), Path::new("/usr/bin/busybox").exists());
    let Some(pause) = pause_program().filter(|_| is_root && busybox) else {
        println!(
            "skipped {name}: needs root ({is_root}), busybox-static ({busybox}) and a built pause (KEDGE_PAUSE)"
        );
        return;
    };
    let name = name.to_owned();
    let body = move || {
        kedge_sys::namespace::unshare(kedge_sys::clone::flags::NEWNS).unwrap();
        kedge_sys::mount::set_root_propagation(kedge_sys::mount::Propagation::Private).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async move {
            let node = Node::new(&name, pause).await;
            let (base, parent) = (node.base.clone(), node.roots.cgroup_parent.clone());
            test(node).await;
            check_leftovers(&base, &parent);
            fs::remove_dir_all(&base).unwrap();
        });
    };
    if let Err(panic) = std::thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

/// No trace: cgroups, mounts and run folders are gone once the sandboxes are.
fn check_leftovers(base: &Path, parent: &str) {
    for root in kedge_sys::cgroup::Trees::discover().unwrap().roots() {
        let group = root.join(parent.trim_matches('/'));
        let left: Vec<PathBuf> = walk(&group.join("kubepods"));
        kedge_sys::cgroup::remove(&group).unwrap();
        assert_eq!(left, Vec::<PathBuf>::new(), "cgroups are left");
    }
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert!(!mounts.contains(base.to_str().unwrap()), "{mounts}");
    assert_eq!(fs::read_dir(base.join("run/kedge/pods")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(base.join("var/lib/kedge/containers")).unwrap().count(), 0);
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let directories = entries.flatten().filter(|entry| entry.path().is_dir());
    directories
        .flat_map(|entry| [vec![entry.path()], walk(&entry.path())].concat())
        .filter(|path| path.to_str().unwrap().contains("pod"))
        .filter(|path| path.file_name().unwrap().len() > 20)
        .collect()
}

impl Node {
    async fn new(name: &str, pause: &'static [u8]) -> Node {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let id = format!("{name}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let base = std::env::temp_dir().join(format!("kedge-rt-{id}"));
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let roots = Roots { cgroup_parent: format!("/kedge-rt-{id}"), ..Roots::below(&base, boot.trim()) };
        let roots = Arc::new(roots);
        let images = Arc::new(Image(ImageMount {
            image_id: IMAGE.into(),
            image_ref: IMAGE.into(),
            lower: vec![make_image(&base.join("image"))],
            config: ImageConfig {
                env: vec!["PATH=/bin".into(), "FROM=image".into()],
                ..ImageConfig::default()
            },
        }));
        let network = Arc::new(TestNetwork::default());
        let cri = Cri::open(roots.clone(), network.clone(), images.clone(), pause).await.unwrap();
        Node { roots, cri, network, images, pause, base }
    }

    /// The daemon dies and comes back: another `Cri` over the same folders.
    pub async fn restart(&mut self) {
        self.network = Arc::default();
        let opened =
            Cri::open(self.roots.clone(), self.network.clone(), self.images.clone(), self.pause).await;
        self.cri = opened.unwrap();
    }

    /// A runtime over empty folders, to stand where a dropped one was.
    pub async fn elsewhere(&self) -> Arc<Cri> {
        let base = self.base.join("elsewhere");
        let roots = Roots {
            cgroup_parent: format!("{}-else", self.roots.cgroup_parent),
            ..Roots::below(&base, "none")
        };
        Cri::open(Arc::new(roots), Arc::new(TestNetwork::default()), self.images.clone(), self.pause)
            .await
            .unwrap()
    }

    pub fn pod(&self, name: &str) -> PodSandboxConfig {
        PodSandboxConfig {
            name: name.into(),
            uid: format!("uid-{name}"),
            namespace: "default".into(),
            hostname: name.into(),
            log_directory: self.roots.pod_logs.join(name).to_str().unwrap().into(),
            cgroup_parent: format!("kubepods/besteffort/poduid-{name}"),
            dns: DnsConfig { servers: vec!["10.96.0.10".into()], ..DnsConfig::default() },
            ..PodSandboxConfig::default()
        }
    }

    /// A shell in the busybox image.
    pub async fn create(
        &self,
        sandbox: &SandboxId,
        script: &str,
        change: impl FnOnce(&mut ContainerConfig),
    ) -> ContainerId {
        let mut config = shell(script);
        change(&mut config);
        self.cri.create_container(sandbox, config, &PodSandboxConfig::default()).await.unwrap()
    }

    pub async fn start(
        &self,
        sandbox: &SandboxId,
        script: &str,
        change: impl FnOnce(&mut ContainerConfig),
    ) -> ContainerId {
        let id = self.create(sandbox, script, change).await;
        self.cri.start_container(&id).await.unwrap();
        id
    }

    pub async fn wait_exit(&self, id: &ContainerId) -> ContainerStatus {
        let mut events = self.cri.events();
        loop {
            let status = self.cri.container_status(id).await.unwrap();
            if status.state == ContainerState::Exited {
                return status;
            }
            let limit = std::time::Duration::from_secs(20);
            tokio::time::timeout(limit, events.recv()).await.expect("the container does not end").unwrap();
        }
    }

    /// The contents of the log's lines, both streams.
    pub async fn log(&self, id: &ContainerId) -> Vec<String> {
        let path = self.cri.container_status(id).await.unwrap().log_path;
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap().to_owned()).collect()
    }

    /// Runs a script to its end in a container of its own, and returns the exit code and the log.
    pub async fn run(
        &self,
        sandbox: &SandboxId,
        script: &str,
        change: impl FnOnce(&mut ContainerConfig),
    ) -> (i32, Vec<String>) {
        let id = self.start(sandbox, script, change).await;
        let status = self.wait_exit(&id).await;
        let log = self.log(&id).await;
        self.cri.remove_container(&id).await.unwrap();
        (status.exit_code, log)
    }

    pub async fn remove(&self, sandbox: &SandboxId) {
        self.cri.stop_pod_sandbox(sandbox).await.unwrap();
        self.cri.stop_pod_sandbox(sandbox).await.unwrap();
        self.cri.remove_pod_sandbox(sandbox).await.unwrap();
        self.cri.remove_pod_sandbox(sandbox).await.unwrap();
    }
}

/// What the kubelet sends for a container without a security context.
pub fn shell(script: &str) -> ContainerConfig {
    let own = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    ContainerConfig {
        name: "c".into(),
        image_id: IMAGE.into(),
        command: own(&["sh", "-c", script]),
        log_path: format!("c-{}.log", fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim()),
        resources: LinuxContainerResources { oom_score_adj: 1000, cpu_shares: 2, ..Default::default() },
        security: ContainerSecurity {
            masked_paths: own(&[
                "/proc/asound",
                "/proc/acpi",
                "/proc/kcore",
                "/proc/keys",
                "/proc/timer_list",
                "/proc/scsi",
                "/sys/firmware",
            ]),
            readonly_paths: own(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
            ..ContainerSecurity::default()
        },
        ..ContainerConfig::default()
    }
}

fn make_image(root: &Path) -> PathBuf {
    for directory in ["bin", "etc", "tmp"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/usr/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n")
        .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nwheel:x:10:app\n").unwrap();
    root.to_path_buf()
}
