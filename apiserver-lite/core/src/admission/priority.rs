//! Priority: a pod's number comes from its class; there is one default class at most, and system classes stay.

use super::{Operation, Plugin, Request, text};
use crate::status::ApiError;
use serde_json::Value;
use std::sync::Arc;

pub struct Priority;

const GROUP: &str = "scheduling.k8s.io";

impl Plugin for Priority {
    fn admit(&self, request: Request<'_>, pod: &mut Value, old: Option<&Value>) -> Result<(), ApiError> {
        if !request.is("", "pods", "") {
            return Ok(());
        }
        match (request.operation, old) {
            (Operation::Create, _) => resolve(request, pod),
            (Operation::Update, Some(old)) => {
                keep(pod, old);
                Ok(())
            }
            (Operation::Update | Operation::Delete | Operation::Connect, _) => Ok(()),
        }
    }

    fn validate(
        &self,
        request: Request<'_>,
        object: Option<&Value>,
        _: Option<&Value>,
    ) -> Result<(), ApiError> {
        if !request.is(GROUP, "priorityclasses", "") {
            return Ok(());
        }
        let name = &request.attributes.name;
        if request.operation == Operation::Delete && name.starts_with("system-") {
            let why = "this is a system priority class and cannot be deleted";
            return Err(ApiError::forbidden(GROUP, "priorityclasses", name, why));
        }
        let Some(class) = object.filter(|class| class["globalDefault"] == true) else {
            return Ok(());
        };
        match default_class(request) {
            Some(other) if other["metadata"]["name"] != class["metadata"]["name"] => {
                let other = text(&other["metadata"]["name"]);
                let why =
                    format!("PriorityClass {other} is already marked as default. Only one default can exist");
                Err(request.forbidden(object, &why))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The class with the lowest value, should there be several.
fn default_class(request: Request<'_>) -> Option<Arc<Value>> {
    let classes = request.objects.list(GROUP, "priorityclasses", None);
    let defaults = classes.into_iter().filter(|class| class["globalDefault"] == true);
    defaults.min_by_key(|class| class["value"].as_i64())
}

fn resolve(request: Request<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let name = text(&pod["spec"]["priorityClassName"]).to_owned();
    let class = match name.as_str() {
        "" => default_class(request),
        name => match request.objects.get(GROUP, "priorityclasses", "", name) {
            Some(class) => Some(class),
            None => {
                let why = format!("no PriorityClass with name {name} was found");
                return Err(request.forbidden(Some(pod), &why));
            }
        },
    };
    let value = class.as_ref().map_or(0, |class| class["value"].as_i64().unwrap_or_default());
    if let Some(asked) = pod["spec"]["priority"].as_i64().filter(|asked| *asked != value) {
        let why = format!(
            "the integer value of priority ({asked}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        );
        return Err(request.forbidden(Some(pod), &why));
    }
    let policy = class.as_ref().map_or("PreemptLowerPriority", |class| text(&class["preemptionPolicy"]));
    let asked = text(&pod["spec"]["preemptionPolicy"]);
    if !policy.is_empty() && !asked.is_empty() && asked != policy {
        let why = format!(
            "the string value of PreemptionPolicy ({asked}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(request.forbidden(Some(pod), &why));
    }
    if let Some(class) = &class {
        pod["spec"]["priorityClassName"] = class["metadata"]["name"].clone();
    }
    pod["spec"]["priority"] = value.into();
    if !policy.is_empty() {
        pod["spec"]["preemptionPolicy"] = policy.into();
    }
    Ok(())
}

/// A client that does not know the fields sends the pod back without them.
fn keep(pod: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if pod["spec"][field].is_null() {
            if let Some(value) = old["spec"].get(field) {
                pod["spec"][field] = value.clone();
            } else if let Some(spec) = pod["spec"].as_object_mut() {
                spec.remove(field);
            }
        }
    }
}
