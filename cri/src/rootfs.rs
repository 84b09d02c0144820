//! What the runtime needs from the image store, and nothing more: which layers make a container's root, and what the
//! image says about the process in it. The store itself (pull, import, unpack) is `images`.

use std::path::PathBuf;

/// The image as a container sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageMount {
    /// `sha256:…` of the image config.
    pub image_id: String,
    /// A repository digest (`repo@sha256:…`) where the image has one, else the id.
    pub image_ref: String,
    /// Unpacked layers as absolute directories, the topmost first: the order of overlayfs `lowerdir`.
    pub lower: Vec<PathBuf>,
    pub config: ImageConfig,
}

pub use kedge_cri_core::image::ImageConfig;

/// The part of the image store that a launch calls.
#[async_trait::async_trait]
pub trait ImageStore: Send + Sync {
    /// Resolves an image id (`sha256:…`), name or digest. `NotFound` when the image is absent.
    /// The directories stay in place while a container made from them exists: see [`ImageStore::hold`].
    async fn mount_plan(&self, image_id: &str) -> kedge_cri_api::Result<ImageMount>;

    /// Tells which image ids are in use by containers, so that a removal refuses them. Called after each change.
    fn hold(&self, image_ids_in_use: Vec<String>);
}
