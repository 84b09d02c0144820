//! What the runtime is asked for: sandbox and container configurations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kedge_api::pod::{Container, ContainerPort, Pod};
use kedge_cri_api::{
    ContainerConfig, DnsConfig, Image, Labels, Mount, PodSandboxConfig, PortMapping, UserNamespace,
};

use crate::dns::{ClusterDns, pod_dns};
use crate::hosts::host_name;
use crate::security::SeccompSettings;
use crate::{env, names, resources, security};

/// Settings of the node that go into every pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSettings {
    pub node_name: String,
    pub cluster: ClusterDns,
    /// The node's resolv.conf.
    pub host_dns: DnsConfig,
    pub seccomp_default: bool,
    /// `/var/lib/kubelet`
    pub kubelet: PathBuf,
    /// `/var/log/pods`
    pub pod_logs: PathBuf,
    pub memory_capacity: i64,
}

impl NodeSettings {
    fn seccomp_folder(&self) -> PathBuf {
        self.kubelet.join("seccomp")
    }

    pub fn pod_folder(&self, uid: &str) -> PathBuf {
        self.kubelet.join("pods").join(uid)
    }

    pub fn log_folder(&self, pod: &Pod) -> PathBuf {
        self.pod_logs.join(names::log_folder(pod))
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Err is the message of `FailedCreatePodSandBox`.
pub fn sandbox_config(
    pod: &Pod,
    attempt: u32,
    userns: Option<UserNamespace>,
    settings: &NodeSettings,
) -> Result<PodSandboxConfig, String> {
    let meta = &pod.metadata;
    let host = host_name(pod, &settings.cluster.domain)?;
    let folder = settings.seccomp_folder();
    let seccomp = SeccompSettings { default: settings.seccomp_default, folder: &folder };
    let sysctls = pod.spec.security_context.as_deref().map(|context| &context.sysctls);
    let sysctls =
        sysctls.into_iter().flatten().map(|sysctl| (sysctl.name.replace('/', "."), sysctl.value.clone()));
    Ok(PodSandboxConfig {
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        namespace: meta.namespace.clone(),
        attempt,
        hostname: if pod.spec.host_network { String::new() } else { host.of_sandbox() },
        log_directory: text(&settings.log_folder(pod)),
        dns: pod_dns(pod, &settings.cluster, &settings.host_dns),
        port_mappings: port_mappings(pod),
        labels: pod_labels(pod),
        annotations: meta.annotations.clone(),
        cgroup_parent: resources::pod_cgroup(pod),
        namespaces: security::namespaces(pod, userns),
        sysctls: sysctls.collect(),
        privileged: security::pod_is_privileged(pod),
        seccomp: security::sandbox_seccomp(pod, seccomp),
        resources: resources::pod_resources(&pod.spec),
    })
}

fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.is_sidecar());
    let port = |number: i32| u16::try_from(number).unwrap_or(0);
    let of = |p: &ContainerPort| PortMapping {
        protocol: if p.protocol.is_empty() { "TCP".to_owned() } else { p.protocol.clone() },
        container_port: port(p.container_port),
        // With host network the process listens on the node itself.
        host_port: if pod.spec.host_network { 0 } else { port(p.host_port) },
        host_ip: p.host_ip.clone(),
    };
    pod.spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().map(of)).collect()
}

fn pod_labels(pod: &Pod) -> Labels {
    let meta = &pod.metadata;
    let mut labels = meta.labels.clone();
    labels.insert(names::POD_NAME.to_owned(), meta.name.clone());
    labels.insert(names::POD_NAMESPACE.to_owned(), meta.namespace.clone());
    labels.insert(names::POD_UID.to_owned(), meta.uid.clone());
    labels
}

/// What a container's configuration is made of besides its spec.
#[derive(Debug, Clone)]
pub struct ContainerInputs<'a> {
    pub attempt: u32,
    pub image: &'a Image,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub userns: Option<UserNamespace>,
    /// The container whose PID namespace an ephemeral container joins.
    pub target_id: Option<String>,
}

pub fn container_config(
    pod: &Pod,
    container: &Container,
    inputs: ContainerInputs<'_>,
    settings: &NodeSettings,
) -> ContainerConfig {
    let folder = settings.seccomp_folder();
    let seccomp = SeccompSettings { default: settings.seccomp_default, folder: &folder };
    let mut namespaces = security::namespaces(pod, inputs.userns);
    namespaces.target_id = inputs.target_id;
    let expanded = |words: &[String]| {
        let lookup =
            |name: &str| inputs.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        words.iter().map(|word| env::expand(word, lookup)).collect::<Vec<_>>()
    };
    ContainerConfig {
        name: container.name.clone(),
        attempt: inputs.attempt,
        image_id: inputs.image.id.clone(),
        user_image: container.image.clone(),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone(),
        mounts: inputs.mounts,
        devices: Vec::new(),
        labels: container_labels(pod, container),
        annotations: container_annotations(pod, container, inputs.attempt),
        log_path: format!("{}/{}.log", container.name, inputs.attempt),
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        tty: container.tty,
        stop_signal: container.lifecycle.as_deref().and_then(|l| l.stop_signal.clone()).unwrap_or_default(),
        resources: resources::container_resources(pod, container, settings.memory_capacity),
        security: security::container_security(pod, container, inputs.image, namespaces, seccomp),
        envs: inputs.env,
    }
}

fn container_labels(pod: &Pod, container: &Container) -> Labels {
    let meta = &pod.metadata;
    [
        (names::CONTAINER_NAME, &container.name),
        (names::POD_NAME, &meta.name),
        (names::POD_NAMESPACE, &meta.namespace),
        (names::POD_UID, &meta.uid),
    ]
    .map(|(key, value)| (key.to_owned(), value.clone()))
    .into()
}

fn container_annotations(pod: &Pod, container: &Container, attempt: u32) -> Labels {
    let mut annotations: BTreeMap<String, String> = [
        (names::CONTAINER_HASH, container_hash(container)),
        (names::CONTAINER_RESTART_COUNT, attempt.to_string()),
        (names::TERMINATION_MESSAGE_PATH, container.termination_message_path.clone()),
        (names::TERMINATION_MESSAGE_POLICY, container.termination_message_policy.clone()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if let Some(grace) = pod.spec.termination_grace_period_seconds {
        annotations.insert(names::POD_TERMINATION_GRACE.to_owned(), grace.to_string());
    }
    if !container.ports.is_empty()
        && let Ok(ports) = serde_json::to_string(&container.ports)
    {
        annotations.insert(names::CONTAINER_PORTS.to_owned(), ports);
    }
    annotations
}

/// Changes exactly when the container must be made anew: name and image (FNV-1a, 32 bits, as hexadecimal).
pub fn container_hash(container: &Container) -> String {
    let bytes = container.name.bytes().chain([0]).chain(container.image.bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_cri_api::NamespaceMode;

    fn settings() -> NodeSettings {
        NodeSettings {
            node_name: "node".into(),
            cluster: ClusterDns { servers: vec!["10.96.0.10".into()], domain: "cluster.local".into() },
            kubelet: "/k".into(),
            pod_logs: "/logs".into(),
            memory_capacity: 1 << 33,
            ..NodeSettings::default()
        }
    }

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "plain", "namespace": "n", "uid": "u", "labels": {"app": "plain"}, "annotations": {"note": "x"}},
            "spec": spec}))
        .unwrap()
    }

    /// As upstream was recorded for `01-plain`.
    #[test]
    fn recorded_sandbox() {
        let pod = pod(serde_json::json!({"containers": [{"name": "c"}]}));
        let seen = sandbox_config(&pod, 0, None, &settings()).unwrap();
        assert_eq!((seen.hostname.as_str(), seen.log_directory.as_str()), ("plain", "/logs/n_plain_u"));
        assert_eq!((seen.cgroup_parent.as_str(), seen.resources.cpu_shares), ("kubepods/besteffort/podu", 2));
        assert_eq!(
            (seen.namespaces.network, seen.namespaces.pid),
            (NamespaceMode::Pod, NamespaceMode::Container)
        );
        let labels: Vec<_> = seen.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            labels,
            [
                "app=plain",
                "io.kubernetes.pod.name=plain",
                "io.kubernetes.pod.namespace=n",
                "io.kubernetes.pod.uid=u"
            ]
        );
    }

    #[test]
    fn recorded_container() {
        let pod = pod(
            serde_json::json!({"terminationGracePeriodSeconds": 2, "containers": [{"name": "c", "image": "i:1",
            "command": ["sh", "-c", "echo $(A) $$(A)"], "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File", "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]}]}),
        );
        let image = Image { id: "sha256:1".into(), uid: Some(0), ..Image::default() };
        let inputs = ContainerInputs {
            attempt: 1,
            image: &image,
            env: vec![("A".into(), "1".into())],
            mounts: Vec::new(),
            userns: None,
            target_id: None,
        };
        let seen = container_config(&pod, &pod.spec.containers[0], inputs, &settings());
        assert_eq!(seen.command, ["sh", "-c", "echo 1 $(A)"]);
        assert_eq!(
            (seen.log_path.as_str(), seen.image_id.as_str(), seen.user_image.as_str()),
            ("c/1.log", "sha256:1", "i:1")
        );
        let annotations: Vec<_> = seen.annotations.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            annotations[1..],
            [
                "io.kubernetes.container.ports=[{\"containerPort\":8080,\"name\":\"http\",\"protocol\":\"TCP\"}]",
                "io.kubernetes.container.restartCount=1",
                "io.kubernetes.container.terminationMessagePath=/dev/termination-log",
                "io.kubernetes.container.terminationMessagePolicy=File",
                "io.kubernetes.pod.terminationGracePeriod=2",
            ]
        );
        assert_eq!(seen.security.run_as_user, Some(0));
    }

    #[test]
    fn host_network_and_shared_pid() {
        let pod = pod(serde_json::json!({"hostNetwork": true, "hostPID": true, "hostIPC": true,
            "containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}));
        let seen = sandbox_config(&pod, 3, None, &settings()).unwrap();
        assert_eq!((seen.attempt, seen.hostname.as_str(), seen.port_mappings[0].host_port), (3, "", 0));
        let n = seen.namespaces;
        assert_eq!(
            (n.network, n.pid, n.ipc),
            (NamespaceMode::Node, NamespaceMode::Node, NamespaceMode::Node)
        );
    }

    #[test]
    fn hash_follows_name_and_image() {
        let one = Container { name: "a".into(), image: "b".into(), ..Container::default() };
        let args = Container { args: vec!["x".into()], ..one.clone() };
        let image = Container { image: "c".into(), ..one.clone() };
        assert_eq!(container_hash(&one), container_hash(&args));
        assert_ne!(container_hash(&one), container_hash(&image));
    }
}
