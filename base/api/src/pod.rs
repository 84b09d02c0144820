//! Pod: the fields that the kubelet, the scheduler, the controllers and the datapath read.
//!
//! A node keeps one of these per pod and a control plane one per pod of the cluster, so what most pods leave unset is boxed.

use std::collections::BTreeMap;

use crate::IntOrString;
use crate::meta::{Condition, LabelSelector, LocalObjectReference, ObjectMeta, Time, api_struct};

/// Resource name → quantity as written.
pub type ResourceList = BTreeMap<String, String>;

api_struct! {
    pub struct Pod {
        metadata: ObjectMeta,
        spec: PodSpec,
        status: PodStatus,
    }

    pub struct PodSpec {
        init_containers: Vec<Container>,
        ephemeral_containers: Vec<Container>,
        volumes: Vec<Volume>,
        restart_policy: String,
        termination_grace_period_seconds: Option<i64>,
        active_deadline_seconds: Option<i64>,
        dns_policy: String,
        dns_config: Option<Box<PodDnsConfig>>,
        node_selector: BTreeMap<String, String>,
        service_account_name: String,
        automount_service_account_token: Option<bool>,
        node_name: String,
        host_network: bool,
        #[serde(rename = "hostPID")]
        host_pid: bool,
        #[serde(rename = "hostIPC")]
        host_ipc: bool,
        host_users: Option<bool>,
        share_process_namespace: Option<bool>,
        security_context: Option<Box<PodSecurityContext>>,
        image_pull_secrets: Vec<LocalObjectReference>,
        hostname: String,
        subdomain: String,
        hostname_override: Option<String>,
        #[serde(rename = "setHostnameAsFQDN")]
        set_hostname_as_fqdn: Option<bool>,
        affinity: Option<Box<Affinity>>,
        scheduler_name: String,
        tolerations: Vec<Toleration>,
        host_aliases: Vec<HostAlias>,
        priority_class_name: String,
        priority: Option<i32>,
        preemption_policy: Option<String>,
        readiness_gates: Vec<PodReadinessGate>,
        runtime_class_name: Option<String>,
        enable_service_links: Option<bool>,
        overhead: ResourceList,
        topology_spread_constraints: Vec<TopologySpreadConstraint>,
        os: Option<LocalObjectReference>,
        scheduling_gates: Vec<LocalObjectReference>,
        resources: Option<Box<ResourceRequirements>>,
    } always {
        containers: Vec<Container>,
    }

    /// Init, ordinary and ephemeral containers; `target_container_name` is of the last alone.
    pub struct Container {
        image: String,
        command: Vec<String>,
        args: Vec<String>,
        working_dir: String,
        ports: Vec<ContainerPort>,
        env_from: Vec<EnvFromSource>,
        env: Vec<EnvVar>,
        resources: ResourceRequirements,
        resize_policy: Vec<ContainerResizePolicy>,
        restart_policy: Option<String>,
        restart_policy_rules: Vec<ContainerRestartRule>,
        volume_mounts: Vec<VolumeMount>,
        liveness_probe: Option<Box<Probe>>,
        readiness_probe: Option<Box<Probe>>,
        startup_probe: Option<Box<Probe>>,
        lifecycle: Option<Box<Lifecycle>>,
        termination_message_path: String,
        termination_message_policy: String,
        image_pull_policy: String,
        security_context: Option<Box<SecurityContext>>,
        stdin: bool,
        stdin_once: bool,
        tty: bool,
        target_container_name: String,
    } always {
        name: String,
    }

    pub struct ContainerPort {
        name: String,
        host_port: i32,
        protocol: String,
        #[serde(rename = "hostIP")]
        host_ip: String,
    } always {
        container_port: i32,
    }

    pub struct ContainerResizePolicy {
        resource_name: String,
        restart_policy: String,
    }

    pub struct ContainerRestartRule {
        action: String,
        exit_codes: Option<ContainerRestartRuleOnExitCodes>,
    }

    pub struct ContainerRestartRuleOnExitCodes {
        operator: String,
        values: Vec<i32>,
    }

    pub struct ResourceRequirements {
        limits: ResourceList,
        requests: ResourceList,
        claims: Vec<ResourceClaim>,
    }

    pub struct ResourceClaim {
        name: String,
        request: String,
    }

    pub struct EnvFromSource {
        prefix: String,
        config_map_ref: Option<OptionalName>,
        secret_ref: Option<OptionalName>,
    }

    pub struct OptionalName {
        name: String,
        optional: Option<bool>,
    }

    pub struct EnvVar {
        value: String,
        value_from: Option<Box<EnvVarSource>>,
    } always {
        name: String,
    }

    pub struct EnvVarSource {
        field_ref: Option<ObjectFieldSelector>,
        resource_field_ref: Option<ResourceFieldSelector>,
        config_map_key_ref: Option<KeySelector>,
        secret_key_ref: Option<KeySelector>,
        file_key_ref: Option<FileKeySelector>,
    }

    pub struct ObjectFieldSelector {
        api_version: String,
        field_path: String,
    }

    pub struct ResourceFieldSelector {
        container_name: String,
        resource: String,
        divisor: Option<String>,
    }

    pub struct KeySelector {
        name: String,
        key: String,
        optional: Option<bool>,
    }

    pub struct FileKeySelector {
        volume_name: String,
        path: String,
        key: String,
        optional: Option<bool>,
    }

    pub struct VolumeMount {
        read_only: bool,
        recursive_read_only: Option<String>,
        sub_path: String,
        mount_propagation: Option<String>,
        sub_path_expr: String,
    } always {
        name: String,
        mount_path: String,
    }

    pub struct Probe {
        exec: Option<ExecAction>,
        http_get: Option<HttpGetAction>,
        tcp_socket: Option<TcpSocketAction>,
        grpc: Option<GrpcAction>,
        initial_delay_seconds: i32,
        timeout_seconds: i32,
        period_seconds: i32,
        success_threshold: i32,
        failure_threshold: i32,
        termination_grace_period_seconds: Option<i64>,
    }

    pub struct ExecAction {
        command: Vec<String>,
    }

    pub struct HttpGetAction {
        path: String,
        port: IntOrString,
        host: String,
        scheme: String,
        http_headers: Vec<HttpHeader>,
    }

    pub struct HttpHeader {
        name: String,
        value: String,
    }

    pub struct TcpSocketAction {
        port: IntOrString,
        host: String,
    }

    pub struct GrpcAction {
        port: i32,
        service: Option<String>,
    }

    pub struct SleepAction {
        seconds: i64,
    }

    pub struct Lifecycle {
        post_start: Option<LifecycleHandler>,
        pre_stop: Option<LifecycleHandler>,
        stop_signal: Option<String>,
    }

    pub struct LifecycleHandler {
        exec: Option<ExecAction>,
        http_get: Option<HttpGetAction>,
        tcp_socket: Option<TcpSocketAction>,
        sleep: Option<SleepAction>,
    }

    pub struct SecurityContext {
        capabilities: Option<Capabilities>,
        privileged: Option<bool>,
        se_linux_options: Option<Box<SeLinuxOptions>>,
        run_as_user: Option<i64>,
        run_as_group: Option<i64>,
        run_as_non_root: Option<bool>,
        read_only_root_filesystem: Option<bool>,
        allow_privilege_escalation: Option<bool>,
        proc_mount: Option<String>,
        seccomp_profile: Option<Profile>,
        app_armor_profile: Option<Profile>,
    }

    pub struct Capabilities {
        add: Vec<String>,
        drop: Vec<String>,
    }

    pub struct SeLinuxOptions {
        user: String,
        role: String,
        r#type: String,
        level: String,
    }

    /// Of seccomp and of AppArmor.
    pub struct Profile {
        localhost_profile: Option<String>,
    } always {
        r#type: String,
    }

    pub struct PodSecurityContext {
        se_linux_options: Option<Box<SeLinuxOptions>>,
        run_as_user: Option<i64>,
        run_as_group: Option<i64>,
        run_as_non_root: Option<bool>,
        supplemental_groups: Vec<i64>,
        supplemental_groups_policy: Option<String>,
        fs_group: Option<i64>,
        fs_group_change_policy: Option<String>,
        sysctls: Vec<Sysctl>,
        seccomp_profile: Option<Profile>,
        app_armor_profile: Option<Profile>,
    }

    pub struct Sysctl {
        name: String,
        value: String,
    }

    pub struct PodDnsConfig {
        nameservers: Vec<String>,
        searches: Vec<String>,
        options: Vec<PodDnsConfigOption>,
    }

    pub struct PodDnsConfigOption {
        name: String,
        value: Option<String>,
    }

    pub struct HostAlias {
        ip: String,
        hostnames: Vec<String>,
    }

    pub struct PodReadinessGate {
        condition_type: String,
    }

    pub struct Volume {
        empty_dir: Option<Box<EmptyDirVolumeSource>>,
        host_path: Option<Box<HostPathVolumeSource>>,
        config_map: Option<Box<ConfigMapVolumeSource>>,
        secret: Option<Box<SecretVolumeSource>>,
        #[serde(rename = "downwardAPI")]
        downward_api: Option<Box<DownwardApiVolumeSource>>,
        projected: Option<Box<ProjectedVolumeSource>>,
        persistent_volume_claim: Option<Box<PersistentVolumeClaimVolumeSource>>,
        image: Option<Box<ImageVolumeSource>>,
        /// Present for a generic ephemeral volume; its claim is named after pod and volume.
        ephemeral: Option<Box<EphemeralVolumeSource>>,
    } always {
        name: String,
    }

    pub struct EmptyDirVolumeSource {
        medium: String,
        size_limit: Option<String>,
    }

    pub struct HostPathVolumeSource {
        path: String,
        r#type: Option<String>,
    }

    pub struct KeyToPath {
        key: String,
        path: String,
        mode: Option<i32>,
    }

    pub struct ConfigMapVolumeSource {
        name: String,
        items: Vec<KeyToPath>,
        default_mode: Option<i32>,
        optional: Option<bool>,
    }

    pub struct SecretVolumeSource {
        secret_name: String,
        items: Vec<KeyToPath>,
        default_mode: Option<i32>,
        optional: Option<bool>,
    }

    pub struct DownwardApiVolumeSource {
        items: Vec<DownwardApiVolumeFile>,
        default_mode: Option<i32>,
    }

    pub struct DownwardApiVolumeFile {
        path: String,
        field_ref: Option<ObjectFieldSelector>,
        resource_field_ref: Option<ResourceFieldSelector>,
        mode: Option<i32>,
    }

    pub struct ProjectedVolumeSource {
        sources: Vec<VolumeProjection>,
        default_mode: Option<i32>,
    }

    pub struct VolumeProjection {
        secret: Option<KeysProjection>,
        config_map: Option<KeysProjection>,
        #[serde(rename = "downwardAPI")]
        downward_api: Option<DownwardApiVolumeSource>,
        service_account_token: Option<ServiceAccountTokenProjection>,
        cluster_trust_bundle: Option<Box<ClusterTrustBundleProjection>>,
    }

    /// The configMap and the secret of a projection.
    pub struct KeysProjection {
        name: String,
        items: Vec<KeyToPath>,
        optional: Option<bool>,
    }

    pub struct ServiceAccountTokenProjection {
        audience: String,
        expiration_seconds: Option<i64>,
        path: String,
    }

    pub struct ClusterTrustBundleProjection {
        name: Option<String>,
        signer_name: Option<String>,
        label_selector: Option<LabelSelector>,
        optional: Option<bool>,
        path: String,
    }

    pub struct PersistentVolumeClaimVolumeSource {
        claim_name: String,
        read_only: bool,
    }

    pub struct ImageVolumeSource {
        reference: String,
        pull_policy: String,
    }

    pub struct EphemeralVolumeSource {
        read_only: bool,
    }

    pub struct Toleration {
        key: String,
        operator: String,
        value: String,
        effect: String,
        toleration_seconds: Option<i64>,
    }

    pub struct Affinity {
        node_affinity: Option<NodeAffinity>,
        pod_affinity: Option<PodAffinity>,
        pod_anti_affinity: Option<PodAffinity>,
    }

    pub struct NodeAffinity {
        required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
        preferred_during_scheduling_ignored_during_execution: Vec<PreferredSchedulingTerm>,
    }

    pub struct NodeSelector {
        node_selector_terms: Vec<NodeSelectorTerm>,
    }

    pub struct NodeSelectorTerm {
        match_expressions: Vec<NodeSelectorRequirement>,
        match_fields: Vec<NodeSelectorRequirement>,
    }

    pub struct NodeSelectorRequirement {
        key: String,
        operator: String,
        values: Vec<String>,
    }

    pub struct PreferredSchedulingTerm {
        weight: i32,
        preference: NodeSelectorTerm,
    }

    /// Pod affinity and pod anti-affinity.
    pub struct PodAffinity {
        required_during_scheduling_ignored_during_execution: Vec<PodAffinityTerm>,
        preferred_during_scheduling_ignored_during_execution: Vec<WeightedPodAffinityTerm>,
    }

    pub struct PodAffinityTerm {
        label_selector: Option<LabelSelector>,
        namespaces: Vec<String>,
        topology_key: String,
        namespace_selector: Option<LabelSelector>,
        match_label_keys: Vec<String>,
        mismatch_label_keys: Vec<String>,
    }

    pub struct WeightedPodAffinityTerm {
        weight: i32,
        pod_affinity_term: PodAffinityTerm,
    }

    pub struct TopologySpreadConstraint {
        max_skew: i32,
        topology_key: String,
        when_unsatisfiable: String,
        label_selector: Option<LabelSelector>,
        min_domains: Option<i32>,
        node_affinity_policy: Option<String>,
        node_taints_policy: Option<String>,
        match_label_keys: Vec<String>,
    }

    pub struct PodStatus {
        observed_generation: i64,
        phase: String,
        conditions: Vec<Condition>,
        message: String,
        reason: String,
        nominated_node_name: String,
        #[serde(rename = "hostIP")]
        host_ip: String,
        #[serde(rename = "hostIPs")]
        host_ips: Vec<PodIp>,
        #[serde(rename = "podIP")]
        pod_ip: String,
        #[serde(rename = "podIPs")]
        pod_ips: Vec<PodIp>,
        start_time: Option<Time>,
        init_container_statuses: Vec<ContainerStatus>,
        container_statuses: Vec<ContainerStatus>,
        qos_class: String,
        ephemeral_container_statuses: Vec<ContainerStatus>,
        resize: String,
        allocated_resources: ResourceList,
        resources: Option<Box<ResourceRequirements>>,
    }

    pub struct PodIp {
        ip: String,
    }

    pub struct ContainerStatus {
        state: ContainerState,
        started: Option<bool>,
        allocated_resources: ResourceList,
        resources: Option<Box<ResourceRequirements>>,
        volume_mounts: Vec<VolumeMountStatus>,
        user: Option<ContainerUser>,
        stop_signal: Option<String>,
        #[serde(rename = "containerID")]
        container_id: String,
    } always {
        name: String,
        last_state: ContainerState,
        ready: bool,
        restart_count: i32,
        image: String,
        #[serde(rename = "imageID")]
        image_id: String,
    }

    /// One of the three is set; none at all reads as waiting.
    pub struct ContainerState {
        waiting: Option<Box<ContainerStateWaiting>>,
        running: Option<Box<ContainerStateRunning>>,
        terminated: Option<Box<ContainerStateTerminated>>,
    }

    pub struct ContainerStateWaiting {
        reason: String,
        message: String,
    }

    pub struct ContainerStateRunning {
        started_at: Option<Time>,
    }

    pub struct ContainerStateTerminated {
        signal: i32,
        reason: String,
        message: String,
        #[serde(rename = "containerID")]
        container_id: String,
    } always {
        exit_code: i32,
        started_at: Option<Time>,
        finished_at: Option<Time>,
    }

    pub struct VolumeMountStatus {
        read_only: bool,
        recursive_read_only: Option<String>,
    } always {
        name: String,
        mount_path: String,
    }

    pub struct ContainerUser {
        linux: Option<LinuxContainerUser>,
    }

    pub struct LinuxContainerUser {
        supplemental_groups: Vec<i64>,
    } always {
        uid: i64,
        gid: i64,
    }
}

impl Pod {
    /// `namespace/name`, as events and logs name a pod.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    pub fn is_ready(&self) -> bool {
        self.status.condition("Ready").is_some_and(Condition::is_true)
    }
}

impl PodStatus {
    pub fn condition(&self, r#type: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.r#type == r#type)
    }
}

impl Container {
    /// An init container with `restartPolicy: Always`.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_api_writes_and_writes_it_back() {
        let text = serde_json::json!({
            "metadata": {"name": "a", "namespace": "b", "uid": "c"},
            "spec": {
                "containers": [{"name": "x", "image": "i", "ports": [{"containerPort": 80, "hostIP": "127.0.0.1"}],
                    "livenessProbe": {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 10}}],
                "hostPID": true, "setHostnameAsFQDN": false,
                "volumes": [{"name": "d", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}]
            },
            "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [{
                "name": "x", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "lastState": {}, "ready": false,
                "restartCount": 0, "image": "i", "imageID": "sha256:1", "started": false,
                "user": {"linux": {"uid": 0, "gid": 0, "supplementalGroups": [0]}}}]}
        });
        let pod: Pod = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&pod).unwrap(), text);
    }

    /// A control plane holds one per pod: growth here is a decision.
    #[test]
    fn a_decoded_pod_stays_small() {
        let sizes =
            [size_of::<PodSpec>(), size_of::<Container>(), size_of::<PodStatus>(), size_of::<Volume>()];
        assert!(sizes.iter().zip([800, 520, 420, 100]).all(|(size, most)| *size <= most), "{sizes:?}");
    }
}
