//! Which images there are: one file, read at open, written whole at each change.

use super::Error;
use super::blobs::sync_folder;
use kedge_cri_core::images::{Digest, Reference};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;

const VERSION: u32 = 1;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    version: u32,
    /// By image id, the digest of the config.
    pub images: BTreeMap<Digest, Record>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub manifest: Digest,
    /// `docker.io/library/nginx:latest`; a name belongs to one image at a time.
    pub tags: BTreeSet<String>,
    /// `docker.io/library/nginx@sha256:…`, of images that came from a registry.
    pub digests: BTreeSet<String>,
    /// Lowest first.
    pub layers: Vec<Layer>,
    pub config_bytes: u64,
    /// `User` of the config.
    pub user: String,
    pub pinned: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layer {
    pub blob: Digest,
    pub bytes: u64,
    /// The name of the unpacked directory: OCI's chain id, over this layer and all below.
    pub chain: Digest,
}

impl Record {
    pub(super) fn size(&self) -> u64 {
        self.config_bytes + self.layers.iter().map(|layer| layer.bytes).sum::<u64>()
    }
}

impl Index {
    pub(super) fn load(path: &Path) -> Result<Index, Error> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Index { version: VERSION, images: BTreeMap::new() });
            }
            Err(error) => return Err(Error::io("reading", path)(error)),
        };
        let broken = |why: String| Error::Index { path: path.to_owned(), why };
        let index: Index = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        if index.version != VERSION {
            return Err(broken(format!("version {} was written by another kedge", index.version)));
        }
        Ok(index)
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), Error> {
        let folder = path.parent().expect("the index lies in the store's folder");
        let beside = path.with_extension("new");
        let bytes = serde_json::to_vec(self).expect("an index is plain data");
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.map_err(Error::io("writing", &beside))?;
        std::fs::rename(&beside, path).map_err(Error::io("renaming to", path))?;
        sync_folder(folder)
    }

    /// Adds an image, or what is new about it. A name it brings moves away from the image that had it.
    pub(super) fn insert(&mut self, id: Digest, record: Record) {
        for other in self.images.values_mut() {
            other.tags.retain(|tag| !record.tags.contains(tag));
        }
        match self.images.get_mut(&id) {
            Some(known) => {
                known.tags.extend(record.tags);
                known.digests.extend(record.digests);
                known.pinned |= record.pinned;
            }
            None => drop(self.images.insert(id, record)),
        }
    }

    /// The image that a name, digest, id or the beginning of an id means.
    pub(super) fn find(&self, image: &str) -> Option<&Digest> {
        if let Ok(id) = Digest::parse(image) {
            let by_manifest =
                || self.images.iter().find(|(_, record)| record.manifest == id).map(|(id, _)| id);
            return self.images.get_key_value(&id).map(|(id, _)| id).or_else(by_manifest);
        }
        if let Some(id) = Reference::parse(image).ok().and_then(|reference| self.find_reference(&reference)) {
            return Some(id);
        }
        self.find_prefix(image)
    }

    fn find_reference(&self, reference: &Reference) -> Option<&Digest> {
        let found = self.images.iter().find(|(_, record)| match (reference.digest(), reference.tagged()) {
            (Some(digest), _) => record.digests.contains(&reference.with_digest(digest)),
            (None, Some(tagged)) => record.tags.contains(&tagged),
            (None, None) => false,
        });
        found.map(|(id, _)| id)
    }

    /// As `docker` and `crictl`: the first digits of an id, if they mean one image only.
    fn find_prefix(&self, image: &str) -> Option<&Digest> {
        let digits = image.strip_prefix("sha256:").unwrap_or(image);
        if digits.len() < 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut matching = self.images.keys().filter(|id| id.hex().starts_with(digits));
        matching.next().filter(|_| matching.next().is_none())
    }

    /// Everything that must stay on disk.
    pub(super) fn referenced(&self) -> (BTreeSet<&Digest>, BTreeSet<&Digest>) {
        let mut blobs = BTreeSet::new();
        let mut chains = BTreeSet::new();
        for (id, record) in &self.images {
            blobs.extend([id, &record.manifest]);
            blobs.extend(record.layers.iter().map(|layer| &layer.blob));
            chains.extend(record.layers.iter().map(|layer| &layer.chain));
        }
        (blobs, chains)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::from_sha256([byte; 32])
    }

    fn record(tags: &[&str], digests: &[String]) -> Record {
        Record {
            manifest: digest(200),
            tags: tags.iter().map(|tag| tag.to_string()).collect(),
            digests: digests.iter().cloned().collect(),
            layers: Vec::new(),
            config_bytes: 0,
            user: String::new(),
            pinned: false,
        }
    }

    #[test]
    fn images_are_found_by_every_name() {
        let mut index = Index::default();
        let repo_digest = format!("docker.io/library/nginx@{}", digest(9));
        index.insert(
            digest(1),
            record(&["docker.io/library/nginx:latest"], std::slice::from_ref(&repo_digest)),
        );
        index.insert(digest(2), record(&["kedge.local/hello:1"], &[]));
        let check = |image: &str, expected: Option<u8>| {
            assert_eq!(index.find(image).cloned(), expected.map(digest), "{image}");
        };
        check("nginx", Some(1));
        check("docker.io/nginx:latest", Some(1));
        check(&repo_digest, Some(1));
        check(&format!("nginx@{}", digest(9)), Some(1));
        check(&format!("nginx@{}", digest(8)), None);
        check(digest(2).as_str(), Some(2));
        check("0202020", Some(2));
        check("sha256:0101", Some(1));
        check("020", None);
        check("nginx:2", None);
        check("NOT A NAME", None);
    }

    #[test]
    fn a_name_moves_to_the_newer_image() {
        let mut index = Index::default();
        index.insert(digest(1), record(&["a.b/c:1", "a.b/c:2"], &[]));
        index.insert(digest(2), record(&["a.b/c:1"], &[]));
        assert_eq!(index.find("a.b/c:1"), Some(&digest(2)));
        assert_eq!(index.find("a.b/c:2"), Some(&digest(1)));
    }
}
