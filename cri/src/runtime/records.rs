//! What the runtime keeps on the run directory's tmpfs: enough to adopt a pod after the daemon was killed.
//!
//! ```text
//! <run>/pods/<sandbox>/sandbox.json, pause.sock, resolv.conf, hostname, shm/
//!                     <container>/container.json, process, exit
//! ```

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use kedge_cri_api::{ContainerConfig, PodSandboxConfig};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxRecord {
    pub version: u32,
    pub id: String,
    pub boot_id: String,
    pub config: PodSandboxConfig,
    pub created_at_ns: i64,
    /// The supervisor; another process that answers on its socket is not believed.
    pub pause_pid: i32,
    pub ips: Vec<String>,
    /// Stopped, but not removed.
    pub is_stopped: bool,
    /// From before the supervisor is started until its network stands: what a dead daemon left half made is cleared.
    #[serde(default)]
    pub is_starting: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub version: u32,
    pub id: String,
    pub config: ContainerConfig,
    pub image_id: String,
    pub image_ref: String,
    pub created_at_ns: i64,
    pub started_at_ns: i64,
    pub stop_signal: i32,
    /// Set when it never ran, or when its end left no other trace.
    pub failure: Option<Failure>,
    pub user: Option<(u32, u32, Vec<u32>)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    pub at_ns: i64,
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
}

pub const VERSION: u32 = 1;

/// The end that pause wrote: `CODE SIGNAL FINISHED_AT_NS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    pub signal: i32,
    pub finished_at_ns: i64,
}

pub fn read_exit(directory: &Path) -> Option<Exit> {
    let text = fs::read_to_string(directory.join("exit")).ok()?;
    let mut words = text.split_whitespace();
    Some(Exit {
        code: words.next()?.parse().ok()?,
        signal: words.next()?.parse().ok()?,
        finished_at_ns: words.next()?.parse().ok()?,
    })
}

/// A directory that only root may enter.
pub fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whole or not at all.
pub fn write(directory: &Path, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
    file.write_all(bytes)?;
    fs::rename(new, directory.join(name))
}

pub fn write_json(directory: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    write(directory, name, &serde_json::to_vec(value)?, 0o600)
}

pub fn read_json<T: for<'de> Deserialize<'de>>(directory: &Path, name: &str) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(directory.join(name))?)?)
}

/// 64 hexadecimal digits.
pub fn random_id() -> io::Result<String> {
    use std::io::Read;
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_exit_file_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let see = |text: &str| {
            write(directory.path(), "exit", text.as_bytes(), 0o600).unwrap();
            read_exit(directory.path())
        };
        assert_eq!(read_exit(directory.path()), None);
        assert_eq!(see("7 0 12\n"), Some(Exit { code: 7, signal: 0, finished_at_ns: 12 }));
        assert_eq!(see("7 0"), None);
        assert_eq!(random_id().unwrap().len(), 64);
    }
}
