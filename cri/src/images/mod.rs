//! The image store of a node: content by digest, layers unpacked for overlayfs, and the index of names.
//!
//! ```text
//! <state>/images/index.json           which images there are (`index`)
//!                blobs/sha256/<hex>   manifests, configs, compressed layers (`blobs`)
//!                layers/<hex>/        unpacked layers by chain id, lowers of overlayfs (`unpack`)
//!                ingest/              what is being written; emptied when the store is opened
//! ```
//!
//! Order makes it safe to be killed anywhere: blobs and layers first, synced; then the index, renamed into place. What
//! no row of the index names is removed at open and after a removal. While something is being brought in, nothing is
//! removed: its blobs have no row yet.

mod blobs;
mod error;
mod export;
mod import;
mod index;
mod install;
mod pull;
mod registry;
mod tarball;
mod unpack;

#[cfg(test)]
mod tests;

pub use error::{Error, PullKind};
pub use import::ImportOptions;

use crate::rootfs::{ImageConfig, ImageMount, ImageStore};
use blobs::Blobs;
use index::{Index, Record};
use kedge_cri_api::{AuthConfig, FsUsage, Image};
use kedge_cri_core::images::manifest::ConfigFile;
pub use kedge_cri_core::images::registries::Registries;
use kedge_cri_core::images::{Digest, Limits};
use kedge_machinery::Roots;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Reads `registries.yaml` (mirrors, credentials, TLS by host; the format of k3s and RKE2) in the configuration folder;
/// without it every registry is asked directly.
pub fn load_registries(roots: &Roots) -> Result<Registries, Error> {
    let path = roots.config.join("registries.yaml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Registries::default()),
        Err(error) => return Err(Error::io("reading", &path)(error)),
    };
    let parsed: Result<Option<Registries>, _> = serde_yaml_ng::from_str(&text);
    let registries =
        parsed.map_err(|error| Error::Registries { path: path.clone(), why: error.to_string() })?;
    Ok(registries.unwrap_or_default())
}

pub struct Store {
    root: PathBuf,
    blobs: Blobs,
    layers: PathBuf,
    limits: Limits,
    state: Mutex<State>,
    registries: Registries,
    pulls: pull::Pulls,
    /// Pulls and removals run on after the caller has gone, and hold the store meanwhile.
    me: Weak<Store>,
}

struct State {
    index: Index,
    /// Imports and pulls under way; when the last of them ends, what they left without a row is collected.
    incoming: usize,
    /// Containers by image id.
    in_use: BTreeMap<String, usize>,
    /// What the configs of images say that have been launched; only images of the index are in it.
    configs: BTreeMap<Digest, ImageConfig>,
}

impl Store {
    /// Opens the store below `roots.state`, making it where there is none and clearing away what a crash left.
    pub fn open(roots: Arc<Roots>, registries: Registries) -> Result<Arc<Store>, Error> {
        Store::open_limited(&roots.state.join("images"), registries, Limits::default())
    }

    fn open_limited(root: &Path, registries: Registries, limits: Limits) -> Result<Arc<Store>, Error> {
        let root = root.to_owned();
        let blobs = Blobs::open(&root)?;
        let layers = root.join("layers");
        std::fs::create_dir_all(&layers).map_err(Error::io("creating", &layers))?;
        rustix::fs::chmod(&root, rustix::fs::Mode::from_raw_mode(0o700))
            .map_err(Error::errno("changing the mode of", &root))?;
        let mut index = Index::load(&root.join("index.json"))?;
        index.images.retain(|id, record| {
            let is_whole = record.layers.iter().all(|layer| layers.join(layer.chain.hex()).is_dir())
                && [id, &record.manifest].into_iter().all(|blob| blobs.contains(blob));
            if !is_whole {
                tracing::warn!(image = %id, tags = ?record.tags, "an image has lost its files and is forgotten");
            }
            is_whole
        });
        let state = State { index, incoming: 0, in_use: BTreeMap::new(), configs: BTreeMap::new() };
        let store = Arc::new_cyclic(|me| Store {
            root,
            blobs,
            layers,
            limits,
            state: Mutex::new(state),
            registries,
            pulls: pull::Pulls::default(),
            me: me.clone(),
        });
        let garbage = store.collect(&store.lock());
        discard(garbage);
        Ok(store)
    }

    fn arc(&self) -> Arc<Store> {
        self.me.upgrade().expect("a store exists in an Arc only, and someone is calling it")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held left at worst an index not yet saved.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn layer_path(&self, chain: &Digest) -> PathBuf {
        self.layers.join(chain.hex())
    }

    /// Says that blobs without a row in the index are arriving.
    fn begin_incoming(self: &Arc<Self>) -> Incoming {
        self.lock().incoming += 1;
        Incoming(Arc::clone(self))
    }

    /// Removes the blobs that no image names, and moves such layers away: a directory under a layer's name is always
    /// whole. Returns the moved ones, to be deleted when the lock is free. Trouble is logged only: it costs space until
    /// the next time.
    fn collect(&self, state: &State) -> Vec<PathBuf> {
        let (blobs, chains) = state.index.referenced();
        for blob in self.blobs.list().unwrap_or_default().iter().filter(|blob| !blobs.contains(blob)) {
            if let Err(error) = self.blobs.remove(blob) {
                tracing::warn!(error = error.chain(), "cannot remove an unused blob");
            }
        }
        let chains: BTreeSet<&str> = chains.into_iter().map(Digest::hex).collect();
        let layers = std::fs::read_dir(&self.layers).into_iter().flatten().flatten();
        let unused =
            layers.filter(|entry| !entry.file_name().to_str().is_some_and(|name| chains.contains(name)));
        let moved = unused.filter_map(|entry| {
            let scratch = self.blobs.scratch();
            std::fs::rename(entry.path(), &scratch).ok().map(|()| scratch)
        });
        moved.collect()
    }

    /// Changes the index on disk, then in memory.
    fn change_index(&self, state: &mut State, change: impl FnOnce(&mut Index)) -> Result<(), Error> {
        let mut index = state.index.clone();
        change(&mut index);
        index.save(&self.index_path())?;
        state.index = index;
        let State { index, configs, .. } = state;
        configs.retain(|id, _| index.images.contains_key(id));
        Ok(())
    }

    /// Removes a name, and with the last name the image; an id removes the image with all its names.
    /// Layers that other images share stay.
    pub fn remove(&self, image: &str) -> Result<(), Error> {
        let mut state = self.lock();
        let Some(id) = state.index.find(image).cloned() else {
            return Ok(());
        };
        let record = &state.index.images[&id];
        let tag =
            kedge_cri_core::images::Reference::parse(image).ok().and_then(|reference| reference.tagged());
        let names_one = tag.filter(|tag| record.tags.contains(tag) && record.tags.len() > 1);
        match (names_one, state.in_use.get(id.as_str())) {
            (Some(tag), _) => self.change_index(&mut state, |index| {
                index.images.get_mut(&id).expect("found above").tags.remove(&tag);
            }),
            (None, Some(count)) => Err(Error::InUse { image: image.to_owned(), count: *count }),
            (None, None) => {
                self.change_index(&mut state, |index| drop(index.images.remove(&id)))?;
                let garbage = if state.incoming == 0 { self.collect(&state) } else { Vec::new() };
                drop(state);
                discard(garbage);
                Ok(())
            }
        }
    }

    /// Gives an image another name (`docker tag`).
    pub fn tag(&self, image: &str, name: &str) -> Result<(), Error> {
        let reference = kedge_cri_core::images::Reference::parse(name)?;
        let invalid = || kedge_cri_core::images::Error::Reference(name.to_owned());
        let tagged = reference.tagged().filter(|_| reference.digest().is_none()).ok_or_else(invalid)?;
        let mut state = self.lock();
        let id = state.index.find(image).cloned().ok_or_else(|| Error::NotFound(image.to_owned()))?;
        self.change_index(&mut state, |index| {
            index.images.values_mut().for_each(|record| record.tags.retain(|tag| *tag != tagged));
            index.images.get_mut(&id).expect("found above").tags.insert(tagged);
        })
    }

    fn image(&self, id: &Digest, record: &Record) -> Image {
        let user = ConfigFile::user_of(&record.user);
        Image {
            id: id.to_string(),
            repo_tags: record.tags.iter().cloned().collect(),
            repo_digests: record.digests.iter().cloned().collect(),
            size_bytes: record.size(),
            uid: user.0,
            username: user.1,
            pinned: record.pinned,
        }
    }

    fn status(&self, image: &str) -> Option<Image> {
        let state = self.lock();
        let id = state.index.find(image)?;
        Some(self.image(id, &state.index.images[id]))
    }

    fn plan(&self, image: &str) -> Result<ImageMount, Error> {
        let (id, record) = {
            let state = self.lock();
            let id = state.index.find(image).cloned().ok_or_else(|| Error::NotFound(image.to_owned()))?;
            let record = state.index.images[&id].clone();
            (id, record)
        };
        let config = self.config(&id)?;
        Ok(ImageMount {
            image_ref: record.digests.first().cloned().unwrap_or_else(|| id.to_string()),
            image_id: id.to_string(),
            lower: record.layers.iter().rev().map(|layer| self.layer_path(&layer.chain)).collect(),
            config,
        })
    }

    /// Read once for each image: every container of it starts with the same.
    fn config(&self, id: &Digest) -> Result<ImageConfig, Error> {
        if let Some(known) = self.lock().configs.get(id) {
            return Ok(known.clone());
        }
        let bytes = self.blobs.read(id, self.limits.config_bytes)?;
        let config = ConfigFile::parse(&bytes, &self.limits)?.launch();
        let mut state = self.lock();
        if state.index.images.contains_key(id) {
            state.configs.insert(id.clone(), config.clone());
        }
        Ok(config)
    }
}

/// While one lives, nothing is collected.
struct Incoming(Arc<Store>);

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.incoming -= 1;
        let garbage = if state.incoming == 0 { self.0.collect(&state) } else { Vec::new() };
        drop(state);
        discard(garbage);
    }
}

fn discard(folders: Vec<PathBuf>) {
    for folder in folders {
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            tracing::warn!(path = %folder.display(), %error, "an unused layer stays until the next start");
        }
    }
}

#[async_trait::async_trait]
impl ImageStore for Store {
    async fn mount_plan(&self, image_id: &str) -> kedge_cri_api::Result<ImageMount> {
        Ok(self.plan(image_id)?)
    }

    fn hold(&self, image_ids_in_use: Vec<String>) {
        let mut in_use = BTreeMap::new();
        for id in image_ids_in_use {
            *in_use.entry(id).or_insert(0) += 1;
        }
        self.lock().in_use = in_use;
    }
}

#[async_trait::async_trait]
impl kedge_cri_api::Images for Store {
    async fn image_status(&self, image: &str) -> kedge_cri_api::Result<Option<Image>> {
        Ok(self.status(image))
    }

    async fn list_images(&self) -> kedge_cri_api::Result<Vec<Image>> {
        let state = self.lock();
        Ok(state.index.images.iter().map(|(id, record)| self.image(id, record)).collect())
    }

    async fn pull_image(&self, image: &str, auth: Option<AuthConfig>) -> kedge_cri_api::Result<String> {
        Ok(self.arc().pull(image, auth).await?.to_string())
    }

    async fn remove_image(&self, image: &str) -> kedge_cri_api::Result<()> {
        let (store, image) = (self.arc(), image.to_owned());
        let removal = tokio::task::spawn_blocking(move || store.remove(&image)).await;
        Ok(removal.unwrap_or(Err(Error::Interrupted))?)
    }

    async fn image_fs_info(&self) -> kedge_cri_api::Result<FsUsage> {
        let store = self.arc();
        let usage = tokio::task::spawn_blocking(move || install::usage(&store.root)).await;
        let (used_bytes, inodes_used) = usage.map_err(|_| Error::Interrupted)?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(FsUsage {
            timestamp_ns: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
            mountpoint: self.root.display().to_string(),
            used_bytes,
            inodes_used,
        })
    }
}
