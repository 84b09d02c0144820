//! NamespaceLifecycle: nothing is created in a namespace that is missing or going; three namespaces never go.

use super::{Operation, Plugin, Request, text};
use crate::status::ApiError;
use serde_json::{Value, json};

pub struct NamespaceLifecycle;

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

impl Plugin for NamespaceLifecycle {
    fn admit(&self, request: Request<'_>, object: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        let a = request.attributes;
        // Reviews would tell which namespaces exist to whoever may ask about permissions.
        let exempt = a.namespace.is_empty()
            || (a.group.is_empty() && a.resource == "namespaces")
            || a.resource == "localsubjectaccessreviews";
        if exempt || request.operation == Operation::Delete {
            return Ok(());
        }
        let Some(namespace) = request.objects.get("", "namespaces", "", &a.namespace) else {
            return Err(ApiError::not_found("", "namespaces", &a.namespace));
        };
        if request.operation != Operation::Create || text(&namespace["status"]["phase"]) != "Terminating" {
            return Ok(());
        }
        let own = &a.namespace;
        let why = format!("unable to create new content in namespace {own} because it is being terminated");
        let mut error = request.forbidden(Some(object), &why);
        error.details["causes"] = json!([{"reason": "NamespaceTerminating", "field": "metadata.namespace",
            "message": format!("namespace {own} is being terminated")}]);
        Err(error)
    }

    fn validate(&self, request: Request<'_>, _: Option<&Value>, _: Option<&Value>) -> Result<(), ApiError> {
        let a = request.attributes;
        let immortal = request.is("", "namespaces", "") && IMMORTAL.contains(&a.name.as_str());
        match immortal && request.operation == Operation::Delete {
            true => Err(ApiError::forbidden("", "namespaces", &a.name, "this namespace may not be deleted")),
            false => Ok(()),
        }
    }
}
