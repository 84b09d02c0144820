//! Recorded documents of a real API server, reduced as its recorder reduced them.

use super::*;

fn cases(file: &str) -> Value {
    let path = format!("{}/../../tests/golden/upstream/api/{file}", env!("CARGO_MANIFEST_DIR"));
    let mut file: Value = serde_json::from_slice(&std::fs::read(path).expect("a recording")).expect("JSON");
    file["cases"].take()
}

/// The recorder's view: operations by id, action, kind, parameter names, media types.
fn reduced(document: &Value) -> Value {
    let names = |parameters: &Value| -> Vec<Value> {
        parameters.as_array().into_iter().flatten().map(|p| p["name"].clone()).collect()
    };
    let media = |content: &Value| -> Vec<Value> {
        content.as_object().into_iter().flat_map(|c| c.keys().cloned().map(Value::from)).collect()
    };
    let operation = |o: &Value| {
        let responses: Map<String, Value> = o["responses"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(code, response)| (code.clone(), media(&response["content"]).into()))
            .collect();
        json!([
            o["operationId"],
            o["x-kubernetes-action"],
            o["x-kubernetes-group-version-kind"]["kind"],
            names(&o["parameters"]),
            media(&o["requestBody"]["content"]),
            responses,
        ])
    };
    let paths: Map<String, Value> = document["paths"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(path, item)| {
            let item: Map<String, Value> = item
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, value)| {
                    (key.clone(), if key == "parameters" { names(value).into() } else { operation(value) })
                })
                .collect();
            (path.clone(), Value::Object(item))
        })
        .collect();
    json!({"paths": paths, "schemas": document["components"]["schemas"], "openapi": document["openapi"],
           "securitySchemes": document["components"]["securitySchemes"]})
}

#[test]
fn recorded_documents() {
    let mut compared = 0;
    for (name, steps) in cases("openapi.json").as_object().into_iter().flatten() {
        let (request, body) = (&steps[0]["request"], &steps[0]["response"]["body"]);
        let path = request["path"].as_str().unwrap_or_default();
        let Some(path) = path.strip_prefix("/openapi/v3/").filter(|_| body["paths"].is_object()) else {
            continue;
        };
        let bytes = document(path, "v1.36.2").unwrap_or_else(|| panic!("no document {path}"));
        let found = reduced(&serde_json::from_slice(&bytes).expect("JSON"));
        for part in ["paths", "schemas"] {
            let (found, recorded) = (found[part].as_object(), body[part].as_object());
            let (found, recorded) = (found.expect(part), recorded.expect(part));
            for (key, value) in recorded {
                assert_eq!(found.get(key), Some(value), "{name} {key}");
            }
            let extra: Vec<&String> = found.keys().filter(|key| !recorded.contains_key(*key)).collect();
            assert!(extra.is_empty(), "{name}: {extra:?}");
        }
        assert_eq!(
            (&found["openapi"], &found["securitySchemes"]),
            (&body["openapi"], &body["securitySchemes"]),
            "{name}"
        );
        compared += 1;
    }
    assert_eq!(compared, 25);
}

#[test]
fn the_index_has_the_recorded_paths() {
    let recorded = &cases("discovery.json")["openapi-v3-index"][0]["response"]["body"]["paths"];
    let mut recorded: Vec<&String> = recorded.as_object().expect("paths").keys().collect();
    recorded.sort();
    assert_eq!(paths().iter().collect::<Vec<_>>(), recorded);
    for path in paths() {
        assert!(document(&path, "v1").is_some(), "{path}");
    }
    assert_ne!(hash("api/v1", "v1"), hash("api/v1", "v2"));
    assert_eq!(document("apis/nope/v1", "v1"), None);
}
