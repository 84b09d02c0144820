//! podFailurePolicy and successPolicy.

use super::indexes::Indexes;
use crate::api::{OnExitCodes, PodFailurePolicy, PodFailureRule, SuccessPolicy};
use kedge_api::Pod;
use kedge_api::pod::ContainerStatus;

/// What the first matching rule says about a failed pod.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// Towards the back-off limit.
    pub counts: bool,
    pub fails_index: bool,
    /// Why the whole job fails.
    pub fails_job: Option<String>,
}

pub fn verdict(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Verdict {
    let rules = policy.map_or(&[][..], |policy| &policy.rules);
    for (number, rule) in rules.iter().enumerate() {
        let Some(what) = matched(rule, pod) else { continue };
        let action = rule.action.as_str();
        let fails_job =
            (action == "FailJob").then(|| format!("{what} matching {action} rule at index {number}"));
        return Verdict { counts: action != "Ignore", fails_index: action == "FailIndex", fails_job };
    }
    Verdict { counts: true, fails_index: false, fails_job: None }
}

/// In words what the rule found.
fn matched(rule: &PodFailureRule, pod: &Pod) -> Option<String> {
    let name = pod.full_name();
    if let Some(wanted) = &rule.on_exit_codes {
        let statuses = [&pod.status.container_statuses, &pod.status.init_container_statuses];
        let found = statuses.into_iter().find_map(|list| list.iter().find_map(|s| exited(s, wanted)))?;
        return Some(format!("Container {} for pod {name} failed with exit code {}", found.0, found.1));
    }
    let condition = pod.status.conditions.iter().find(|condition| {
        let fits = |pattern: &crate::api::OnPodCondition| {
            pattern.r#type == condition.r#type && pattern.status == condition.status
        };
        rule.on_pod_conditions.iter().any(fits)
    })?;
    Some(format!("Pod {name} has condition {}", condition.r#type))
}

fn exited<'a>(status: &'a ContainerStatus, wanted: &OnExitCodes) -> Option<(&'a str, i32)> {
    let code = status.state.terminated.as_ref()?.exit_code;
    let named = wanted.container_name.as_ref().is_none_or(|name| *name == status.name);
    let listed = wanted.values.contains(&code);
    let fits = match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    };
    (code != 0 && named && fits).then_some((&*status.name, code))
}

/// The words of the first rule that is met.
pub fn success(policy: &SuccessPolicy, completions: i64, succeeded: &Indexes) -> Option<String> {
    let met = policy.rules.iter().position(|rule| match (&rule.succeeded_indexes, rule.succeeded_count) {
        (Some(text), count) => {
            let wanted = Indexes::parse(text, completions);
            let common = wanted.common(succeeded);
            wanted.total() > 0 && common >= count.unwrap_or(wanted.total())
        }
        (None, Some(count)) => succeeded.total() >= count,
        (None, None) => false,
    })?;
    Some(format!("Matched rules at index {met}"))
}
