//! Which of our packages may link which. An arrow points down, never up and never sideways; the side doors `base/client`,
//! `base/serving` and `base/sys` are open to every shell. A package that stands in no layer is a finding: a new one is a
//! design change and gets its row here.

use super::Metadata;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Vocabulary,
    Tool,
    Port,
    Core,
    /// The only address of `unsafe`; it knows nothing of ours.
    SystemDoor,
    /// A shell that other shells may use.
    SideDoor,
    Shell,
    Standalone,
    Wiring,
    Judge,
}

use Layer::{Core, Judge, Port, Shell, SideDoor, Standalone, SystemDoor, Tool, Vocabulary, Wiring};

const LAYERS: &[(&str, Layer)] = &[
    ("kedge-api", Vocabulary),
    ("kedge-proxy-maps", Vocabulary),
    ("kedge-pause-wire", Vocabulary),
    ("kedge-machinery", Tool),
    ("kedge-streaming", Tool),
    ("kedge-cri-api", Port),
    ("kedge-cni-api", Port),
    ("kedge-store", Port),
    ("kedge-apiserver-core", Core),
    ("kedge-scheduler-core", Core),
    ("kedge-controllers-core", Core),
    ("kedge-kubelet-core", Core),
    ("kedge-cri-core", Core),
    ("kedge-proxy-core", Core),
    ("kedge-sys", SystemDoor),
    ("kedge-client", SideDoor),
    ("kedge-serving", SideDoor),
    ("kedge-apiserver", Shell),
    ("kedge-scheduler", Shell),
    ("kedge-controllers", Shell),
    ("kedge-kubelet", Shell),
    ("kedge-cri", Shell),
    ("kedge-cni", Shell),
    ("kedge-proxy", Shell),
    ("kedge-dns", Shell),
    ("kedge-pause", Standalone),
    ("hello", Standalone),
    ("kedge", Wiring),
    ("xtask", Judge),
    ("kedge-sim", Judge),
    ("kedge-privileged", Judge),
    ("kedge-integration", Judge),
    ("kedge-conformance", Judge),
    ("kedge-bench", Judge),
];

/// Crates that bring a clock, randomness, I/O, a system interface or generated API structs: nothing that decides links them.
const BANNED_IN_CORES: &[&str] = &[
    "tokio",
    "tokio-util",
    "libc",
    "nix",
    "rustix",
    "hyper",
    "hyper-util",
    "tower",
    "tonic",
    "kube",
    "k8s-openapi",
    "rand",
    "getrandom",
    "uuid",
    "tempfile",
    "socket2",
    "rusqlite",
    "aya",
];

/// The one gateway: nothing but the API server links the store.
const STORE: &str = "kedge-store";
const STORE_USERS: &[&str] = &["kedge-apiserver", "kedge-apiserver-core"];

pub fn check(metadata: &Metadata) -> Vec<String> {
    let mut findings = Vec::new();
    for (from, links) in metadata.links() {
        let Some(layer) = layer(from) else {
            findings.push(format!("{from} stands in no layer: give it a row in xtask/src/tidy/layers.rs"));
            continue;
        };
        findings.extend(links.into_iter().filter_map(|to| check_link(from, layer, to)));
    }
    findings
}

fn check_link(from: &str, layer: Layer, to: &str) -> Option<String> {
    if matches!(layer, Vocabulary | Tool | Core) && BANNED_IN_CORES.contains(&to) {
        return Some(format!("{from} decides and must not link {to}"));
    }
    // A crate of others, or a package of ours whose own missing row is a finding already.
    let target = self::layer(to)?;
    if to == STORE && layer != Judge && !STORE_USERS.contains(&from) {
        return Some(format!(
            "{from} must not link {STORE}: the API server is the only gateway to the store"
        ));
    }
    let allowed = match layer {
        SystemDoor => false,
        Vocabulary => false,
        Tool => target == Vocabulary,
        Port => matches!(target, Vocabulary | Tool),
        Core => matches!(target, Vocabulary | Tool | Port),
        SideDoor => matches!(target, Vocabulary | Tool | SideDoor | SystemDoor),
        Shell => {
            matches!(target, Vocabulary | Tool | Port | SideDoor | SystemDoor)
                || target == Core && to.strip_suffix("-core") == Some(from)
        }
        Standalone => from == "kedge-pause" && matches!(to, "kedge-pause-wire" | "kedge-sys"),
        Wiring => !matches!(target, Core | Judge | Standalone),
        Judge => true,
    };
    (!allowed).then(|| format!("{from} ({layer:?}) must not link {to} ({target:?})"))
}

fn layer(name: &str) -> Option<Layer> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_links_are_found() {
        for (from, to) in [
            ("kedge-kubelet-core", "kedge-scheduler-core"),
            ("kedge-kubelet-core", "kedge-client"),
            ("kedge-kubelet-core", "tokio"),
            ("kedge-proxy-core", "libc"),
            ("kedge-api", "k8s-openapi"),
            ("kedge-machinery", "kedge-store"),
            ("kedge-kubelet", "kedge-cri"),
            ("kedge-kubelet", "kedge-cri-core"),
            ("kedge-controllers", "kedge-store"),
            ("kedge", "kedge-store"),
            ("kedge", "kedge-cri-core"),
            ("kedge-sys", "kedge-api"),
            ("kedge-pause", "kedge-machinery"),
            ("hello", "kedge-sys"),
            ("kedge-client", "kedge-apiserver"),
            ("kedge-dns", "kedge-sim"),
        ] {
            let found = check_link(from, layer(from).expect("a known package"), to);
            assert!(found.is_some(), "{from} -> {to} passes");
        }
    }

    #[test]
    fn arrows_that_point_down_pass() {
        for (from, to) in [
            ("kedge-kubelet", "kedge-kubelet-core"),
            ("kedge-kubelet", "kedge-sys"),
            ("kedge-kubelet", "tokio"),
            ("kedge-apiserver", "kedge-store"),
            ("kedge-cri", "kedge-cni-api"),
            ("kedge-pause", "kedge-pause-wire"),
            ("kedge", "kedge-cri"),
            ("kedge-sim", "kedge-store"),
        ] {
            assert_eq!(check_link(from, layer(from).expect("a known package"), to), None);
        }
    }
}
