//! SelfSubjectReview and TokenReview as answers.

use crate::status::ApiError;
use kedge_api::Identity;
use serde_json::{Map, Value, json};

/// What verifying a token gave: the user and the audiences it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub identity: Identity,
    pub audiences: Vec<String>,
}

pub fn self_subject_review(identity: &Identity, creation_timestamp: &str) -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
        "metadata": {"creationTimestamp": creation_timestamp},
        "status": {"userInfo": user_info(identity)},
    })
}

/// The token that a TokenReview asks about and the audiences wanted (empty: the server's own).
pub fn asked(body: &Value) -> Result<(&str, Vec<String>), ApiError> {
    let token = body["spec"]["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences = body["spec"]["audiences"].as_array().into_iter().flatten();
    Ok((token, audiences.filter_map(|audience| audience.as_str().map(str::to_owned)).collect()))
}

/// The answer to a TokenReview; `body` keeps the metadata that the registry gave it.
pub fn token_review(mut body: Value, outcome: Result<Verified, String>) -> Value {
    if !body["metadata"].is_object() {
        body["metadata"] = json!({});
    }
    body["status"] = match outcome {
        Ok(verified) => json!({"authenticated": true, "user": user_info(&verified.identity),
            "audiences": verified.audiences}),
        Err(error) => json!({"user": {}, "error": error}),
    };
    body
}

/// `authentication.k8s.io/v1 UserInfo`, without what is empty.
pub fn user_info(identity: &Identity) -> Value {
    let mut info = Map::new();
    for (field, value) in [
        ("username", json!(identity.user)),
        ("uid", json!(identity.uid)),
        ("groups", json!(identity.groups)),
        ("extra", json!(identity.extra)),
    ] {
        let is_empty = matches!(&value, Value::String(text) if text.is_empty())
            || matches!(&value, Value::Array(list) if list.is_empty())
            || matches!(&value, Value::Object(map) if map.is_empty());
        if !is_empty {
            info.insert(field.to_owned(), value);
        }
    }
    info.into()
}
