//! The files of configMap, secret, downwardAPI and projected volumes.

use std::collections::{BTreeMap, BTreeSet};

use kedge_api::pod::{
    ConfigMapVolumeSource, DownwardApiVolumeSource, KeyToPath, Pod, ProjectedVolumeSource,
    SecretVolumeSource, ServiceAccountTokenProjection,
};

use super::Inputs;
use crate::env::Sources;
use crate::fields::{self, FieldContext};
use crate::security;

const DEFAULT_MODE: u32 = 0o644;
/// Only the group or the one user of the pod may read its token.
const PRIVATE_MODE: u32 = 0o600;
const TOKEN_EXPIRATION_S: i64 = 3600;

#[derive(Clone, Default, PartialEq, Eq)]
pub struct PayloadFile {
    pub data: Vec<u8>,
    pub mode: u32,
    /// The owner, where the file is for one user alone.
    pub owner: Option<i64>,
}

impl std::fmt::Debug for PayloadFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {:o}, owner {:?}", self.data.len(), self.mode, self.owner)
    }
}

/// Relative path → file.
pub type Payload = BTreeMap<String, PayloadFile>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenRequest {
    pub audience: String,
    pub expiration_s: i64,
}

/// The tokens that were issued for the pod's service account, or why not.
pub type Tokens = BTreeMap<TokenRequest, Result<String, String>>;

fn mode(own: Option<i32>, default: Option<i32>) -> u32 {
    own.or(default).and_then(|mode| u32::try_from(mode).ok()).unwrap_or(DEFAULT_MODE)
}

fn file(data: Vec<u8>, mode: u32) -> PayloadFile {
    PayloadFile { data, mode, owner: None }
}

pub(super) fn config_map(source: &ConfigMapVolumeSource, sources: &Sources) -> Result<Payload, String> {
    let keys = config_map_keys(&source.name, sources);
    pick(keys, &source.items, source.default_mode, source.optional == Some(true), "config")
}

pub(super) fn secret(source: &SecretVolumeSource, sources: &Sources) -> Result<Payload, String> {
    let keys = secret_keys(&source.secret_name, sources);
    pick(keys, &source.items, source.default_mode, source.optional == Some(true), "secret")
}

type Keys = BTreeMap<String, Vec<u8>>;

fn config_map_keys(name: &str, sources: &Sources) -> Result<Keys, String> {
    let map = sources.config_map(name)?;
    let text = map.data.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    Ok(text.chain(map.binary_data.iter().map(|(key, value)| (key.clone(), value.clone()))).collect())
}

fn secret_keys(name: &str, sources: &Sources) -> Result<Keys, String> {
    sources.secret(name).map(|secret| secret.data.clone())
}

/// All keys, or the listed ones under their paths.
fn pick(
    keys: Result<Keys, String>,
    items: &[KeyToPath],
    default_mode: Option<i32>,
    optional: bool,
    kind: &str,
) -> Result<Payload, String> {
    let keys = match keys {
        Ok(keys) => keys,
        Err(_) if optional => return Ok(Payload::new()),
        Err(message) => return Err(message),
    };
    if items.is_empty() {
        return Ok(keys.into_iter().map(|(key, data)| (key, file(data, mode(None, default_mode)))).collect());
    }
    let mut payload = Payload::new();
    for item in items {
        match keys.get(&item.key) {
            Some(data) => {
                payload.insert(checked_path(&item.path)?, file(data.clone(), mode(item.mode, default_mode)));
            }
            None if optional => {}
            None => return Err(format!("references non-existent {kind} key: {}", item.key)),
        }
    }
    Ok(payload)
}

/// The API server has checked it; a path that could leave the volume is refused here as well.
fn checked_path(path: &str) -> Result<String, String> {
    let escapes = path.is_empty()
        || path.starts_with('/')
        || path.split('/').any(|part| part == "..")
        || path.starts_with("..");
    if escapes { Err(format!("invalid path {path:?} in volume")) } else { Ok(path.to_owned()) }
}

pub(super) fn downward_api(
    source: &DownwardApiVolumeSource,
    pod: &Pod,
    context: &FieldContext,
) -> Result<Payload, String> {
    let mut payload = Payload::new();
    for item in &source.items {
        let value = if let Some(selector) = &item.field_ref {
            fields::field(&selector.field_path, pod, context)?
        } else if let Some(selector) = &item.resource_field_ref {
            fields::resource(selector, pod, None, context)?
        } else {
            continue;
        };
        payload.insert(
            checked_path(&item.path)?,
            file(value.into_bytes(), mode(item.mode, source.default_mode)),
        );
    }
    Ok(payload)
}

pub(super) fn projected(
    source: &ProjectedVolumeSource,
    pod: &Pod,
    inputs: &Inputs<'_>,
) -> Result<Payload, String> {
    let mut payload = Payload::new();
    for part in &source.sources {
        if let Some(keys) = &part.secret {
            let optional = keys.optional == Some(true);
            let found = secret_keys(&keys.name, inputs.sources);
            payload.extend(pick(found, &keys.items, source.default_mode, optional, "secret")?);
        } else if let Some(keys) = &part.config_map {
            let optional = keys.optional == Some(true);
            let found = config_map_keys(&keys.name, inputs.sources);
            payload.extend(pick(found, &keys.items, source.default_mode, optional, "config")?);
        } else if let Some(items) = &part.downward_api {
            let items = DownwardApiVolumeSource {
                default_mode: items.default_mode.or(source.default_mode),
                ..items.clone()
            };
            payload.extend(downward_api(&items, pod, inputs.context)?);
        } else if let Some(token) = &part.service_account_token {
            payload.insert(checked_path(&token.path)?, token_file(token, source, pod, inputs)?);
        } else if let Some(bundle) = &part.cluster_trust_bundle
            && bundle.optional != Some(true)
        {
            return Err("clusterTrustBundle projections are not served by this node".to_owned());
        }
    }
    Ok(payload)
}

fn token_file(
    token: &ServiceAccountTokenProjection,
    source: &ProjectedVolumeSource,
    pod: &Pod,
    inputs: &Inputs<'_>,
) -> Result<PayloadFile, String> {
    let owner = security::common_user(pod);
    let private = owner.is_some() || security::fs_group(pod).is_some();
    let mode = if private { PRIVATE_MODE } else { mode(None, source.default_mode) };
    let issued = inputs.tokens.get(&token_request(token));
    match issued {
        Some(Ok(text)) => Ok(PayloadFile { data: text.clone().into_bytes(), mode, owner }),
        Some(Err(message)) => Err(format!("failed to fetch token: {message}")),
        None => Err("failed to fetch token: none was issued yet".to_owned()),
    }
}

fn token_request(token: &ServiceAccountTokenProjection) -> TokenRequest {
    TokenRequest {
        audience: token.audience.clone(),
        expiration_s: token.expiration_seconds.unwrap_or(TOKEN_EXPIRATION_S),
    }
}

/// Every token that the pod's volumes ask for.
pub fn token_requests(pod: &Pod) -> BTreeSet<TokenRequest> {
    let sources =
        pod.spec.volumes.iter().filter_map(|volume| volume.projected.as_deref()).flat_map(|p| &p.sources);
    sources.filter_map(|source| source.service_account_token.as_ref()).map(token_request).collect()
}

/// A token is renewed after 80 % of its life, or after a day.
pub fn refresh_after_s(lifetime_s: i64) -> i64 {
    (lifetime_s / 5 * 4).min(24 * 3600)
}

/// The names at the top of a volume: each is a link through `..data`, so that one rename changes all files at once.
pub fn top_names(payload: &Payload) -> BTreeSet<&str> {
    payload.keys().map(|path| path.split('/').next().unwrap_or(path)).collect()
}
