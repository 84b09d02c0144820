use super::*;
use crate::pki::certificates::{Subject, authority, issue};
use std::collections::BTreeMap;
use std::sync::Arc;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const NOW: Time = Time(x509_tests::NOW_S);
const AUTH: &str = include_str!("../../../tests/golden/upstream/api/auth.json");

#[derive(Default)]
struct World(BTreeMap<String, Arc<Value>>);

impl Objects for World {
    fn get(&self, _: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.get(&format!("{plural}/{namespace}/{name}")).cloned()
    }

    fn list(&self, _: &str, _: &str, _: Option<&str>) -> Vec<Arc<Value>> {
        Vec::new()
    }
}

fn world(namespace: &str) -> World {
    let account = json!({"metadata": {"name": "u", "namespace": namespace, "uid": "<uid:1>"}});
    World(BTreeMap::from([(format!("serviceaccounts/{namespace}/u"), Arc::new(account))]))
}

fn authenticator(client_ca: &str) -> Authenticator {
    Authenticator::new(Settings {
        issuer: ISSUER.to_owned(),
        service_account_key: jwt::tests::KEY.clone(),
        client_ca: client_ca.to_owned(),
        tokens: TokenFile::parse("secret,admin,admin,\"system:masters\"").unwrap(),
        anonymous: true,
    })
    .unwrap()
}

fn some_ca() -> String {
    authority("ca", x509_tests::now()).unwrap().certificate
}

fn header(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, value.parse().unwrap());
    headers
}

#[test]
fn bearer_tokens_and_what_is_none() {
    let (authenticator, world) = (authenticator(&some_ca()), World::default());
    let user = |value: &str| {
        let identity = authenticator.authenticate(&header(value), &[], &world, NOW);
        identity.map_or_else(|error| error.message, |identity| identity.user)
    };
    assert_eq!(user("Bearer secret"), "admin");
    assert_eq!(user("bearer  secret "), "admin");
    assert_eq!(user("Bearer wrong"), "Unauthorized");
    assert_eq!(user("bearer nope"), "Unauthorized");
    assert_eq!(user("Basic YTpi"), "system:anonymous");
    assert_eq!(user("Bearer"), "system:anonymous");
}

#[test]
fn certificates_come_first_and_a_bad_one_is_401() {
    let ca = authority("ca", x509_tests::now()).unwrap();
    let pair = issue(&ca, &Subject::client("jane", Some("dev")), x509_tests::now()).unwrap();
    let chain = [x509_tests::der(&pair)];
    let authenticator = authenticator(&ca.certificate);
    let ask =
        |at: i64| authenticator.authenticate(&header("Bearer secret"), &chain, &World::default(), Time(at));
    for _ in 0..2 {
        assert_eq!(ask(NOW.0).unwrap().user, "jane");
    }
    assert_eq!(ask(NOW.0 + 400 * 86_400).unwrap_err().code, 401);
    authenticator.trust(&some_ca()).unwrap();
    assert_eq!(ask(NOW.0).unwrap_err().code, 401);
}

fn token(authenticator: &Authenticator, world: &World, namespace: &str, audiences: &[&str]) -> String {
    let body = json!({"spec": {"audiences": audiences}});
    let answer = authenticator.token_request(namespace, "u", &body, world, NOW, "<uid:2>").unwrap();
    answer["status"]["token"].as_str().unwrap().to_owned()
}

/// The recorded TokenReviews, in order, each with the token that the case used.
#[test]
fn recorded_token_reviews() {
    let namespace = "kg-auth-tokenreview";
    let (authenticator, world) = (authenticator(&some_ca()), world(namespace));
    let own = token(&authenticator, &world, namespace, &[]);
    let other = token(&authenticator, &world, namespace, &["zz"]);
    let golden: Value = serde_json::from_str(AUTH).unwrap();
    let steps = golden["cases"]["tokenreview"].as_array().unwrap();
    let reviews: Vec<&Value> = steps.iter().filter(|step| step["request"]["method"] == "POST").collect();
    let tampered = format!("{}AAAA", &own[..own.len() - 4]);
    let tokens = [own.as_str(), &own, &own, "garbage", &tampered, &other, &own];
    assert_eq!(reviews.len(), tokens.len());
    for (index, (step, token)) in reviews.iter().zip(tokens).enumerate() {
        let mut body = step["request"]["body"].clone();
        body["spec"]["token"] = token.into();
        let deleted = World::default();
        let objects = if index == 6 { &deleted } else { &world };
        let mut got = authenticator.token_review(body, objects, NOW).unwrap();
        got["spec"]["token"] = step["request"]["body"]["spec"]["token"].clone();
        let text = got.to_string().replace("<uid:2>", if index == 5 { "<uid:3>" } else { "<uid:2>" });
        let mut want = step["response"]["body"].clone();
        want["metadata"].as_object_mut().unwrap().remove("managedFields");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), want, "step {index}");
    }
    let bearer = header(&format!("Bearer {other}"));
    assert_eq!(authenticator.authenticate(&bearer, &[], &world, NOW).unwrap_err().code, 401);
    let bearer = header(&format!("Bearer {own}"));
    assert_eq!(
        authenticator.authenticate(&bearer, &[], &world, NOW).unwrap().user,
        format!("system:serviceaccount:{namespace}:u")
    );
}

#[test]
fn a_full_cache_is_emptied_not_grown() {
    let cache = Mutex::new(HashMap::new());
    for number in 0..=u32::try_from(CACHED_MAX).unwrap() {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        remember(&cache, digest, number);
    }
    assert_eq!(cache.lock().unwrap().len(), 1);
}
