//! `Localhost` profiles: the JSON of the OCI runtime specification.

use serde::Deserialize;

use super::assemble::{Action, Argument, Comparison, Policy, Rule};
use super::syscalls::number;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    #[error("seccomp profile is not valid JSON: {0}")]
    Json(String),
    #[error("seccomp profile: unknown action {0:?}")]
    Action(String),
    #[error("seccomp profile: unknown comparison {0:?}")]
    Comparison(String),
    #[error("seccomp profile: argument index {0} is above 5")]
    Index(u32),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    syscalls: Vec<Syscalls>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Syscalls {
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Arg>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// Names that this architecture does not have are left out, as the specification asks.
pub fn parse(json: &[u8]) -> Result<Policy, ProfileError> {
    let profile: Profile =
        serde_json::from_slice(json).map_err(|error| ProfileError::Json(error.to_string()))?;
    let mut policy = Policy {
        default: action(&profile.default_action, profile.default_errno_ret)?,
        rules: Default::default(),
    };
    for syscalls in &profile.syscalls {
        let arguments = syscalls.args.iter().flatten().map(argument).collect::<Result<Vec<_>, _>>()?;
        let rule = Rule { arguments, action: action(&syscalls.action, syscalls.errno_ret)? };
        for number in syscalls.names.iter().filter_map(|name| number(name)) {
            policy.rules.entry(number).or_default().push(rule.clone());
        }
    }
    Ok(policy)
}

fn action(name: &str, errno: Option<u16>) -> Result<Action, ProfileError> {
    const EPERM: u16 = 1;
    match name {
        "SCMP_ACT_ALLOW" => Ok(Action::Allow),
        "SCMP_ACT_LOG" => Ok(Action::Log),
        "SCMP_ACT_ERRNO" => Ok(Action::Errno(errno.unwrap_or(EPERM))),
        "SCMP_ACT_TRACE" => Ok(Action::Trace(errno.unwrap_or(EPERM))),
        "SCMP_ACT_TRAP" => Ok(Action::Trap),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Ok(Action::KillThread),
        "SCMP_ACT_KILL_PROCESS" => Ok(Action::KillProcess),
        other => Err(ProfileError::Action(other.to_owned())),
    }
}

fn argument(arg: &Arg) -> Result<Argument, ProfileError> {
    if arg.index > 5 {
        return Err(ProfileError::Index(arg.index));
    }
    let comparison = match arg.op.as_str() {
        "SCMP_CMP_EQ" => Comparison::Equal(arg.value),
        "SCMP_CMP_NE" => Comparison::NotEqual(arg.value),
        "SCMP_CMP_GT" => Comparison::Greater(arg.value),
        "SCMP_CMP_GE" => Comparison::GreaterOrEqual(arg.value),
        "SCMP_CMP_LT" => Comparison::Less(arg.value),
        "SCMP_CMP_LE" => Comparison::LessOrEqual(arg.value),
        "SCMP_CMP_MASKED_EQ" => Comparison::MaskedEqual { mask: arg.value, value: arg.value_two },
        other => return Err(ProfileError::Comparison(other.to_owned())),
    };
    Ok(Argument { index: arg.index, comparison })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_profile() {
        let policy = parse(
            br#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64"],
                "syscalls":[{"names":["read","no_such_call"],"action":"SCMP_ACT_ALLOW"},
                {"names":["write"],"action":"SCMP_ACT_ERRNO","errnoRet":5,
                 "args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
        )
        .unwrap();
        assert_eq!(policy.default, Action::Errno(38));
        assert_eq!(policy.rules.keys().collect::<Vec<_>>(), [&0, &1]);
        assert_eq!(policy.rules[&1][0].action, Action::Errno(5));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let unknown = br#"{"defaultAction":"SCMP_ACT_MAYBE"}"#;
        assert_eq!(parse(unknown), Err(ProfileError::Action("SCMP_ACT_MAYBE".into())));
        assert!(matches!(parse(b"{"), Err(ProfileError::Json(_))));
    }
}
