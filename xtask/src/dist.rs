//! `dist`: the one static file, with pause, eBPF objects and the demo image inside, and the proof that it is static.

use std::path::{Path, PathBuf};

use crate::embed;

pub fn run(root: &Path) -> Result<(), String> {
    crate::bpf::check(root)?;
    embed::run(root)?;
    embed::cargo(root, &["build", "--profile", "dist", "--target", &target(), "--package", "kedge"])?;
    let built = built(root);
    let bytes = std::fs::read(&built).map_err(|error| format!("{}: {error}", built.display()))?;
    if let Some(loader) = interpreter(&bytes)? {
        return Err(format!("{} is not static: it asks for {loader}", built.display()));
    }
    println!("{} {:.1} MB, static", built.display(), bytes.len() as f64 / 1e6);
    Ok(())
}

/// Where the file lies once it is built.
pub fn built(root: &Path) -> PathBuf {
    embed::target(root).join(target()).join("dist/kedge")
}

fn target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// The dynamic loader that a 64-bit little-endian ELF file asks for (PT_INTERP, elf(5)). A static-pie has a dynamic section
/// but no loader.
fn interpreter(elf: &[u8]) -> Result<Option<String>, String> {
    const PT_INTERP: u64 = 3;
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return Err("not a 64-bit little-endian ELF file".to_owned());
    }
    let (table, size, count) = (number(elf, 32, 8)?, number(elf, 54, 2)?, number(elf, 56, 2)?);
    for index in 0..count {
        let header = table + index * size;
        if number(elf, header, 4)? == PT_INTERP {
            let (start, length) = (number(elf, header + 8, 8)?, number(elf, header + 32, 8)?);
            let name = elf
                .get(start as usize..(start + length) as usize)
                .ok_or("a header points outside the file")?;
            return Ok(Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()));
        }
    }
    Ok(None)
}

fn number(elf: &[u8], at: u64, bytes: usize) -> Result<u64, String> {
    let field = elf.get(at as usize..at as usize + bytes).ok_or("the file is cut short")?;
    Ok(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one program header of the type, whose bytes follow it.
    fn elf(kind: u8) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (file[32], file[54], file[56]) = (64, 56, 1);
        (file[64], file[64 + 8], file[64 + 32]) = (kind, 120, 7);
        file.extend(b"/ld.so\0");
        file
    }

    #[test]
    fn a_loader_is_found() {
        assert_eq!(interpreter(&elf(3)), Ok(Some("/ld.so".to_owned())));
        assert_eq!(interpreter(&elf(1)), Ok(None));
        assert!(interpreter(&elf(3)[..100]).is_err());
        assert!(interpreter(b"#!/bin/sh").is_err());
    }
}
