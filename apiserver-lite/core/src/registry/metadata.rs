//! `metadata`, which every kind shares: what the server fills in, and what it refuses.

use crate::status::{Finding, FindingKind, Findings};
use kedge_api::kinds::Kind;
use kedge_api::{Time, names};
use serde_json::{Value, json};

const ANNOTATIONS_MAX: usize = 256 * 1024;
/// A generated name keeps this much of generateName, so that the whole fits a label.
const GENERATED_BASE_MAX: usize = 58;

/// What a create sets or takes away, whatever the client sent.
pub fn prepare_create(object: &mut Value, namespace: &str, now: Time, uid: &str, suffix: &str) {
    let metadata = metadata_mut(object);
    metadata.remove("resourceVersion");
    let generate = metadata.get("generateName").and_then(Value::as_str).unwrap_or_default().to_owned();
    let named = metadata.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if !named && !generate.is_empty() {
        let mut end = generate.len().min(GENERATED_BASE_MAX);
        while !generate.is_char_boundary(end) {
            end -= 1;
        }
        metadata.insert("name".to_owned(), format!("{}{suffix}", &generate[..end]).into());
    }
    if !namespace.is_empty() {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    metadata.insert("creationTimestamp".to_owned(), now.to_string().into());
    metadata.insert("uid".to_owned(), uid.into());
}

/// What no client sets, and nobody owns, on a create.
pub fn drop_unsettable(object: &mut Value) {
    for key in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata_mut(object).remove(key);
    }
}

/// Leaves a field out that is null.
pub fn drop_null(object: &mut Value, key: &str) {
    if object["metadata"][key].is_null() {
        metadata_mut(object).remove(key);
    }
}

/// What an update keeps from the stored object, whatever the client sent.
pub fn prepare_update(object: &mut Value, old: &Value) {
    let old = &old["metadata"];
    let metadata = metadata_mut(object);
    metadata.remove("selfLink");
    for key in ["generation", "creationTimestamp"] {
        match &old[key] {
            Value::Null => metadata.remove(key),
            kept => metadata.insert(key.to_owned(), kept.clone()),
        };
    }
    if metadata.get("uid").and_then(Value::as_str).is_none_or(str::is_empty) {
        metadata.insert("uid".to_owned(), old["uid"].clone());
    }
    if !old["namespace"].is_null() {
        metadata.insert("namespace".to_owned(), old["namespace"].clone());
    }
    if !old["deletionTimestamp"].is_null() {
        metadata.insert("deletionTimestamp".to_owned(), old["deletionTimestamp"].clone());
    }
    let has_grace = metadata.get("deletionGracePeriodSeconds").is_some_and(|grace| !grace.is_null());
    if !old["deletionGracePeriodSeconds"].is_null() && !has_grace {
        let kept = old["deletionGracePeriodSeconds"].clone();
        metadata.insert("deletionGracePeriodSeconds".to_owned(), kept);
    }
}

fn metadata_mut(object: &mut Value) -> &mut serde_json::Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"].as_object_mut().expect("it was made an object above")
}

/// All findings about the metadata of an object to be created.
pub fn validate(kind: &Kind, object: &Value) -> Findings {
    let check = name_check(kind);
    let mut findings = check_name(object, check);
    findings.extend(check_common(kind, object));
    if !matches!(kind.group, "apiextensions.k8s.io" | "apiregistration.k8s.io") {
        findings.extend(check_finalizer_names(&object["metadata"]["finalizers"]));
    }
    findings
}

/// A created object of the built-in groups starts with finalizers that somebody will take off.
fn check_finalizer_names(finalizers: &Value) -> Findings {
    const STANDARD: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
    let names = strings(finalizers).into_iter().enumerate();
    let wrong = names.filter(|(_, name)| !name.contains('/') && !STANDARD.contains(name));
    let why = "name is neither a standard finalizer name nor is it fully qualified";
    wrong.map(|(index, name)| invalid(&format!("metadata.finalizers[{index}]"), name, why)).collect()
}

/// All findings about a changed object's metadata. Upstream looks twice, once for every kind and once in the validation of
/// the kind, and reports both; a client sees each finding of the second look doubled.
pub fn validate_update(kind: &Kind, object: &Value, old: &Value) -> Findings {
    let mut findings = check_name(object, names::path_segment);
    findings.extend(check_common(kind, object));
    let changes = check_changes(object, old);
    findings.extend(changes.clone());
    findings.extend(changes);
    findings
}

type NameCheck = fn(&str) -> Vec<String>;

fn name_check(kind: &Kind) -> NameCheck {
    match (kind.group, kind.kind) {
        ("", "Namespace" | "Service") => names::dns_label,
        ("rbac.authorization.k8s.io", _) => names::path_segment,
        ("apiregistration.k8s.io", "APIService") => names::path_segment,
        ("networking.k8s.io", "IPAddress") => canonical_address,
        ("apps", "StatefulSet") => names::dns_label,
        _ => names::dns_subdomain,
    }
}

/// An IPAddress is named by what it is, in the one form that is canonical.
fn canonical_address(name: &str) -> Vec<String> {
    match name.parse::<std::net::IpAddr>() {
        Ok(address) if address.to_string() == name => Vec::new(),
        _ => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
    }
}

fn check_name(object: &Value, check: NameCheck) -> Findings {
    let metadata = &object["metadata"];
    let text = |key: &str| metadata[key].as_str().unwrap_or_default();
    let mut findings = Findings::new();
    if !text("generateName").is_empty() {
        // A trailing dash is completed by the suffix.
        let base = text("generateName");
        let masked = base.strip_suffix('-').map_or_else(|| base.to_owned(), |stem| format!("{stem}a"));
        findings.extend(check(&masked).iter().map(|why| invalid("metadata.generateName", base, why)));
    }
    match text("name") {
        "" => findings.push(finding(
            FindingKind::Required,
            "metadata.name",
            "Required value: name or generateName is required".to_owned(),
        )),
        name => findings.extend(check(name).iter().map(|why| invalid("metadata.name", name, why))),
    }
    findings
}

fn check_common(kind: &Kind, object: &Value) -> Findings {
    let metadata = &object["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or_default();
    let mut findings = Findings::new();
    match (kind.namespaced, namespace) {
        (true, "") => {
            findings.push(finding(FindingKind::Required, "metadata.namespace", "Required value".to_owned()));
        }
        (true, _) => findings.extend(
            names::dns_label(namespace).iter().map(|why| invalid("metadata.namespace", namespace, why)),
        ),
        (false, "") => {}
        (false, _) => {
            let message = "Forbidden: not allowed on this type".to_owned();
            findings.push(finding(FindingKind::Forbidden, "metadata.namespace", message));
        }
    }
    if let Some(generation) = metadata["generation"].as_i64().filter(|generation| *generation < 0) {
        let message = format!("Invalid value: {generation}: must be greater than or equal to 0");
        findings.push(finding(FindingKind::Invalid, "metadata.generation", message));
    }
    findings.extend(check_labels_and_annotations(metadata));
    findings.extend(check_owners(&metadata["ownerReferences"]));
    findings.extend(check_finalizers(&metadata["finalizers"]));
    findings
}

fn check_labels_and_annotations(metadata: &Value) -> Findings {
    let mut findings = Findings::new();
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        findings.extend(names::qualified_name(key).iter().map(|why| invalid("metadata.labels", key, why)));
        findings.extend(names::label_value(value).iter().map(|why| invalid("metadata.labels", value, why)));
    }
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        size += key.len() + value.as_str().unwrap_or_default().len();
        let lower = key.to_lowercase();
        findings.extend(
            names::qualified_name(&lower).iter().map(|why| invalid("metadata.annotations", key, why)),
        );
    }
    if size > ANNOTATIONS_MAX {
        let message = format!("Too long: may not be more than {ANNOTATIONS_MAX} bytes");
        findings.push(finding(FindingKind::TooLong, "metadata.annotations", message));
    }
    findings
}

fn check_owners(owners: &Value) -> Findings {
    let mut findings = Findings::new();
    let mut controller: Option<String> = None;
    for owner in owners.as_array().into_iter().flatten() {
        let text = |key: &str| owner[key].as_str().unwrap_or_default();
        let missing = [("apiVersion", "version must not be empty")]
            .into_iter()
            .chain(["kind", "name", "uid"].into_iter().map(|key| (key, "must not be empty")));
        // What is no group and version has no version.
        let unversioned = text("apiVersion").matches('/').count() > 1;
        for (key, why) in
            missing.filter(|(key, _)| text(key).is_empty() || *key == "apiVersion" && unversioned)
        {
            findings.push(invalid(&format!("metadata.ownerReferences.{key}"), text(key), why));
        }
        if text("apiVersion") == "v1" && text("kind") == "Event" {
            let shown = serde_json::to_string(owner).unwrap_or_default();
            let message =
                format!("Invalid value: {shown}: /v1, Kind=Event is disallowed from being an owner");
            findings.push(finding(FindingKind::Invalid, "metadata.ownerReferences", message));
        }
        if owner["controller"].as_bool() == Some(true) {
            let name = format!("{}/{}", text("kind"), text("name"));
            if let Some(first) = &controller {
                let shown = shown_owners(owners);
                let message = format!(
                    "Invalid value: {shown}: Only one reference can have Controller set to true. \
                     Found \"true\" in references for {first} and {name}"
                );
                findings.push(finding(FindingKind::Invalid, "metadata.ownerReferences", message));
            }
            controller.get_or_insert(name);
        }
    }
    findings
}

/// Owner references as Go writes them: in the order of their struct.
fn shown_owners(owners: &Value) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let one = |owner: &Value| {
        let present = fields.iter().filter(|field| !owner[**field].is_null());
        let members: Vec<String> = present.map(|field| format!("\"{field}\":{}", owner[*field])).collect();
        format!("{{{}}}", members.join(","))
    };
    let owners: Vec<String> = owners.as_array().into_iter().flatten().map(one).collect();
    format!("[{}]", owners.join(","))
}

fn check_finalizers(finalizers: &Value) -> Findings {
    let list = strings(finalizers);
    let mut findings = Findings::new();
    for finalizer in &list {
        let wrong = names::qualified_name(finalizer);
        findings.extend(wrong.iter().map(|why| invalid("metadata.finalizers", finalizer, why)));
    }
    if list.contains(&"orphan") && list.contains(&"foregroundDeletion") {
        let message = format!(
            "Invalid value: {finalizers}: finalizer orphan and foregroundDeletion cannot be both set"
        );
        findings.push(finding(FindingKind::Invalid, "metadata.finalizers", message));
    }
    findings
}

fn check_changes(object: &Value, old: &Value) -> Findings {
    let (new, old) = (&object["metadata"], &old["metadata"]);
    let mut findings = Findings::new();
    if !old["deletionTimestamp"].is_null() {
        let before = strings(&old["finalizers"]);
        let mut extra: Vec<&str> = strings(&new["finalizers"]);
        extra.retain(|finalizer| !before.contains(finalizer));
        extra.sort_unstable();
        extra.dedup();
        if !extra.is_empty() {
            let shown: Vec<String> = extra.iter().map(|finalizer| format!("{finalizer:?}")).collect();
            let message = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new \
                 finalizers []string{{{}}}",
                shown.join(", ")
            );
            findings.push(finding(FindingKind::Forbidden, "metadata.finalizers", message));
        }
    }
    for key in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        if new[key] != old[key] {
            let message = format!("Invalid value: {}: field is immutable", new[key]);
            findings.push(finding(FindingKind::Invalid, &format!("metadata.{key}"), message));
        }
    }
    findings
}

/// The strings of a JSON list.
pub fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn finding(kind: FindingKind, field: &str, message: String) -> Finding {
    Finding { kind, field: field.to_owned(), message }
}

fn invalid(field: &str, value: &str, why: &str) -> Finding {
    let shown = Value::from(value);
    finding(FindingKind::Invalid, field, format!("Invalid value: {shown}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_api::kinds::lookup;

    fn check(metadata: Value, expected: &str) {
        let kind = lookup("", "v1", "configmaps").unwrap();
        let findings = validate(kind, &json!({"metadata": metadata}));
        let texts: Vec<String> = findings.iter().map(|f| format!("{}: {}", f.field, f.message)).collect();
        assert!(texts.join("; ").starts_with(expected), "{texts:?}");
        assert_eq!(texts.is_empty(), expected.is_empty(), "{texts:?}");
    }

    #[test]
    fn findings() {
        check(json!({"name": "a", "namespace": "n"}), "");
        check(json!({"namespace": "n"}), "metadata.name: Required value: name or generateName is required");
        check(
            json!({"name": "A", "namespace": "n"}),
            "metadata.name: Invalid value: \"A\": a lowercase RFC 1123",
        );
        check(json!({"generateName": "a-", "name": "a-x", "namespace": "n"}), "");
        check(json!({"name": "a"}), "metadata.namespace: Required value");
        check(
            json!({"name": "a", "namespace": "n", "finalizers": ["x y"]}),
            "metadata.finalizers: Invalid value",
        );
        check(
            json!({"name": "a", "namespace": "n", "ownerReferences": [{"apiVersion": "v1"}]}),
            "metadata.ownerReferences.kind: Invalid value: \"\": must not be empty",
        );
    }

    #[test]
    fn generated_names() {
        let mut object = json!({"metadata": {"generateName": "a-", "resourceVersion": "1"}});
        prepare_create(&mut object, "n", Time(0), "u", "xyz12");
        assert_eq!(
            object["metadata"],
            json!({
                "generateName": "a-", "name": "a-xyz12", "namespace": "n", "uid": "u",
                "creationTimestamp": "1970-01-01T00:00:00Z",
            })
        );
    }
}
