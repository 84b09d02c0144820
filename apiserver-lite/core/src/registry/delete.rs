//! Deletion: grace periods, finalizers, propagation.
//!
//! ```text
//! stored ──DELETE, finalizers or grace──▶ terminating ──last finalizer gone and grace 0──▶ gone
//!    └───────────────DELETE, neither──────────────────────────────────────────────────────▲
//! ```

use super::encode::{Encoded, decode};
use super::metadata::strings;
use super::options::{DeleteOptions, Propagation};
use super::write::{Body, Call, Step, Version};
use crate::admission::{self, Operation};
use crate::status::ApiError;
use kedge_api::Time;
use kedge_api::kinds::Kind;
use kedge_store::{Entry, Guard, Op};
use serde_json::{Value, json};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Kinds whose DELETE answers with the object instead of a Status.
const RETURN_OBJECT: &[(&str, &str)] = &[
    ("", "Pod"),
    ("", "Service"),
    ("", "Namespace"),
    ("", "ServiceAccount"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "PodTemplate"),
    ("", "ResourceQuota"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("storage.k8s.io", "VolumeAttributesClass"),
    ("resource.k8s.io", "DeviceClass"),
    ("resource.k8s.io", "ResourceClaim"),
    ("resource.k8s.io", "ResourceClaimTemplate"),
    ("resource.k8s.io", "ResourceSlice"),
];

/// What one deletion does to the stored object.
enum Fate {
    /// Nothing to write: it is on its way already.
    Pending,
    /// Write the object, marked; the flag says that it is deleted right after.
    Mark {
        object: Value,
        then_delete: bool,
    },
    Delete,
}

pub fn delete(call: &Call<'_>, options: &DeleteOptions) -> Result<Step, ApiError> {
    let entry = call.entry()?;
    let old = decode(&entry);
    check_preconditions(call, options, &old)?;
    admission::validate(call.admission(Operation::Delete), None, Some(&old))?;
    let kind = call.kind();
    let fate = match kind.kind {
        "Namespace" => namespace_fate(&old, options, call.now),
        _ => fate(kind, &old, options, call.now, call.strategy().default_grace_s(&old)),
    };
    let mut warnings = Vec::new();
    if kind.kind == "Job" && options.propagation.is_none() && options.orphan_dependents.is_none() {
        warnings.push(JOB_WARNING.to_owned());
    }
    Ok(carry_out(call, options, &entry, &old, fate, warnings))
}

const JOB_WARNING: &str = "child pods are preserved by default when jobs are deleted; set \
    propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

fn carry_out(
    call: &Call<'_>,
    options: &DeleteOptions,
    entry: &Entry,
    old: &Value,
    fate: Fate,
    warnings: Vec<String>,
) -> Step {
    let key = entry.key.to_string();
    let guard = Guard { key: key.clone(), mod_revision: entry.mod_revision };
    let of_entry = Version::Of(entry.mod_revision);
    match fate {
        Fate::Pending => Step::reply(200, Body::Object(Encoded::of(old), of_entry), warnings),
        Fate::Mark { object, then_delete } => {
            let encoded = Encoded::of(&object);
            if encoded.bytes == entry.value || options.dry_run {
                return Step::reply(200, Body::Object(encoded, of_entry), warnings);
            }
            let body = Body::Object(encoded.clone(), Version::OfCommit);
            let mut step =
                Step::reply(200, body, warnings).commit(guard, Op::Put { key, value: encoded.bytes });
            step.again = then_delete;
            step
        }
        Fate::Delete => {
            let mut step = Step::reply(200, deleted(call, entry, old), warnings);
            step.freed = call.services.freed(call.kind(), None, old);
            if options.dry_run { step } else { step.commit(guard, Op::Delete { key }) }
        }
    }
}

/// The answer about an object that is gone.
fn deleted(call: &Call<'_>, entry: &Entry, old: &Value) -> Body {
    let kind = call.kind();
    if RETURN_OBJECT.contains(&(kind.group, kind.kind)) {
        return Body::Object(Encoded::of(old), Version::Of(entry.mod_revision));
    }
    let target = call.target.kind;
    let mut details = json!({"name": call.target.name, "kind": target.plural, "uid": old["metadata"]["uid"]});
    if !target.group.is_empty() {
        details["group"] = target.group.into();
    }
    Body::Plain(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    }))
}

fn check_preconditions(call: &Call<'_>, options: &DeleteOptions, old: &Value) -> Result<(), ApiError> {
    let stored = |key: &str| old["metadata"][key].as_str().unwrap_or_default();
    let kind = call.kind();
    let conflict = |why: String| {
        if kind.kind == "Namespace" {
            return call.conflict(&why);
        }
        ApiError::conflict(kind.group, kind.kind, &call.target.name, &why)
    };
    // A pod marked for deletion at once is the second half of one deletion: its revision is the mark's.
    let marked =
        !old["metadata"]["deletionTimestamp"].is_null() && old["metadata"]["deletionGracePeriodSeconds"] == 0;
    let asked_revision = options.resource_version.as_deref().filter(|_| !(marked && kind.kind == "Pod"));
    let checks = [
        ("UID", options.uid.as_deref(), stored("uid"), "deleted and then recreated"),
        ("ResourceVersion", asked_revision, stored("resourceVersion"), "modified"),
    ];
    for (what, wanted, found, guess) in checks {
        let Some(wanted) = wanted.filter(|wanted| *wanted != found) else { continue };
        return Err(conflict(match kind.kind {
            "Namespace" => {
                format!(
                    "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
                )
            }
            _ => format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). \
                 The object might have been {guess}"
            ),
        }));
    }
    Ok(())
}

fn fate(kind: &Kind, old: &Value, options: &DeleteOptions, now: Time, default_grace_s: i64) -> Fate {
    let grace = match kind.kind {
        "Pod" => match graceful(old, options, now, default_grace_s) {
            Grace::Pending => return Fate::Pending,
            Grace::Over => None,
            Grace::Set { seconds, at } => Some((seconds, at)),
        },
        _ => None,
    };
    let mut object = old.clone();
    let finalizers = finalizers_after(kind, old, options);
    let pending = !finalizers.is_empty();
    set_finalizers(&mut object, finalizers);
    let metadata = &mut object["metadata"];
    match grace {
        Some((seconds, at)) => {
            let first = metadata["deletionTimestamp"].is_null();
            metadata["deletionTimestamp"] = at.to_string().into();
            metadata["deletionGracePeriodSeconds"] = seconds.into();
            if first {
                raise_generation(&mut object);
            }
            Fate::Mark { object, then_delete: seconds == 0 && !pending }
        }
        None if pending => {
            if metadata["deletionTimestamp"].is_null() {
                metadata["deletionTimestamp"] = now.to_string().into();
                raise_generation(&mut object);
            }
            object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            Fate::Mark { object, then_delete: false }
        }
        None => Fate::Delete,
    }
}

/// A hundred years. Dates beyond the year 9999 have no form in the API: a single one would stop every client's decoder.
const GRACE_S_MAX: i64 = 100 * 366 * 24 * 3600;

enum Grace {
    /// Deleted gracefully already, and sooner than asked.
    Pending,
    /// The grace period has been used up or was none.
    Over,
    Set {
        seconds: i64,
        at: Time,
    },
}

/// The grace period of a pod. It may only get shorter, and never ends in the past.
fn graceful(old: &Value, options: &DeleteOptions, now: Time, default_grace_s: i64) -> Grace {
    let metadata = &old["metadata"];
    let bounded = |seconds: i64| if seconds < 0 { 1 } else { seconds.min(GRACE_S_MAX) };
    let asked = options.grace_period_s.map(bounded);
    let Some(at) = metadata["deletionTimestamp"].as_str().and_then(Time::parse) else {
        let unscheduled = old["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
        let finished = matches!(old["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
        let seconds = match unscheduled || finished {
            true => 0,
            false => asked.unwrap_or(bounded(default_grace_s)),
        };
        return Grace::Set { seconds, at: Time(now.0 + seconds) };
    };
    let present = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    match asked {
        _ if present == 0 => Grace::Over,
        Some(seconds) if seconds < present => {
            let moved = Time(at.0 - present + seconds);
            match moved < now {
                // The period has passed: end it now, but let the kubelet see it end.
                true => Grace::Set { seconds: seconds.min(1), at: now },
                false => Grace::Set { seconds, at: moved },
            }
        }
        _ => Grace::Pending,
    }
}

/// The finalizers of the garbage collector after this deletion: added or taken away as the options say.
fn finalizers_after(kind: &Kind, old: &Value, options: &DeleteOptions) -> Vec<String> {
    let present = strings(&old["metadata"]["finalizers"]);
    let kept = present.iter().map(|f| (*f).to_owned());
    if kind.kind == "Event" {
        return kept.collect();
    }
    let (orphan, foreground) = match (options.orphan_dependents, options.propagation) {
        (Some(orphan), _) => (orphan, false),
        (None, Some(Propagation::Orphan)) => (true, false),
        (None, Some(Propagation::Foreground)) => (false, true),
        (None, Some(Propagation::Background)) => (false, false),
        (None, None) if present.contains(&ORPHAN) => (true, false),
        (None, None) if present.contains(&FOREGROUND) => (false, true),
        // The two kinds that orphaned before there was a choice still do.
        (None, None) => (matches!(kind.kind, "Job" | "ReplicationController"), false),
    };
    let mut finalizers: Vec<String> = kept.filter(|f| f != ORPHAN && f != FOREGROUND).collect();
    if orphan {
        finalizers.push(ORPHAN.to_owned());
    }
    if foreground {
        finalizers.push(FOREGROUND.to_owned());
    }
    finalizers
}

fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    let metadata = &mut object["metadata"];
    match finalizers.is_empty() {
        true => drop(metadata.as_object_mut().and_then(|m| m.remove("finalizers"))),
        false => metadata["finalizers"] = finalizers.into(),
    }
}

fn raise_generation(object: &mut Value) {
    if let Some(generation) = object["metadata"]["generation"].as_i64().filter(|generation| *generation > 0) {
        object["metadata"]["generation"] = (generation + 1).into();
    }
}

/// A namespace is marked first; its content and `spec.finalizers` go before it does.
fn namespace_fate(old: &Value, options: &DeleteOptions, now: Time) -> Fate {
    if old["metadata"]["deletionTimestamp"].is_null() {
        let mut object = old.clone();
        object["metadata"]["deletionTimestamp"] = now.to_string().into();
        object["status"]["phase"] = "Terminating".into();
        if options.propagation.is_some() || options.orphan_dependents.is_some() {
            let kind = kedge_api::kinds::lookup("", "v1", "namespaces").expect("the table has namespaces");
            set_finalizers(&mut object, finalizers_after(kind, old, options));
        }
        return Fate::Mark { object, then_delete: false };
    }
    let waits = !strings(&old["spec"]["finalizers"]).is_empty()
        || !strings(&old["metadata"]["finalizers"]).is_empty();
    if waits { Fate::Pending } else { Fate::Delete }
}

/// Does this update complete a deletion?
pub fn completes(kind: &Kind, object: &Value, old: &Value) -> bool {
    if old["metadata"]["deletionTimestamp"].is_null()
        || !strings(&object["metadata"]["finalizers"]).is_empty()
    {
        return false;
    }
    match kind.kind {
        "Namespace" => strings(&object["spec"]["finalizers"]).is_empty(),
        _ => old["metadata"]["deletionGracePeriodSeconds"].as_i64() == Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_api::kinds::lookup;

    fn check(plural: &str, object: Value, query: &str, expected: &str) {
        let kind = lookup("", "v1", plural).or_else(|| lookup("batch", "v1", plural)).unwrap();
        let query = super::super::options::QueryString::parse(query);
        let options = DeleteOptions::from_query(&query).unwrap();
        let seen = match fate(kind, &object, &options, Time(100), 30) {
            Fate::Pending => "pending".to_owned(),
            Fate::Delete => "delete".to_owned(),
            Fate::Mark { object, then_delete } => {
                let at = object["metadata"]["deletionTimestamp"].as_str().and_then(Time::parse).unwrap();
                let grace = &object["metadata"]["deletionGracePeriodSeconds"];
                let finalizers = strings(&object["metadata"]["finalizers"]).join(",");
                format!("mark at {} grace {grace} [{finalizers}] {then_delete}", at.0)
            }
        };
        assert_eq!(seen, expected, "{plural} {object} {query:?}");
    }

    #[test]
    fn fates() {
        let plain = json!({"metadata": {"name": "a"}});
        check("configmaps", plain.clone(), "", "delete");
        check("configmaps", plain.clone(), "gracePeriodSeconds=5", "delete");
        check(
            "configmaps",
            plain.clone(),
            "propagationPolicy=Foreground",
            "mark at 100 grace 0 [foregroundDeletion] false",
        );
        check("jobs", plain, "", "mark at 100 grace 0 [orphan] false");
        let held = json!({"metadata": {"name": "a", "finalizers": ["x/y"]}});
        check("configmaps", held.clone(), "", "mark at 100 grace 0 [x/y] false");
        check("configmaps", held, "propagationPolicy=Orphan", "mark at 100 grace 0 [x/y,orphan] false");
    }

    #[test]
    fn grace_of_pods() {
        check("pods", json!({"metadata": {}, "spec": {}}), "", "mark at 100 grace 0 [] true");
        let bound = json!({"metadata": {}, "spec": {"nodeName": "n"}});
        check("pods", bound.clone(), "", "mark at 130 grace 30 [] false");
        check("pods", bound.clone(), "gracePeriodSeconds=-1", "mark at 101 grace 1 [] false");
        // A date beyond the year 9999 would stop every decoder of pods.
        let century = "mark at 3162240100 grace 3162240000 [] false";
        check("pods", bound.clone(), "gracePeriodSeconds=300000000000", century);
        check("pods", bound.clone(), &format!("gracePeriodSeconds={}", i64::MAX), century);
        check("pods", bound, "gracePeriodSeconds=0", "mark at 100 grace 0 [] true");
        let going = json!({
            "metadata": {"deletionTimestamp": "1970-01-01T00:02:00Z", "deletionGracePeriodSeconds": 30},
            "spec": {"nodeName": "n"},
        });
        check("pods", going.clone(), "", "pending");
        check("pods", going.clone(), "gracePeriodSeconds=50", "pending");
        check("pods", going.clone(), "gracePeriodSeconds=20", "mark at 110 grace 20 [] false");
        check("pods", going, "gracePeriodSeconds=0", "mark at 100 grace 0 [] true");
        let over = json!({
            "metadata": {"deletionTimestamp": "1970-01-01T00:01:00Z", "deletionGracePeriodSeconds": 0},
            "spec": {"nodeName": "n"},
        });
        check("pods", over, "", "delete");
    }
}
