//! Folders become layers, layers and configurations a docker-archive. The same folders give the same bytes: names are
//! sorted, times and owners are zero.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{fresh, told, tool};
use crate::tools::hex;

/// One image: its names, its layers from the lowest up, and the `config` part of its configuration.
pub struct Recipe<'a> {
    pub names: &'static [&'static str],
    pub layers: Vec<&'a Layer>,
    pub config: Value,
}

/// A layer as a tar file, known by the digest of its bytes.
pub struct Layer {
    digest: String,
    file: PathBuf,
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Layer {
    /// Packs a folder. Hard links inside it stay hard links.
    pub fn pack(folder: &Path) -> Result<Self, String> {
        let file = folder.with_extension("layer");
        let mut tar = Command::new("tar");
        tar.args(["--create", "--format=gnu", "--sort=name", "--mtime=@0", "--owner=0", "--group=0"]);
        tar.args(["--numeric-owner", "--file"]).arg(&file).arg("--directory").arg(folder).arg(".");
        tool(&mut tar)?;
        let bytes = fs::read(&file).map_err(told("reading", &file))?;
        Ok(Self { digest: hex(&Sha256::digest(bytes)), file })
    }
}

pub fn write(work: &Path, recipes: &[Recipe<'_>], out: &Path) -> Result<(), String> {
    let folder = work.join("archive");
    fresh(&folder)?;
    let put = |name: &str, bytes: &[u8]| {
        let file = folder.join(name);
        fs::write(&file, bytes).map_err(told("writing", &file))
    };
    let mut listing = Vec::new();
    for recipe in recipes {
        for layer in &recipe.layers {
            let wanted = folder.join(format!("{}.tar", layer.digest));
            if !wanted.exists() {
                fs::hard_link(&layer.file, &wanted).map_err(told("linking", &wanted))?;
            }
        }
        let config = configuration(recipe).to_string();
        let name = format!("{}.json", hex(&Sha256::digest(&config)));
        put(&name, config.as_bytes())?;
        let layers: Vec<String> = recipe.layers.iter().map(|layer| format!("{}.tar", layer.digest)).collect();
        listing.push(json!({"Config": name, "RepoTags": recipe.names, "Layers": layers}));
    }
    put("manifest.json", Value::from(listing).to_string().as_bytes())?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--mtime=@0", "--transform=s,^\\./,,", "--file"]).arg(out);
    tool(tar.arg("--directory").arg(&folder).arg("."))?;
    Ok(())
}

fn configuration(recipe: &Recipe<'_>) -> Value {
    let mut config = recipe.config.clone();
    config["Env"] = json!([PATH]);
    let digests: Vec<String> = recipe.layers.iter().map(|layer| format!("sha256:{}", layer.digest)).collect();
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "created": "2020-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": digests},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_two_images_share_is_written_once() {
        let work = std::env::temp_dir().join(format!("kedge-archive-{}", std::process::id()));
        let root = work.join("root");
        fresh(&root).expect("a folder");
        fs::write(root.join("file"), "content").expect("a file");
        let layer = Layer::pack(&root).expect("a layer");
        assert_eq!(layer.digest, Layer::pack(&root).expect("a layer").digest, "the same folder");
        let recipe =
            |names, command| Recipe { names, layers: vec![&layer], config: json!({"Cmd": [command]}) };
        let out = work.join("out.tar");
        write(&work, &[recipe(&["a:1"], "a"), recipe(&["b:1", "c:1"], "b")], &out).expect("an archive");
        let listed = tool(Command::new("tar").arg("--list").arg("--file").arg(&out)).expect("a list");
        fs::remove_dir_all(&work).expect("our folder");
        let names: Vec<&str> = listed.lines().filter(|name| !name.ends_with('/')).collect();
        assert_eq!(names.iter().filter(|name| name.ends_with(".tar")).count(), 1, "{names:?}");
        assert_eq!(names.iter().filter(|name| name.ends_with(".json")).count(), 3, "{names:?}");
        assert!(names.contains(&"manifest.json"));
    }
}
