//! Labels, annotations and paths that other programs read: kubectl logs, crictl, cAdvisor, log collectors.

use kedge_api::Pod;

pub const POD_NAME: &str = "io.kubernetes.pod.name";
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub const POD_UID: &str = "io.kubernetes.pod.uid";
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
pub const CONTAINER_PORTS: &str = "io.kubernetes.container.ports";
pub const CONTAINER_RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
pub const POD_TERMINATION_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
pub const CONTAINER_PRE_STOP: &str = "io.kubernetes.container.preStopHandler";
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// Of a static pod: what its manifest says, hashed.
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
pub const CONFIG_SEEN: &str = "kubernetes.io/config.seen";
/// Of a pod in the API: the hash of the static pod that it shows.
pub const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

/// `<namespace>_<name>_<uid>`, the folder of a pod's logs.
pub fn log_folder(pod: &Pod) -> String {
    format!("{}_{}_{}", pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
}

/// `<pod>_<namespace>_<container>-<id>.log`, the name in `/var/log/containers`.
pub fn container_log_link(pod: &Pod, container: &str, id: &str) -> String {
    let (name, namespace) = (&pod.metadata.name, &pod.metadata.namespace);
    // A file name holds 255 bytes; upstream keeps the first part and the whole id.
    let stem: String = format!("{name}_{namespace}_{container}").chars().take(251 - 65).collect();
    format!("{stem}-{id}.log")
}

/// `<name>_<namespace>(<uid>)`, as messages name a pod.
pub fn pod_in_messages(pod: &Pod) -> String {
    format!("{}_{}({})", pod.metadata.name, pod.metadata.namespace, pod.metadata.uid)
}

/// `spec.containers{name}`: where an event of a container points.
pub fn field_path(pod: &Pod, container: &str) -> String {
    let within = |list: &[kedge_api::pod::Container]| list.iter().any(|c| c.name == container);
    let list = if within(&pod.spec.init_containers) {
        "initContainers"
    } else if within(&pod.spec.ephemeral_containers) {
        "ephemeralContainers"
    } else {
        "containers"
    };
    format!("spec.{list}{{{container}}}")
}
