//! ImageLocality: likes nodes that already have the pod's images. A large image on many nodes counts most; one that few nodes
//! have counts less, lest all pods gather there.

use std::collections::BTreeMap;

use kedge_api::Pod;

use crate::framework::{MAX_NODE_SCORE, Normalize, Plugin, Score};
use crate::snapshot::{Row, Snapshot};

pub struct ImageLocality;

const MIB: i64 = 1024 * 1024;
/// Below this the download does not matter.
const LEAST: i64 = 23 * MIB;
/// Per container; above this, more does not matter.
const MOST: i64 = 1000 * MIB;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn score<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> Option<Score<'a>> {
        let spec = &pod.spec;
        let containers =
            spec.init_containers.iter().chain(&spec.containers).map(|container| &container.image);
        let volumes = spec.volumes.iter().filter_map(|volume| Some(&volume.image.as_ref()?.reference));
        let mut present: BTreeMap<Row, i64> = BTreeMap::new();
        for image in containers.chain(volumes) {
            let Some(sizes) = snapshot.image(image) else {
                continue;
            };
            let spread = sizes.len() as f64 / snapshot.len() as f64;
            for (row, size) in sizes {
                *present.entry(*row).or_default() += (*size as f64 * spread) as i64;
            }
        }
        if present.is_empty() {
            return None;
        }
        let containers = i64::try_from(spec.init_containers.len() + spec.containers.len()).unwrap_or(1);
        let most = MOST * containers.max(1);
        let of = move |row| {
            let size = present.get(&row).copied().unwrap_or(0).clamp(LEAST, most);
            MAX_NODE_SCORE * (size - LEAST) / (most - LEAST)
        };
        Some(Score { of: Box::new(of), normalize: Normalize::AsIs })
    }
}
