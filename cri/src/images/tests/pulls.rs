//! Pulls from a registry in this process that speaks the real protocol over loopback.

use super::*;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use kedge_cri_api::{AuthConfig, Images};
use kedge_cri_core::images::registries::{HostConfig, HostTls, Mirror};
use std::convert::Infallible;
use std::sync::Mutex;

/// A registry: paths below `/v2/` with their bodies, and how it wants to be asked.
#[derive(Default)]
struct Registry {
    bodies: BTreeMap<String, Bytes>,
    /// The `Authorization` it takes; anything else is answered with `challenge`.
    wants: Option<String>,
    challenge: String,
    /// The `Authorization` that its `/token` takes.
    token_wants: Option<String>,
    /// Blobs are somewhere else.
    redirect_to: Option<String>,
    status: Option<StatusCode>,
    requests: Mutex<Vec<String>>,
}

fn answer(registry: &Registry, request: &Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let authorization =
        request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    registry.requests.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
    let reply = |status: StatusCode| Response::builder().status(status);
    let words = |code: &str, message: &str| {
        Full::from(serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string())
    };
    if path == "/token" {
        return match registry.token_wants == authorization {
            true => reply(StatusCode::OK).body(Full::from(r#"{"token":"t0ken"}"#)).unwrap(),
            false => reply(StatusCode::UNAUTHORIZED).body(words("UNAUTHORIZED", "who are you")).unwrap(),
        };
    }
    if let Some(status) = registry.status {
        return reply(status).body(words("TOOMANYREQUESTS", "slow down")).unwrap();
    }
    if registry.wants.is_some() && registry.wants != authorization {
        let refused = reply(StatusCode::UNAUTHORIZED).header("www-authenticate", &registry.challenge);
        return refused.body(words("UNAUTHORIZED", "authentication required")).unwrap();
    }
    if let Some(host) = registry.redirect_to.as_ref().filter(|_| path.contains("/blobs/")) {
        assert!(registry.wants == authorization);
        let moved = reply(StatusCode::TEMPORARY_REDIRECT).header("location", format!("http://{host}{path}"));
        return moved.body(Full::default()).unwrap();
    }
    match path.strip_prefix("/v2/").and_then(|key| registry.bodies.get(key)) {
        None => reply(StatusCode::NOT_FOUND).body(words("MANIFEST_UNKNOWN", "manifest unknown")).unwrap(),
        Some(body) => {
            let found = reply(StatusCode::OK).header("docker-content-digest", digest(body).as_str());
            let body = if request.method() == Method::HEAD { Bytes::new() } else { body.clone() };
            found.body(Full::from(body)).unwrap()
        }
    }
}

impl Registry {
    /// Adds an image of one layer under `repository:tag`.
    fn with(mut self, repository: &str, tag: &str, layers: &[&[u8]]) -> Registry {
        for (key, bytes) in layout("x", layers, gzip) {
            let Some(hex) = key.strip_prefix("blobs/sha256/") else {
                continue;
            };
            let is_manifest =
                bytes.starts_with(b"{") && String::from_utf8_lossy(&bytes).contains("schemaVersion");
            if is_manifest {
                self.bodies.insert(format!("{repository}/manifests/sha256:{hex}"), bytes.clone().into());
                self.bodies.insert(format!("{repository}/manifests/{tag}"), bytes.into());
            } else {
                self.bodies.insert(format!("{repository}/blobs/sha256:{hex}"), bytes.into());
            }
        }
        self
    }

    async fn serve(self) -> (Arc<Registry>, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (self.serve_on(listener), address)
    }

    fn serve_on(self, listener: tokio::net::TcpListener) -> Arc<Registry> {
        let registry = Arc::new(self);
        let shared = Arc::clone(&registry);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let registry = Arc::clone(&shared);
                let service = hyper::service::service_fn(move |request| {
                    let response = answer(&registry, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let io = hyper_util::rt::TokioIo::new(stream);
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
            }
        });
        registry
    }

    fn asked(&self, words: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|request| request.contains(words)).count()
    }
}

fn secret(username: &str, password: &str) -> Option<AuthConfig> {
    Some(AuthConfig { username: username.into(), password: password.into(), ..AuthConfig::default() })
}

fn world_with(registries: Registries) -> World {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("images");
    let store = Store::open_limited(&root, registries, Limits::default()).unwrap();
    World { _folder: folder, root, store }
}

#[tokio::test]
async fn an_image_is_pulled_from_a_loopback_registry() {
    let (base, top) = (tar(&[("etc/os", b"base")]), tar(&[("hello", b"hi")]));
    let (registry, host) = Registry::default().with("golden/bb", "1", &[&base, &top]).serve().await;
    let world = world();
    let name = format!("{host}/golden/bb:1");
    let id = world.store.pull_image(&name, None).await.unwrap();
    assert_eq!(id, digest(&config(&[&base, &top])).to_string());
    let image = world.store.image_status(&name).await.unwrap().unwrap();
    assert_eq!(image.repo_tags, std::slice::from_ref(&name));
    let manifest = digest(&registry.bodies["golden/bb/manifests/1"]);
    assert_eq!(image.repo_digests, [format!("{host}/golden/bb@{manifest}")]);
    assert!(!image.pinned);
    let plan = world.store.mount_plan(&id).await.unwrap();
    assert_eq!(std::fs::read(plan.lower[0].join("hello")).unwrap(), b"hi");
    assert_eq!(plan.image_ref, image.repo_digests[0]);
    // The second pull asks for the name and finds the layers here.
    let blobs = registry.asked("/blobs/");
    assert_eq!(world.store.pull_image(&name, None).await.unwrap(), id);
    assert_eq!(registry.asked("/blobs/"), blobs);
    // By digest, the name is of the digest alone.
    let by_digest = format!("{host}/golden/bb@{manifest}");
    assert_eq!(world.store.pull_image(&by_digest, None).await.unwrap(), id);
    assert!(world.store.image_status(&by_digest).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_pulls_of_one_image_are_one_download() {
    let layer = tar(&[("hello", b"hi")]);
    let (registry, host) = Registry::default().with("x", "1", &[&layer]).serve().await;
    let world = world();
    let pulls = (0..10).map(|_| {
        let (store, name) = (Arc::clone(&world.store), format!("{host}/x:1"));
        tokio::spawn(async move { store.pull_image(&name, None).await.unwrap() })
    });
    let pulls: Vec<_> = pulls.collect();
    for pull in pulls {
        pull.await.unwrap();
    }
    assert_eq!(registry.asked(digest(&gzip(&layer)).as_str()), 1);
}

#[tokio::test]
async fn an_index_leads_to_this_machines_manifest() {
    let layer = tar(&[("hello", b"hi")]);
    let mut registry = Registry::default().with("x", "plain", &[&layer]);
    let manifest = registry.bodies["x/manifests/plain"].clone();
    let entry = |architecture: &str, digest: &Digest| serde_json::json!({"digest": digest.as_str(), "size": 1, "platform": {"os": "linux", "architecture": architecture}});
    let host = crate::images::import::host_platform().architecture;
    let other = Digest::from_sha256([7; 32]);
    let index = |entries: Vec<serde_json::Value>| {
        Bytes::from(serde_json::json!({"schemaVersion": 2, "manifests": entries}).to_string())
    };
    let good = index(vec![entry("s390x", &other), entry(&host, &digest(&manifest))]);
    registry.bodies.insert("x/manifests/1".into(), good.clone());
    registry.bodies.insert(format!("x/manifests/{}", digest(&good)), good.clone());
    let bad = index(vec![entry("s390x", &other)]);
    registry.bodies.insert("x/manifests/bad".into(), bad.clone());
    registry.bodies.insert(format!("x/manifests/{}", digest(&bad)), bad);
    let (_, address) = registry.serve().await;
    let world = world();
    world.store.pull_image(&format!("{address}/x:1"), None).await.unwrap();
    let image = world.store.image_status(&format!("{address}/x:1")).await.unwrap().unwrap();
    assert_eq!(image.repo_digests, [format!("{address}/x@{}", digest(&good))]);
    let error = world.store.pull_image(&format!("{address}/x:bad"), None).await.unwrap_err().to_string();
    assert!(error.ends_with(&format!("no image for platform linux/{host}")), "{error}");
}

#[tokio::test]
async fn secrets_open_what_is_closed() {
    let layer = tar(&[("hello", b"hi")]);
    let pair = "Basic dTpw";
    let closed = || Registry::default().with("x", "1", &[&layer]);
    let basic = || Registry { wants: Some(pair.into()), challenge: "Basic realm=\"r\"".into(), ..closed() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bearer_host = listener.local_addr().unwrap().to_string();
    let bearer = Registry {
        wants: Some("Bearer t0ken".into()),
        challenge: format!(
            "Bearer realm=\"http://{bearer_host}/token\",service=\"s\",scope=\"repository:x:pull\""
        ),
        token_wants: Some(pair.into()),
        ..closed()
    };
    let bearer = bearer.serve_on(listener);
    let (_, basic_host) = basic().serve().await;
    for host in [&basic_host, &bearer_host] {
        let name = format!("{host}/x:1");
        let pull = async |auth| world().store.pull_image(&name, auth).await;
        pull(secret("u", "p")).await.unwrap();
        for wrong in [None, secret("u", "wrong")] {
            let error = pull(wrong).await.unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, kedge_cri_api::Error::Internal(_)), "{text}");
            assert!(text.contains("401 Unauthorized: unauthorized: "), "{text}");
        }
    }
    assert!(bearer.asked("/token?service=s&scope=repository%3Ax%3Apull") >= 1);
    // Credentials do not follow a redirect to another host.
    let (_, storage) = closed().serve().await;
    let (_, front) = Registry { redirect_to: Some(storage), ..basic() }.serve().await;
    world().store.pull_image(&format!("{front}/x:1"), secret("u", "p")).await.unwrap();
}

#[tokio::test]
async fn mirrors_come_first_and_the_registry_last() {
    let layer = tar(&[("hello", b"hi")]);
    let (empty, empty_host) = Registry::default().serve().await;
    let (mirror, mirror_host) = Registry::default().with("library/nginx", "latest", &[&layer]).serve().await;
    let endpoint = vec![format!("http://{empty_host}"), format!("http://{mirror_host}")];
    let mirrors = BTreeMap::from([("docker.io".to_owned(), Mirror { endpoint })]);
    let world = world_with(Registries { mirrors, ..Registries::default() });
    world.store.pull_image("nginx", None).await.unwrap();
    assert_eq!(world.names(), ["docker.io/library/nginx:latest"]);
    assert_eq!(empty.asked("HEAD /v2/library/nginx/manifests/latest?ns=docker.io"), 1);
    assert_eq!(mirror.asked("ns=docker.io"), 4);
}

/// The shapes that events show: golden `10-pull-missing`, `image-refused`, `image-registry-404`.
#[tokio::test]
async fn failures_are_worded_as_users_know_them() {
    let (_, host) = Registry::default().serve().await;
    let limited = Registry { status: Some(StatusCode::TOO_MANY_REQUESTS), ..Registry::default() };
    let (_, busy) = limited.serve().await;
    let check = async |image: String, expected: String| {
        let error = world().store.pull_image(&image, None).await.unwrap_err();
        let is_missing = expected.ends_with("not found");
        assert_eq!(matches!(error, kedge_cri_api::Error::NotFound(_)), is_missing);
        assert_eq!(error.to_string(), expected);
    };
    let lead =
        |image: &str| format!("failed to pull and unpack image \"{image}\": failed to resolve image: ");
    let missing = format!("{host}/golden/missing:1");
    check(missing.clone(), format!("{}{missing}: not found", lead(&missing))).await;
    let refused = "127.0.0.1:1/x/y:1";
    let words = "failed to do request: Head \"https://127.0.0.1:1/v2/x/y/manifests/1\": \
        dial tcp 127.0.0.1:1: connect: connection refused";
    check(refused.into(), format!("{}{words}", lead(refused))).await;
    let throttled = format!("{busy}/x:1");
    let words = format!(
        "unexpected status from HEAD request to http://{busy}/v2/x/manifests/1: \
         429 Too Many Requests: toomanyrequests: slow down"
    );
    check(throttled.clone(), format!("{}{words}", lead(&throttled))).await;
    let error = world().store.pull_image("UPPER", None).await.unwrap_err().to_string();
    assert_eq!(error, "invalid reference format: UPPER");
}

#[tokio::test]
async fn a_registry_that_lies_is_caught_and_leaves_nothing() {
    let (layer, other) = (tar(&[("hello", b"hi")]), tar(&[("hello", b"HI")]));
    let key = format!("x/blobs/{}", digest(&gzip(&layer)));
    let lies: [(&str, Bytes); 4] = [
        ("digest mismatch", gzip(&other).into()),
        ("middle of an entry", gzip(&layer[..600]).into()),
        ("larger than its", vec![0u8; 1 << 20].into()),
        ("404 Not Found", Bytes::new()),
    ];
    for (words, lie) in lies {
        let mut registry = Registry::default().with("x", "1", &[&layer]);
        registry.bodies.remove(&key);
        if !lie.is_empty() {
            registry.bodies.insert(key.clone(), lie);
        }
        let (_, host) = registry.serve().await;
        let world = world();
        let error = world.store.pull_image(&format!("{host}/x:1"), None).await.unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
        assert!(world.names().is_empty());
        assert_eq!((world.files("layers"), world.files("ingest")), (0, 0), "{words}");
    }
    let mut registry = Registry::default().with("x", "1", &[&layer]);
    let manifest = registry.bodies["x/manifests/1"].clone();
    registry.bodies.insert(format!("x/manifests/{}", digest(&manifest)), Bytes::from_static(b"{}"));
    let (_, host) = registry.serve().await;
    let error = world().store.pull_image(&format!("{host}/x:1"), None).await.unwrap_err().to_string();
    assert!(error.contains("digest mismatch"), "{error}");
}

#[tokio::test]
async fn tls_is_verified_unless_the_file_says_otherwise() {
    let layer = tar(&[("hello", b"hi")]);
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let registry = Arc::new(Registry::default().with("x", "1", &[&layer]));
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let registry = Arc::clone(&registry);
            let service = hyper::service::service_fn(move |request| {
                let response = answer(&registry, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, certified.cert.pem()).unwrap();
    let with = |tls: HostTls| {
        let configs = BTreeMap::from([(host.clone(), HostConfig { tls: Some(tls), auth: None })]);
        world_with(Registries { configs, ..Registries::default() })
    };
    let name = format!("{host}/x:1");
    let error = world().store.pull_image(&name, None).await.unwrap_err().to_string();
    assert!(error.contains("tls: failed to verify certificate: "), "{error}");
    let skip = HostTls { insecure_skip_verify: true, ..HostTls::default() };
    with(skip).store.pull_image(&name, None).await.unwrap();
    let trust = HostTls { ca_file: ca_file.display().to_string(), ..HostTls::default() };
    with(trust).store.pull_image(&name, None).await.unwrap();
}

#[test]
fn the_configuration_file_is_that_of_k3s() {
    let folder = tempfile::tempdir().unwrap();
    let roots = Roots::below(folder.path(), "boot");
    assert_eq!(load_registries(&roots).unwrap(), Registries::default());
    std::fs::create_dir_all(&roots.config).unwrap();
    let write = |text: &str| std::fs::write(roots.config.join("registries.yaml"), text).unwrap();
    write(
        "mirrors:\n  docker.io:\n    endpoint:\n      - http://10.0.0.1:5000\nconfigs:\n  10.0.0.1:5000:\n    auth:\n      \
         username: u\n      password: p\n    tls:\n      insecure_skip_verify: true\n",
    );
    let registries = load_registries(&roots).unwrap();
    assert_eq!(registries.mirrors["docker.io"].endpoint, ["http://10.0.0.1:5000"]);
    assert_eq!(registries.configs["10.0.0.1:5000"].auth.as_ref().unwrap().username, "u");
    write("mirrors: {}\nmirors: {}\n");
    let error = load_registries(&roots).unwrap_err().to_string();
    assert!(error.contains("registries.yaml: ") && error.contains("mirors"), "{error}");
}
