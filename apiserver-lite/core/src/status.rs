//! Errors of the API: a `metav1.Status` with its HTTP code, and the findings of validation.

use serde_json::{Map, Value, json};

/// An error answer. Serialised as `metav1.Status`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: u16,
    /// `NotFound`, `Invalid`, `Conflict`, …; empty for the few plain 500s.
    pub reason: &'static str,
    pub message: String,
    /// `StatusDetails`, or null.
    pub details: Value,
    /// Sent as `Retry-After`, in seconds.
    pub retry_after_s: Option<u32>,
    /// With which an expired list can be continued from the newest state.
    pub continue_token: Option<String>,
}

/// What is wrong with one field. The types and their texts are those of `field.Error` in apimachinery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    InternalError,
    TypeInvalid,
}

impl FindingKind {
    /// The `reason` of a status cause.
    pub fn reason(self) -> &'static str {
        match self {
            FindingKind::NotFound => "FieldValueNotFound",
            FindingKind::Required => "FieldValueRequired",
            FindingKind::Duplicate => "FieldValueDuplicate",
            FindingKind::Invalid => "FieldValueInvalid",
            FindingKind::NotSupported => "FieldValueNotSupported",
            FindingKind::Forbidden => "FieldValueForbidden",
            FindingKind::TooLong => "FieldValueTooLong",
            FindingKind::TooMany => "FieldValueTooMany",
            FindingKind::InternalError => "InternalError",
            FindingKind::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// One finding of validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    /// `spec.containers[0].name`.
    pub field: String,
    /// The whole text after the field's path: `Invalid value: "A": a lowercase RFC 1123 label must …`.
    pub message: String,
}

pub type Findings = Vec<Finding>;

impl ApiError {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
            retry_after_s: None,
            continue_token: None,
        }
    }

    /// `pods "a" not found`.
    pub fn not_found(group: &str, resource: &str, name: &str) -> ApiError {
        let qualified = qualified(resource, group);
        ApiError {
            details: details(group, resource, name),
            ..ApiError::new(404, "NotFound", format!("{qualified} \"{name}\" not found"))
        }
    }

    pub fn already_exists(group: &str, resource: &str, name: &str) -> ApiError {
        let qualified = qualified(resource, group);
        ApiError {
            details: details(group, resource, name),
            ..ApiError::new(409, "AlreadyExists", format!("{qualified} \"{name}\" already exists"))
        }
    }

    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> ApiError {
        let qualified = qualified(resource, group);
        let message = format!("Operation cannot be fulfilled on {qualified} \"{name}\": {why}");
        ApiError { details: details(group, resource, name), ..ApiError::new(409, "Conflict", message) }
    }

    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> ApiError {
        let qualified = qualified(resource, group);
        let message = if name.is_empty() {
            format!("{qualified} is forbidden: {why}")
        } else {
            format!("{qualified} \"{name}\" is forbidden: {why}")
        };
        ApiError { details: details(group, resource, name), ..ApiError::new(403, "Forbidden", message) }
    }

    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "BadRequest", message)
    }

    pub fn internal(message: impl std::fmt::Display) -> ApiError {
        ApiError::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// 422 with every finding as a cause. `kind` is the object's kind, as upstream names it in `details.kind`.
    pub fn invalid(group: &str, kind: &str, name: &str, findings: &[Finding]) -> ApiError {
        let mut texts: Vec<String> = findings.iter().map(|f| format!("{}: {}", f.field, f.message)).collect();
        // The message says each finding once; the causes keep them all, as upstream does.
        let mut said = std::collections::BTreeSet::new();
        texts.retain(|text| said.insert(text.clone()));
        let list = match texts.len() {
            1 => texts[0].clone(),
            _ => format!("[{}]", texts.join(", ")),
        };
        let mut body = details(group, kind, name);
        body["causes"] = findings
            .iter()
            .map(|f| json!({"reason": f.kind.reason(), "message": f.message, "field": f.field}))
            .collect();
        let message = format!("{} \"{name}\" is invalid: {list}", qualified(kind, group));
        ApiError { details: body, ..ApiError::new(422, "Invalid", message) }
    }

    /// The `metav1.Status` object.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        if let Some(token) = &self.continue_token {
            status["metadata"]["continue"] = token.as_str().into();
        }
        status
    }
}

/// `pods`, or `deployments.apps`.
pub fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

fn details(group: &str, kind: &str, name: &str) -> Value {
    let mut map = Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            map.insert(key.to_owned(), value.into());
        }
    }
    Value::Object(map)
}
