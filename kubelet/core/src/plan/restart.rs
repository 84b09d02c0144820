//! Whether a container that ended is started again.

use kedge_api::pod::{Container, PodSpec};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShouldRestart {
    Yes,
    No,
}

/// By the container's own rules, its own policy, and the pod's policy, in this order (KEP-5307). An ordinary init
/// container that succeeded is never started again; under policy Always it counts as OnFailure.
pub fn should_restart(spec: &PodSpec, container: &Container, exit_code: i32) -> ShouldRestart {
    if container
        .restart_policy_rules
        .iter()
        .any(|rule| rule.action == "Restart" && matches_exit(rule, exit_code))
    {
        return ShouldRestart::Yes;
    }
    let is_init = spec.init_containers.iter().any(|init| init.name == container.name);
    let policy = container.restart_policy.as_deref().unwrap_or(spec.restart_policy.as_str());
    let again = match policy {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        // Always, which is also the default.
        _ if is_init && !container.is_sidecar() => exit_code != 0,
        _ => true,
    };
    if again { ShouldRestart::Yes } else { ShouldRestart::No }
}

fn matches_exit(rule: &kedge_api::pod::ContainerRestartRule, exit_code: i32) -> bool {
    rule.exit_codes.as_ref().is_some_and(|codes| match codes.operator.as_str() {
        "In" => codes.values.contains(&exit_code),
        "NotIn" => !codes.values.contains(&exit_code),
        _ => false,
    })
}
