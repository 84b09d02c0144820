//! Export as a tar that both kinds of readers take: an OCI layout, and docker's `manifest.json` over the same blobs.

use super::index::Record;
use super::{Error, Store};
use kedge_cri_core::images::archive::DockerImage;
use kedge_cri_core::images::manifest::{self, Descriptor, Index};
use kedge_cri_core::images::tar::{BLOCK, file_header};
use kedge_cri_core::images::{Digest, Reference};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

impl Store {
    /// Writes the named images, with all that is needed to import them elsewhere. An image that was removed meanwhile is
    /// an error, not a gap.
    pub fn export(&self, images: &[&str], mut into: impl Write) -> Result<(), Error> {
        let mut entries = Vec::new();
        let mut listing = Vec::new();
        let mut blobs = BTreeSet::new();
        for image in images {
            let (id, record) = self.find(image)?;
            let name = Reference::parse(image).ok().and_then(|reference| reference.tagged());
            let name = name.filter(|name| record.tags.contains(name));
            let size = self.blobs.size(&record.manifest)?;
            let annotations = name.iter().map(|name| ("io.containerd.image.name".to_owned(), name.clone()));
            entries.push(Descriptor {
                media_type: manifest::OCI_MANIFEST.to_owned(),
                digest: record.manifest.clone(),
                size,
                platform: None,
                annotations: annotations.collect(),
            });
            listing.push(DockerImage {
                config: key(&id),
                repo_tags: Some(name.into_iter().collect()),
                layers: record.layers.iter().map(|layer| key(&layer.blob)).collect(),
            });
            blobs.extend([id, record.manifest]);
            blobs.extend(record.layers.into_iter().map(|layer| layer.blob));
        }
        let index =
            Index { schema_version: 2, media_type: manifest::OCI_INDEX.to_owned(), manifests: entries };
        let layout = BTreeMap::from([("imageLayoutVersion", "1.0.0")]);
        let mut archive = Archive(&mut into);
        archive.document("oci-layout", &layout)?;
        archive.document("index.json", &index)?;
        archive.document("manifest.json", &listing)?;
        for blob in &blobs {
            archive.file(&key(blob), self.blobs.size(blob)?, self.blobs.open_blob(blob)?)?;
        }
        archive.0.write_all(&[0; 2 * BLOCK]).and_then(|()| archive.0.flush()).map_err(Error::Writing)
    }

    fn find(&self, image: &str) -> Result<(Digest, Record), Error> {
        let state = self.lock();
        let id = state.index.find(image).ok_or_else(|| Error::NotFound(image.to_owned()))?;
        Ok((id.clone(), state.index.images[id].clone()))
    }
}

fn key(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

struct Archive<W>(W);

impl<W: Write> Archive<W> {
    fn document(&mut self, path: &str, document: &impl serde::Serialize) -> Result<(), Error> {
        let bytes = serde_json::to_vec(document).expect("an archive's documents are plain data");
        self.file(path, bytes.len() as u64, bytes.as_slice())
    }

    fn file(&mut self, path: &str, size: u64, from: impl io::Read) -> Result<(), Error> {
        self.0.write_all(&file_header(path, size)).map_err(Error::Writing)?;
        io::copy(&mut from.take(size), &mut self.0).map_err(Error::Writing)?;
        let padding = (size.wrapping_neg() % BLOCK as u64) as usize;
        self.0.write_all(&[0; BLOCK][..padding]).map_err(Error::Writing)
    }
}
