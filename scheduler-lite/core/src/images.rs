//! Which image is on which node: a column turned on its side, since a pod names few images and nodes hold many.

use std::collections::BTreeMap;

use kedge_api::node::ContainerImage;

use crate::snapshot::Row;

/// The size in bytes of one image on each node that has it.
pub type ImageSizes = BTreeMap<Row, i64>;

/// Image name → nodes.
#[derive(Debug, Default)]
pub struct Images(BTreeMap<String, ImageSizes>);

impl Images {
    /// `name` as a pod writes it; without a tag it means `latest`.
    pub fn get(&self, name: &str) -> Option<&ImageSizes> {
        let (slash, colon) = (name.rfind('/'), name.rfind(':'));
        let is_tagged = colon.is_some() && colon > slash;
        if is_tagged { self.0.get(name) } else { self.0.get(&format!("{name}:latest")) }
    }

    pub fn add(&mut self, row: Row, images: &[ContainerImage]) {
        for image in images {
            for name in &image.names {
                self.0.entry(name.clone()).or_default().insert(row, image.size_bytes);
            }
        }
    }

    pub fn remove(&mut self, row: Row, images: &[ContainerImage]) {
        for name in images.iter().flat_map(|image| &image.names) {
            if let Some(sizes) = self.0.get_mut(name) {
                sizes.remove(&row);
                if sizes.is_empty() {
                    self.0.remove(name);
                }
            }
        }
    }
}
