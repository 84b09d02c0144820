//! Security settings of a container, from its own and its pod's `securityContext`.

use kedge_api::pod::{Container, Pod, PodSecurityContext, Profile, SecurityContext};
use kedge_cri_api::{
    ContainerSecurity, Image, NamespaceMode, NamespaceOptions, SeccompProfile, UserNamespace,
};
use std::path::Path;

use crate::fields::go_quote;
use crate::names;

/// What upstream's kubelet asks for in a container that is not privileged and keeps the default procMount.
const MASKED_PATHS: [&str; 12] = [
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
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Where seccomp profiles of the node lie, and whether an unset profile means RuntimeDefault.
#[derive(Debug, Clone, Copy)]
pub struct SeccompSettings<'a> {
    pub default: bool,
    pub folder: &'a Path,
}

fn of_pod(pod: &Pod) -> Option<&PodSecurityContext> {
    pod.spec.security_context.as_deref()
}

fn of_container(container: &Container) -> Option<&SecurityContext> {
    container.security_context.as_deref()
}

pub fn is_privileged(container: &Container) -> bool {
    of_container(container).and_then(|context| context.privileged) == Some(true)
}

/// The sandbox is privileged when one of its containers is.
pub fn pod_is_privileged(pod: &Pod) -> bool {
    pod.spec.init_containers.iter().chain(&pod.spec.containers).any(is_privileged)
}

pub fn run_as_user(pod: &Pod, container: &Container) -> Option<i64> {
    let own = of_container(container).and_then(|context| context.run_as_user);
    own.or_else(|| of_pod(pod).and_then(|context| context.run_as_user))
}

pub fn fs_group(pod: &Pod) -> Option<i64> {
    of_pod(pod).and_then(|context| context.fs_group)
}

/// The user that every container of the pod runs as, if it is one: tokens in volumes belong to it.
pub fn common_user(pod: &Pod) -> Option<i64> {
    let mut users = pod.spec.containers.iter().chain(&pod.spec.init_containers).map(|c| run_as_user(pod, c));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first)
}

pub fn namespaces(pod: &Pod, userns: Option<UserNamespace>) -> NamespaceOptions {
    let mode = |host: bool, otherwise: NamespaceMode| if host { NamespaceMode::Node } else { otherwise };
    let shared_pid = pod.spec.share_process_namespace == Some(true);
    NamespaceOptions {
        network: mode(pod.spec.host_network, NamespaceMode::Pod),
        ipc: mode(pod.spec.host_ipc, NamespaceMode::Pod),
        pid: mode(pod.spec.host_pid, if shared_pid { NamespaceMode::Pod } else { NamespaceMode::Container }),
        target_id: None,
        userns,
    }
}

fn profile(profile: &Profile, settings: SeccompSettings<'_>) -> SeccompProfile {
    match profile.r#type.as_str() {
        "Unconfined" => SeccompProfile::Unconfined,
        "Localhost" => {
            let name = profile.localhost_profile.as_deref().unwrap_or_default();
            SeccompProfile::Localhost(settings.folder.join(name).to_string_lossy().into_owned())
        }
        _ => SeccompProfile::RuntimeDefault,
    }
}

fn seccomp(pod: &Pod, container: &Container, settings: SeccompSettings<'_>) -> SeccompProfile {
    let own = of_container(container).and_then(|context| context.seccomp_profile.as_ref());
    let chosen = own.or_else(|| of_pod(pod).and_then(|context| context.seccomp_profile.as_ref()));
    match chosen {
        _ if is_privileged(container) => SeccompProfile::Unconfined,
        Some(chosen) => profile(chosen, settings),
        None if settings.default => SeccompProfile::RuntimeDefault,
        None => SeccompProfile::Unconfined,
    }
}

/// The sandbox itself is confined unless the pod says otherwise.
pub fn sandbox_seccomp(pod: &Pod, settings: SeccompSettings<'_>) -> SeccompProfile {
    match of_pod(pod).and_then(|context| context.seccomp_profile.as_ref()) {
        Some(chosen) => profile(chosen, settings),
        None => SeccompProfile::RuntimeDefault,
    }
}

/// Groups that every container of the pod gets: fsGroup first, as recorded.
fn groups(pod: &Pod) -> Vec<i64> {
    let context = of_pod(pod);
    let fs_group = context.and_then(|context| context.fs_group);
    fs_group
        .into_iter()
        .chain(context.into_iter().flat_map(|c| c.supplemental_groups.iter().copied()))
        .collect()
}

pub fn container_security(
    pod: &Pod,
    container: &Container,
    image: &Image,
    namespaces: NamespaceOptions,
    settings: SeccompSettings<'_>,
) -> ContainerSecurity {
    let context = of_container(container);
    let privileged = is_privileged(container);
    let unmasked = context.and_then(|c| c.proc_mount.as_deref()) == Some("Unmasked");
    let paths = |paths: &[&str]| {
        if privileged || unmasked {
            Vec::new()
        } else {
            paths.iter().map(|path| (*path).to_owned()).collect()
        }
    };
    let capabilities = context.and_then(|context| context.capabilities.as_ref());
    let user = run_as_user(pod, container);
    let group = context.and_then(|c| c.run_as_group).or_else(|| of_pod(pod).and_then(|c| c.run_as_group));
    ContainerSecurity {
        privileged,
        add_capabilities: capabilities.map(|c| c.add.clone()).unwrap_or_default(),
        drop_capabilities: capabilities.map(|c| c.drop.clone()).unwrap_or_default(),
        namespaces,
        run_as_user: user.or(image.uid),
        run_as_username: if user.is_none() && image.uid.is_none() {
            image.username.clone()
        } else {
            String::new()
        },
        run_as_group: group,
        supplemental_groups: groups(pod),
        supplemental_groups_strict: of_pod(pod).and_then(|c| c.supplemental_groups_policy.as_deref())
            == Some("Strict"),
        readonly_rootfs: context.and_then(|c| c.read_only_root_filesystem) == Some(true),
        no_new_privs: !privileged && context.and_then(|c| c.allow_privilege_escalation) == Some(false),
        masked_paths: paths(&MASKED_PATHS),
        readonly_paths: paths(&READONLY_PATHS),
        seccomp: seccomp(pod, container, settings),
    }
}

/// `runAsNonRoot`: refuses root, and what cannot be told from root.
pub fn check_non_root(pod: &Pod, container: &Container, image: &Image) -> Result<(), String> {
    let own = of_container(container).and_then(|context| context.run_as_non_root);
    let asked = own.or_else(|| of_pod(pod).and_then(|context| context.run_as_non_root));
    if asked != Some(true) {
        return Ok(());
    }
    let of = format!("(pod: {}, container: {})", go_quote(&names::pod_in_messages(pod)), container.name);
    match (run_as_user(pod, container), image.uid) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {of}")),
        (Some(_), _) => Ok(()),
        (None, Some(0)) => Err(format!("container has runAsNonRoot and image will run as root {of}")),
        (None, None) if !image.username.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root {of}",
            image.username
        )),
        (None, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        pod_context: serde_json::Value,
        context: serde_json::Value,
        image: &Image,
    ) -> (ContainerSecurity, Result<(), String>) {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"securityContext": pod_context, "containers": [{"name": "c", "securityContext": context}]}}))
        .unwrap();
        let container = &pod.spec.containers[0];
        let settings = SeccompSettings { default: true, folder: Path::new("/k/seccomp") };
        let security = container_security(&pod, container, image, namespaces(&pod, None), settings);
        (security, check_non_root(&pod, container, image))
    }

    /// The security context of the recorded pod `03-security`.
    #[test]
    fn recorded_security() {
        let (seen, non_root) = check(
            serde_json::json!({"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000, "supplementalGroups": [4000]}),
            serde_json::json!({"runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
                "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}),
            &Image { uid: Some(0), ..Image::default() },
        );
        assert_eq!((seen.run_as_user, seen.run_as_group), (Some(1000), Some(3000)));
        assert_eq!(seen.supplemental_groups, [2000, 4000]);
        assert!(seen.readonly_rootfs && seen.no_new_privs && !seen.privileged);
        assert_eq!((seen.masked_paths.len(), seen.readonly_paths.len()), (12, 5));
        assert_eq!(seen.seccomp, SeccompProfile::RuntimeDefault);
        assert_eq!(non_root, Ok(()));
    }

    #[test]
    fn seccomp_profiles() {
        let image = Image::default();
        let none = || serde_json::json!({});
        let local =
            serde_json::json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}});
        assert_eq!(check(none(), none(), &image).0.seccomp, SeccompProfile::RuntimeDefault);
        assert_eq!(
            check(none(), serde_json::json!({"privileged": true}), &image).0.seccomp,
            SeccompProfile::Unconfined
        );
        assert_eq!(
            check(local, none(), &image).0.seccomp,
            SeccompProfile::Localhost("/k/seccomp/a.json".into())
        );
    }

    #[test]
    fn non_root() {
        let root = Image { uid: Some(0), ..Image::default() };
        let named = Image { username: "app".into(), ..Image::default() };
        let asked = || serde_json::json!({"runAsNonRoot": true});
        for (context, image, message) in [
            (serde_json::json!({"runAsUser": 0}), &root, "container's runAsUser breaks non-root policy"),
            (serde_json::json!({}), &root, "container has runAsNonRoot and image will run as root"),
            (
                serde_json::json!({}),
                &named,
                "container has runAsNonRoot and image has non-numeric user (app), cannot verify",
            ),
            (serde_json::json!({"runAsUser": 5}), &root, ""),
            (serde_json::json!({}), &Image { uid: Some(5), ..Image::default() }, ""),
        ] {
            let seen = check(asked(), context.clone(), image).1.err().unwrap_or_default();
            assert!(seen.starts_with(message) && seen.is_empty() == message.is_empty(), "{context}: {seen}");
        }
        assert!(check(asked(), serde_json::json!({}), &named).0.run_as_username == "app");
    }
}
