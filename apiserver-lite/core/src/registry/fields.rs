//! Field selectors: the text form, and which fields of each kind may be selected.

use crate::status::ApiError;
use kedge_api::kinds::Kind;
use serde_json::Value;

/// One term. `negated` is `!=`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: String,
    value: String,
    negated: bool,
}

/// All terms hold. Empty selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

/// Kinds whose selectable fields differ from name and namespace; refusals of theirs name the field only.
const FIELDS: &[(&str, &str, &[&str])] = &[
    (
        "",
        "Pod",
        &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
    ),
    ("", "Node", &["metadata.name", "spec.unschedulable"]),
    ("", "ReplicationController", &["metadata.name", "metadata.namespace", "status.replicas"]),
    ("", "Namespace", &["metadata.name", "status.phase"]),
    ("", "Secret", &["metadata.name", "metadata.namespace", "type"]),
    ("", "Service", &["metadata.name", "metadata.namespace", "spec.clusterIP", "spec.type"]),
    ("", "Event", EVENT),
    ("events.k8s.io", "Event", EVENT),
    ("batch", "Job", &["metadata.name", "metadata.namespace", "status.successful"]),
    ("certificates.k8s.io", "CertificateSigningRequest", &["metadata.name", "spec.signerName"]),
    ("resource.k8s.io", "ResourceSlice", &["metadata.name", "spec.nodeName", "spec.driver"]),
];

const EVENT: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
    "metadata.namespace",
    "metadata.name",
];

impl FieldSelector {
    /// Reads the text form, then checks each field against the kind.
    pub fn parse(text: &str, kind: &Kind) -> Result<FieldSelector, ApiError> {
        let mut selector = FieldSelector::read(text).map_err(ApiError::bad_request)?;
        // An empty term without field and value selects everything.
        selector.terms.retain(|term| !term.field.is_empty() || !term.value.is_empty());
        for term in &mut selector.terms {
            term.field = selectable(kind, &term.field).map_err(ApiError::bad_request)?;
        }
        Ok(selector)
    }

    fn read(text: &str) -> Result<FieldSelector, String> {
        let mut terms = Vec::new();
        for term in split_terms(text).into_iter().filter(|term| !term.is_empty()) {
            let broken = || format!("invalid selector: '{text}'; can't understand '{term}'");
            terms.push(read_term(&term).ok_or_else(broken)?);
        }
        Ok(FieldSelector { terms })
    }

    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// `get` gives the object's value of a selectable field.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> &'a str) -> bool {
        self.terms.iter().all(|term| (get(&term.field) == term.value) != term.negated)
    }

    /// The value that a field must have, if one is demanded.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| !term.negated && term.field == field).map(|term| term.value.as_str())
    }

    /// With one more term.
    pub fn and(mut self, field: &str, value: &str) -> FieldSelector {
        self.terms.push(Term { field: field.to_owned(), value: value.to_owned(), negated: false });
        self
    }
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        if character == ',' && !escaped {
            terms.push(String::new());
            continue;
        }
        terms.last_mut().expect("never empty").push(character);
        escaped = character == '\\' && !escaped;
    }
    terms
}

fn read_term(term: &str) -> Option<Term> {
    let (at, operator) = term.char_indices().find_map(|(at, _)| {
        ["!=", "==", "="].into_iter().find(|operator| term[at..].starts_with(operator)).map(|o| (at, o))
    })?;
    let value = unescape(&term[at + operator.len()..])?;
    Some(Term { field: term[..at].to_owned(), value, negated: operator == "!=" })
}

/// A backslash may precede a backslash, a comma or an equals sign; the latter two may not stand alone.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.push(characters.next().filter(|c| ['\\', ',', '='].contains(c))?),
            ',' | '=' => return None,
            plain => out.push(plain),
        }
    }
    Some(out)
}

/// The field under the name that the store's version has, or upstream's refusal.
fn selectable(kind: &Kind, field: &str) -> Result<String, String> {
    let special = FIELDS.iter().find(|(group, name, _)| *group == kind.group && *name == kind.kind);
    let Some((_, _, fields)) = special else {
        return match field {
            "metadata.name" | "metadata.namespace" => Ok(field.to_owned()),
            _ => Err(format!(
                "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            )),
        };
    };
    if kind.kind == "Pod" && field == "spec.host" {
        return Ok("spec.nodeName".to_owned());
    }
    let name = match (kind.group, field) {
        ("events.k8s.io", "reportingController") => "reportingComponent".to_owned(),
        ("events.k8s.io", field) => field.replacen("regarding.", "involvedObject.", 1),
        (_, field) => field.to_owned(),
    };
    match fields.contains(&name.as_str()) {
        true => Ok(name),
        false => Err(match kind.kind {
            "Job" => format!("field label {field:?} not supported for Job"),
            "ResourceSlice" => {
                format!("field label not supported for {}, Kind={}: {field}", kind.api_version(), kind.kind)
            }
            _ => format!("field label not supported: {field}"),
        }),
    }
}

/// The values of an object's selectable fields, under the names of the stored version.
pub fn values(kind: &Kind, object: &Value) -> Vec<(&'static str, String)> {
    let stored = (kind.stored_as.group, kind.kind);
    let special = FIELDS.iter().find(|(group, name, _)| (*group, *name) == stored);
    let names = special.map_or(&["metadata.name", "metadata.namespace"][..], |(_, _, fields)| fields);
    names.iter().map(|field| (*field, value(kind, object, field))).collect()
}

fn value(kind: &Kind, object: &Value, field: &str) -> String {
    let found = match field {
        "source" => &object["source"]["component"],
        "status.successful" => &object["status"]["succeeded"],
        // A pod with two addresses is found by either; upstream compares the first only.
        "status.podIPs" => &object["status"]["podIPs"][0]["ip"],
        path => path.split('.').fold(object, |at, key| &at[key]),
    };
    match (found, field) {
        (Value::String(text), _) => text.clone(),
        (Value::Null, "spec.hostNetwork" | "spec.unschedulable") => "false".to_owned(),
        (Value::Null, "status.replicas" | "status.successful") => "0".to_owned(),
        (Value::Null, "source") if kind.kind == "Event" => {
            object["reportingComponent"].as_str().unwrap_or_default().to_owned()
        }
        (Value::Null, _) => String::new(),
        (other, _) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_api::kinds::lookup;
    use serde_json::json;

    fn check(plural: &str, selector: &str, expected: &str) {
        let kind = lookup("", "v1", plural).unwrap();
        let object = json!({
            "metadata": {"name": "a", "namespace": "n"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"},
        });
        let values = values(kind, &object);
        let get = |field: &str| values.iter().find(|(name, _)| *name == field).map_or("", |(_, value)| value);
        let seen = match FieldSelector::parse(selector, kind) {
            Ok(selector) => selector.matches(get).to_string(),
            Err(error) => error.message,
        };
        assert_eq!(seen, expected, "{plural} {selector}");
    }

    #[test]
    fn selectors() {
        check("configmaps", "metadata.name=a", "true");
        check("configmaps", "metadata.name==a,metadata.namespace!=x", "true");
        check("configmaps", "metadata.name=a,metadata.name=b", "false");
        check("configmaps", "", "true");
        check("configmaps", "=", "true");
        check("configmaps", "metadata.name=", "false");
        check("configmaps", "metadata.name=c\\,1", "false");
        check("configmaps", "x", "invalid selector: 'x'; can't understand 'x'");
        let only = "is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
        check("configmaps", "data.i=1", &format!("\"data.i\" {only}"));
        check("pods", "spec.nodeName=n1,status.phase!=Failed", "true");
        check("pods", "spec.hostNetwork=false", "true");
        check("pods", "spec.host=n2", "false");
        check("pods", "spec.nope=1", "field label not supported: spec.nope");
        check("nodes", "spec.unschedulable=true", "false");
    }
}
