//! ConfigMaps and Secrets that pods of this node read: one watch per object, shared by the pods that name it, ended with
//! the last of them. The Node authorizer allows exactly this.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kedge_api::pod::Pod;
use kedge_api::resource::{CONFIG_MAPS, Resource, SECRETS};
use kedge_api::{Object, ObjectMeta};
use kedge_client::{Cache, CachedKind, Client, WatchOptions};
use kedge_cri_api::AuthConfig;
use kedge_kubelet_core::env::{ConfigMap, Secret, Sources};
use kedge_kubelet_core::volumes::References;
use serde::Deserialize;

/// An object that the server does not hand out within this time counts as a failure, which is tried again.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ConfigMapObject {
    metadata: ObjectMeta,
    data: Option<BTreeMap<String, String>>,
    binary_data: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SecretObject {
    metadata: ObjectMeta,
    data: Option<BTreeMap<String, String>>,
}

impl Object for ConfigMapObject {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl CachedKind for ConfigMapObject {
    const RESOURCE: Resource = CONFIG_MAPS;
}

impl Object for SecretObject {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl CachedKind for SecretObject {
    const RESOURCE: Resource = SECRETS;
}

type Shared<T> = Mutex<HashMap<(String, String), Weak<Cache<T>>>>;

pub(crate) struct Registry {
    client: Client,
    config_maps: Shared<ConfigMapObject>,
    secrets: Shared<SecretObject>,
}

/// The objects one pod holds on to. Dropping it lets the watches end.
#[derive(Default)]
pub(crate) struct Held {
    pub config_maps: BTreeMap<String, Arc<Cache<ConfigMapObject>>>,
    pub secrets: BTreeMap<String, Arc<Cache<SecretObject>>>,
}

impl Registry {
    pub fn new(client: Client) -> Registry {
        Registry { client, config_maps: Mutex::default(), secrets: Mutex::default() }
    }

    pub fn hold(&self, pod: &Pod, references: &References) -> Held {
        let namespace = &pod.metadata.namespace;
        let secrets = references.secrets.union(&references.pull_secrets);
        Held {
            config_maps: references
                .config_maps
                .iter()
                .map(|name| (name.clone(), self.follow(&self.config_maps, namespace, name)))
                .collect(),
            secrets: secrets
                .map(|name| (name.clone(), self.follow(&self.secrets, namespace, name)))
                .collect(),
        }
    }

    fn follow<T: CachedKind>(&self, shared: &Shared<T>, namespace: &str, name: &str) -> Arc<Cache<T>> {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(cache) = shared.get(&key).and_then(Weak::upgrade) {
            return cache;
        }
        shared.retain(|_, cache| cache.strong_count() > 0);
        let options = WatchOptions {
            namespace: Some(namespace.to_owned()),
            field_selector: format!("metadata.name={name}"),
            ..WatchOptions::default()
        };
        let cache = Cache::start(self.client.clone(), options);
        shared.insert(key, Arc::downgrade(&cache));
        cache
    }
}

impl Held {
    /// What exists of the objects, once the server has said so.
    pub async fn read(&self, namespace: &str) -> Result<Sources, String> {
        let mut sources = Sources::default();
        for (name, cache) in &self.config_maps {
            synced(cache, "configmap", name).await?;
            if let Some(object) = cache.get(namespace, name) {
                sources.config_maps.insert(name.clone(), config_map(&object)?);
            }
        }
        for (name, cache) in &self.secrets {
            synced(cache, "secret", name).await?;
            if let Some(object) = cache.get(namespace, name) {
                sources.secrets.insert(name.clone(), Secret { data: decoded(object.data.as_ref())? });
            }
        }
        Ok(sources)
    }
}

async fn synced<T: CachedKind>(cache: &Cache<T>, kind: &str, name: &str) -> Result<(), String> {
    let waited = tokio::time::timeout(SYNC_TIMEOUT, cache.synced()).await;
    waited.map_err(|_| format!("failed to sync {kind} cache: timed out waiting for {name:?}"))
}

fn config_map(object: &ConfigMapObject) -> Result<ConfigMap, String> {
    Ok(ConfigMap {
        data: object.data.clone().unwrap_or_default(),
        binary_data: decoded(object.binary_data.as_ref())?,
    })
}

fn decoded(data: Option<&BTreeMap<String, String>>) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let decode = |(key, text): (&String, &String)| {
        STANDARD.decode(text).map(|bytes| (key.clone(), bytes)).map_err(|error| format!("key {key}: {error}"))
    };
    data.into_iter().flatten().map(decode).collect()
}

/// Credentials for `image` out of docker configuration secrets (`.dockerconfigjson`, `.dockercfg`).
pub(crate) fn credentials<'a>(image: &str, secrets: impl Iterator<Item = &'a Secret>) -> Vec<AuthConfig> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Entry {
        username: String,
        password: String,
        auth: String,
        identitytoken: String,
    }
    #[derive(Deserialize)]
    struct File {
        auths: BTreeMap<String, Entry>,
    }
    let mut found = Vec::new();
    for secret in secrets {
        let modern =
            secret.data.get(".dockerconfigjson").and_then(|bytes| serde_json::from_slice::<File>(bytes).ok());
        let old = || secret.data.get(".dockercfg").and_then(|bytes| serde_json::from_slice(bytes).ok());
        let entries: BTreeMap<String, Entry> = modern.map(|file| file.auths).or_else(old).unwrap_or_default();
        for (registry, entry) in entries.into_iter().rev().filter(|(registry, _)| applies(registry, image)) {
            let pair = STANDARD.decode(&entry.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let (user, password) = match pair.as_deref().and_then(|pair| pair.split_once(':')) {
                Some((user, password)) => (user.to_owned(), password.to_owned()),
                None => (entry.username, entry.password),
            };
            found.push(AuthConfig {
                username: user,
                password,
                identity_token: entry.identitytoken,
                registry_token: String::new(),
                server_address: registry,
            });
        }
    }
    found
}

/// `registry` is `host[:port][/path]`, perhaps with a scheme; `index.docker.io` stands for images without a host.
fn applies(registry: &str, image: &str) -> bool {
    let bare = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    let bare = bare.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let first = image.split('/').next().unwrap_or_default();
    let has_host =
        image.contains('/') && (first.contains('.') || first.contains(':') || first == "localhost");
    let (image_host, image_path) = match image.split_once('/') {
        Some((host, path)) if has_host => (host, path),
        _ => ("docker.io", image),
    };
    let docker = |host: &str| matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    let same_host = host == image_host || (docker(host) && docker(image_host));
    same_host && (path.is_empty() || image_path == path || image_path.starts_with(&format!("{path}/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries() {
        for (registry, image, expected) in [
            ("https://index.docker.io/v1/", "nginx", true),
            ("docker.io", "library/nginx:1", true),
            ("quay.io", "nginx", false),
            ("quay.io", "quay.io/a/b:1", true),
            ("quay.io/a", "quay.io/a/b", true),
            ("quay.io/a", "quay.io/ab/b", false),
            ("127.0.0.1:5000", "127.0.0.1:5000/x:1", true),
            ("127.0.0.1:5001", "127.0.0.1:5000/x:1", false),
        ] {
            assert_eq!(applies(registry, image), expected, "{registry} {image}");
        }
    }

    #[test]
    fn docker_config() {
        let json = r#"{"auths":{"127.0.0.1:5000":{"auth":"dTpwOnE="},"other":{"username":"x"}}}"#;
        let secret = Secret { data: [(".dockerconfigjson".to_owned(), json.as_bytes().to_vec())].into() };
        let found = credentials("127.0.0.1:5000/a", std::iter::once(&secret));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].username.as_str(), found[0].password.as_str()), ("u", "p:q"));
    }
}
