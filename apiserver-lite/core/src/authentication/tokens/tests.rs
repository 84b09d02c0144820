use super::*;
use crate::authorization::tests::replay;
use std::sync::Arc;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const NOW: Time = Time(1_800_000_000);
const JTI: &str = "<jti>";

/// Objects by `PLURAL/NAMESPACE/NAME`.
#[derive(Default)]
pub struct World(BTreeMap<String, Arc<Value>>);

impl World {
    fn put(&mut self, plural: &str, namespace: &str, name: &str, uid: &str, spec: Value) {
        let object = json!({"metadata": {"name": name, "namespace": namespace, "uid": uid}, "spec": spec});
        self.0.insert(format!("{plural}/{namespace}/{name}"), Arc::new(object));
    }

    fn remove(&mut self, path: &str) {
        self.0.remove(path);
    }
}

impl Objects for World {
    fn get(&self, _: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.get(&format!("{plural}/{namespace}/{name}")).cloned()
    }

    fn list(&self, _: &str, _: &str, _: Option<&str>) -> Vec<Arc<Value>> {
        Vec::new()
    }
}

fn world(namespace: &str) -> World {
    let mut world = World::default();
    world.put("serviceaccounts", namespace, "u", "<uid:2>", json!({}));
    world.put("pods", namespace, "p", "<pod>", json!({"serviceAccountName": "u", "nodeName": "n"}));
    world.put("secrets", namespace, "s", "<secret>", json!({}));
    world.put("nodes", "", "n", "<node>", json!({}));
    world
}

fn ask(world: &World, namespace: &str, name: &str, body: &Value) -> Result<Grant, ApiError> {
    let audiences = [ISSUER.to_owned()];
    let request = TokenRequest {
        namespace,
        service_account: name,
        body,
        issuer: ISSUER,
        audiences: &audiences,
        now: NOW,
        jti: JTI,
    };
    grant(request, world)
}

#[test]
fn recorded_requests() {
    let namespace = "kg-auth-token-request";
    let world = world(namespace);
    let mut granted = 0;
    replay("token-request", |request, response| {
        let name = request["path"].as_str().unwrap().split('/').nth(6).unwrap();
        match ask(&world, namespace, name, &request["body"]) {
            Err(error) => assert_eq!(error.to_status(), response["body"], "{request}"),
            Ok(grant) => {
                granted += 1;
                let recorded = &response["body"];
                assert_eq!(response["status"], 201, "{request}");
                if let Some(payload) = recorded.get("payload") {
                    compare(&grant, payload, &recorded["object"]);
                }
            }
        }
    });
    assert_eq!(granted, 5);
}

fn compare(grant: &Grant, payload: &Value, object: &Value) {
    let mut claims = grant.claims.clone();
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    claims["$lifetime"] = life.into();
    for claim in ["exp", "iat", "nbf"] {
        claims[claim] = "<secs>".into();
    }
    claims["jti"] = payload["jti"].clone();
    assert_eq!(claims, *payload);
    let mut object = object.clone();
    object["metadata"].as_object_mut().unwrap().remove("managedFields");
    let mut answer = grant.clone().answer("t");
    assert_eq!(
        answer["status"],
        json!({"token": "t", "expirationTimestamp": Time(NOW.0 + life).to_string()})
    );
    answer.as_object_mut().unwrap().remove("status");
    answer["metadata"]["creationTimestamp"] = "<time>".into();
    assert_eq!(answer, object);
}

fn bound(kind: &str, name: &str) -> Value {
    json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}, "expirationSeconds": 3607}})
}

fn check(claims: &Value, world: &World, at: i64) -> Result<Verified, String> {
    let own = [ISSUER.to_owned()];
    verify(claims, &own, &own, Time(NOW.0 + at), world)
}

#[test]
fn a_bound_token_ends_with_what_it_is_bound_to() {
    let invalidated = Err("service account token has been invalidated".to_owned());
    for (kind, name, path) in
        [("Pod", "p", "pods/a/p"), ("Secret", "s", "secrets/a/s"), ("Node", "n", "nodes//n")]
    {
        let mut world = world("a");
        let claims = ask(&world, "a", "u", &bound(kind, name)).unwrap().claims;
        assert!(check(&claims, &world, 0).is_ok(), "{kind}");
        world.remove(path);
        assert_eq!(check(&claims, &world, 0), invalidated, "{kind}");
    }
}

#[test]
fn a_pod_token_knows_its_node_and_lives_long_but_warns() {
    let world = world("a");
    let claims = ask(&world, "a", "u", &bound("Pod", "p")).unwrap().claims;
    assert_eq!(
        claims["kubernetes.io"],
        json!({"namespace": "a", "serviceaccount": {"name": "u", "uid": "<uid:2>"},
            "pod": {"name": "p", "uid": "<pod>"}, "node": {"name": "n", "uid": "<node>"}, "warnafter": NOW.0 + 3607})
    );
    assert_eq!(claims["exp"], NOW.0 + EXTENDED_EXPIRATION_S);
    let identity = check(&claims, &world, 5000).unwrap().identity;
    assert_eq!(identity.user, "system:serviceaccount:a:u");
    assert_eq!(
        identity.groups,
        ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]
    );
    let extra: Vec<String> =
        identity.extra.iter().map(|(key, value)| format!("{key}={}", value[0])).collect();
    assert_eq!(
        extra,
        [
            "authentication.kubernetes.io/credential-id=JTI=<jti>",
            "authentication.kubernetes.io/node-name=n",
            "authentication.kubernetes.io/node-uid=<node>",
            "authentication.kubernetes.io/pod-name=p",
            "authentication.kubernetes.io/pod-uid=<pod>",
        ]
    );
}

#[test]
fn what_makes_a_token_fail() {
    let mut world = world("a");
    let claims = ask(&world, "a", "u", &json!({"spec": {}})).unwrap().claims;
    let fails = |result: Result<Verified, String>, want: &str| assert_eq!(result.unwrap_err(), want);
    fails(check(&claims, &world, 3700), "service account token has expired");
    fails(check(&claims, &world, -100), "service account token is not valid yet");
    assert!(check(&claims, &world, 3650).is_ok(), "clocks may differ by a minute");
    let own = [ISSUER.to_owned()];
    let want = format!("token audiences [\"{ISSUER}\"] is invalid for the target audiences [\"zz\"]");
    fails(verify(&claims, &["zz".to_owned()], &own, NOW, &world), &want);
    world.put("serviceaccounts", "a", "u", "<other>", json!({}));
    fails(check(&claims, &world, 0), "service account UID (<other>) does not match claim (<uid:2>)");
    world.remove("serviceaccounts/a/u");
    fails(check(&claims, &world, 0), "serviceaccounts \"u\" not found");
}

#[test]
fn bindings_that_are_refused() {
    let mut world = world("a");
    world.put("serviceaccounts", "a", "default", "<default>", json!({}));
    let message = |name: &str, body: Value| ask(&world, "a", name, &body).unwrap_err().message;
    assert_eq!(
        message("default", bound("Pod", "p")),
        "cannot bind token for serviceaccount \"default\" to pod running with different serviceaccount name."
    );
    let mut other = bound("Pod", "p");
    other["spec"]["boundObjectRef"]["uid"] = "<gone>".into();
    assert!(message("u", other).ends_with(
        "(<gone>) does not match the UID in record. The object might have been deleted and then recreated"
    ));
}

#[test]
fn a_legacy_token_holds_while_its_secret_does() {
    let mut world = world("a");
    let claims = legacy_claims("a", "u", "<uid:2>", "s");
    assert_eq!(check(&claims, &world, 0).unwrap().identity.user, "system:serviceaccount:a:u");
    world.remove("secrets/a/s");
    assert!(check(&claims, &world, 0).is_err());
}
