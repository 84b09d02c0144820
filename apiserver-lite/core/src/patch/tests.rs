//! The pure part of the recorded patches of a real API server: what comes out of the patch, and what is said when nothing can.

use super::*;
use crate::schema::{type_of, type_of_subresource};
use kedge_api::kinds::{self, Kind};

const TIME: &str = "2026-01-01T00:00:00Z";

fn cases() -> serde_json::Map<String, Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/upstream/api/patch.json");
    let mut file: Value =
        serde_json::from_slice(&std::fs::read(path).expect("recorded patches")).expect("JSON");
    match file["cases"].take() {
        Value::Object(cases) => cases,
        _ => panic!("no cases"),
    }
}

/// The stored object before a patch: what a recorded patch without effect answered.
fn stored(cases: &serde_json::Map<String, Value>, kind: &Kind) -> Option<Value> {
    let case = match kind.kind {
        "ConfigMap" => "merge-empty",
        "Deployment" => "smp-delete-missing",
        _ => return None,
    };
    let text = cases[case][0]["response"]["body"].to_string();
    let text = text.replace("<time>", TIME).replace("<rv:1>", "<rv>");
    Some(serde_json::from_str(&text).expect("JSON"))
}

fn kind_of(path: &str) -> Option<(&'static Kind, &str)> {
    let path = path.split('?').next().unwrap_or_default();
    let words: Vec<&str> = path.split('/').skip(1).collect();
    match words.as_slice() {
        ["api", version, "namespaces", _, plural, _, rest @ ..] => {
            Some((kinds::lookup("", version, plural)?, rest.first().copied().unwrap_or_default()))
        }
        ["apis", group, version, "namespaces", _, plural, _, rest @ ..] => {
            Some((kinds::lookup(group, version, plural)?, rest.first().copied().unwrap_or_default()))
        }
        _ => None,
    }
}

fn body(request: &Value) -> Option<Vec<u8>> {
    match &request["body"] {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Object(map) if map.contains_key("$json") => None,
        other => Some(other.to_string().into_bytes()),
    }
}

fn validation(path: &str) -> FieldValidation {
    match path {
        _ if path.contains("fieldValidation=Strict") => FieldValidation::Strict,
        _ if path.contains("fieldValidation=Ignore") => FieldValidation::Ignore,
        _ => FieldValidation::Warn,
    }
}

/// Does `whole` have everything that `part` has? The server fills in more.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|w| contains(w, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(w, p)| contains(w, p))
        }
        (whole, part) => whole == part,
    }
}

/// Failures that the registry finds after the patch.
fn is_registrys(response: &Value) -> bool {
    let status = response["status"].as_u64().unwrap_or_default();
    let details = &response["body"]["details"];
    let message = response["body"]["message"].as_str().unwrap_or_default();
    let of_object = !details["kind"].is_null()
        || message.contains("of the provided object")
        || message.contains("undeterminable");
    status >= 400 && (of_object || matches!(status, 404 | 405 | 409 | 415))
}

#[test]
fn recorded_patches() {
    let cases = cases();
    let mut compared = 0;
    for (name, steps) in &cases {
        // Later steps start from what earlier ones left.
        let Some(step) = steps[0].as_object() else {
            continue;
        };
        let (request, response) = (&step["request"], &step["response"]);
        let path = request["path"].as_str().unwrap_or_default();
        let (Some((kind, "")), Some(body)) = (kind_of(path), body(request)) else {
            continue;
        };
        let Some(format) = Format::parse(request["headers"]["Content-Type"].as_str()) else {
            continue;
        };
        let Some(current) = stored(&cases, kind).filter(|_| !is_registrys(response) && name != "params")
        else {
            continue;
        };
        let expected = Expected { group: kind.group, version: kind.version, kind: kind.kind };
        let found = Patch::parse(format, &body)
            .and_then(|patch| patch.apply(&current, type_of(kind), expected, validation(path)));
        check(name, found, response);
        compared += 1;
    }
    assert!(compared >= 45, "only {compared}");
}

fn check(name: &str, found: Result<Decoded, ApiError>, response: &Value) {
    match found {
        Ok(mut decoded) => {
            assert!(response["status"].as_u64() < Some(300), "{name}: {response}");
            if let Some(metadata) = decoded.value["metadata"].as_object_mut() {
                for moving in ["managedFields", "resourceVersion", "generation", "creationTimestamp"] {
                    metadata.remove(moving);
                }
            }
            let body = &response["body"];
            assert!(contains(body, &decoded.value), "{name}:\n{}\n{body}", decoded.value);
            let warnings: Vec<String> =
                decoded.warnings.iter().map(|w| format!("299 - {}", Value::from(w.as_str()))).collect();
            assert_eq!(json!(warnings), *response["headers"].get("warning").unwrap_or(&json!([])), "{name}");
        }
        Err(error) => {
            let status = error.to_status().to_string().replace(TIME, "<time>").replace("<rv:1>", "<rv>");
            let status: Value = serde_json::from_str(&status).expect("JSON");
            let expected =
                response["body"].to_string().replace("<scheme>", "pkg/api/legacyscheme/scheme.go:30");
            let expected: Value = serde_json::from_str(&expected).expect("JSON");
            assert_eq!(status["message"], expected["message"], "{name}");
            assert_eq!(
                (&status["code"], &status["details"]),
                (&expected["code"], &expected["details"]),
                "{name}"
            );
        }
    }
}

#[test]
fn recorded_parameters() {
    let cases = cases();
    let mut compared = 0;
    for step in cases["params"].as_array().into_iter().flatten() {
        let (request, response) = (&step["request"], &step["response"]);
        let path = request["path"].as_str().unwrap_or_default();
        let kind = kinds::lookup("", "v1", "configmaps").expect("configmaps");
        if is_registrys(response) {
            continue;
        }
        let mut current = stored(&cases, kind).expect("stored");
        // All but the first step find what it left.
        if response["body"]["message"].to_string().contains("f:w") {
            current["data"]["w"] = json!("x");
            current["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:w"] = json!({});
        }
        let format = Format::parse(request["headers"]["Content-Type"].as_str()).expect("a patch");
        let expected = Expected { group: "", version: "v1", kind: "ConfigMap" };
        let found = Patch::parse(format, &body(request).expect("a body"))
            .and_then(|patch| patch.apply(&current, type_of(kind), expected, validation(path)));
        check(path, found, response);
        compared += 1;
    }
    assert!(compared >= 8, "only {compared}");
}

#[test]
fn a_scale_is_patched_as_scale() {
    let kind = kinds::lookup("apps", "v1", "deployments").expect("deployments");
    let scale = kind.subresource("scale").expect("scale");
    let current = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1}, "status": {"replicas": 0}});
    let patch = Patch::parse(Format::Merge, br#"{"spec":{"replicas":3,"nope":1}}"#).expect("parses");
    let expected = Expected { group: "autoscaling", version: "v1", kind: "Scale" };
    let ty = type_of_subresource(scale).expect("a body");
    let decoded = patch.apply(&current, ty, expected, FieldValidation::Warn).expect("applies");
    assert_eq!(decoded.value["spec"], json!({"replicas": 3}));
    assert_eq!(decoded.warnings, ["unknown field \"spec.nope\""]);
}
