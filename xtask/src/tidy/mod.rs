//! `tidy`: the rules of the house that a program can check. Every rule is a pure function from what was read to findings,
//! and each has a planted violation beside it that proves the rule can fail.

mod layers;
mod licences;
mod metadata;
mod sources;

use std::path::Path;
use std::process::Command;

pub use metadata::Metadata;

/// All findings are printed, so that one run shows all the work.
pub fn run(root: &Path) -> Result<(), String> {
    let findings = findings(root)?;
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(format!("tidy: {count} findings")),
    }
}

fn findings(root: &Path) -> Result<Vec<String>, String> {
    let metadata = Metadata::read(root)?;
    let mut findings = layers::check(&metadata);
    findings.extend(licences::check(&metadata));
    let files = committed(root)?;
    findings.extend(sources::check_rooms(&metadata.member_folders(root), &files));
    let places = sources::machine_paths(root, std::env::var("HOME").ok().as_deref());
    for file in &files {
        // A file that is deleted but not yet committed, or not text, has nothing to say.
        if let Ok(text) = std::fs::read_to_string(root.join(file)) {
            findings.extend(sources::check_file(file, &text, &places));
        }
    }
    Ok(findings)
}

fn committed(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("running git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
