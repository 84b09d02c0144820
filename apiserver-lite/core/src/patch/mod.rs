//! JSON, merge and strategic merge patch, driven by the schema.
//!
//! A [`Patch`] is parsed once and applied to whatever is stored, again if somebody else wrote in between. What comes out is
//! fitted to its type as a request body would be, and failures are said in upstream's words.

mod golang;
mod json;
mod merge;
mod strategic;

use crate::schema::decode::{self, Decoded, Expected, FieldValidation};
use crate::schema::json::{self as document, Node};
use crate::schema::{Type, conform};
use crate::status::{ApiError, Finding, FindingKind};
use serde_json::{Value, json};

/// The format of a patch, by its Content-Type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Merge,
    Strategic,
    /// Server-side apply; not a [`Patch`].
    Apply,
}

impl Format {
    pub fn parse(content_type: Option<&str>) -> Option<Format> {
        match content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Format::Json),
            "application/merge-patch+json" => Some(Format::Merge),
            "application/strategic-merge-patch+json" => Some(Format::Strategic),
            "application/apply-patch+yaml" => Some(Format::Apply),
            _ => None,
        }
    }
}

/// A patch that parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    change: Change,
    /// Duplicate keys in the patch itself.
    problems: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Change {
    Json(Vec<json::Operation>),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    pub fn parse(format: Format, body: &[u8]) -> Result<Patch, ApiError> {
        let undecodable = |why: &str| ApiError::bad_request(format!("error decoding patch: {why}"));
        match format {
            Format::Json => {
                let node = document::parse(body).map_err(|why| undecodable(&why))?;
                let problems = problems(&node, "json patch ");
                Ok(Patch {
                    change: Change::Json(json::parse(node).map_err(|why| undecodable(&why))?),
                    problems,
                })
                .and_then(limited)
            }
            Format::Merge => {
                let node = document::parse(body).map_err(|why| undecodable(&why))?;
                match node {
                    Node::Object(_) => {
                        let problems = problems(&node, "");
                        Ok(Patch { change: Change::Merge(node.into_value()), problems })
                    }
                    Node::Null => Err(ApiError::bad_request("Invalid JSON Patch")),
                    other => Err(undecodable(&not_a_map(&other))),
                }
            }
            Format::Strategic => {
                let node = document::parse(body).map_err(ApiError::bad_request)?;
                match node {
                    Node::Object(_) | Node::Null => {
                        let problems = problems(&node, "");
                        let value = if node == Node::Null { json!({}) } else { node.into_value() };
                        Ok(Patch { change: Change::Strategic(value), problems })
                    }
                    other => Err(ApiError::bad_request(not_a_map(&other))),
                }
            }
            Format::Apply => {
                Err(ApiError::new(415, "UnsupportedMediaType", "server-side apply is not supported"))
            }
        }
    }

    /// Applies the patch to an object in the version of the request.
    pub fn apply(
        &self,
        current: &Value,
        ty: &'static Type,
        expected: Expected<'_>,
        validation: FieldValidation,
    ) -> Result<Decoded, ApiError> {
        let mut patched = current.clone();
        match &self.change {
            Change::Json(operations) => json::apply(&mut patched, operations).map_err(|_| unprocessable())?,
            Change::Merge(patch) => merge::apply(&mut patched, patch),
            Change::Strategic(patch) => strategic::apply(&mut patched, patch.clone(), ty)?,
        }
        let shown = patched.clone();
        self.fit(patched, ty, expected, validation).map_err(|why| self.invalid(&shown, ty, why))
    }

    fn fit(
        &self,
        patched: Value,
        ty: &'static Type,
        expected: Expected<'_>,
        validation: FieldValidation,
    ) -> Result<Decoded, String> {
        decode::check_patched_kind(&patched, expected)?;
        let fitted = match &self.change {
            Change::Strategic(_) => conform::conform_unstructured(patched.into(), ty),
            Change::Json(_) | Change::Merge(_) => conform(patched.into(), ty),
        };
        let fitted = fitted.map_err(|e| e.0)?;
        let problems = [self.problems.as_slice(), fitted.problems.as_slice()].concat();
        if validation == FieldValidation::Strict && !problems.is_empty() {
            return Err(format!("strict decoding error: {}", problems.join(", ")));
        }
        let mut value = fitted.value;
        decode::set_kind(&mut value, expected);
        let warnings = if validation == FieldValidation::Ignore { Vec::new() } else { problems };
        Ok(Decoded { value, warnings })
    }

    /// 422 that shows the patched document, or for a strategic patch the patch.
    fn invalid(&self, patched: &Value, ty: &'static Type, why: String) -> ApiError {
        let shown = match &self.change {
            Change::Strategic(patch) => golang::print(patch),
            Change::Merge(patch) => golang::document(patched, ty, patch),
            Change::Json(operations) => golang::document(patched, ty, &json::touched(operations)),
        };
        let message = format!("Invalid value: {shown:?}: {why}");
        ApiError::invalid(
            "",
            "",
            "",
            &[Finding { kind: FindingKind::Invalid, field: "patch".to_owned(), message }],
        )
    }
}

/// Upstream's limit on the operations of one JSON patch.
const OPERATIONS_MAX: usize = 10_000;

fn limited(patch: Patch) -> Result<Patch, ApiError> {
    match &patch.change {
        Change::Json(operations) if operations.len() > OPERATIONS_MAX => Err(ApiError::new(
            413,
            "RequestEntityTooLarge",
            format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
                operations.len()
            ),
        )),
        _ => Ok(patch),
    }
}

fn problems(node: &Node, prefix: &str) -> Vec<String> {
    document::duplicates(node).iter().map(|path| format!("{prefix}duplicate field \"{path}\"")).collect()
}

fn not_a_map(node: &Node) -> String {
    format!("json: cannot unmarshal {} into Go value of type map[string]interface {{}}", node.kind())
}

fn unprocessable() -> ApiError {
    let message = "the server rejected our request due to an error in our request";
    ApiError { details: json!({}), ..ApiError::new(422, "Invalid", message) }
}

#[cfg(test)]
mod tests;
