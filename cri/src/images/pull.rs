//! Pulling: resolve a name at its mirrors and registry, fetch manifest and config, download and unpack the layers side
//! by side while they stream in.
//!
//! Tasks: one per pull, which outlives the callers who wait for it over a watch; below it one per layer, at most
//! [`LAYERS_AT_ONCE`] at work, each feeding a blocking thread (hash, write, unpack) through a bounded channel.

use super::install::{Arrived, Prepared};
use super::registry::{self, SILENCE_MAX, Session};
use super::{Error, PullKind, Store, import::host_platform};
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use kedge_cri_api::AuthConfig;
use kedge_cri_core::images::manifest::{self, ConfigFile, Descriptor, Document, Manifest};
use kedge_cri_core::images::{self, Digest, Reference};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, mpsc, watch};

const LAYERS_AT_ONCE: usize = 3;
/// A layer whose connection breaks is asked for again this often in all.
const ATTEMPTS: usize = 3;
/// Pieces of a layer between network and disk.
const PIECES_WAITING: usize = 32;
const INDEX_DEPTH_MAX: usize = 3;

type Outcome = Option<Result<Digest, registry::Error>>;

/// The pulls under way: whoever asks for the same image with the same credentials waits for the same download.
#[derive(Default)]
pub(super) struct Pulls(Mutex<Vec<Running>>);

struct Running {
    reference: Reference,
    auth: Option<AuthConfig>,
    outcome: watch::Receiver<Outcome>,
}

impl Store {
    /// Pulls an image and returns its id.
    pub async fn pull(self: &Arc<Self>, image: &str, auth: Option<AuthConfig>) -> Result<Digest, Error> {
        let reference = Reference::parse(image)?;
        let mut outcome = self.join_or_start(&reference, auth);
        let ended = outcome.wait_for(Option::is_some).await.map_err(|_| Error::Interrupted)?.clone();
        ended.unwrap_or_else(|| Err(registry::Error::unavailable("interrupted".to_owned()))).map_err(
            |error| Error::Pull {
                kind: error.kind,
                text: format!("failed to pull and unpack image \"{reference}\": {}", error.text),
            },
        )
    }

    fn join_or_start(
        self: &Arc<Self>,
        reference: &Reference,
        auth: Option<AuthConfig>,
    ) -> watch::Receiver<Outcome> {
        let mut pulls = self.pulls.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A pull that ended, or whose task died, is no longer there to wait for.
        pulls.retain(|running| running.outcome.borrow().is_none() && running.outcome.has_changed().is_ok());
        let same = |running: &&Running| running.reference == *reference && running.auth == auth;
        if let Some(running) = pulls.iter().find(same) {
            return running.outcome.clone();
        }
        let (sender, outcome) = watch::channel(None);
        pulls.push(Running { reference: reference.clone(), auth: auth.clone(), outcome: outcome.clone() });
        let (store, reference) = (Arc::clone(self), reference.clone());
        tokio::spawn(async move {
            let result = store.pull_from_any(&reference, auth).await;
            // Nobody may be waiting any more; the image stays.
            let _ = sender.send(Some(result));
        });
        outcome
    }

    /// Asks mirrors in order, then the registry. The first answer other than "not found" is the one worth telling.
    async fn pull_from_any(
        self: &Arc<Self>,
        reference: &Reference,
        auth: Option<AuthConfig>,
    ) -> Result<Digest, registry::Error> {
        let endpoints = self.registries.endpoints(reference.domain());
        let endpoints = endpoints.map_err(|error| registry::Error::unavailable(error.to_string()))?;
        let mut told: Option<registry::Error> = None;
        for endpoint in endpoints {
            let host = endpoint.host.clone();
            let pulled = match Session::new(endpoint, reference, auth.clone()) {
                Ok(session) => Pull { store: self, session: Arc::new(session) }.run(reference).await,
                Err(error) => Err(error),
            };
            let error = match pulled {
                Ok(id) => return Ok(id),
                Err(error) => error,
            };
            tracing::debug!(%reference, host, error = error.text, "an endpoint does not serve the image");
            let is_worth_telling = error.kind != PullKind::NotFound;
            if told.as_ref().is_none_or(|told| told.kind == PullKind::NotFound && is_worth_telling) {
                told = Some(error);
            }
        }
        Err(told.unwrap_or_else(|| registry::Error::unavailable("no endpoint to ask".to_owned())))
    }
}

struct Pull<'a> {
    store: &'a Arc<Store>,
    session: Arc<Session>,
}

impl Pull<'_> {
    async fn run(&self, reference: &Reference) -> Result<Digest, registry::Error> {
        let resolving = |error: registry::Error| prefixed("failed to resolve image", error);
        let incoming = Arc::new(self.store.begin_incoming());
        let resolved = self.session.resolve(reference).await.map_err(resolving)?;
        let selector = resolved.digest.as_ref().or(reference.digest());
        let (digest, document) = self.document(selector, reference.selector()).await.map_err(resolving)?;
        let (manifest_digest, manifest) = self.choose(digest.clone(), document).await.map_err(resolving)?;
        if let Some(id) = self.known(reference, &digest, &manifest) {
            return Ok(id);
        }
        let copying = |error: registry::Error| prefixed("failed to copy", error);
        let config = self.config(&manifest).await.map_err(copying)?;
        let arrived = Arrived {
            manifest_digest,
            manifest,
            config,
            tags: reference.tagged().filter(|_| reference.digest().is_none()).into_iter().collect(),
            digests: BTreeSet::from([reference.with_digest(&digest)]),
            pinned: false,
        };
        let prepared = self.layers(&arrived).await.map_err(copying)?;
        let store = Arc::clone(self.store);
        let install = tokio::task::spawn_blocking(move || store.install(arrived, prepared, &incoming));
        let installed = install.await.unwrap_or(Err(Error::Interrupted));
        installed.map_err(|error| prefixed("failed to extract layer", local(&error)))
    }

    /// The manifest or index behind a name, checked against the digest that it was asked by.
    async fn document(
        &self,
        by: Option<&Digest>,
        tag: &str,
    ) -> Result<(Digest, (Document, Bytes)), registry::Error> {
        let selector = by.map_or(tag, Digest::as_str);
        let bytes = self.session.manifest(selector, self.store.limits.manifest_bytes).await?;
        let digest = Digest::from_sha256(Sha256::digest(&bytes).into());
        if let Some(expected) = by.filter(|expected| **expected != digest) {
            return Err(local(&Error::DigestMismatch { expected: expected.clone(), got: digest }));
        }
        let document = Document::parse(&bytes, &self.store.limits).map_err(|error| local(&error.into()))?;
        Ok((digest, (document, bytes)))
    }

    /// Follows indexes to the manifest for this machine and stores that.
    async fn choose(
        &self,
        mut digest: Digest,
        (mut document, mut bytes): (Document, Bytes),
    ) -> Result<(Digest, Manifest), registry::Error> {
        for _ in 0..=INDEX_DEPTH_MAX {
            let index = match document {
                Document::Manifest(manifest) => {
                    self.store.blobs.store(bytes.as_ref(), Some(&digest)).map_err(|error| local(&error))?;
                    return Ok((digest, manifest));
                }
                Document::Index(index) => index,
            };
            let chosen = manifest::select_platform(&index, &host_platform());
            let chosen = chosen.map_err(|error| local(&error.into()))?;
            (digest, (document, bytes)) = self.document(Some(&chosen.digest), "").await?;
        }
        let limit = INDEX_DEPTH_MAX as u64;
        Err(local(&images::Error::Limit { what: "depth of indexes", limit }.into()))
    }

    /// The image, if it is here already; the name may be new, or point here for the first time.
    fn known(&self, reference: &Reference, digest: &Digest, manifest: &Manifest) -> Option<Digest> {
        let id = &manifest.config.digest;
        let mut state = self.store.lock();
        let record = state.index.images.get(id)?;
        let layers = manifest.layers.iter().map(|layer| &layer.digest);
        if !layers.eq(record.layers.iter().map(|layer| &layer.blob)) {
            return None;
        }
        let mut record = record.clone();
        record.tags.extend(reference.tagged().filter(|_| reference.digest().is_none()));
        record.digests.insert(reference.with_digest(digest));
        // An index that cannot be saved is told by the install that follows.
        self.store.change_index(&mut state, |index| index.insert(id.clone(), record)).ok()?;
        Some(id.clone())
    }

    async fn config(&self, manifest: &Manifest) -> Result<ConfigFile, registry::Error> {
        let (limits, expected) = (&self.store.limits, &manifest.config.digest);
        let bytes = self.session.blob_whole(expected, limits.config_bytes).await?;
        let stored = self.store.blobs.store(bytes.as_ref(), Some(expected));
        stored.map_err(|error| local(&error))?;
        ConfigFile::parse(&bytes, limits).map_err(|error| local(&error.into()))
    }

    /// Fetches the layers that are missing, in the manifest's order.
    async fn layers(&self, arrived: &Arrived) -> Result<Vec<Option<Prepared>>, registry::Error> {
        let chains = arrived.chains().map_err(|error| local(&error))?;
        let slots = Arc::new(Semaphore::new(LAYERS_AT_ONCE));
        let mut tasks = tokio::task::JoinSet::new();
        for (at, (layer, chain)) in arrived.manifest.layers.iter().zip(chains).enumerate() {
            let fetch = Fetch {
                store: Arc::clone(self.store),
                session: Arc::clone(&self.session),
                layer: layer.clone(),
                chain,
            };
            let slots = Arc::clone(&slots);
            tasks.spawn(async move {
                let _slot = slots.acquire_owned().await.expect("the semaphore is never closed");
                (at, fetch.run().await)
            });
        }
        let mut prepared: Vec<Option<Prepared>> = arrived.manifest.layers.iter().map(|_| None).collect();
        // An error returns at once: dropping the set ends the other tasks.
        while let Some(ended) = tasks.join_next().await {
            let (at, layer) = ended.map_err(|_| local(&Error::Interrupted))?;
            prepared[at] = layer?;
        }
        Ok(prepared)
    }
}

/// One layer's way from the registry into a directory.
struct Fetch {
    store: Arc<Store>,
    session: Arc<Session>,
    layer: Descriptor,
    chain: Digest,
}

impl Fetch {
    async fn run(self) -> Result<Option<Prepared>, registry::Error> {
        let has_layer = self.store.has_layer(&self.chain);
        if self.store.blobs.contains(&self.layer.digest) {
            if has_layer {
                return Ok(None);
            }
            let (store, digest) = (Arc::clone(&self.store), self.layer.digest.clone());
            let unpack =
                tokio::task::spawn_blocking(move || store.prepare_layer(store.blobs.open_blob(&digest)?));
            let prepared = unpack.await.unwrap_or(Err(Error::Interrupted));
            return prepared.map(Some).map_err(|error| local(&error));
        }
        let mut attempt = 1;
        loop {
            match self.download().await {
                Err(error) if error.kind == PullKind::Unavailable && attempt < ATTEMPTS => attempt += 1,
                ended => return ended.map(Some),
            }
        }
    }

    async fn download(&self) -> Result<Prepared, registry::Error> {
        let body = self.session.blob(&self.layer.digest).await?;
        let (sender, pieces) = mpsc::channel(PIECES_WAITING);
        let (store, layer) = (Arc::clone(&self.store), self.layer.clone());
        let unpack = tokio::task::spawn_blocking(move || receive(&store, &layer, pieces));
        let broken = feed(body, sender).await;
        let prepared = unpack.await.unwrap_or(Err(Error::Interrupted));
        // A broken connection explains whatever the unpacking says; a full disk explains itself.
        match (prepared, broken) {
            (Err(error @ Error::Io { .. }), _) => Err(local(&error)),
            (_, Some(text)) => {
                Err(registry::Error::unavailable(format!("blob {}: {text}", self.layer.digest)))
            }
            (Ok(prepared), None) => Ok(prepared),
            (Err(error), None) => Err(local(&error)),
        }
    }
}

type Piece = io::Result<Bytes>;

/// Hands a body on, piece by piece; says what broke it.
async fn feed(mut body: hyper::body::Incoming, sender: mpsc::Sender<Piece>) -> Option<String> {
    loop {
        let frame = match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
            Ok(None) => return None,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return break_off(&sender, error.to_string()).await,
            Err(_) => return break_off(&sender, "i/o timeout".to_owned()).await,
        };
        let Ok(piece) = frame.into_data() else { continue };
        if sender.send(Ok(piece)).await.is_err() {
            // The unpacking has ended and says why.
            return None;
        }
    }
}

async fn break_off(sender: &mpsc::Sender<Piece>, text: String) -> Option<String> {
    let broken = io::Error::new(io::ErrorKind::ConnectionAborted, text.clone());
    // If nobody takes it, the unpacking has ended before.
    let _ = sender.send(Err(broken)).await;
    Some(text)
}

/// Writes the blob and unpacks it in one pass.
fn receive(store: &Arc<Store>, layer: &Descriptor, pieces: mpsc::Receiver<Piece>) -> Result<Prepared, Error> {
    let mut tee = Tee {
        from: Pieces { pieces, at_hand: Bytes::new() },
        into: store.blobs.ingest()?,
        size_max: layer.size,
    };
    let prepared = store.prepare_layer(&mut tee)?;
    // What follows the compressed stream belongs to the blob all the same.
    io::copy(&mut tee, &mut io::sink()).map_err(Error::reading)?;
    store.blobs.commit(tee.into, Some(&layer.digest))?;
    Ok(prepared)
}

struct Pieces {
    pieces: mpsc::Receiver<Piece>,
    at_hand: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at_hand.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.at_hand = piece?,
                None => return Ok(0),
            }
        }
        let size = into.len().min(self.at_hand.len());
        into[..size].copy_from_slice(&self.at_hand[..size]);
        self.at_hand.advance(size);
        Ok(size)
    }
}

/// Keeps a copy of what is read, and no more than was announced.
struct Tee {
    from: Pieces,
    into: super::blobs::Ingest,
    size_max: u64,
}

impl Read for Tee {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.into.write_all(&into[..read])?;
        if self.into.size() > self.size_max {
            return Err(io::Error::other(format!("the blob is larger than its {} bytes", self.size_max)));
        }
        Ok(read)
    }
}

/// Trouble on our side of the wire; asking again would not help.
fn local(error: &Error) -> registry::Error {
    registry::Error { kind: PullKind::Refused, text: error.chain() }
}

fn prefixed(doing: &str, error: registry::Error) -> registry::Error {
    registry::Error { kind: error.kind, text: format!("{doing}: {}", error.text) }
}
