//! Security contexts of pods and containers.

use super::super::access::Read;
use super::super::field::{Path, forbidden, invalid, invalid_struct, not_supported, required};
use super::mounts::validate_descending;
use super::validation::Context;
use crate::status::Findings;
use kedge_api::names;
use serde_json::{Value, json};

const SYSCTL_LENGTH_MAX: usize = 253;
const SYSCTL: &str = "must have at most 253 characters and match regex \
                      ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

pub(super) fn validate_pod(spec: &Value, path: &Path) -> Findings {
    let context = &spec["securityContext"];
    let at = path.child("securityContext");
    let mut findings = Findings::new();
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        findings.extend(validate_id(context, field, &at));
    }
    for (index, group) in context.list("supplementalGroups").iter().enumerate() {
        let group = group.as_i64().unwrap_or_default();
        for why in names::group_id(group) {
            findings.push(invalid(&at.child("supplementalGroups").index(index), group, &why));
        }
    }
    if spec.flag("shareProcessNamespace") && spec.flag("hostPID") {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        findings.push(invalid(&at.child("shareProcessNamespace"), true, why));
    }
    findings.extend(validate_sysctls(spec, &at.child("sysctls")));
    for (field, supported) in [
        ("fsGroupChangePolicy", ["Always", "OnRootMismatch"]),
        ("supplementalGroupsPolicy", ["Merge", "Strict"]),
        ("seLinuxChangePolicy", ["MountOption", "Recursive"]),
    ] {
        let policy = context.text(field);
        if context.has(field) && !supported.contains(&policy) {
            findings.push(not_supported(&at.child(field), policy, &supported));
        }
        if field == "fsGroupChangePolicy" {
            findings.extend(validate_profiles(context, &at));
        }
    }
    findings
}

fn validate_id(context: &Value, field: &str, path: &Path) -> Findings {
    let Some(id) = context.number(field) else {
        return Findings::new();
    };
    names::user_id(id).iter().map(|why| invalid(&path.child(field), id, why)).collect()
}

fn validate_profiles(context: &Value, path: &Path) -> Findings {
    let mut findings = validate_seccomp(&context["seccompProfile"], &path.child("seccompProfile"));
    findings.extend(validate_app_armor(&context["appArmorProfile"], &path.child("appArmorProfile")));
    findings
}

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

fn validate_seccomp(profile: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if profile.is_null() {
        return findings;
    }
    let (kind, at) = (profile.text("type"), path.child("localhostProfile"));
    match kind {
        "" => findings.push(required(&path.child("type"), "type is required when seccompProfile is set")),
        _ if !PROFILES.contains(&kind) => findings.push(not_supported(&path.child("type"), kind, &PROFILES)),
        _ => {}
    }
    match (kind, profile.has("localhostProfile")) {
        ("Localhost", false) => findings.push(required(&at, "must be set when seccomp type is Localhost")),
        ("Localhost", true) => findings.extend(validate_descending(profile.text("localhostProfile"), &at)),
        (_, true) => {
            let shown = [("Type", kind.into()), ("LocalhostProfile", profile["localhostProfile"].clone())];
            findings.push(invalid_struct(&at, &shown, "can only be set when seccomp type is Localhost"));
        }
        (_, false) => {}
    }
    findings
}

fn validate_app_armor(profile: &Value, path: &Path) -> Findings {
    if profile.is_null() {
        return Findings::new();
    }
    let (kind, local) = (profile.text("type"), profile.text("localhostProfile"));
    let at = path.child("localhostProfile");
    match kind {
        "Localhost" if local.trim().is_empty() && local.is_empty() => {
            vec![required(&at, "must be set when AppArmor type is Localhost")]
        }
        "Localhost" if local.trim() != local => {
            vec![invalid(&at, local, "must not be padded with whitespace")]
        }
        "Localhost" => Findings::new(),
        "RuntimeDefault" | "Unconfined" if profile.has("localhostProfile") => {
            vec![invalid(&at, local, "can only be set when AppArmor type is Localhost")]
        }
        "RuntimeDefault" | "Unconfined" => Findings::new(),
        "" => vec![required(&path.child("type"), "type is required when appArmorProfile is set")],
        other => vec![not_supported(&path.child("type"), other, &PROFILES)],
    }
}

fn validate_sysctls(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let mut seen: Vec<String> = Vec::new();
    for (index, sysctl) in spec["securityContext"].list("sysctls").iter().enumerate() {
        let (at, name) = (path.index(index).child("name"), sysctl.text("name"));
        if name.is_empty() {
            findings.push(required(&at, ""));
            continue;
        }
        if !is_sysctl(name) {
            findings.push(invalid(&at, name, SYSCTL));
        }
        let dotted = name.replace('/', ".");
        if seen.contains(&dotted) {
            findings.push(super::super::field::duplicate(&at, name));
        }
        for (flag, prefix, kind) in
            [("hostNetwork", "net.", "hostNetwork"), ("hostIPC", "kernel.shm", "hostIPC")]
        {
            if spec.flag(flag) && dotted.starts_with(prefix) {
                let why = format!("may not be specified when '{kind}' is true");
                findings.push(invalid(&at, name, &why));
            }
        }
        seen.push(dotted);
    }
    findings
}

fn is_sysctl(name: &str) -> bool {
    let alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part = |part: &str| {
        part.starts_with(alnum)
            && part.ends_with(alnum)
            && part.chars().all(|c| alnum(c) || c == '-' || c == '_')
    };
    name.len() <= SYSCTL_LENGTH_MAX && name.split(['.', '/']).all(is_part)
}

pub(super) fn validate_container(container: &Value, context: &Context<'_>, path: &Path) -> Findings {
    let own = &container["securityContext"];
    let mut findings = Findings::new();
    if own.is_null() {
        return findings;
    }
    for field in ["runAsUser", "runAsGroup"] {
        findings.extend(validate_id(own, field, path));
    }
    if own.has("procMount") {
        let (kind, at) = (own.text("procMount"), path.child("procMount"));
        if !["Default", "Unmasked"].contains(&kind) {
            findings.push(not_supported(&at, kind, &["Default", "Unmasked"]));
        }
        if context.host_users && kind == "Unmasked" {
            findings.push(invalid(&at, kind, "`hostUsers` must be false to use `Unmasked`"));
        }
    }
    findings.extend(validate_seccomp(&own["seccompProfile"], &path.child("seccompProfile")));
    if own["allowPrivilegeEscalation"].as_bool() == Some(false) {
        let mut refuse = |why: &str| findings.push(invalid_struct(path, &shown(own), why));
        if own.flag("privileged") {
            refuse("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        if own["capabilities"].texts("add").any(|capability| capability == "CAP_SYS_ADMIN") {
            refuse("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    findings.extend(validate_app_armor(&own["appArmorProfile"], &path.child("appArmorProfile")));
    findings
}

/// The context as upstream's messages show it.
fn shown(context: &Value) -> Vec<(&'static str, Value)> {
    let mut capabilities = Value::Null;
    if context.has("capabilities") {
        capabilities =
            json!({"Add": context["capabilities"]["add"], "Drop": context["capabilities"]["drop"]});
    }
    let mut shown = vec![("Capabilities", capabilities)];
    for (name, field) in [
        ("Privileged", "privileged"),
        ("SELinuxOptions", "seLinuxOptions"),
        ("WindowsOptions", "windowsOptions"),
        ("RunAsUser", "runAsUser"),
        ("RunAsGroup", "runAsGroup"),
        ("RunAsNonRoot", "runAsNonRoot"),
        ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem"),
        ("AllowPrivilegeEscalation", "allowPrivilegeEscalation"),
        ("ProcMount", "procMount"),
        ("SeccompProfile", "seccompProfile"),
        ("AppArmorProfile", "appArmorProfile"),
    ] {
        shown.push((name, context[field].clone()));
    }
    shown
}

/// The fields that only Linux has.
pub(super) fn validate_windows_pod(spec: &Value, path: &Path) -> Findings {
    let why = "cannot be set for a windows pod";
    let at = path.child("securityContext");
    let mut findings = Findings::new();
    let own = [
        "fsGroup",
        "runAsUser",
        "runAsGroup",
        "seLinuxOptions",
        "seccompProfile",
        "sysctls",
        "supplementalGroups",
    ];
    for field in own.iter().filter(|field| spec["securityContext"].has(field)) {
        findings.push(forbidden(&at.child(field), why));
    }
    for field in ["hostPID", "hostIPC", "shareProcessNamespace"].iter().filter(|field| spec.flag(field)) {
        findings.push(forbidden(&path.child(field), why));
    }
    findings
}
