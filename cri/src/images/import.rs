//! Import of image archives: an OCI layout (directory or tar) and what `docker save` writes, from a file or any reader.
//!
//! A tar stream is read once, in whatever order it comes: each file is staged under its digest, and what the archive
//! means is decided when it has ended.

use super::blobs::{Staged, read_limited};
use super::install::{Arrived, Prepared};
use super::tarball::{Tarball, decompress};
use super::{Error, Incoming, Store};
use kedge_cri_api::Image;
use kedge_cri_core::images::archive::{self, DockerImage};
use kedge_cri_core::images::manifest::{self, ConfigFile, Descriptor, Document, Manifest, Platform};
use kedge_cri_core::images::tar::Kind;
use kedge_cri_core::images::{self, Digest, Limits, Reference};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// How archives are imported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The repository of images whose archive gives a mere tag (`org.opencontainers.image.ref.name: latest`).
    pub base: Option<String>,
}

/// An index inside an index, and once more: nobody nests deeper.
const INDEX_DEPTH_MAX: usize = 3;

impl Store {
    /// Imports every image of an archive stream (tar, also gzip or zstd); returns them with the names that the archive gives
    /// them. Imported images are pinned.
    pub async fn import(
        self: &Arc<Self>,
        from: impl Read + Send + 'static,
        options: ImportOptions,
    ) -> Result<Vec<Image>, Error> {
        self.import_with(options, move |store| Source::stage(store, from)).await
    }

    /// Imports a file, or the directory of an OCI layout.
    pub async fn import_path(
        self: &Arc<Self>,
        path: &Path,
        options: ImportOptions,
    ) -> Result<Vec<Image>, Error> {
        let path = path.to_owned();
        self.import_with(options, move |store| {
            let file = File::open(&path).map_err(Error::io("opening", &path))?;
            let metadata = file.metadata().map_err(Error::io("reading", &path))?;
            match metadata.is_dir() {
                true => Ok(Source::Directory(file.into())),
                false => Source::stage(store, file),
            }
        })
        .await
    }

    async fn import_with(
        self: &Arc<Self>,
        options: ImportOptions,
        source: impl FnOnce(&Store) -> Result<Source, Error> + Send + 'static,
    ) -> Result<Vec<Image>, Error> {
        let store = Arc::clone(self);
        let import = tokio::task::spawn_blocking(move || {
            let incoming = store.begin_incoming();
            let source = source(&store)?;
            Importer { store: &store, source, options, incoming: &incoming }.run()
        });
        import.await.unwrap_or(Err(Error::Interrupted))
    }
}

/// The files of an archive, by key (`blobs/sha256/…`).
enum Source {
    /// Of a tar stream.
    Staged {
        files: BTreeMap<String, Staged>,
        links: BTreeMap<String, String>,
    },
    Directory(OwnedFd),
}

impl Source {
    fn stage(store: &Store, from: impl Read + Send) -> Result<Source, Error> {
        let mut tarball = Tarball::new(decompress(from).map_err(Error::reading)?, store.limits);
        let mut files = BTreeMap::new();
        let mut links = BTreeMap::new();
        while let Some(entry) = tarball.next_entry()? {
            let Some(key) = archive::archive_key(&entry.path) else {
                continue;
            };
            match entry.kind {
                Kind::Regular => {
                    let mut ingest = store.blobs.ingest()?;
                    std::io::copy(&mut tarball.body(), &mut ingest).map_err(Error::reading)?;
                    files.insert(key, ingest.finish());
                }
                Kind::Symlink => {
                    links.extend(archive::link_key(&key, &entry.link).map(|target| (key, target)))
                }
                Kind::Hardlink => links.extend(archive::archive_key(&entry.link).map(|target| (key, target))),
                Kind::Directory | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {}
            }
        }
        Ok(Source::Staged { files, links })
    }

    fn open(&self, key: &str) -> Result<Option<File>, Error> {
        match self {
            Source::Staged { files, links } => {
                let key = links.get(key).map_or(key, String::as_str);
                files.get(key).map(Staged::open).transpose()
            }
            Source::Directory(root) => {
                use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
                match openat2(root, key, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), resolve) {
                    Ok(file) => Ok(Some(file.into())),
                    Err(rustix::io::Errno::NOENT) => Ok(None),
                    Err(error) => Err(Error::errno("opening", Path::new(key))(error)),
                }
            }
        }
    }

    fn need(&self, key: &str) -> Result<File, Error> {
        self.open(key)?.ok_or_else(|| Error::Missing(key.to_owned()))
    }

    fn read(&self, key: &str, limits: &Limits) -> Result<Option<Vec<u8>>, Error> {
        let limit = limits.config_bytes.max(limits.manifest_bytes);
        let file = self.open(key)?;
        file.map(|file| read_limited(file, limit).map_err(Error::io("reading", Path::new(key)))).transpose()
    }
}

/// The images of an archive, each with its names there.
type Named = BTreeMap<Digest, BTreeSet<String>>;

struct Importer<'a> {
    store: &'a Store,
    source: Source,
    options: ImportOptions,
    incoming: &'a Incoming,
}

impl Importer<'_> {
    fn run(&self) -> Result<Vec<Image>, Error> {
        let limits = &self.store.limits;
        let named = if let Some(index) = self.source.read("index.json", limits)? {
            self.import_layout(&index)?
        } else if let Some(listing) = self.source.read("manifest.json", limits)? {
            let images = archive::docker_images(&listing, limits)?;
            let mut named = Named::new();
            for image in &images {
                let (id, tags) = self.import_docker(image)?;
                named.entry(id).or_default().extend(tags);
            }
            named
        } else {
            return Err(Error::NotAnArchive);
        };
        let images = named.into_iter().filter_map(|(id, tags)| {
            let mut image = self.store.status(id.as_str())?;
            // It may have had others before.
            image.repo_tags.retain(|tag| tags.contains(tag));
            Some(image)
        });
        Ok(images.collect())
    }

    fn import_layout(&self, index: &[u8]) -> Result<Named, Error> {
        let index = archive::layout_index(index, &self.store.limits)?;
        let mut named = Named::new();
        let mut refusal = None;
        for entry in &index.manifests {
            let name = archive::layout_name(entry, self.options.base.as_deref())?;
            match self.resolve(entry, INDEX_DEPTH_MAX) {
                Ok((digest, manifest)) => {
                    let (id, tags) = self.import_manifest(digest, manifest, name)?;
                    named.entry(id).or_default().extend(tags);
                }
                // Of several platforms side by side, one is enough.
                Err(Error::Refused(images::Error::Platform(platform))) => {
                    refusal = Some(images::Error::Platform(platform));
                }
                Err(error) => return Err(error),
            }
        }
        match (named.is_empty(), refusal) {
            (true, Some(refusal)) => Err(refusal.into()),
            (true, None) => Err(Error::Missing("manifests in index.json".to_owned())),
            (false, _) => Ok(named),
        }
    }

    /// Follows an entry to the manifest for this machine, and stores that.
    fn resolve(&self, entry: &Descriptor, depth: usize) -> Result<(Digest, Manifest), Error> {
        let host = host_platform();
        if let Some(platform) = entry.platform.as_ref().filter(|platform| {
            !platform.os.is_empty() && (platform.os != host.os || platform.architecture != host.architecture)
        }) {
            return Err(images::Error::Platform(format!("{}/{}", platform.os, platform.architecture)).into());
        }
        let key = blob_key(&entry.digest);
        let bytes = self.source.read(&key, &self.store.limits)?.ok_or(Error::Missing(key))?;
        match Document::parse(&bytes, &self.store.limits)? {
            Document::Manifest(manifest) => {
                let (digest, _) = self.store.blobs.store(bytes.as_slice(), Some(&entry.digest))?;
                Ok((digest, manifest))
            }
            Document::Index(index) => {
                let depth = depth.checked_sub(1).ok_or(images::Error::Limit {
                    what: "depth of indexes",
                    limit: INDEX_DEPTH_MAX as u64,
                })?;
                self.resolve(manifest::select_platform(&index, &host)?, depth)
            }
        }
    }

    fn import_manifest(
        &self,
        digest: Digest,
        manifest: Manifest,
        name: Option<Reference>,
    ) -> Result<(Digest, BTreeSet<String>), Error> {
        let config_key = blob_key(&manifest.config.digest);
        let (_, config) = self.store_config(&config_key, Some(&manifest.config.digest))?;
        let arrived = Arrived {
            manifest_digest: digest,
            config,
            tags: name.iter().filter_map(Reference::tagged).collect(),
            digests: BTreeSet::new(),
            pinned: true,
            manifest,
        };
        let layers = arrived.manifest.layers.iter().map(|layer| {
            let key = blob_key(&layer.digest);
            self.store_layer(&key, Some(&layer.digest)).map(|_| ())
        });
        layers.collect::<Result<Vec<()>, _>>()?;
        self.install(arrived)
    }

    /// `docker save` has no manifest of its own: one is made of what the archive holds.
    fn import_docker(&self, image: &DockerImage) -> Result<(Digest, BTreeSet<String>), Error> {
        let (config_descriptor, config) = self.store_config(&normal(&image.config)?, None)?;
        let layers = image.layers.iter().map(|layer| self.store_layer(&normal(layer)?, None));
        let manifest = Manifest {
            schema_version: 2,
            media_type: manifest::OCI_MANIFEST.to_owned(),
            config: config_descriptor,
            layers: layers.collect::<Result<Vec<_>, _>>()?,
        };
        let bytes = serde_json::to_vec(&manifest).expect("a manifest is plain data");
        let (manifest_digest, _) = self.store.blobs.store(bytes.as_slice(), None)?;
        let names = image.repo_tags.iter().flatten().map(|tag| Reference::parse(tag));
        let tags = names.map(|name| Ok(name?.tagged())).collect::<Result<Vec<_>, Error>>()?;
        self.install(Arrived {
            manifest_digest,
            manifest,
            config,
            tags: tags.into_iter().flatten().collect(),
            digests: BTreeSet::new(),
            pinned: true,
        })
    }

    fn store_config(&self, key: &str, expected: Option<&Digest>) -> Result<(Descriptor, ConfigFile), Error> {
        let bytes =
            self.source.read(key, &self.store.limits)?.ok_or_else(|| Error::Missing(key.to_owned()))?;
        let config = ConfigFile::parse(&bytes, &self.store.limits)?;
        let (digest, size) = self.store.blobs.store(bytes.as_slice(), expected)?;
        Ok((descriptor(manifest::OCI_CONFIG, digest, size), config))
    }

    fn store_layer(&self, key: &str, expected: Option<&Digest>) -> Result<Descriptor, Error> {
        let (digest, size) = self.store.blobs.store(self.source.need(key)?, expected)?;
        let mut head = Vec::new();
        let blob = self.store.blobs.open_blob(&digest)?;
        blob.take(4).read_to_end(&mut head).map_err(Error::io("reading the layer", Path::new(key)))?;
        let suffix = match head.as_slice() {
            [0x1f, 0x8b, ..] => "+gzip",
            [0x28, 0xb5, 0x2f, 0xfd] => "+zstd",
            _ => "",
        };
        Ok(descriptor(&format!("{}{suffix}", manifest::OCI_LAYER), digest, size))
    }

    /// The image's id, and its names in this archive.
    fn install(&self, arrived: Arrived) -> Result<(Digest, BTreeSet<String>), Error> {
        let tags = arrived.tags.clone();
        let chains = arrived.chains()?;
        let layers = arrived.manifest.layers.iter().zip(&chains).map(|(layer, chain)| {
            if self.store.has_layer(chain) {
                return Ok(None);
            }
            self.store.prepare_layer(self.store.blobs.open_blob(&layer.digest)?).map(Some)
        });
        let prepared = layers.collect::<Result<Vec<Option<Prepared>>, Error>>()?;
        Ok((self.store.install(arrived, prepared, self.incoming)?, tags))
    }
}

fn blob_key(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn normal(path: &str) -> Result<String, Error> {
    archive::archive_key(path.as_bytes()).ok_or_else(|| Error::Missing(path.to_owned()))
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

/// The platform of this build, in Go's words.
pub(super) fn host_platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Platform { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: String::new() }
}
