use super::payload::{token_requests, top_names};
use super::*;
use crate::env::{ConfigMap, Secret};

fn pod(volume: serde_json::Value, spec: serde_json::Value) -> Pod {
    let mut spec = spec;
    spec["volumes"] = serde_json::json!([volume]);
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "b"}}, "spec": spec}))
    .unwrap()
}

fn plan(volume: serde_json::Value, spec: serde_json::Value) -> Result<VolumePlan, String> {
    let pod = pod(volume, spec);
    let sources = Sources {
        config_maps: [(
            "cm".to_owned(),
            ConfigMap {
                data: [("k".to_owned(), "v".to_owned()), ("l".to_owned(), "w".to_owned())].into(),
                binary_data: [("b".to_owned(), vec![0, 1])].into(),
            },
        )]
        .into(),
        secrets: [("s".to_owned(), Secret { data: [("pw".to_owned(), b"x".to_vec())].into() })].into(),
    };
    let tokens = token_requests(&pod).into_iter().map(|request| (request, Ok("token".to_owned()))).collect();
    let inputs = Inputs {
        pod_folder: Path::new("/k/pods/u"),
        sources: &sources,
        tokens: &tokens,
        context: &FieldContext::default(),
    };
    plan_volume(&pod, &pod.spec.volumes[0], &inputs)
}

/// `path mode content` of every file.
fn check(volume: serde_json::Value, spec: serde_json::Value, expected: Result<&[&str], &str>) {
    let seen = plan(volume.clone(), spec).map(|plan| match plan.content {
        Content::Files { payload, .. } => payload
            .iter()
            .map(|(path, file)| format!("{path} {:o} {}", file.mode, String::from_utf8_lossy(&file.data)))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    });
    let expected =
        expected.map(|lines| lines.iter().map(|l| (*l).to_owned()).collect()).map_err(str::to_owned);
    assert_eq!(seen, expected, "{volume}");
}

fn none() -> serde_json::Value {
    serde_json::json!({"containers": []})
}

#[test]
fn files() {
    check(
        serde_json::json!({"name": "v", "configMap": {"name": "cm"}}),
        none(),
        Ok(&["b 644 \0\u{1}", "k 644 v", "l 644 w"]),
    );
    check(
        serde_json::json!({"name": "v", "configMap": {"name": "cm", "defaultMode": 256, "items": [
            {"key": "k", "path": "a/b"}, {"key": "l", "path": "l", "mode": 511}]}}),
        none(),
        Ok(&["a/b 400 v", "l 777 w"]),
    );
    check(
        serde_json::json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 420}}),
        none(),
        Ok(&["pw 644 x"]),
    );
    check(
        serde_json::json!({"name": "v", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
        none(),
        Ok(&["labels 644 a=\"b\""]),
    );
}

#[test]
fn missing() {
    check(
        serde_json::json!({"name": "v", "configMap": {"name": "none"}}),
        none(),
        Err("configmap \"none\" not found"),
    );
    check(serde_json::json!({"name": "v", "configMap": {"name": "none", "optional": true}}), none(), Ok(&[]));
    check(
        serde_json::json!({"name": "v", "secret": {"secretName": "none"}}),
        none(),
        Err("secret \"none\" not found"),
    );
    let item = |optional: bool| serde_json::json!({"name": "v", "configMap": {"name": "cm", "optional": optional, "items": [{"key": "x", "path": "x"}]}});
    check(item(false), none(), Err("references non-existent config key: x"));
    check(item(true), none(), Ok(&[]));
    check(
        serde_json::json!({"name": "v", "configMap": {"name": "cm", "items": [{"key": "k", "path": "../x"}]}}),
        none(),
        Err("invalid path \"../x\" in volume"),
    );
}

fn kube_api_access() -> serde_json::Value {
    serde_json::json!({"name": "v", "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "cm", "items": [{"key": "k", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}})
}

#[test]
fn projections() {
    check(kube_api_access(), none(), Ok(&["ca.crt 644 v", "namespace 644 n", "token 644 token"]));
    let grouped = serde_json::json!({"securityContext": {"fsGroup": 5}, "containers": [{"name": "c"}]});
    check(kube_api_access(), grouped, Ok(&["ca.crt 644 v", "namespace 644 n", "token 600 token"]));
    let user = serde_json::json!({"securityContext": {"runAsUser": 7}, "containers": [{"name": "c"}]});
    let Content::Files { payload, memory, .. } = plan(kube_api_access(), user).unwrap().content else {
        panic!()
    };
    assert!(memory);
    assert_eq!(payload["token"].owner, Some(7));
    assert_eq!(top_names(&payload).into_iter().collect::<Vec<_>>(), ["ca.crt", "namespace", "token"]);
}

#[test]
fn empty_dirs_and_host_paths() {
    let limited =
        serde_json::json!({"containers": [{"name": "c", "resources": {"limits": {"memory": "1Mi"}}}]});
    for (volume, spec, content) in [
        (
            serde_json::json!({"name": "v", "emptyDir": {}}),
            none(),
            Content::EmptyDir { medium: Medium::Disk, fs_group: None },
        ),
        (
            serde_json::json!({"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "2Mi"}}),
            none(),
            Content::EmptyDir { medium: Medium::Memory { size_bytes: Some(2 << 20) }, fs_group: None },
        ),
        (
            serde_json::json!({"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "2Mi"}}),
            limited,
            Content::EmptyDir { medium: Medium::Memory { size_bytes: Some(1 << 20) }, fs_group: None },
        ),
        (
            serde_json::json!({"name": "v", "hostPath": {"path": "/x", "type": "Socket"}}),
            none(),
            Content::HostPath(HostPathType::Socket),
        ),
    ] {
        assert_eq!(plan(volume.clone(), spec).unwrap().content, content, "{volume}");
    }
    assert_eq!(
        HostPathType::Directory.mismatch(Path::new("/x")),
        "hostPath type check failed: /x is not a directory"
    );
    assert!(
        plan(serde_json::json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}), none()).is_err()
    );
}

#[test]
fn what_a_pod_reads() {
    let spec = serde_json::json!({"imagePullSecrets": [{"name": "pull"}], "containers": [{"name": "c",
        "envFrom": [{"secretRef": {"name": "s1"}}],
        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m1", "key": "k"}}}]}]});
    let refs = references(&pod(kube_api_access(), spec));
    assert_eq!(refs.config_maps.into_iter().collect::<Vec<_>>(), ["cm", "m1"]);
    assert_eq!(refs.secrets.into_iter().collect::<Vec<_>>(), ["s1"]);
    assert_eq!(refs.pull_secrets.into_iter().collect::<Vec<_>>(), ["pull"]);
}
