use super::*;
use kedge_api::kinds;

const NOW: &str = "2026-01-01T00:00:00Z";

fn config_map() -> &'static Kind {
    kinds::lookup("", "v1", "configmaps").expect("configmaps")
}

fn object(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

fn fields(object: &Value) -> Vec<(String, String, Value)> {
    let managers = read(object).expect("managers");
    managers.iter().map(|m| (m.name.clone(), m.time.clone(), m.set.to_fields())).collect()
}

fn owned(name: &str, time: &str, fields: Value) -> (String, String, Value) {
    (name.to_owned(), time.to_owned(), fields)
}

#[test]
fn ownership_moves_with_changes() {
    let kind = config_map();
    let mut first = object(json!({"a": "1", "b": "1"}));
    update(None, &mut first, kind, "one", "", NOW);
    assert_eq!(fields(&first), [owned("one", NOW, json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}}))]);

    let mut second = object(json!({"a": "2", "c": "1"}));
    update(Some(&first), &mut second, kind, "two", "", "2026-01-01T00:00:01Z");
    assert_eq!(
        fields(&second),
        [
            owned("one", NOW, json!({"f:data": {}})),
            owned("two", "2026-01-01T00:00:01Z", json!({"f:data": {"f:a": {}, "f:c": {}}})),
        ]
    );

    // No change keeps the time; the list of a client that sends one counts.
    let mut third = second.clone();
    update(Some(&second), &mut third, kind, "two", "", "2026-01-01T00:00:09Z");
    assert_eq!(fields(&third), fields(&second));

    // All data go: nobody owns anything.
    let mut fourth = object(json!({}));
    without_data(&mut fourth);
    update(Some(&third), &mut fourth, kind, "one", "", NOW);
    assert_eq!(fields(&fourth), []);
}

#[test]
fn clients_reset_but_do_not_forget() {
    let kind = config_map();
    let mut old = object(json!({"a": "1"}));
    update(None, &mut old, kind, "one", "", NOW);
    let check = |sent: Value, kept: usize| {
        let mut new = object(json!({"a": "1"}));
        new["metadata"]["managedFields"] = sent.clone();
        update(Some(&old), &mut new, kind, "two", "", NOW);
        assert_eq!(fields(&new).len(), kept, "{sent}");
    };
    check(Value::Null, 1);
    check(json!([]), 1);
    check(json!([{}]), 0);
    check(json!([{"manager": "x", "operation": "Nope"}]), 1);
    check(
        json!([{"manager": "x", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:a": {}}}}]),
        1,
    );
}

#[test]
fn status_belongs_to_its_subresource() {
    let kind = kinds::lookup("apps", "v1", "deployments").expect("deployments");
    let old = json!({"metadata": {"name": "d", "managedFields": [{"manager": "k", "operation": "Update", "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}, "spec": {"replicas": 1}, "status": {}});
    let mut new = json!({"metadata": {"name": "d", "labels": {"x": "y"}}, "spec": {"replicas": 9}, "status": {"replicas": 3}});
    update(Some(&old), &mut new, kind, "c", "status", NOW);
    let managers = read(&new).expect("managers");
    let found: Vec<_> =
        managers.iter().map(|m| (m.name.as_str(), m.subresource.as_str(), m.set.to_fields())).collect();
    let expected = [
        ("k", "", json!({"f:spec": {"f:replicas": {}}})),
        ("c", "status", json!({"f:status": {"f:replicas": {}}})),
    ];
    assert_eq!(found, expected);
}

#[test]
fn old_managers_are_joined() {
    let kind = config_map();
    let mut object = object(json!({}));
    update(None, &mut object, kind, "m", "", NOW);
    let mut current = object.clone();
    for number in 0..15 {
        let mut next = current.clone();
        next["data"][format!("k{number:02}")] = "v".into();
        let now = format!("2026-01-01T00:00:{number:02}Z");
        let before = (number > 0).then_some(&current);
        update(before, &mut next, kind, &format!("m{number:02}"), "", &now);
        current = next;
    }
    let found = fields(&current);
    assert_eq!(found.len(), UPDATE_MANAGERS_MAX);
    assert_eq!(found[0].0, ANCIENT);
    assert_eq!(found[0].2["f:data"].as_object().map(Map::len), Some(7));
}

#[test]
fn names_of_managers() {
    for (manager, agent, name) in [
        ("x", "kubectl/v1.36", "x"),
        ("", "kubectl/v1.36.2 (linux/amd64)", "kubectl"),
        ("", "", ""),
        ("", "a\u{7}b", "ab"),
    ] {
        assert_eq!(manager_name(manager, agent), name);
    }
}

/// Recorded creations: what the server says that the client set. The recorded answers also hold what the server set itself,
/// so their comparison with nothing finds at least the recorded fields, and exactly them where the server set nothing.
#[test]
fn recorded_creations() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/upstream/api/defaulting.json");
    let file: Value =
        serde_json::from_slice(&std::fs::read(path).expect("recorded defaulting")).expect("JSON");
    let (mut compared, mut equal) = (0, 0);
    for (name, steps) in file["cases"].as_object().into_iter().flatten() {
        let step = &steps[0];
        let body = &step["response"]["body"];
        if step["request"]["method"] != "POST" || step["response"]["status"] != 201 {
            continue;
        }
        // It sent an empty list, which the store returns as null.
        if name == "role-empty" {
            continue;
        }
        let golden = |m: &Manager| m.name == "golden" && m.subresource.is_empty();
        let Some(recorded) = read(body).and_then(|managers| managers.into_iter().find(golden)) else {
            continue;
        };
        let (group, version) = recorded.api_version.split_once('/').unwrap_or(("", &recorded.api_version));
        let kind = kinds::by_kind(group, version, body["kind"].as_str().unwrap_or_default()).expect(name);
        let mut object = body.clone();
        update(None, without(&mut object), kind, "golden", "", "<time>");
        let computed =
            read(&object).expect("managers").pop().unwrap_or_else(|| panic!("{name}: nothing")).set;
        let mut missing = recorded.set.clone();
        missing.difference(&computed);
        assert!(missing.is_empty(), "{name}: {}\n{}", missing.to_fields(), computed.to_fields());
        compared += 1;
        equal += usize::from(computed == recorded.set);
    }
    assert!(compared >= 110 && equal >= 60, "{equal} of {compared} are equal");
}

fn without_data(object: &mut Value) {
    object.as_object_mut().expect("an object").remove("data");
}

fn without(object: &mut Value) -> &mut Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}
