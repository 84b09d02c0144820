//! `bpf`: builds the datapath's object and writes it, with the hash of its inputs, beside its sources. `bpf --check` only
//! compares the hash, which is what a landing does: most people never need an eBPF toolchain.
//!
//! The object is the same on every machine: no debug information, no path of ours in it, one compiler (rust-toolchain.toml),
//! one lock file.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

const OBJECT: &str = "proxy-ebpf/bpf/kedge.bpf.o";
const HASH: &str = "proxy-ebpf/bpf/kedge.bpf.o.sha256";

/// Everything that decides what the object is.
const INPUTS: &[&str] = &[
    "proxy-ebpf/bpf/src",
    "proxy-ebpf/bpf/Cargo.toml",
    "proxy-ebpf/bpf/Cargo.lock",
    "proxy-ebpf/maps/src",
    "rust-toolchain.toml",
];

pub fn run(root: &Path, check: bool) -> Result<(), String> {
    if check { self::check(root) } else { build(root) }
}

/// Fails if the committed object was not built from these sources, or was changed by itself.
pub fn check(root: &Path) -> Result<(), String> {
    let wanted = seal(root)?;
    let committed = fs::read_to_string(root.join(HASH)).map_err(|error| format!("{HASH}: {error}"))?;
    if committed == wanted {
        return Ok(());
    }
    Err(format!("{OBJECT} is not of its sources: run `cargo xtask bpf` and commit what it writes"))
}

/// The text of the hash file: one line for the inputs, one for the object.
fn seal(root: &Path) -> Result<String, String> {
    let mut files = Vec::new();
    for input in INPUTS {
        collect(&root.join(input), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        let bytes = read(&file)?;
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    let object = Sha256::digest(read(&root.join(OBJECT))?);
    Ok(format!("inputs {}\nobject {}\n", hex(&hash.finalize()), hex(&object)))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    for entry in entries {
        collect(&entry.map_err(|error| error.to_string())?.path(), files)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn build(root: &Path) -> Result<(), String> {
    let tools = cache().join("tools/bin");
    if !tools.join("bpf-linker").exists() {
        install_linker(&cache())?;
    }
    let target = cache().join("bpf");
    let mut path = OsString::from(&tools);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(root.join("proxy-ebpf/bpf"))
        .args(["build", "--release", "--locked", "--target", "bpfel-unknown-none", "-Z", "build-std=core"])
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        // Stable rustc builds `core` for another target only if told that we know what we do.
        .env("RUSTC_BOOTSTRAP", "1");
    finish(&mut cargo, "build the eBPF programs (needs `rustup component add rust-src`)")?;
    let built = target.join("bpfel-unknown-none/release/kedge-bpf");
    fs::copy(&built, root.join(OBJECT)).map_err(|error| format!("{}: {error}", built.display()))?;
    fs::write(root.join(HASH), seal(root)?).map_err(|error| format!("{HASH}: {error}"))
}

/// bpf-linker against rustc's own LLVM: the distribution's would not read what this compiler writes.
fn install_linker(cache: &Path) -> Result<(), String> {
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| format!("rustc: {error}"))?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    let library = fs::read_dir(sysroot.join("lib"))
        .map_err(|error| format!("{}: {error}", sysroot.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libLLVM.so.")))
        .ok_or_else(|| format!("{}: no libLLVM.so", sysroot.display()))?;
    let prefix = cache.join("llvm");
    fs::create_dir_all(prefix.join("lib")).map_err(|error| format!("{}: {error}", prefix.display()))?;
    let link = prefix.join("lib").join(library.file_name().expect("it was found by its name"));
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(&library, &link).map_err(|error| format!("{}: {error}", link.display()))?;
    let mut cargo = Command::new("cargo");
    cargo
        .args(["install", "bpf-linker", "--version", "0.13.0", "--locked", "--no-default-features"])
        .args(["--features", "llvm-22", "--root"])
        .arg(cache.join("tools"))
        .env("LLVM_PREFIX", &prefix)
        .env("RUSTFLAGS", format!("-C link-arg=-Wl,-rpath,{}", sysroot.join("lib").display()));
    finish(&mut cargo, "install bpf-linker")
}

fn finish(command: &mut Command, doing: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{doing}: cargo ended with {status}")),
        Err(error) => Err(format!("{doing}: {error}")),
    }
}

/// `${XDG_CACHE_HOME:-~/.cache}/kedge`
fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("kedge")
}
