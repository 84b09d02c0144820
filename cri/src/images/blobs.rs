//! The content store: blobs by digest. A blob exists whole or not at all: it is written beside, hashed on the way,
//! synced, renamed. What a crash left half-written lies in `ingest` and is removed when the store is opened.

use super::Error;
use kedge_cri_core::images::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Blobs {
    blobs: PathBuf,
    ingest: PathBuf,
    next: AtomicU64,
}

impl Blobs {
    pub(super) fn open(root: &Path) -> Result<Blobs, Error> {
        let blobs = root.join("blobs/sha256");
        let ingest = root.join("ingest");
        if ingest.exists() {
            std::fs::remove_dir_all(&ingest).map_err(Error::io("removing half-written images", &ingest))?;
        }
        for folder in [&blobs, &ingest] {
            std::fs::create_dir_all(folder).map_err(Error::io("creating", folder))?;
        }
        Ok(Blobs { blobs, ingest, next: AtomicU64::new(0) })
    }

    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    pub(super) fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.path(digest);
        File::open(&path).map_err(Error::io("opening the blob", &path))
    }

    pub(super) fn size(&self, digest: &Digest) -> Result<u64, Error> {
        let path = self.path(digest);
        std::fs::metadata(&path)
            .map(|metadata| metadata.len())
            .map_err(Error::io("looking at the blob", &path))
    }

    /// Reads a small blob whole.
    pub(super) fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, Error> {
        read_limited(self.open_blob(digest)?, limit)
            .map_err(Error::io("reading the blob", &self.path(digest)))
    }

    /// A name below `ingest` that nobody else uses.
    pub(super) fn scratch(&self) -> PathBuf {
        self.ingest.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    pub(super) fn ingest(&self) -> Result<Ingest, Error> {
        let path = self.scratch();
        let file = File::create_new(&path).map_err(Error::io("creating", &path))?;
        Ok(Ingest { file, path, hash: Sha256::new(), size: 0, is_kept: false })
    }

    /// Stores a reader's bytes whole; with `expected`, only if they have that digest.
    pub(super) fn store(
        &self,
        mut from: impl Read,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), Error> {
        let mut ingest = self.ingest()?;
        io::copy(&mut from, &mut ingest).map_err(Error::io("writing", &ingest.path))?;
        let size = ingest.size;
        Ok((self.commit(ingest, expected)?, size))
    }

    pub(super) fn commit(&self, ingest: Ingest, expected: Option<&Digest>) -> Result<Digest, Error> {
        let staged = ingest.finish();
        if let Some(expected) = expected.filter(|expected| **expected != staged.digest) {
            return Err(Error::DigestMismatch { expected: expected.clone(), got: staged.digest.clone() });
        }
        self.adopt(staged)
    }

    /// Makes a staged file a blob.
    pub(super) fn adopt(&self, mut staged: Staged) -> Result<Digest, Error> {
        let path = self.path(&staged.digest);
        staged.open()?.sync_all().map_err(Error::io("syncing", &staged.path))?;
        std::fs::rename(&staged.path, &path).map_err(Error::io("renaming to", &path))?;
        staged.is_kept = true;
        sync_folder(&self.blobs)?;
        Ok(staged.digest.clone())
    }

    pub(super) fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.path(digest);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("removing", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Every blob's digest.
    pub(super) fn list(&self) -> Result<Vec<Digest>, Error> {
        let entries = std::fs::read_dir(&self.blobs).map_err(Error::io("listing", &self.blobs))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter_map(|name| Digest::parse(&format!("sha256:{name}")).ok()).collect())
    }
}

/// A blob being written. Dropped without [`Blobs::commit`], it vanishes.
pub(super) struct Ingest {
    file: File,
    path: PathBuf,
    hash: Sha256,
    size: u64,
    is_kept: bool,
}

impl Ingest {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Ends the writing; the bytes wait under their digest for somebody to want them.
    pub(super) fn finish(mut self) -> Staged {
        self.is_kept = true;
        let hash = std::mem::take(&mut self.hash);
        Staged {
            path: self.path.clone(),
            digest: Digest::from_sha256(hash.finalize().into()),
            is_kept: false,
        }
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if !self.is_kept {
            discard(&self.path);
        }
    }
}

/// A whole file below `ingest`, with its digest.
pub(super) struct Staged {
    path: PathBuf,
    pub(super) digest: Digest,
    is_kept: bool,
}

impl Staged {
    pub(super) fn open(&self) -> Result<File, Error> {
        File::open(&self.path).map_err(Error::io("opening", &self.path))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_kept {
            discard(&self.path);
        }
    }
}

fn discard(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a half-written blob stays until the next start");
    }
}

/// At most `limit` bytes; more is an error.
pub(super) fn read_limited(from: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than the limit of {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// A rename is durable once its folder is.
pub(super) fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("syncing", folder))
}
