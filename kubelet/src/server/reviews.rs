//! Who calls the kubelet, asked of the API server: TokenReview and SubjectAccessReview through the kubelet's own client;
//! client certificates are checked here, against the cluster's authority.

use kedge_api::{Identity, resource};
use kedge_client::Client;
use kedge_serving::Peer;
use kedge_serving::delegated::{Access, Reviews, Verdict};
use kedge_serving::x509::Verifier;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) struct ApiReviews {
    pub client: Client,
    pub authority: Verifier,
}

#[derive(Deserialize)]
struct Review<S> {
    status: S,
}

#[derive(Deserialize)]
struct TokenStatus {
    #[serde(default)]
    authenticated: bool,
    #[serde(default)]
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct AccessStatus {
    #[serde(default)]
    allowed: bool,
    #[serde(default)]
    reason: String,
}

impl Reviews for ApiReviews {
    type Error = kedge_client::Error;

    async fn token(&self, token: &str) -> Result<Option<Identity>, kedge_client::Error> {
        let review = json!({
            "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": token},
        });
        let answer: Review<TokenStatus> = self.client.create(resource::TOKEN_REVIEWS, "", &review).await?;
        let User { username, uid, groups, extra } = answer.status.user;
        Ok(answer.status.authenticated.then_some(Identity { user: username, uid, groups, extra }))
    }

    async fn access(&self, who: &Identity, what: &Access) -> Result<Verdict, kedge_client::Error> {
        let review = json!({
            "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec(who, what),
        });
        let answer: Review<AccessStatus> =
            self.client.create(resource::SUBJECT_ACCESS_REVIEWS, "", &review).await?;
        Ok(Verdict { allowed: answer.status.allowed, reason: answer.status.reason })
    }

    fn certificate(&self, peer: &Peer) -> Option<Identity> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let certified = self.authority.verify(&peer.certificates, i64::try_from(now.as_secs()).ok()?);
        certified.map(|certified| certified.identity).ok()
    }
}

fn spec(who: &Identity, what: &Access) -> Value {
    let mut spec = json!({"user": who.user, "uid": who.uid, "groups": who.groups, "extra": who.extra});
    match what {
        Access::Resource { verb, resource, subresource, name } => {
            spec["resourceAttributes"] = json!({"verb": verb, "version": "v1", "resource": resource, "subresource": subresource, "name": name});
        }
        Access::Path { verb, path } => spec["nonResourceAttributes"] = json!({"verb": verb, "path": path}),
    }
    spec
}
