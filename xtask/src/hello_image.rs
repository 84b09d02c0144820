//! The demo image as an OCI layout in a tar, from the bytes of its program. The same bytes give the same image: times are
//! zero and nothing of the building machine enters.

use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Command;

/// `hello-image OUT`: builds the program for musl and writes the image.
pub fn run(root: &Path, out: Option<String>) -> Result<(), String> {
    let out = out.ok_or("usage: cargo xtask hello-image OUT")?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => return Err(format!("no image name is known for the architecture {other}")),
    };
    let program = build_program(root)?;
    let hello = std::fs::read(&program).map_err(|error| format!("{program}: {error}"))?;
    if hello.len() > PROGRAM_BYTES_MAX {
        return Err(format!("{program} has {} bytes, more than {PROGRAM_BYTES_MAX}", hello.len()));
    }
    std::fs::write(&out, build(&hello, architecture)).map_err(|error| format!("{out}: {error}"))
}

/// Cargo itself says where the program lies, so that CARGO_TARGET_DIR and configuration hold.
fn build_program(root: &Path) -> Result<String, String> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["build", "--quiet", "--package", "hello", "--profile", "pause", "--target", &target])
        .arg("--message-format=json-render-diagnostics")
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !built.status.success() {
        return Err(format!(
            "building hello for {target} failed: is the target installed? (rustup target add {target})"
        ));
    }
    let messages = String::from_utf8_lossy(&built.stdout).into_owned();
    let mut executable = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(str::to_owned)
    });
    executable.next_back().ok_or_else(|| "cargo named no executable for hello".to_owned())
}

const PROGRAM_BYTES_MAX: usize = 1 << 20;

pub const NAME: &str = "kedge.local/hello:1";
const APPLETS: [&str; 10] = ["web", "get", "sh", "sleep", "ls", "cat", "echo", "env", "true", "false"];
const USER: u64 = 65532;
const PASSWD: &str =
    "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\nhello:x:65532:65532:hello:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nnobody:x:65534:\nhello:x:65532:\n";

/// Builds the image for `architecture`, in Go's words (`amd64`).
pub fn build(hello: &[u8], architecture: &str) -> Vec<u8> {
    let layer = layer(hello);
    let config = serde_json::json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": format!("{USER}:{USER}"),
            "Env": ["PATH=/bin"],
            "Entrypoint": ["/hello"],
            "Cmd": ["web"],
            "WorkingDir": "/",
            "ExposedPorts": {"8080/tcp": {}, "8080/udp": {}},
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = serde_json::json!({
        "io.containerd.image.name": NAME,
        "org.opencontainers.image.ref.name": NAME,
    });
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    let mut tar = Tar::default();
    tar.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    tar.file("index.json", 0o644, index.to_string().as_bytes());
    for blob in [&config, &manifest, &layer] {
        tar.file(&format!("blobs/sha256/{}", &digest(blob)["sha256:".len()..]), 0o644, blob);
    }
    tar.finish()
}

fn layer(hello: &[u8]) -> Vec<u8> {
    let mut tar = Tar::default();
    for (path, mode) in [("./", 0o755), ("bin/", 0o755), ("etc/", 0o755), ("tmp/", 0o1777)] {
        tar.entry(path, mode, b'5', "", b"");
    }
    tar.file("hello", 0o755, hello);
    for applet in APPLETS {
        tar.entry(&format!("bin/{applet}"), 0o777, b'2', "/hello", b"");
    }
    tar.file("etc/passwd", 0o644, PASSWD.as_bytes());
    tar.file("etc/group", 0o644, GROUP.as_bytes());
    tar.finish()
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    serde_json::json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

/// A ustar writer for short names: forty lines instead of a dependency of the build.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(path, mode, b'0', "", content);
    }

    fn entry(&mut self, path: &str, mode: u32, kind: u8, link: &str, content: &[u8]) {
        let mut header = [0u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        assert!(path.len() < 100 && link.len() < 100, "names are ours and short");
        put(0, path);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(157, link);
        put(257, "ustar\u{0}00");
        header[156] = kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\u{0}").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_program_gives_the_same_image() {
        let image = build(b"\x7fELF", "amd64");
        assert_eq!(image, build(b"\x7fELF", "amd64"));
        assert_ne!(image, build(b"\x7fELF2", "amd64"));
        assert_eq!(image.len() % 512, 0);
    }
}
