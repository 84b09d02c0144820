//! Recorded bytes of a real API server against the JSON of the same objects.

use super::*;
use crate::schema::{conform, json::Node};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

fn vectors() -> serde_json::Map<String, Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/upstream/api/vectors/protobuf.json");
    let text = std::fs::read(path).expect("the recorded vectors");
    serde_json::from_slice(&text).expect("JSON")
}

/// Envelope, message and typed form, as a request body passes through them.
fn decoded(bytes: &[u8]) -> Value {
    let any = Expected { group: "", version: "v1", kind: "" };
    let value = decode(bytes, any).expect("decodes");
    let (api_version, kind) = (text(&value, "apiVersion"), text(&value, "kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let ty = types().of(group, version, &kind).unwrap_or_else(|| panic!("no type for {api_version} {kind}"));
    let mut fitted = conform(Node::from(value), ty).expect("fits").value;
    fitted["apiVersion"] = api_version.into();
    fitted["kind"] = kind.into();
    fitted
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// Stock clients read the list of resources by `Verbs.items`: the conformance suite's "API operations" specs.
#[test]
fn verbs_of_a_resource_are_a_message() {
    let list = serde_json::json!({
        "apiVersion": "v1", "kind": "APIResourceList", "groupVersion": "v1",
        "resources": [{"name": "pods", "namespaced": true, "kind": "Pod", "verbs": ["get", "list"]}],
    });
    let bytes = body(&list).expect("has a message");
    let wanted = b"\x22\x0b\x0a\x03get\x0a\x04list";
    assert!(bytes.windows(wanted.len()).any(|window| window == wanted), "{bytes:?}");
    assert_eq!(decoded(&bytes)["resources"][0]["verbs"], list["resources"][0]["verbs"]);
}

#[test]
fn recorded_objects_decode_to_their_json() {
    let mut compared = 0;
    for (name, steps) in vectors() {
        for step in steps.as_array().into_iter().flatten() {
            let (Some(bytes), expected) = (step["protobuf"].as_str(), &step["json"]) else {
                continue;
            };
            let bytes = STANDARD.decode(bytes).expect("base64");
            if !expected.is_object() || text(expected, "kind").ends_with("List") {
                continue;
            }
            let (found, mut expected) = (decoded(&bytes), expected.clone());
            without_type_meta(expected.pointer_mut("/spec/volumeClaimTemplates"));
            assert_eq!(found, expected, "{name}");
            compared += 1;
        }
    }
    assert_eq!(compared, 42);
}

/// Body for body the bytes that a real server sent for the same JSON.
#[test]
fn recorded_objects_encode_to_their_bytes() {
    let mut compared = 0;
    for (name, steps) in vectors() {
        for step in steps.as_array().into_iter().flatten() {
            let object = &step["json"];
            if let Some(recorded) = step["protobuf"].as_str().filter(|_| object.is_object()) {
                let found = encoded(object);
                let recorded = STANDARD.decode(recorded).expect("base64");
                // The blanks of embedded JSON are the client's there, none here.
                let blanks = name == "get-controllerrevision" && decoded(&found) == decoded(&recorded);
                let same = STANDARD.encode(&found) == STANDARD.encode(&recorded);
                assert!(same || blanks, "{name}: {object}\n{found:?}\n{recorded:?}");
                compared += 1;
            }
            if let Some(recorded) = step["frame"].as_str() {
                let found = frame(&text(object, "type"), &encoded(&object["object"]));
                assert_eq!(STANDARD.encode(&found[4..]), recorded, "{name}: {object}");
                assert_eq!(found[..4], ((found.len() - 4) as u32).to_be_bytes());
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 49);
}

fn encoded(object: &Value) -> Vec<u8> {
    let (api_version, kind) = (text(object, "apiVersion"), text(object, "kind"));
    let raw = match object["items"].as_array() {
        None => message(object).expect("a type"),
        Some(items) => {
            let item_kind = kind.strip_suffix("List").expect("a list");
            let items = items.iter().map(|item| {
                let mut item = item.clone();
                item["apiVersion"] = api_version.as_str().into();
                item["kind"] = item_kind.into();
                message(&item).expect("a type")
            });
            list(&object["metadata"], items)
        }
    };
    enveloped(&api_version, &kind, &raw)
}

/// The server names the kind of claim templates in JSON; in protobuf there is no place for it.
fn without_type_meta(templates: Option<&mut Value>) {
    for template in
        templates.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
    {
        template.retain(|key, _| key != "apiVersion" && key != "kind");
    }
}

#[test]
fn recorded_request_bodies_decode() {
    let mut decoded_bodies = 0;
    for (_, steps) in vectors() {
        for step in steps
            .as_array()
            .into_iter()
            .flatten()
            .filter(|s| s["request"].is_string() || s["request"].is_object())
        {
            let bytes = STANDARD.decode(text(step, "protobuf")).expect("base64");
            assert!(decoded(&bytes)["metadata"]["name"].is_string());
            decoded_bodies += 1;
        }
    }
    assert_eq!(decoded_bodies, 41);
}

#[test]
fn broken_bodies_are_refused() {
    let expected = Expected { group: "", version: "v1", kind: "Pod" };
    let check = |body: &[u8], why: &str| {
        let error = decode(body, expected).expect_err("refused");
        assert_eq!((error.code, error.message.contains(why)), (400, true), "{}", error.message);
    };
    check(b"{}", "expected prefix [107 56 115 0]");
    check(b"k8s\0\x12\x7f", "unexpected EOF");
    check(b"k8s\0\x12\x02\x0a\x05", "unexpected EOF");
    // A spec that is a number.
    check(b"k8s\0\x12\x02\x10\x05", "wrong wire type");
}

#[test]
fn delete_options_of_any_group() {
    let expected = Expected { group: "", version: "v1", kind: "DeleteOptions" };
    // typeMeta {apps/v1 DeleteOptions}, raw {gracePeriodSeconds: 7, preconditions {uid: "u"}, dryRun: ["All"]}
    let body =
        b"k8s\0\x0a\x18\x0a\x07apps/v1\x12\x0dDeleteOptions\x12\x0c\x08\x07\x12\x03\x0a\x01u\x2a\x03All";
    let options = decode(body, expected).expect("decodes");
    assert_eq!(options["gracePeriodSeconds"], 7);
    assert_eq!(options["preconditions"]["uid"], "u");
    assert_eq!(options["dryRun"], json!(["All"]));
}
