//! Pulls from Debian's docker-registry (package `docker-registry`, unpacked below the tools folder). Without it the test
//! says so and passes.

use super::*;
use kedge_cri_api::Images;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

fn program() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    let path = cache.join("kedge/tools/docker-registry/usr/bin/docker-registry");
    path.exists().then_some(path)
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lays an image out as the registry's filesystem storage has it.
fn seed(root: &Path, repository: &str, tag: &str, files: &[(String, Vec<u8>)]) {
    let write = |path: PathBuf, bytes: &[u8]| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let base = root.join("docker/registry/v2");
    let here = base.join("repositories").join(repository);
    for (key, bytes) in files {
        let Some(hex) = key.strip_prefix("blobs/sha256/") else {
            continue;
        };
        write(base.join("blobs/sha256").join(&hex[..2]).join(hex).join("data"), bytes);
        let link = format!("sha256:{hex}");
        write(here.join("_layers/sha256").join(hex).join("link"), link.as_bytes());
        if String::from_utf8_lossy(bytes).contains("schemaVersion") {
            write(here.join("_manifests/revisions/sha256").join(hex).join("link"), link.as_bytes());
            write(here.join("_manifests/tags").join(tag).join("current/link"), link.as_bytes());
        }
    }
}

fn start(program: &Path, root: &Path) -> (Server, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
        root.display()
    );
    let path = root.join("config.yml");
    std::fs::write(&path, config).unwrap();
    let child =
        Command::new(program).arg("serve").arg(path).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut server = Server(child.unwrap());
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let listening = log.by_ref().map_while(Result::ok).any(|line| line.contains("listening on"));
    assert!(listening, "the registry did not start");
    // Somebody has to read on, or the registry blocks on its log.
    std::thread::spawn(move || log.for_each(drop));
    (server, format!("127.0.0.1:{port}"))
}

#[tokio::test]
async fn debians_registry_serves_us() {
    let Some(program) = program() else {
        eprintln!("skipped: docker-registry is not in the tools folder");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let layer = tar(&[("hello", &vec![b'x'; 300_000])]);
    let mut files = layout("x", &[&layer], gzip);
    // The registry wants the media types that OCI leaves open.
    let (_, manifest) =
        files.iter_mut().find(|(_, bytes)| String::from_utf8_lossy(bytes).contains("layers\":[{")).unwrap();
    let mut document: serde_json::Value = serde_json::from_slice(manifest).unwrap();
    document["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into();
    document["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
    document["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip".into();
    let manifest = document.to_string().into_bytes();
    files.retain(|(_, bytes)| !String::from_utf8_lossy(bytes).contains("schemaVersion"));
    files.push((format!("blobs/sha256/{}", digest(&manifest).hex()), manifest.clone()));
    seed(folder.path(), "demo/hello", "1", &files);
    let (_server, host) = start(&program, folder.path());
    let world = world();
    let id = world.store.pull_image(&format!("{host}/demo/hello:1"), None).await.unwrap();
    let image = world.store.image_status(&id).await.unwrap().unwrap();
    assert_eq!(image.repo_digests, [format!("{host}/demo/hello@{}", digest(&manifest))]);
    let missing = format!("{host}/demo/hello:2");
    let error = world.store.pull_image(&missing, None).await.unwrap_err().to_string();
    let expected = format!(
        "failed to pull and unpack image \"{missing}\": failed to resolve image: {missing}: not found"
    );
    assert_eq!(error, expected);
}
