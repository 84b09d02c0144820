//! Why an operation on images failed, and what the caller makes of it.

use kedge_cri_core::images::{self, Digest};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the image index {} cannot be read ({why}); move it away to begin with no images", path.display())]
    Index { path: PathBuf, why: String },
    #[error("{}: {why}", path.display())]
    Registries { path: PathBuf, why: String },
    #[error("reading the image")]
    Reading(#[source] io::Error),
    #[error("writing the archive")]
    Writing(#[source] io::Error),
    #[error(transparent)]
    Refused(#[from] images::Error),
    #[error("digest mismatch: expected {expected}, got {got}")]
    DigestMismatch { expected: Digest, got: Digest },
    #[error("the archive has no {0:?}")]
    Missing(String),
    #[error(
        "not an image archive: it has neither an OCI layout's index.json nor docker save's manifest.json"
    )]
    NotAnArchive,
    #[error("image {0:?} not found")]
    NotFound(String),
    #[error("image {image:?} is in use by {count} container(s)")]
    InUse { image: String, count: usize },
    /// A pull; the text is whole, since the kubelet shows it to users word for word.
    #[error("{text}")]
    Pull { kind: PullKind, text: String },
    /// A task of the store ended without a result.
    #[error("unpacking was interrupted")]
    Interrupted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullKind {
    NotFound,
    Refused,
    Unavailable,
}

impl Error {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { doing, path: path.clone(), source }
    }

    pub(super) fn errno(doing: &'static str, path: &Path) -> impl Fn(rustix::io::Errno) -> Error {
        let wrap = Error::io(doing, path);
        move |errno| wrap(errno.into())
    }

    pub(super) fn reading(error: io::Error) -> Error {
        Error::Reading(error)
    }

    /// The error with its causes, in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

impl From<Error> for kedge_cri_api::Error {
    fn from(error: Error) -> kedge_cri_api::Error {
        use kedge_cri_api::Error as Api;
        let text = error.chain();
        match error {
            Error::NotFound(_) | Error::Pull { kind: PullKind::NotFound, .. } => Api::NotFound(text),
            Error::InUse { .. } => Api::FailedPrecondition(text),
            Error::Refused(_) | Error::NotAnArchive | Error::Missing(_) | Error::DigestMismatch { .. } => {
                Api::InvalidArgument(text)
            }
            // The CRI's runtimes answer Unknown here, which a kubelet shows without a prefix.
            Error::Pull { kind: PullKind::Refused | PullKind::Unavailable, .. } => Api::Internal(text),
            Error::Io { .. }
            | Error::Index { .. }
            | Error::Registries { .. }
            | Error::Reading(_)
            | Error::Writing(_)
            | Error::Interrupted => Api::Internal(text),
        }
    }
}
