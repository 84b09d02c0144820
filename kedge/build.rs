//! Finds what is embedded: `pause` and the demo image, made by `cargo xtask embed` in `<target>/embed`.

use std::path::{Path, PathBuf};

const FILES: [(&str, &str); 2] = [("pause", "PAUSE"), ("hello.tar", "HELLO_IMAGE")];

fn main() {
    println!("cargo::rerun-if-env-changed=KEDGE_EMBED");
    let folder = folder();
    for (file, variable) in FILES {
        let path = folder.join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        if !path.is_file() {
            println!("cargo::error={} is missing: run `cargo xtask embed` first", path.display());
        }
        println!("cargo::rustc-env=KEDGE_EMBED_{variable}={}", path.display());
    }
}

/// `KEDGE_EMBED`, else the folder `embed` of the target directory that this build writes to.
fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("KEDGE_EMBED") {
        return folder.into();
    }
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    let found = out.ancestors().map(|above| above.join("embed")).find(|candidate| candidate.is_dir());
    found.unwrap_or_else(|| Path::new("target/embed").to_owned())
}
