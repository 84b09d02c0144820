//! Images made of what the machine has.

use crate::run::Ran;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a command of the machine itself; panics when it fails.
#[track_caller]
pub fn run(words: &[&str]) -> String {
    Ran::of(Command::new(words[0]).args(&words[1..]), words.join(" ")).ok()
}

/// Writes an archive in the form of `docker save` of one layer, the folder `<at>/rootfs`.
pub fn docker_archive(at: &Path, name: &str, config: &serde_json::Value) -> PathBuf {
    let (layer, archive) = (at.join("layer.tar"), at.join("archive.tar"));
    let text = |path: &Path| path.display().to_string();
    let root = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "."];
    run(&[&["tar", "-C", &text(&at.join("rootfs")), "-cf", &text(&layer)], &root[..]].concat());
    let sum = run(&["sha256sum", &text(&layer)]);
    let digest = sum.split_whitespace().next().expect("a digest");
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    for (file, value) in [("config.json", config), ("manifest.json", manifest)] {
        fs::write(at.join(file), value.to_string()).expect("writing an image");
    }
    let files = ["manifest.json", "config.json", "layer.tar"];
    run(&[&["tar", "-C", &text(at), "-cf", &text(&archive)], &files[..]].concat());
    archive
}

/// Copies a dynamically linked program with the libraries that the machine has for it.
pub fn add_program(rootfs: &Path, program: &Path) {
    let to = |path: &str| rootfs.join(path.trim_start_matches('/'));
    copy(program, &to(&format!("/bin/{}", program.file_name().expect("a file").display())));
    for library in libraries(program) {
        copy(Path::new(&library), &to(&library));
    }
}

/// The loader and the libraries of a program, as ldd(1) names them.
pub fn libraries(program: &Path) -> Vec<String> {
    let listed = run(&["ldd", &program.display().to_string()]);
    assert!(!listed.contains("not found"), "{}: {listed}", program.display());
    listed.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

fn copy(from: &Path, to: &Path) {
    let folder = to.parent().expect("a path below the root");
    fs::create_dir_all(folder)
        .and_then(|()| fs::copy(from, to))
        .unwrap_or_else(|error| panic!("copying {} to {}: {error}", from.display(), to.display()));
}
