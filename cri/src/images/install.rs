//! The way an image becomes usable, the same for an import and a pull: each layer is unpacked beside, checked against
//! the config's diff id, finished in order from the bottom, renamed into place; last comes the row in the index.

use super::blobs::sync_folder;
use super::index::{Layer, Record};
use super::unpack::{self, Unpacked};
use super::{Error, Incoming, Store};
use kedge_cri_core::images::manifest::{ConfigFile, Manifest};
use kedge_cri_core::images::{self, Digest};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A layer unpacked beside its final place. Dropped, it vanishes.
pub(super) struct Prepared {
    folder: PathBuf,
    unpacked: Unpacked,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        discard(&self.folder);
    }
}

fn discard(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %folder.display(), %error, "a half-unpacked layer stays until the next start");
        }
        _ => {}
    }
}

/// What an image is, once its manifest and config are stored.
pub(super) struct Arrived {
    pub manifest_digest: Digest,
    pub manifest: Manifest,
    pub config: ConfigFile,
    pub tags: BTreeSet<String>,
    pub digests: BTreeSet<String>,
    pub pinned: bool,
}

impl Arrived {
    /// The chain id of each layer, lowest first, after checking that manifest and config speak of the same layers.
    pub(super) fn chains(&self) -> Result<Vec<Digest>, Error> {
        let diff_ids = &self.config.rootfs.diff_ids;
        if diff_ids.len() != self.manifest.layers.len() {
            let why = format!("{} diff_ids for {} layers", diff_ids.len(), self.manifest.layers.len());
            return Err(images::Error::Invalid { what: "image config", why }.into());
        }
        Ok(chain_ids(diff_ids))
    }
}

/// <https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid>
fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chains.push(match chains.last() {
            None => diff_id.clone(),
            Some(below) => Digest::from_sha256(Sha256::digest(format!("{below} {diff_id}")).into()),
        });
    }
    chains
}

impl Store {
    pub(super) fn has_layer(&self, chain: &Digest) -> bool {
        self.layer_path(chain).is_dir()
    }

    /// Unpacks a layer's bytes beside the final place.
    pub(super) fn prepare_layer(&self, from: impl Read + Send) -> Result<Prepared, Error> {
        let folder = self.blobs.scratch();
        std::fs::create_dir(&folder).map_err(Error::io("creating", &folder))?;
        match unpack::unpack(from, &folder, &self.limits) {
            Ok(unpacked) => Ok(Prepared { folder, unpacked }),
            Err(error) => {
                discard(&folder);
                Err(error)
            }
        }
    }

    /// Puts the layers in place and the image in the index. `prepared` has a place for each layer, `None` where the
    /// layer was there before. `_incoming` proves that nothing is collected meanwhile.
    pub(super) fn install(
        &self,
        arrived: Arrived,
        prepared: Vec<Option<Prepared>>,
        _incoming: &Incoming,
    ) -> Result<Digest, Error> {
        let chains = arrived.chains()?;
        let mut lower: Vec<PathBuf> = Vec::new();
        for ((chain, diff_id), layer) in chains.iter().zip(&arrived.config.rootfs.diff_ids).zip(prepared) {
            match layer {
                Some(layer) => self.place_layer(chain, diff_id, layer, &lower)?,
                None if self.has_layer(chain) => {}
                None => return Err(Error::Missing(format!("layer {diff_id}"))),
            }
            lower.insert(0, self.layer_path(chain));
        }
        self.sync()?;
        let layers = arrived.manifest.layers.iter().zip(chains).map(|(layer, chain)| Layer {
            blob: layer.digest.clone(),
            bytes: layer.size,
            chain,
        });
        let record = Record {
            manifest: arrived.manifest_digest,
            tags: arrived.tags,
            digests: arrived.digests,
            layers: layers.collect(),
            config_bytes: arrived.manifest.config.size,
            user: arrived.config.config.user,
            pinned: arrived.pinned,
        };
        let id = arrived.manifest.config.digest;
        let mut state = self.lock();
        self.change_index(&mut state, |index| index.insert(id.clone(), record))?;
        Ok(id)
    }

    fn place_layer(
        &self,
        chain: &Digest,
        diff_id: &Digest,
        layer: Prepared,
        lower: &[PathBuf],
    ) -> Result<(), Error> {
        if layer.unpacked.diff_id != *diff_id {
            let got = layer.unpacked.diff_id.clone();
            return Err(Error::DigestMismatch { expected: diff_id.clone(), got });
        }
        unpack::inherit(&layer.folder, &layer.unpacked.implied, lower)?;
        let place = self.layer_path(chain);
        match std::fs::rename(&layer.folder, &place) {
            // Another pull was quicker with the same layer.
            Err(_) if place.is_dir() => Ok(()),
            other => other.map_err(Error::io("renaming to", &place)),
        }
    }

    /// One sync of the filesystem for the thousands of files of the layers, instead of one for each.
    fn sync(&self) -> Result<(), Error> {
        let folder = std::fs::File::open(&self.layers).map_err(Error::io("opening", &self.layers))?;
        rustix::fs::syncfs(&folder).map_err(Error::errno("syncing", &self.layers))?;
        sync_folder(&self.layers)
    }
}

/// Bytes on disk and inodes below a folder; hard links count once.
pub(super) fn usage(root: &Path) -> (u64, u64) {
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            if seen.insert((metadata.dev(), metadata.ino())) {
                bytes += metadata.blocks() * 512;
            }
        }
    }
    (bytes, seen.len() as u64)
}
