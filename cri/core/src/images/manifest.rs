//! Manifests, indexes and image configs: of the fields that OCI and Docker define, those that a runtime reads.

use super::{Digest, Error, Limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What we ask a registry for, in its `Accept` header.
pub const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, */*";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    pub manifests: Vec<Descriptor>,
}

/// A document that a tag or digest may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Manifest(Manifest),
    Index(Index),
}

impl Document {
    /// The document's own shape decides; media types lie often enough, and OCI allows none at all.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Document, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Probe {
            schema_version: Option<u32>,
            config: Option<serde::de::IgnoredAny>,
            manifests: Option<serde::de::IgnoredAny>,
        }
        check_size("manifest", bytes.len() as u64, limits.manifest_bytes)?;
        let invalid = |why: String| Error::Invalid { what: "manifest", why };
        let probe: Probe = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        if probe.schema_version != Some(2) {
            return Err(invalid("schemaVersion must be 2".to_owned()));
        }
        match (probe.manifests.is_some(), probe.config.is_some()) {
            (true, false) => serde_json::from_slice(bytes).map(Document::Index),
            (false, true) => serde_json::from_slice(bytes).map(Document::Manifest),
            // Both at once is the confusion of CVE-2021-41190.
            (true, true) => return Err(invalid("has both config and manifests".to_owned())),
            (false, false) => return Err(invalid("has neither config nor manifests".to_owned())),
        }
        .map_err(|error| invalid(error.to_string()))?
        .checked(limits)
    }

    fn checked(self, limits: &Limits) -> Result<Document, Error> {
        let count = match &self {
            Document::Manifest(manifest) => {
                check_size("image config", manifest.config.size, limits.config_bytes)?;
                manifest.layers.len()
            }
            Document::Index(index) => index.manifests.len(),
        };
        check_size("number of layers or manifests", count as u64, limits.layers as u64)?;
        Ok(self)
    }
}

pub(super) fn check_size(what: &'static str, size: u64, limit: u64) -> Result<(), Error> {
    if size > limit { Err(Error::Limit { what, limit }) } else { Ok(()) }
}

/// The first manifest of `index` that runs here; one without a platform serves when nothing says better.
pub fn select_platform<'a>(index: &'a Index, host: &Platform) -> Result<&'a Descriptor, Error> {
    let runs_here = |platform: &Platform| {
        platform.os == host.os
            && platform.architecture == host.architecture
            && (host.variant.is_empty() || platform.variant.is_empty() || platform.variant == host.variant)
    };
    let exact = index.manifests.iter().find(|entry| entry.platform.as_ref().is_some_and(runs_here));
    exact
        .or_else(|| index.manifests.iter().find(|entry| entry.platform.is_none()))
        .ok_or_else(|| Error::Platform(format!("{}/{}", host.os, host.architecture)))
}

/// The image config: how the author wants it to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ConfigFile {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub config: RunConfig,
    pub rootfs: RootFs,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    /// Digests of the uncompressed layers, lowest first.
    pub diff_ids: Vec<Digest>,
}

/// The `config` object; Docker writes null for empty lists, hence the options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    pub user: String,
    pub env: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub working_dir: String,
    pub stop_signal: String,
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
    pub labels: Option<BTreeMap<String, String>>,
}

impl ConfigFile {
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<ConfigFile, Error> {
        check_size("image config", bytes.len() as u64, limits.config_bytes)?;
        // A config may hold `"config": null`.
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default)]
            architecture: String,
            #[serde(default)]
            os: String,
            config: Option<RunConfig>,
            rootfs: RootFs,
        }
        let wire: Wire = serde_json::from_slice(bytes)
            .map_err(|error| Error::Invalid { what: "image config", why: error.to_string() })?;
        check_size("number of layers", wire.rootfs.diff_ids.len() as u64, limits.layers as u64)?;
        Ok(ConfigFile {
            architecture: wire.architecture,
            os: wire.os,
            config: wire.config.unwrap_or_default(),
            rootfs: wire.rootfs,
        })
    }

    /// What a launch reads.
    pub fn launch(&self) -> crate::image::ImageConfig {
        let run = self.config.clone();
        crate::image::ImageConfig {
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            env: run.env.unwrap_or_default(),
            user: run.user,
            working_dir: run.working_dir,
            volumes: run.volumes.unwrap_or_default().into_keys().collect(),
            stop_signal: run.stop_signal,
        }
    }

    /// The `User` of a config as the CRI reports it: a number, or a name.
    pub fn user_of(user: &str) -> (Option<i64>, String) {
        let user = user.split(':').next().unwrap_or_default();
        match (user.is_empty(), user.parse::<i64>()) {
            (true, _) => (Some(0), String::new()),
            (false, Ok(uid)) => (Some(uid), String::new()),
            (false, Err(_)) => (None, user.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::from_sha256([byte; 32])
    }

    fn index(platforms: &[Option<(&str, &str)>]) -> Index {
        let manifests = platforms.iter().enumerate().map(|(at, platform)| Descriptor {
            media_type: OCI_MANIFEST.to_owned(),
            digest: digest(at as u8),
            size: 1,
            platform: platform.map(|(os, architecture)| Platform {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                variant: String::new(),
            }),
            annotations: BTreeMap::new(),
        });
        Index { schema_version: 2, media_type: String::new(), manifests: manifests.collect() }
    }

    #[test]
    fn a_platform_is_chosen() {
        let host = Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() };
        let check = |platforms: &[Option<(&str, &str)>], expected: Option<u8>| {
            let index = index(platforms);
            let chosen = select_platform(&index, &host).map(|entry| entry.digest.clone());
            assert_eq!(chosen.ok(), expected.map(digest), "{platforms:?}");
        };
        check(&[Some(("windows", "amd64")), Some(("linux", "amd64"))], Some(1));
        check(&[None, Some(("linux", "amd64"))], Some(1));
        check(&[Some(("linux", "arm64")), None], Some(1));
        check(&[Some(("linux", "arm64"))], None);
        check(&[Some(("unknown", "unknown"))], None);
    }

    #[test]
    fn documents_are_known_by_their_shape() {
        let limits = Limits::default();
        let check = |text: &str, words: &str| {
            let error = Document::parse(text.as_bytes(), &limits).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        };
        check("{}", "schemaVersion must be 2");
        check(r#"{"schemaVersion":1}"#, "schemaVersion must be 2");
        check(r#"{"schemaVersion":2}"#, "neither");
        check(r#"{"schemaVersion":2,"config":{},"manifests":[]}"#, "both");
        check(r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:x","size":1}]}"#, "invalid digest");
        check("[]", "manifest:");
        let tiny = Limits { manifest_bytes: 10, ..limits };
        assert!(
            Document::parse(br#"{"schemaVersion":2}"#, &tiny)
                .unwrap_err()
                .to_string()
                .contains("limit of 10")
        );
    }

    #[test]
    fn a_config_with_nulls_is_read() {
        let text = r#"{"config":{"User":"65532:1","Env":null,"Cmd":["/x"]},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let config = ConfigFile::parse(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(ConfigFile::user_of(&config.config.user), (Some(65532), String::new()));
        assert_eq!(config.config.cmd.as_deref(), Some(&["/x".to_owned()][..]));
        let none =
            ConfigFile::parse(br#"{"config":null,"rootfs":{"diff_ids":[]}}"#, &Limits::default()).unwrap();
        assert_eq!(ConfigFile::user_of(&none.config.user), (Some(0), String::new()));
        assert_eq!(ConfigFile::user_of("www-data:x"), (None, "www-data".to_owned()));
    }
}
