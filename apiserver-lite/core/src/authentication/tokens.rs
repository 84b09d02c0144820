//! Service account tokens: what is written into one, and whether one that was signed by us still holds.
//!
//! A token is bound to the service account and, if asked for, to a pod, a secret or a node: it ends with each of them, not
//! only with its time.

use super::reviews::Verified;
use super::{AUTHENTICATED, service_account_groups, service_account_user};
use crate::objects::Objects;
use crate::status::{ApiError, Finding, FindingKind};
use kedge_api::{Identity, Time};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The issuer of tokens that were kept in secrets, before TokenRequest.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

const GROUP: &str = "authentication.k8s.io";
const DEFAULT_EXPIRATION_S: i64 = 3600;
/// A lifetime that only projected volumes ask for. Clients that read their token once are warned about, not cut off.
const PROJECTED_EXPIRATION_S: i64 = 3607;
const EXTENDED_EXPIRATION_S: i64 = 365 * 86_400;
/// How far clocks may differ.
const LEEWAY_S: i64 = 60;

/// What is asked of a `serviceaccounts/NAME/token` create.
#[derive(Clone, Copy)]
pub struct TokenRequest<'a> {
    pub namespace: &'a str,
    pub service_account: &'a str,
    pub body: &'a Value,
    pub issuer: &'a str,
    /// The server's own audiences.
    pub audiences: &'a [String],
    pub now: Time,
    /// A fresh UUID.
    pub jti: &'a str,
}

/// What is to be signed, and the answer into which the token goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    pub claims: Value,
    answer: Value,
}

impl Grant {
    /// The TokenRequest that the client gets.
    pub fn answer(mut self, token: &str) -> Value {
        self.answer["status"]["token"] = token.into();
        self.answer
    }
}

/// Decides about a TokenRequest.
pub fn grant(request: TokenRequest<'_>, objects: &dyn Objects) -> Result<Grant, ApiError> {
    let TokenRequest { namespace, service_account: name, body, .. } = request;
    match_metadata(request)?;
    let Some(account) = objects.get("", "serviceaccounts", namespace, name) else {
        return Err(ApiError::not_found("", "serviceaccounts", name));
    };
    let uid = text(&account["metadata"]["uid"]);
    let asked_uid = text(&body["metadata"]["uid"]);
    if !asked_uid.is_empty() && asked_uid != uid {
        let why = format!(
            "the UID in the token request ({asked_uid}) does not match the UID of the service account ({uid})"
        );
        return Err(ApiError::conflict(GROUP, "TokenRequest", name, &why));
    }
    let expiration_s = expiration(&body["spec"])?;
    let audiences = match strings(&body["spec"]["audiences"]) {
        asked if asked.is_empty() => request.audiences.to_vec(),
        asked => asked,
    };
    let bound = bind(request, objects)?;
    let own_audience = audiences.iter().all(|audience| request.audiences.contains(audience));
    let extended = bound.contains_key("pod") && expiration_s == PROJECTED_EXPIRATION_S && own_audience;

    let mut private = Map::new();
    private.insert("namespace".into(), namespace.into());
    private.insert("serviceaccount".into(), json!({"name": name, "uid": uid}));
    private.extend(bound);
    if extended {
        private.insert("warnafter".into(), (request.now.0 + expiration_s).into());
    }
    let life = if extended { EXTENDED_EXPIRATION_S } else { expiration_s };
    let claims = json!({
        "iss": request.issuer, "sub": service_account_user(namespace, name), "aud": audiences, "jti": request.jti,
        "iat": request.now.0, "nbf": request.now.0, "exp": request.now.0 + life, "kubernetes.io": private,
    });
    Ok(Grant { claims, answer: answer(request, uid, &audiences, expiration_s) })
}

fn match_metadata(request: TokenRequest<'_>) -> Result<(), ApiError> {
    let fields = [
        ("name", request.service_account, "must match the service account name if specified"),
        ("namespace", request.namespace, "must match the service account namespace if specified"),
    ];
    for (field, want, why) in fields {
        let asked = text(&request.body["metadata"][field]);
        if !asked.is_empty() && asked != want {
            let finding = invalid(&format!("metadata.{field}"), &format!("{asked:?}: {why}"));
            return Err(ApiError::invalid(GROUP, "TokenRequest", request.service_account, &[finding]));
        }
    }
    Ok(())
}

/// Fills in what upstream's defaulting fills in.
pub fn default_request(request: &mut Value) {
    if request["spec"]["expirationSeconds"].is_null() {
        request["spec"]["expirationSeconds"] = DEFAULT_EXPIRATION_S.into();
    }
}

fn expiration(spec: &Value) -> Result<i64, ApiError> {
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_EXPIRATION_S);
    let why = match seconds {
        ..600 => "may not specify a duration less than 10 minutes",
        4_294_967_297.. => "may not specify a duration larger than 2^32 seconds",
        600..=4_294_967_296 => return Ok(seconds),
    };
    let finding = invalid("spec.expirationSeconds", &format!("{seconds}: {why}"));
    Err(ApiError::invalid(GROUP, "TokenRequest", "", &[finding]))
}

/// The claims of what the token is bound to.
fn bind(request: TokenRequest<'_>, objects: &dyn Objects) -> Result<Map<String, Value>, ApiError> {
    let reference = &request.body["spec"]["boundObjectRef"];
    let mut bound = Map::new();
    if reference.is_null() {
        return Ok(bound);
    }
    let (kind, name, api_version) =
        (text(&reference["kind"]), text(&reference["name"]), text(&reference["apiVersion"]));
    let (claim, plural, namespace) = match (api_version.contains('/'), kind) {
        (false, "Pod") => ("pod", "pods", request.namespace),
        (false, "Secret") => ("secret", "secrets", request.namespace),
        (false, "Node") => ("node", "nodes", ""),
        _ => {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let message = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(ApiError::bad_request(message));
        }
    };
    let Some(object) = objects.get("", plural, namespace, name) else {
        return Err(ApiError::not_found("", plural, name));
    };
    if claim == "pod" {
        if object["spec"]["serviceAccountName"] != *request.service_account {
            let account = request.service_account;
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
            )));
        }
        bound.extend(node_of(&object, objects).map(|node| ("node".to_owned(), node)));
    }
    let (uid, asked_uid) = (text(&object["metadata"]["uid"]), text(&reference["uid"]));
    if !asked_uid.is_empty() && asked_uid != uid {
        let why = format!(
            "the UID in the bound object reference ({asked_uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict("", kind, name, &why));
    }
    bound.insert(claim.to_owned(), json!({"name": name, "uid": uid}));
    Ok(bound)
}

/// A pod's node; without uid where the Node object is missing.
fn node_of(pod: &Value, objects: &dyn Objects) -> Option<Value> {
    let name = text(&pod["spec"]["nodeName"]);
    if name.is_empty() {
        return None;
    }
    Some(match objects.get("", "nodes", "", name) {
        Some(node) => json!({"name": name, "uid": node["metadata"]["uid"]}),
        None => json!({"name": name}),
    })
}

fn answer(request: TokenRequest<'_>, uid: &str, audiences: &[String], expiration_s: i64) -> Value {
    let mut metadata = request.body["metadata"].as_object().cloned().unwrap_or_default();
    metadata.insert("name".into(), request.service_account.into());
    metadata.insert("namespace".into(), request.namespace.into());
    metadata.insert("uid".into(), uid.into());
    metadata.insert("creationTimestamp".into(), request.now.to_string().into());
    json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": metadata,
        "spec": {"audiences": audiences, "expirationSeconds": expiration_s,
            "boundObjectRef": request.body["spec"]["boundObjectRef"]},
        "status": {"expirationTimestamp": Time(request.now.0 + expiration_s).to_string()},
    })
}

/// Whether the claims of a token with a good signature hold. `wanted` are the audiences asked for; `own` the server's.
pub fn verify(
    claims: &Value,
    wanted: &[String],
    own: &[String],
    now: Time,
    objects: &dyn Objects,
) -> Result<Verified, String> {
    let token_audiences = match &claims["aud"] {
        Value::Null => own.to_vec(),
        Value::String(one) => vec![one.clone()],
        many => strings(many),
    };
    let audiences: Vec<String> =
        token_audiences.iter().filter(|audience| wanted.contains(audience)).cloned().collect();
    if audiences.is_empty() {
        return Err(format!(
            "token audiences {} is invalid for the target audiences {}",
            crate::authorization::rule::go_list(&token_audiences),
            crate::authorization::rule::go_list(wanted)
        ));
    }
    let legacy = claims["iss"] == LEGACY_ISSUER;
    let identity = if legacy { verify_legacy(claims, objects)? } else { verify_bound(claims, now, objects)? };
    Ok(Verified { identity, audiences })
}

fn verify_bound(claims: &Value, now: Time, objects: &dyn Objects) -> Result<Identity, String> {
    verify_time(claims, now)?;
    let private = &claims["kubernetes.io"];
    let namespace = text(&private["namespace"]);
    let name = text(&private["serviceaccount"]["name"]);
    let uid = verify_account(namespace, name, text(&private["serviceaccount"]["uid"]), now, objects)?;
    let bound = Bound { private, now, objects };
    bound.holds("secret", "secrets", namespace, "service account secret ref")?;
    let pod = bound.holds("pod", "pods", namespace, "service account pod ref")?;
    if pod.is_none() {
        bound.holds("node", "nodes", "", "service account node ref")?;
    }
    let mut extra = BTreeMap::new();
    let mut add = |key: &str, value: &Value| {
        if let Some(value) = value.as_str().filter(|value| !value.is_empty()) {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    for kind in ["pod", "node"] {
        add(&format!("{kind}-name"), &private[kind]["name"]);
        add(&format!("{kind}-uid"), &private[kind]["uid"]);
    }
    if let Some(jti) = claims["jti"].as_str() {
        add("credential-id", &Value::from(format!("JTI={jti}")));
    }
    Ok(account_identity(namespace, name, uid, extra))
}

fn account_identity(
    namespace: &str,
    name: &str,
    uid: String,
    extra: BTreeMap<String, Vec<String>>,
) -> Identity {
    let mut groups = service_account_groups(namespace).to_vec();
    groups.push(AUTHENTICATED.to_owned());
    Identity { user: service_account_user(namespace, name), uid, groups, extra }
}

fn verify_time(claims: &Value, now: Time) -> Result<(), String> {
    let at =
        |claim: &str| claims[claim].as_i64().or_else(|| claims[claim].as_f64().map(|seconds| seconds as i64));
    if at("exp").is_some_and(|expiry| expiry < now.0 - LEEWAY_S) {
        return Err("service account token has expired".to_owned());
    }
    if at("nbf").is_some_and(|start| start > now.0 + LEEWAY_S) {
        return Err("service account token is not valid yet".to_owned());
    }
    if at("iat").is_some_and(|issued| issued > now.0 + LEEWAY_S) {
        return Err("service account token is issued in the future".to_owned());
    }
    Ok(())
}

/// The uid of the service account, if it is the one that the claim means.
fn verify_account(
    namespace: &str,
    name: &str,
    claimed_uid: &str,
    now: Time,
    objects: &dyn Objects,
) -> Result<String, String> {
    let account = objects
        .get("", "serviceaccounts", namespace, name)
        .ok_or_else(|| ApiError::not_found("", "serviceaccounts", name).message)?;
    let uid = text(&account["metadata"]["uid"]);
    if uid != claimed_uid {
        return Err(format!("service account UID ({uid}) does not match claim ({claimed_uid})"));
    }
    if is_deleted(&account, now) {
        return Err(format!("service account {namespace}/{name} has been deleted"));
    }
    Ok(uid.to_owned())
}

struct Bound<'a> {
    private: &'a Value,
    now: Time,
    objects: &'a dyn Objects,
}

impl Bound<'_> {
    /// None: the token is not bound to such an object.
    fn holds(&self, claim: &str, plural: &str, namespace: &str, what: &str) -> Result<Option<()>, String> {
        let reference = &self.private[claim];
        if reference.is_null() {
            return Ok(None);
        }
        let invalidated = || "service account token has been invalidated".to_owned();
        let name = text(&reference["name"]);
        let object = self.objects.get("", plural, namespace, name).ok_or_else(invalidated)?;
        let (uid, claimed) = (text(&object["metadata"]["uid"]), text(&reference["uid"]));
        if uid != claimed {
            let mut kind = claim.to_owned();
            kind[..1].make_ascii_uppercase();
            return Err(format!("{kind} UID ({uid}) does not match {what} claim ({claimed})"));
        }
        if is_deleted(&object, self.now) { Err(invalidated()) } else { Ok(Some(())) }
    }
}

/// An object in graceful deletion serves its grace period out.
fn is_deleted(object: &Value, now: Time) -> bool {
    object["metadata"]["deletionTimestamp"]
        .as_str()
        .and_then(Time::parse)
        .is_some_and(|deleted| deleted.0 < now.0 - LEEWAY_S)
}

/// A token that was kept in a secret holds while the secret keeps it.
fn verify_legacy(claims: &Value, objects: &dyn Objects) -> Result<Identity, String> {
    let claim = |name: &str| text(&claims[format!("kubernetes.io/serviceaccount/{name}").as_str()]);
    let (namespace, name) = (claim("namespace"), claim("service-account.name"));
    if claims["sub"] != service_account_user(namespace, name) {
        return Err("sub claim is invalid".to_owned());
    }
    if objects.get("", "secrets", namespace, claim("secret.name")).is_none() {
        return Err("service account token has been invalidated".to_owned());
    }
    let uid = verify_account(namespace, name, claim("service-account.uid"), Time(i64::MAX), objects)?;
    Ok(account_identity(namespace, name, uid, BTreeMap::new()))
}

/// The claims of a token for a secret of type `kubernetes.io/service-account-token`.
pub fn legacy_claims(namespace: &str, account: &str, uid: &str, secret: &str) -> Value {
    json!({
        "iss": LEGACY_ISSUER,
        "sub": service_account_user(namespace, account),
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": secret,
        "kubernetes.io/serviceaccount/service-account.name": account,
        "kubernetes.io/serviceaccount/service-account.uid": uid,
    })
}

fn invalid(field: &str, message: &str) -> Finding {
    Finding {
        kind: FindingKind::Invalid,
        field: field.to_owned(),
        message: format!("Invalid value: {message}"),
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
