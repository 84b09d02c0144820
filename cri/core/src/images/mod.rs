//! What can be decided about images without touching a disk or a registry: names, digests, manifests, tar entries,
//! the shape of archives, where a reference is looked for.

pub mod archive;
pub mod challenge;
pub mod digest;
pub mod layer;
pub mod manifest;
pub mod reference;
pub mod registries;
pub mod tar;

pub use digest::Digest;
pub use reference::Reference;

/// Everything about an image comes from outside; this is how much of it we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a manifest, an index or a registry's error body.
    pub manifest_bytes: u64,
    /// Bytes of an image config.
    pub config_bytes: u64,
    pub layers: usize,
    /// Entries of one layer or one archive.
    pub entries: u64,
    /// Bytes of one layer after decompression, and of one archive as it is read.
    pub unpacked_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            manifest_bytes: 4 << 20,
            config_bytes: 8 << 20,
            layers: 500,
            entries: 2_000_000,
            unpacked_bytes: 128 << 30,
        }
    }
}

/// Why something about an image is refused. The text names the field and the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("invalid reference format: {0}")]
    Reference(String),
    #[error("invalid digest {0:?}: expected sha256: and 64 lower-case hexadecimal digits")]
    Digest(String),
    #[error("{what}: {why}")]
    Invalid { what: &'static str, why: String },
    #[error("no image for platform {0}")]
    Platform(String),
    #[error("{what} is larger than the limit of {limit}")]
    Limit { what: &'static str, limit: u64 },
    #[error("tar: {0}")]
    Tar(String),
}
