//! RuntimeClass: what a class costs and where it runs goes into the pod.

use super::{Operation, Plugin, Request, list, text};
use crate::status::ApiError;
use serde_json::Value;

pub struct RuntimeClass;

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
const UNFOUNDED: &str = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";

impl Plugin for RuntimeClass {
    fn admit(&self, request: Request<'_>, pod: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        if !request.is("", "pods", "") || request.operation != Operation::Create {
            return Ok(());
        }
        let name = text(&pod["spec"]["runtimeClassName"]);
        let class = match name {
            "" => None,
            name => match request.objects.get("node.k8s.io", "runtimeclasses", "", name) {
                Some(class) => Some(class),
                None => {
                    let why = format!("pod rejected: RuntimeClass {name:?} not found");
                    return Err(request.forbidden(Some(pod), &why));
                }
            },
        };
        let fixed = class.as_ref().map_or(&Value::Null, |class| &class["overhead"]["podFixed"]);
        let asked = pod["spec"]
            .get("overhead")
            .filter(|overhead| overhead.as_object().is_some_and(|o| !o.is_empty()));
        match (asked, fixed.is_null()) {
            (Some(_), true) => return Err(request.forbidden(Some(pod), UNFOUNDED)),
            (Some(asked), false) if asked != fixed => return Err(request.forbidden(Some(pod), MISMATCH)),
            (_, false) => pod["spec"]["overhead"] = fixed.clone(),
            (None, true) => {}
        }
        match class {
            Some(class) if !class["scheduling"].is_null() => schedule(request, pod, &class["scheduling"]),
            Some(_) | None => Ok(()),
        }
    }
}

fn schedule(request: Request<'_>, pod: &mut Value, scheduling: &Value) -> Result<(), ApiError> {
    for (key, value) in scheduling["nodeSelector"].as_object().into_iter().flatten() {
        let own = text(&pod["spec"]["nodeSelector"][key.as_str()]).to_owned();
        if !own.is_empty() && *value != *own {
            let value = text(value);
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"
            );
            return Err(request.forbidden(Some(pod), &why));
        }
        pod["spec"]["nodeSelector"][key.as_str()] = value.clone();
    }
    let wanted = scheduling["tolerations"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !wanted.is_empty() {
        let tolerations = list(&mut pod["spec"], "tolerations");
        let missing = wanted.iter().filter(|toleration| !tolerations.contains(toleration));
        let missing: Vec<Value> = missing.cloned().collect();
        tolerations.extend(missing);
    }
    Ok(())
}
