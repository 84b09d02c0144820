//! Who set which field: kept on every write.
//!
//! Each write is compared with what was stored. Fields that changed belong to the writer from then on and to nobody else;
//! fields that went belong to no one. Server-side apply builds on the same [`Set`]s and [`Manager`]s.

mod compare;
mod set;

pub use compare::{Comparison, compare};
pub use set::{Set, Step};

use crate::schema::{Type, conform, json::Node, type_of};
use kedge_api::kinds::Kind;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// `metav1.ManagedFieldsEntry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    pub name: String,
    pub operation: Operation,
    pub api_version: String,
    /// Empty for the main resource.
    pub subresource: String,
    /// RFC 3339; empty if the client gave none.
    pub time: String,
    pub set: Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

/// Fields that nobody manages.
const UNMANAGED: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "resourceVersion"],
];

/// Upstream's limit on the Update entries of one object, and what holds the fields of the oldest beyond it.
const UPDATE_MANAGERS_MAX: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// The manager of a request: `fieldManager`, else the product in its User-Agent.
pub fn manager_name(field_manager: &str, user_agent: &str) -> String {
    const BYTES_MAX: usize = 128;
    if !field_manager.is_empty() {
        return field_manager.to_owned();
    }
    let mut name = String::new();
    for letter in user_agent.split('/').next().unwrap_or_default().chars().filter(|c| !c.is_control()) {
        if name.len() + letter.len_utf8() > BYTES_MAX {
            break;
        }
        name.push(letter);
    }
    name
}

/// Writes `metadata.managedFields` of an object that is created (`old` None) or replaced.
///
/// Call it with the object as the client wants it, defaults filled in, before a strategy or admission changes it: what the
/// server sets belongs to nobody. `kind` is the object's own, also for a subresource like `scale` that changes it.
pub fn update(
    old: Option<&Value>,
    new: &mut Value,
    kind: &Kind,
    manager: &str,
    subresource: &str,
    now: &str,
) {
    let form =
        Form { ty: type_of(kind), api_version: kind.api_version(), reset: reset_fields(kind, subresource) };
    update_as(old, new, &form, manager, subresource, now);
}

/// The same for the body of a subresource that is an object of its own, such as a TokenRequest.
pub fn of_subresource(
    new: &mut Value,
    ty: &'static Type,
    api_version: &str,
    manager: &str,
    subresource: &str,
    now: &str,
) {
    let form = Form { ty, api_version: api_version.to_owned(), reset: &[] };
    update_as(None, new, &form, manager, subresource, now);
}

/// What is compared: the type, its version, and the fields that a write cannot change.
struct Form {
    ty: &'static Type,
    api_version: String,
    reset: &'static [&'static [&'static str]],
}

fn update_as(old: Option<&Value>, new: &mut Value, form: &Form, manager: &str, subresource: &str, now: &str) {
    let mut managers = managers_before(old, new, subresource);
    let tracked = old.is_none() || !managers.is_empty();
    if tracked {
        let comparison = changes(old, new, form);
        for other in &mut managers {
            other.set.difference(&comparison.removed);
            other.set.difference(&comparison.changed);
        }
        if !comparison.changed.is_empty() {
            let own = Manager {
                name: manager.to_owned(),
                operation: Operation::Update,
                api_version: form.api_version.clone(),
                subresource: subresource.to_owned(),
                time: now.to_owned(),
                set: comparison.changed,
            };
            merge_own(&mut managers, own);
        }
        managers.retain(|m| !m.set.is_empty());
        forget_ancient(&mut managers);
    }
    write(new, managers);
}

/// Whose fields count before this write. A client may replace the list on the main resource, or reset it with one empty entry;
/// clients that do not know the field send none and change nothing.
fn managers_before(old: Option<&Value>, new: &Value, subresource: &str) -> Vec<Manager> {
    let stored = || old.and_then(read).unwrap_or_default();
    if !subresource.is_empty() {
        return stored();
    }
    if new["metadata"]["managedFields"]
        .as_array()
        .is_some_and(|entries| *entries == [json!({})] || is_reset(entries))
    {
        return Vec::new();
    }
    match read(new) {
        Some(managers) if !managers.is_empty() => managers,
        _ => stored(),
    }
}

/// `[{}]`, also after its zero values were filled in.
fn is_reset(entries: &[Value]) -> bool {
    let blank = |value: &Value| value.is_null() || value.as_str() == Some("");
    matches!(entries, [Value::Object(entry)] if entry.values().all(blank))
}

/// The managers of an object; None: the list does not parse.
pub fn read(object: &Value) -> Option<Vec<Manager>> {
    object["metadata"]["managedFields"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(entry)
        .collect()
}

fn entry(entry: &Value) -> Option<Manager> {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let operation = match entry["operation"].as_str()? {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    if entry["fieldsType"] != "FieldsV1" {
        return None;
    }
    let set = match &entry["fieldsV1"] {
        Value::Null => Set::default(),
        fields => Set::parse_root(fields)?,
    };
    Some(Manager {
        name: text("manager"),
        operation,
        api_version: text("apiVersion"),
        subresource: text("subresource"),
        time: text("time"),
        set,
    })
}

/// Compares what the write may change. A creation is compared with the zero object, whose structs are there already.
fn changes(old: Option<&Value>, new: &Value, form: &Form) -> Comparison {
    let zero = match old {
        Some(_) => Value::Null,
        None => conform(Node::Null, form.ty).map(|c| c.value).unwrap_or_else(|_| json!({})),
    };
    let mut comparison = compare(old.unwrap_or(&zero), new, form.ty);
    for set in [&mut comparison.changed, &mut comparison.removed] {
        for path in form.reset {
            let path: Vec<Step> = path.iter().map(|name| Step::Field((*name).to_owned())).collect();
            set.remove_below(&path);
        }
        set.remove_below(&UNMANAGED_STEPS.1);
        for path in &UNMANAGED_STEPS.0 {
            set.remove(path);
        }
    }
    comparison
}

/// [`UNMANAGED`] as steps, and the list itself, which is no field of anybody.
static UNMANAGED_STEPS: LazyLock<(Vec<Vec<Step>>, Vec<Step>)> = LazyLock::new(|| {
    let steps = |path: &[&str]| path.iter().map(|name| Step::Field((*name).to_owned())).collect();
    (UNMANAGED.iter().map(|path| steps(path)).collect(), steps(&["metadata", "managedFields"]))
});

/// What a write cannot change because the strategy puts it back.
fn reset_fields(kind: &Kind, subresource: &str) -> &'static [&'static [&'static str]] {
    match (subresource, kind.kind) {
        ("", "CertificateSigningRequest") => &[&["spec"], &["status"]],
        ("", _) if kind.subresource("status").is_some() => &[&["status"]],
        ("status", "Deployment") => &[&["spec"], &["metadata", "labels"]],
        ("status", "Pod") => {
            &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]
        }
        ("status", "CertificateSigningRequest") => &[&["spec"], &["status", "conditions"]],
        ("approval", "CertificateSigningRequest") => &[&["spec"], &["status", "certificate"]],
        (
            "status",
            "ServiceCIDR"
            | "ResourceClaim"
            | "VolumeAttachment"
            | "FlowSchema"
            | "PriorityLevelConfiguration"
            | "ValidatingAdmissionPolicy"
            | "CustomResourceDefinition",
        ) => &[&["spec"], &["metadata"]],
        ("status", _) => &[&["spec"]],
        _ => &[],
    }
}

fn merge_own(managers: &mut Vec<Manager>, own: Manager) {
    let same = |m: &&mut Manager| {
        m.operation == own.operation
            && m.name == own.name
            && m.subresource == own.subresource
            && m.api_version == own.api_version
    };
    match managers.iter_mut().find(same) {
        Some(manager) => {
            manager.set.union(&own.set);
            manager.time = own.time;
        }
        None => managers.push(own),
    }
}

/// Joins the oldest Update entries of one version until few enough are left.
fn forget_ancient(managers: &mut Vec<Manager>) {
    sort(managers);
    while managers.iter().filter(|m| m.operation == Operation::Update).count() > UPDATE_MANAGERS_MAX {
        let Some((first, second)) = oldest_pair(managers) else {
            return;
        };
        let younger = managers.remove(second);
        let bucket = &mut managers[first];
        bucket.name = ANCIENT.to_owned();
        bucket.subresource = String::new();
        bucket.time = younger.time;
        bucket.set.union(&younger.set);
    }
}

/// The first two Update entries of the same version, in a sorted list.
fn oldest_pair(managers: &[Manager]) -> Option<(usize, usize)> {
    let update = |index: &usize| managers[*index].operation == Operation::Update;
    (0..managers.len()).filter(update).find_map(|first| {
        let same = |index: &usize| managers[*index].api_version == managers[first].api_version;
        let second = (first + 1..managers.len()).filter(update).find(same)?;
        Some((first, second))
    })
}

/// Upstream's order: Apply before Update, older before younger.
fn sort(managers: &mut [Manager]) {
    fn key(m: &Manager) -> (Operation, &str, &str, &str, &str) {
        (m.operation, &m.time, &m.name, &m.api_version, &m.subresource)
    }
    managers.sort_by(|a, b| key(a).cmp(&key(b)));
}

/// Writes the list into an object; without managers there is none.
pub fn write(object: &mut Value, mut managers: Vec<Manager>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    if managers.is_empty() {
        metadata.remove("managedFields");
        return;
    }
    sort(&mut managers);
    let entries: Vec<Value> = managers.iter().map(to_entry).collect();
    metadata.insert("managedFields".to_owned(), Value::Array(entries));
}

fn to_entry(manager: &Manager) -> Value {
    let operation = match manager.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut entry = Map::new();
    for (key, word) in [
        ("manager", manager.name.as_str()),
        ("operation", operation),
        ("apiVersion", &manager.api_version),
        ("time", &manager.time),
        ("fieldsType", "FieldsV1"),
        ("subresource", &manager.subresource),
    ] {
        if !word.is_empty() {
            entry.insert(key.to_owned(), word.into());
        }
    }
    entry.insert("fieldsV1".to_owned(), manager.set.to_fields());
    Value::Object(entry)
}

#[cfg(test)]
mod tests;
