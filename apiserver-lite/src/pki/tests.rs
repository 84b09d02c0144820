use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

fn names() -> Names {
    Names {
        node: "n1".into(),
        node_addresses: vec!["10.77.1.2".parse().unwrap()],
        service_address: "10.96.0.1".parse().unwrap(),
        cluster_domain: "cluster.local".into(),
        extra_names: vec!["api.example.com".into()],
        server: "https://10.77.1.2:6443".into(),
    }
}

fn day(days: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap() + time::Duration::days(days)
}

/// Every file below the folder, with its mode and content.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, String)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            found.insert(path.clone(), (mode, std::fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

#[test]
fn everything_is_made_once_under_upstreams_names_and_secrets_are_secret() {
    let folder = tempfile::tempdir().unwrap();
    let roots = Roots::below(folder.path(), "boot");
    let first = ensure(&roots, &names(), day(0)).unwrap();
    let files = tree(folder.path());
    let seen: Vec<String> = files
        .iter()
        .map(|(path, (mode, _))| format!("{mode:o} {}", path.strip_prefix(folder.path()).unwrap().display()))
        .collect();
    assert_eq!(
        seen,
        [
            "600 etc/kubernetes/admin.conf",
            "600 etc/kubernetes/controller-manager.conf",
            "600 etc/kubernetes/kubelet.conf",
            "644 etc/kubernetes/pki/apiserver-kubelet-client.crt",
            "600 etc/kubernetes/pki/apiserver-kubelet-client.key",
            "644 etc/kubernetes/pki/apiserver.crt",
            "600 etc/kubernetes/pki/apiserver.key",
            "644 etc/kubernetes/pki/ca.crt",
            "600 etc/kubernetes/pki/ca.key",
            "644 etc/kubernetes/pki/front-proxy-ca.crt",
            "600 etc/kubernetes/pki/front-proxy-ca.key",
            "644 etc/kubernetes/pki/front-proxy-client.crt",
            "600 etc/kubernetes/pki/front-proxy-client.key",
            "600 etc/kubernetes/pki/sa.key",
            "644 etc/kubernetes/pki/sa.pub",
            "600 etc/kubernetes/proxy.conf",
            "600 etc/kubernetes/scheduler.conf",
            "644 var/lib/kubelet/pki/kubelet.crt",
            "600 var/lib/kubelet/pki/kubelet.key",
        ]
    );
    assert_eq!(ensure(&roots, &names(), day(1)).unwrap(), first);
    assert_eq!(tree(folder.path()), files, "a second start changes nothing");
    changes(&roots, folder.path(), files);
}

/// Which files differ after a call; `files` is the tree before it.
fn changed(folder: &Path, files: &BTreeMap<PathBuf, (u32, String)>) -> Vec<String> {
    let differs = |(path, content): &(PathBuf, (u32, String))| files.get(path) != Some(content);
    let name = |(path, _): (PathBuf, _)| path.file_name().unwrap().to_string_lossy().into_owned();
    tree(folder).into_iter().filter(differs).map(name).collect()
}

fn changes(roots: &Roots, folder: &Path, files: BTreeMap<PathBuf, (u32, String)>) {
    let mut moved = names();
    moved.node_addresses = vec!["10.77.1.3".parse().unwrap()];
    ensure(roots, &moved, day(1)).unwrap();
    assert_eq!(changed(folder, &files), ["apiserver.crt", "apiserver.key", "kubelet.crt", "kubelet.key"]);

    let files = tree(folder);
    std::fs::write(roots.kubernetes.join("scheduler.conf"), "torn").unwrap();
    ensure(roots, &moved, day(1)).unwrap();
    assert_eq!(changed(folder, &files), ["scheduler.conf"]);

    let files = tree(folder);
    let renewed = ensure(roots, &moved, day(300)).unwrap();
    let kept = ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub"];
    assert_eq!(changed(folder, &files).len(), files.len() - kept.len());
    assert!(renewed.renewal > day(500));

    std::fs::remove_file(roots.kubernetes.join("pki/ca.key")).unwrap();
    ensure(roots, &moved, day(300)).unwrap();
    let error = ensure(roots, &moved, day(600)).unwrap_err().to_string();
    assert!(error.contains("apiserver.crt cannot be renewed"), "{error}");
    std::fs::write(roots.kubernetes.join("pki/ca.crt"), "x").unwrap();
    let error = ensure(roots, &moved, day(300)).unwrap_err().to_string();
    assert!(error.contains("ca.crt is not usable: it is no certificate"), "{error}");
}
