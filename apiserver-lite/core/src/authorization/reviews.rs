//! The review APIs of `authorization.k8s.io`: what may this user, or I, do?
//!
//! Reviews are answered, not stored. The registry hands in the decoded body (with the metadata it keeps on every write) and
//! answers 201 with what comes back.

use super::Authorizer;
use super::rule::Rule;
use crate::attributes::Attributes;
use crate::status::{ApiError, Finding, FindingKind, Findings};
use kedge_api::Identity;
use serde_json::{Map, Value, json};

const GROUP: &str = "authorization.k8s.io";

/// Answers a create of one of the four review resources; None: `attributes` names another resource.
pub fn create(
    authorizer: &Authorizer,
    attributes: &Attributes,
    body: Value,
) -> Option<Result<Value, ApiError>> {
    if attributes.group != GROUP {
        return None;
    }
    Some(match attributes.resource.as_str() {
        "subjectaccessreviews" => subject_access_review(authorizer, body),
        "localsubjectaccessreviews" => local_subject_access_review(authorizer, &attributes.namespace, body),
        "selfsubjectaccessreviews" => self_subject_access_review(authorizer, &attributes.user, body),
        "selfsubjectrulesreviews" => self_subject_rules_review(authorizer, &attributes.user, &body),
        _ => return None,
    })
}

fn subject_access_review(authorizer: &Authorizer, body: Value) -> Result<Value, ApiError> {
    let mut findings = validate_attributes(&body["spec"]);
    findings.extend(validate_user(&body["spec"]));
    findings.extend(validate_metadata(&body, &["managedFields"], "must be empty"));
    refuse(findings)?;
    let user = reviewed_user(&body["spec"]);
    Ok(answer(authorizer, user, body))
}

fn local_subject_access_review(
    authorizer: &Authorizer,
    namespace: &str,
    mut body: Value,
) -> Result<Value, ApiError> {
    if !body["metadata"].is_object() {
        body["metadata"] = json!({});
    }
    if text(&body["metadata"]["namespace"]).is_empty() {
        body["metadata"]["namespace"] = namespace.into();
    }
    let spec = &body["spec"];
    let mut findings = validate_attributes(spec);
    findings.extend(validate_user(spec));
    findings.extend(validate_metadata(
        &body,
        &["managedFields", "namespace"],
        "must be empty except for namespace",
    ));
    let own = text(&body["metadata"]["namespace"]);
    let asked = &spec["resourceAttributes"];
    if !asked.is_null() && text(&asked["namespace"]) != own {
        let message = format!("{:?}: must match metadata.namespace", text(&asked["namespace"]));
        findings.push(invalid("spec.resourceAttributes.namespace", &message));
    }
    if !spec["nonResourceAttributes"].is_null() {
        let message = format!("{}: disallowed on this kind of request", spec["nonResourceAttributes"]);
        findings.push(invalid("spec.nonResourceAttributes", &message));
    }
    refuse(findings)?;
    let user = reviewed_user(spec);
    Ok(answer(authorizer, user, body))
}

fn self_subject_access_review(
    authorizer: &Authorizer,
    user: &Identity,
    body: Value,
) -> Result<Value, ApiError> {
    let mut findings = validate_attributes(&body["spec"]);
    findings.extend(validate_metadata(&body, &["managedFields"], "must be empty"));
    refuse(findings)?;
    Ok(answer(authorizer, user.clone(), body))
}

fn self_subject_rules_review(
    authorizer: &Authorizer,
    user: &Identity,
    body: &Value,
) -> Result<Value, ApiError> {
    let namespace = text(&body["spec"]["namespace"]);
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let (rules, unresolved) = authorizer.rules_for(user, namespace);
    let mut errors = unresolved;
    if super::node_name(user).is_some() {
        errors.insert(0, "node authorizer does not support user rule resolution".to_owned());
    }
    let mut status = json!({
        "resourceRules": shown(&rules, |rule| !rule.resources.is_empty(), "nonResourceURLs"),
        "nonResourceRules": shown(&rules, |rule| !rule.non_resource_urls.is_empty(), "apiGroups"),
        "incomplete": !errors.is_empty(),
    });
    if !errors.is_empty() {
        status["evaluationError"] = super::join_errors(&errors).into();
    }
    Ok(
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "metadata": {}, "spec": {},
        "status": status}),
    )
}

fn shown(rules: &[Rule], wanted: impl Fn(&Rule) -> bool, without: &str) -> Vec<Value> {
    let mut shown: Vec<Value> = Vec::new();
    for rule in rules.iter().filter(|rule| wanted(rule)) {
        let mut rule = json!(rule);
        rule.as_object_mut().expect("a rule is an object").remove(without);
        if !shown.contains(&rule) {
            shown.push(rule);
        }
    }
    shown
}

fn answer(authorizer: &Authorizer, user: Identity, mut body: Value) -> Value {
    let decision = authorizer.authorize(&reviewed_attributes(&body["spec"], user));
    let mut status = Map::from_iter([("allowed".to_owned(), decision.allowed.into())]);
    if !decision.reason.is_empty() {
        status.insert("reason".to_owned(), decision.reason.into());
    }
    body["status"] = status.into();
    if let Some(attributes) = body.pointer_mut("/spec/resourceAttributes").and_then(Value::as_object_mut) {
        attributes.retain(|_, value| value != "");
    }
    if body["metadata"].is_null() {
        body["metadata"] = json!({});
    }
    body
}

fn reviewed_user(spec: &Value) -> Identity {
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let extra = spec["extra"].as_object().into_iter().flatten();
    Identity {
        user: text(&spec["user"]).to_owned(),
        uid: text(&spec["uid"]).to_owned(),
        groups: list(&spec["groups"]),
        extra: extra.map(|(key, value)| (key.to_lowercase(), list(value))).collect(),
    }
}

fn reviewed_attributes(spec: &Value, user: Identity) -> Attributes {
    let path = &spec["nonResourceAttributes"];
    if !path.is_null() {
        return Attributes {
            user,
            verb: text(&path["verb"]).to_owned(),
            path: text(&path["path"]).to_owned(),
            ..Attributes::default()
        };
    }
    let asked = &spec["resourceAttributes"];
    let own = |field: &str| text(&asked[field]).to_owned();
    Attributes {
        user,
        verb: own("verb"),
        is_resource: true,
        group: own("group"),
        version: own("version"),
        resource: own("resource"),
        subresource: own("subresource"),
        namespace: own("namespace"),
        name: own("name"),
        field_selector: selector(&asked["fieldSelector"]),
        label_selector: selector(&asked["labelSelector"]),
        ..Attributes::default()
    }
}

/// A selector as text. Requirements that no text can express are left out: fewer restrictions never allow more here.
fn selector(asked: &Value) -> String {
    let raw = text(&asked["rawSelector"]);
    if !raw.is_empty() {
        return raw.to_owned();
    }
    let requirements = asked["requirements"].as_array().into_iter().flatten();
    let parts =
        requirements.filter_map(|requirement| match requirement["values"].as_array().map(Vec::as_slice) {
            Some([value]) if requirement["operator"] == "In" => {
                Some(format!("{}={}", text(&requirement["key"]), text(value)))
            }
            _ => None,
        });
    parts.collect::<Vec<_>>().join(",")
}

fn validate_attributes(spec: &Value) -> Findings {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let mut findings = Findings::new();
    match (resource.is_null(), path.is_null()) {
        (true, true) => findings.push(invalid(
            "spec.resourceAttributes",
            "null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        (false, false) => findings.push(invalid(
            "spec.nonResourceAttributes",
            &format!(
                "{{\"Path\":{},\"Verb\":{}}}: cannot be specified in combination with resourceAttributes",
                path["path"], path["verb"]
            ),
        )),
        (true, false) | (false, true) => {}
    }
    for name in ["fieldSelector", "labelSelector"] {
        findings.extend(validate_selector(&resource[name], &format!("spec.resourceAttributes.{name}")));
    }
    findings
}

fn validate_selector(selector: &Value, field: &str) -> Option<Finding> {
    let raw = text(&selector["rawSelector"]);
    let requirements = selector["requirements"].as_array().is_some_and(|list| !list.is_empty());
    match (raw.is_empty(), requirements) {
        _ if selector.is_null() => None,
        (false, true) => {
            let message = format!("{raw:?}: may not specified at the same time as requirements");
            Some(invalid(&format!("{field}.rawSelector"), &message))
        }
        (true, false) => Some(Finding {
            kind: FindingKind::Required,
            field: format!("{field}.requirements"),
            message: format!(
                "Required value: when {field} is specified, requirements or rawSelector is required"
            ),
        }),
        (true, true) | (false, false) => None,
    }
}

fn validate_user(spec: &Value) -> Option<Finding> {
    let groups = spec["groups"].as_array().is_some_and(|groups| !groups.is_empty());
    let missing = text(&spec["user"]).is_empty() && !groups;
    missing.then(|| invalid("spec.user", "\"\": at least one of user or group must be specified"))
}

fn validate_metadata(body: &Value, allowed: &[&str], why: &str) -> Option<Finding> {
    let fields = body["metadata"].as_object()?;
    let set = |(field, value): (&String, &Value)| {
        !allowed.contains(&field.as_str()) && !value.is_null() && value != ""
    };
    fields.iter().any(set).then(|| invalid("metadata", &format!("{}: {why}", body["metadata"])))
}

fn invalid(field: &str, message: &str) -> Finding {
    Finding {
        kind: FindingKind::Invalid,
        field: field.to_owned(),
        message: format!("Invalid value: {message}"),
    }
}

/// Upstream names neither kind nor object in these answers.
fn refuse(findings: Findings) -> Result<(), ApiError> {
    if findings.is_empty() { Ok(()) } else { Err(ApiError::invalid(GROUP, "", "", &findings)) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bootstrapped, replay};
    use super::*;

    #[test]
    fn recorded_reviews() {
        let authorizer = bootstrapped();
        let admin = Identity { uid: "admin".into(), ..Identity::new("admin", &[super::super::MASTERS]) };
        let compared = replay("sar", |request, response| {
            let path = request["path"].as_str().unwrap();
            let resource = path.rsplit('/').next().unwrap().to_owned();
            let namespace =
                path.split("/namespaces/").nth(1).map_or("", |rest| rest.split('/').next().unwrap());
            let attributes = Attributes {
                user: admin.clone(),
                group: GROUP.into(),
                resource,
                namespace: namespace.to_owned(),
                ..Attributes::default()
            };
            let mut want = response["body"].clone();
            want["metadata"].as_object_mut().unwrap().remove("managedFields");
            let got = create(&authorizer, &attributes, request["body"].clone()).unwrap();
            let mut got = got.unwrap_or_else(|error| error.to_status());
            sort_rules(&mut got);
            assert_eq!(got, want, "{path} {}", request["body"]);
        });
        assert_eq!(compared, 17);
    }

    /// The recorder sorts the rules of a rules review.
    fn sort_rules(body: &mut Value) {
        for list in ["resourceRules", "nonResourceRules"] {
            if let Some(rules) = body.pointer_mut(&format!("/status/{list}")).and_then(Value::as_array_mut) {
                rules.sort_by_key(Value::to_string);
            }
        }
    }
}
