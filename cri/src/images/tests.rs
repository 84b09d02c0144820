//! Imports, removals and crashes, against a store in a temporary folder.

use super::*;
use crate::images::unpack::OPAQUE_XATTR;
use sha2::{Digest as _, Sha256};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

mod layers;
mod pulls;
mod real_registry;

struct World {
    _folder: tempfile::TempDir,
    root: PathBuf,
    store: Arc<Store>,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("images");
    let store = Store::open_limited(&root, Registries::default(), Limits::default()).unwrap();
    World { _folder: folder, root, store }
}

impl World {
    /// What a restart finds.
    fn reopen(&mut self) {
        self.store = Store::open_limited(&self.root, Registries::default(), Limits::default()).unwrap();
    }

    async fn import(&self, archive: Vec<u8>) -> Result<Vec<Image>, Error> {
        self.store.import(std::io::Cursor::new(archive), ImportOptions::default()).await
    }

    fn names(&self) -> Vec<String> {
        let state = self.store.lock();
        state.index.images.values().flat_map(|record| record.tags.iter().cloned()).collect()
    }

    fn files(&self, folder: &str) -> usize {
        std::fs::read_dir(self.root.join(folder)).unwrap().count()
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

/// A tar with plain files.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(7);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer).to_string()).collect();
    let text = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {"User": "65532:1", "Env": ["A=b"], "Entrypoint": ["/hello"], "Cmd": null, "WorkingDir": "/w"},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    text.to_string().into_bytes()
}

fn docker_archive(tags: &[&str], layers: &[&[u8]]) -> Vec<u8> {
    let config = config(layers);
    let names: Vec<String> = (0..layers.len()).map(|at| format!("{at}/layer.tar")).collect();
    let listing =
        serde_json::json!([{"Config": "config.json", "RepoTags": tags, "Layers": names}]).to_string();
    // The listing last, as `docker save` writes it.
    let mut files: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(layers.iter().copied()).collect();
    files.push(("config.json", &config));
    files.push(("manifest.json", listing.as_bytes()));
    tar(&files)
}

/// (key, content) of an OCI layout.
fn layout(name: &str, layers: &[&[u8]], compress: impl Fn(&[u8]) -> Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let config = config(layers);
    let blobs: Vec<Vec<u8>> = layers.iter().map(|layer| compress(layer)).collect();
    let descriptor =
        |bytes: &[u8]| serde_json::json!({"digest": digest(bytes).to_string(), "size": bytes.len()});
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": descriptor(&config),
        "layers": blobs.iter().map(|blob| descriptor(blob)).collect::<Vec<_>>(),
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor(&manifest);
    entry["annotations"] = serde_json::json!({"io.containerd.image.name": name});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index.into_bytes()),
    ];
    for blob in [vec![config, manifest], blobs].concat() {
        files.push((format!("blobs/sha256/{}", digest(&blob).hex()), blob));
    }
    files
}

fn layout_tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(key, bytes)| (key.as_str(), bytes.as_slice())).collect();
    tar(&files)
}

#[tokio::test]
async fn docker_save_is_imported() {
    let mut world = world();
    let (base, top) = (tar(&[("etc/os", b"base")]), tar(&[("hello", b"hi")]));
    let images = world.import(docker_archive(&["nginx", "a.b/c:2"], &[&base, &top])).await.unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].repo_tags, ["a.b/c:2", "docker.io/library/nginx:latest"]);
    assert_eq!(images[0].id, digest(&config(&[&base, &top])).to_string());
    assert_eq!((images[0].uid, images[0].pinned), (Some(65532), true));
    let again = world.import(docker_archive(&["d.e/f:3"], &[&base, &top])).await.unwrap();
    assert_eq!((&again[0].id, again[0].repo_tags.as_slice()), (&images[0].id, &["d.e/f:3".to_owned()][..]));
    world.reopen();
    let plan = world.store.mount_plan("nginx:latest").await.unwrap();
    assert_eq!(plan.image_ref, images[0].id);
    assert_eq!(
        (plan.config.entrypoint, plan.config.env),
        (vec!["/hello".to_owned()], vec!["A=b".to_owned()])
    );
    assert_eq!(std::fs::read(plan.lower[0].join("hello")).unwrap(), b"hi");
    assert_eq!(std::fs::read(plan.lower[1].join("etc/os")).unwrap(), b"base");
}

#[tokio::test]
async fn an_oci_layout_is_imported_in_every_wrapping() {
    let layer = tar(&[("hello", b"hi")]);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let plain = layout_tar(&layout("kedge.local/hello:1", &[&layer], <[u8]>::to_vec));
    let gzipped = layout_tar(&layout("kedge.local/hello:1", &[&layer], gzip));
    let zstandard = layout_tar(&layout("kedge.local/hello:1", &[&layer], zstd));
    for archive in [gzip(&plain), plain, gzipped, zstandard] {
        let world = world();
        let images = world.import(archive).await.unwrap();
        assert_eq!(images[0].repo_tags, ["kedge.local/hello:1"]);
        let plan = world.store.mount_plan("kedge.local/hello:1").await.unwrap();
        assert_eq!(std::fs::read(plan.lower[0].join("hello")).unwrap(), b"hi");
        assert_eq!(world.files("ingest"), 0);
    }
}

#[tokio::test]
async fn a_layout_directory_is_imported() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    for (key, bytes) in layout("a.b/c:1", &[&tar(&[("x", b"y")])], gzip) {
        let path = folder.path().join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let images = world.store.import_path(folder.path(), ImportOptions::default()).await.unwrap();
    assert_eq!(images[0].repo_tags, ["a.b/c:1"]);
}

#[tokio::test]
async fn what_is_wrong_with_an_archive_is_said_and_nothing_stays() {
    let layer = tar(&[("x", b"y")]);
    let good = layout("a.b/c:1", &[&layer], <[u8]>::to_vec);
    let without = |needle: &str| {
        layout_tar(&good.iter().filter(|(key, _)| !key.contains(needle)).cloned().collect::<Vec<_>>())
    };
    let mut swapped = good.clone();
    swapped.last_mut().unwrap().1 = tar(&[("x", b"z")]);
    let mut torn = layout_tar(&good);
    torn.truncate(2000);
    for (archive, words) in [
        (tar(&[("readme", b"")]), "not an image archive"),
        (b"not a tar at all, but longer than a block".repeat(20), "checksum"),
        (Vec::new(), "not an image archive"),
        (without(digest(&layer).hex()), "the archive has no \"blobs/sha256/"),
        (layout_tar(&swapped), "digest mismatch"),
        (torn, "middle of an entry"),
        (docker_archive(&["UPPER"], &[&layer]), "invalid reference format: UPPER"),
        (gzip(&tar(&[("manifest.json", b"{}")])), "manifest.json: invalid type"),
    ] {
        let world = world();
        let error = world.import(archive).await.unwrap_err().chain();
        assert!(error.contains(words), "{words}: {error}");
        assert_eq!(
            (world.files("ingest"), world.files("blobs/sha256"), world.files("layers")),
            (0, 0, 0),
            "{words}"
        );
    }
}

#[tokio::test]
async fn a_layer_that_is_not_what_the_config_says_is_refused() {
    let world = world();
    let mut files = layout("a.b/c:1", &[&tar(&[("x", b"y")])], gzip);
    let lying = layout("a.b/c:1", &[&tar(&[("x", b"z")])], |_| gzip(&tar(&[("x", b"y")])));
    files.clear();
    files.extend(lying);
    let error = world.import(layout_tar(&files)).await.unwrap_err().to_string();
    assert!(error.contains("digest mismatch"), "{error}");
    assert_eq!(world.files("layers"), 0);
}

#[tokio::test]
async fn shared_layers_outlive_a_removal() {
    let mut world = world();
    let (base, one, two) = (tar(&[("base", b"")]), tar(&[("one", b"")]), tar(&[("two", b"")]));
    world.import(docker_archive(&["one"], &[&base, &one])).await.unwrap();
    world.import(docker_archive(&["two"], &[&base, &two])).await.unwrap();
    assert_eq!(world.files("layers"), 3);
    world.store.remove("one").unwrap();
    assert_eq!((world.files("layers"), world.files("blobs/sha256")), (2, 4));
    world.reopen();
    assert!(world.store.mount_plan("two").await.unwrap().lower.iter().all(|layer| layer.is_dir()));
    assert!(matches!(world.store.mount_plan("one").await, Err(kedge_cri_api::Error::NotFound(_))));
    world.store.remove("two").unwrap();
    world.store.remove("two").unwrap();
    assert_eq!((world.files("layers"), world.files("blobs/sha256"), world.files("ingest")), (0, 0, 0));
}

#[tokio::test]
async fn an_image_in_use_is_not_removed_but_may_lose_a_name() {
    let world = world();
    let images = world.import(docker_archive(&["one", "other"], &[&tar(&[("x", b"")])])).await.unwrap();
    world.store.hold(vec![images[0].id.clone(); 2]);
    world.store.remove("other").unwrap();
    let error = world.store.remove("one").unwrap_err().to_string();
    assert_eq!(error, "image \"one\" is in use by 2 container(s)");
    assert_eq!(world.names(), ["docker.io/library/one:latest"]);
    world.store.hold(Vec::new());
    world.store.tag("one", "third:3").unwrap();
    world.store.remove(&images[0].id).unwrap();
    assert!(world.names().is_empty());
}

#[tokio::test]
async fn what_a_crash_left_is_cleared_away() {
    let mut world = world();
    world.import(docker_archive(&["one"], &[&tar(&[("x", b"")])])).await.unwrap();
    std::fs::write(world.root.join("ingest/7"), b"half").unwrap();
    std::fs::create_dir_all(world.root.join("layers").join("a".repeat(64)).join("x")).unwrap();
    std::fs::write(world.root.join("blobs/sha256").join("b".repeat(64)), b"no row").unwrap();
    std::fs::write(world.root.join("index.new"), b"{").unwrap();
    world.reopen();
    assert_eq!((world.files("layers"), world.files("blobs/sha256"), world.files("ingest")), (1, 3, 0));
    let layer = world.store.mount_plan("one").await.unwrap().lower.remove(0);
    std::fs::remove_dir_all(layer).unwrap();
    world.reopen();
    assert!(world.names().is_empty(), "an image without its layer is forgotten");
}

#[test]
fn a_broken_or_newer_index_is_refused_with_a_sentence() {
    for (content, words) in [("{", "EOF"), (r#"{"version":2,"images":{}}"#, "written by another kedge")] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("index.json"), content).unwrap();
        let error = Store::open_limited(folder.path(), Registries::default(), Limits::default())
            .err()
            .expect("refused")
            .to_string();
        assert!(error.contains(words) && error.contains("index.json"), "{error}");
    }
}

#[tokio::test]
async fn what_is_exported_is_imported_elsewhere() {
    let (one, other) = (world(), world());
    let (base, top) = (tar(&[("etc/os", b"base")]), tar(&[("hello", b"hi")]));
    let images = one.import(docker_archive(&["nginx", "a.b/c:2"], &[&base, &top])).await.unwrap();
    let mut archive = Vec::new();
    one.store.export(&["a.b/c:2", "nginx"], &mut archive).unwrap();
    assert_eq!(other.import(archive.clone()).await.unwrap(), images);
    // Older readers know docker's listing only.
    let mut tarball = tarball::Tarball::new(archive.as_slice(), Limits::default());
    let mut names = Vec::new();
    while let Some(entry) = tarball.next_entry().unwrap() {
        names.push(String::from_utf8(entry.path).unwrap());
    }
    assert!(names.contains(&"manifest.json".to_owned()), "{names:?}");
    assert!(matches!(one.store.export(&["no:1"], &mut Vec::new()), Err(Error::NotFound(_))));
}
