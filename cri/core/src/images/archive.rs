//! What an image archive holds: an OCI layout (`oci-layout`, `index.json`, `blobs/`) or what `docker save` writes
//! (`manifest.json`). `docker save` since 25 writes both; the layout then wins, since its digests are the registry's.

use super::manifest::{Descriptor, Index};
use super::{Error, Limits, Reference};
use serde::{Deserialize, Serialize};

/// One image of a `docker save` archive, by file names inside the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerImage {
    pub config: String,
    pub repo_tags: Option<Vec<String>>,
    pub layers: Vec<String>,
}

/// Parses `manifest.json`.
pub fn docker_images(bytes: &[u8], limits: &Limits) -> Result<Vec<DockerImage>, Error> {
    super::manifest::check_size("manifest.json", bytes.len() as u64, limits.manifest_bytes)?;
    let images: Vec<DockerImage> = serde_json::from_slice(bytes)
        .map_err(|error| Error::Invalid { what: "manifest.json", why: error.to_string() })?;
    for image in &images {
        super::manifest::check_size("number of layers", image.layers.len() as u64, limits.layers as u64)?;
    }
    Ok(images)
}

/// Parses `index.json` of a layout.
pub fn layout_index(bytes: &[u8], limits: &Limits) -> Result<Index, Error> {
    super::manifest::check_size("index.json", bytes.len() as u64, limits.manifest_bytes)?;
    let index: Index = serde_json::from_slice(bytes)
        .map_err(|error| Error::Invalid { what: "index.json", why: error.to_string() })?;
    super::manifest::check_size("number of manifests", index.manifests.len() as u64, limits.layers as u64)?;
    Ok(index)
}

/// The name of a layout's entry: containerd's annotation holds a whole name, OCI's one a whole name or a mere tag.
/// A mere tag needs `base`, the repository that the importer was told; without it the image has no name.
pub fn layout_name(entry: &Descriptor, base: Option<&str>) -> Result<Option<Reference>, Error> {
    let annotation = |key: &str| entry.annotations.get(key).filter(|value| !value.is_empty());
    if let Some(name) = annotation("io.containerd.image.name") {
        return Reference::parse(name).map(Some);
    }
    let Some(name) = annotation("org.opencontainers.image.ref.name") else {
        return Ok(None);
    };
    if name.contains(['/', ':']) {
        return Reference::parse(name).map(Some);
    }
    base.map(|base| Reference::parse(&format!("{base}:{name}"))).transpose()
}

/// A path inside an archive as a key: without `./` and the like; `None` for one that leads outside.
pub fn archive_key(path: &[u8]) -> Option<String> {
    let components = super::layer::components(path).ok()?;
    String::from_utf8(components.join(&b'/')).ok()
}

/// Where a symlink of an archive points, as a key (older `docker save` links repeated layers).
pub fn link_key(path: &str, target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok()?;
    let mut components: Vec<&str> = path.split('/').collect();
    components.pop();
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()?),
            name => components.push(name),
        }
    }
    Some(components.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Digest;

    fn entry(annotations: &[(&str, &str)]) -> Descriptor {
        Descriptor {
            media_type: String::new(),
            digest: Digest::from_sha256([1; 32]),
            size: 1,
            platform: None,
            annotations: annotations.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        }
    }

    #[test]
    fn names_of_a_layout() {
        let oci = "org.opencontainers.image.ref.name";
        let check = |annotations: &[(&str, &str)], base: Option<&str>, expected: Option<&str>| {
            let name = layout_name(&entry(annotations), base).unwrap().map(|name| name.to_string());
            assert_eq!(name.as_deref(), expected, "{annotations:?}");
        };
        check(&[], None, None);
        check(&[(oci, "latest")], None, None);
        check(&[(oci, "v1")], Some("a.b/c"), Some("a.b/c:v1"));
        check(&[(oci, "nginx:1")], None, Some("docker.io/library/nginx:1"));
        check(
            &[(oci, "1"), ("io.containerd.image.name", "kedge.local/hello:1")],
            None,
            Some("kedge.local/hello:1"),
        );
        assert!(layout_name(&entry(&[(oci, "UPPER:1")]), None).is_err());
    }

    #[test]
    fn keys_stay_inside() {
        assert_eq!(archive_key(b"./a/b").as_deref(), Some("a/b"));
        assert_eq!(archive_key(b"../a"), None);
        assert_eq!(link_key("x/layer.tar", b"../y/layer.tar").as_deref(), Some("y/layer.tar"));
        assert_eq!(link_key("x/layer.tar", b"../../y"), None);
    }
}
