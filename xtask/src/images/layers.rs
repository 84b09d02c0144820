//! The folders that become layers: each function fills one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::archive::Layer;
use super::debian::{self, link};
use super::{fresh, told, tool};

pub struct Layers {
    pub busybox: Layer,
    pub pause: Layer,
    pub set_uid: Layer,
    pub debian: Layer,
    pub filling: Layer,
    pub agnhost: Layer,
    pub nautilus: Layer,
    pub kitten: Layer,
    pub nginx: Layer,
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
    bin:x:2:2:bin:/bin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\n\
    nobody:x:65534:65534:nobody:/home:/bin/false\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\nbin:x:2:\nwww-data:x:33:\nnogroup:x:65534:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nservices: files\n";
/// Specs run agnhost as this user and expect it in this group.
const IMAGE_USER: &str = "user-defined-in-image:x:1000:1000::/home/user-defined-in-image:/bin/sh\n";
const IMAGE_GROUPS: &str =
    "user-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n";

const PAUSE: &str = "#include <signal.h>\n#include <sys/wait.h>\n#include <unistd.h>\n\
    static void end(int signal) { (void)signal; _exit(0); }\n\
    static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0); }\n\
    int main(void) { signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, reap); for (;;) pause(); }\n";
const SET_UID: &str = "#include <stdio.h>\n#include <unistd.h>\n\
    int main(void) { printf(\"Effective uid: %d\\n\", geteuid()); return 0; }\n";

/// Everything that is written may lie in /tmp, so that the image also runs with another user or a read-only root.
const NGINX: &str = "worker_processes 1;\npid /tmp/nginx.pid;\nerror_log /dev/stderr;\nevents { worker_connections 64; }\n\
    http {\n  include mime.types;\n  access_log /dev/stdout;\n  client_body_temp_path /tmp/b;\n  proxy_temp_path /tmp/p;\n\
    \x20 fastcgi_temp_path /tmp/f;\n  uwsgi_temp_path /tmp/u;\n  scgi_temp_path /tmp/s;\n\
    \x20 server { listen 80; location / { root /usr/share/nginx/html; index index.html; } }\n}\n";
const WELCOME: &str = "<!DOCTYPE html><html><head><title>Welcome to nginx!</title></head>\
    <body><h1>Welcome to nginx!</h1></body></html>\n";

pub fn make(work: &Path, busybox: &Path, agnhost: &Path) -> Result<Layers, String> {
    let applets = tool(Command::new(busybox).arg("--list"))?;
    let applets: Vec<&str> = applets.lines().filter(|name| *name != "busybox").collect();
    let debian = work.join("debian");
    Ok(Layers {
        busybox: busybox_root(&work.join("busybox-root"), busybox, &applets)?,
        pause: compiled(&work.join("pause"), "pause", PAUSE, 0o755)?,
        set_uid: compiled(&work.join("set-uid"), "usr/local/bin/nnp", SET_UID, 0o6755)?,
        debian: debian_root(&debian, &work.join("packages"))?,
        filling: filling(&work.join("filling"), busybox, &applets, &debian)?,
        agnhost: agnhost_files(&work.join("agnhost"), agnhost)?,
        nautilus: web_page(&work.join("nautilus"), "nautilus", "")?,
        // A spec mounts this image as a volume and looks for these words.
        kitten: web_page(&work.join("kitten"), "kitten", "NAME=\"Alpine Linux\"\nID=alpine\n")?,
        nginx: nginx(&work.join("nginx"))?,
    })
}

/// Applets are hard links: specs stat and copy `/bin/ls`.
fn busybox_root(folder: &Path, busybox: &Path, applets: &[&str]) -> Result<Layer, String> {
    fresh(folder)?;
    for below in [
        "dev", "home", "mnt", "proc", "root", "run", "sys", "usr/bin", "usr/sbin", "var/lib", "var/log",
        "var/run",
    ] {
        let below = folder.join(below);
        fs::create_dir_all(&below).map_err(told("creating", &below))?;
    }
    temporary(folder)?;
    users(folder, "", "")?;
    let program = folder.join("bin/busybox");
    copy(busybox, &program)?;
    for applet in applets {
        let name = folder.join("bin").join(applet);
        fs::hard_link(&program, &name).map_err(told("linking", &name))?;
    }
    Layer::pack(folder)
}

fn debian_root(folder: &Path, packages: &Path) -> Result<Layer, String> {
    debian::unpack(packages, folder)?;
    for below in ["dev", "home", "mnt", "proc", "results", "root", "run", "sys"] {
        let below = folder.join(below);
        fs::create_dir_all(&below).map_err(told("creating", &below))?;
    }
    temporary(folder)?;
    users(folder, "", "")?;
    put(folder, "etc/host.conf", "multi on\n")?;
    Layer::pack(folder)
}

/// busybox's applets under every name that the packages did not bring.
fn filling(folder: &Path, busybox: &Path, applets: &[&str], debian: &Path) -> Result<Layer, String> {
    fresh(folder)?;
    copy(busybox, &folder.join("usr/bin/busybox"))?;
    let missing = |name: &str| {
        ["usr/bin", "usr/sbin"].iter().all(|below| debian.join(below).join(name).symlink_metadata().is_err())
    };
    for applet in applets.iter().filter(|name| missing(name)) {
        link("busybox", &folder.join("usr/bin").join(applet))?;
    }
    Layer::pack(folder)
}

fn agnhost_files(folder: &Path, agnhost: &Path) -> Result<Layer, String> {
    fresh(&folder.join("uploads"))?;
    copy(agnhost, &folder.join("agnhost"))?;
    link("agnhost", &folder.join("agnhost-2"))?;
    users(folder, IMAGE_USER, IMAGE_GROUPS)?;
    certificate(folder)?;
    Layer::pack(folder)
}

/// What `agnhost porter` serves by TLS.
fn certificate(folder: &Path) -> Result<(), String> {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "3650",
        "-subj",
        "/CN=localhost",
    ]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"]);
    openssl.arg(folder.join("localhost.key")).arg("-out").arg(folder.join("localhost.crt"));
    tool(&mut openssl)?;
    mode(&folder.join("localhost.key"), 0o644)
}

fn web_page(folder: &Path, name: &str, os_release: &str) -> Result<Layer, String> {
    fresh(folder)?;
    put(folder, "data.json", &format!("{{\"image\": \"{name}.jpg\"}}"))?;
    put(folder, "index.html", &format!("<html><body>{name}</body></html>\n"))?;
    let picture = folder.join(format!("{name}.jpg"));
    fs::write(&picture, b"\xff\xd8\xff\xd9").map_err(told("writing", &picture))?;
    if !os_release.is_empty() {
        put(folder, "etc/os-release", os_release)?;
    }
    Layer::pack(folder)
}

fn nginx(folder: &Path) -> Result<Layer, String> {
    fresh(folder)?;
    put(folder, "etc/nginx/nginx.conf", NGINX)?;
    put(folder, "usr/share/nginx/html/index.html", WELCOME)?;
    Layer::pack(folder)
}

fn compiled(folder: &Path, name: &str, source: &str, permissions: u32) -> Result<Layer, String> {
    fresh(folder)?;
    let program = folder.join(name);
    parent(&program)?;
    let mut compiler = Command::new("gcc")
        .args(["-Os", "-static", "-s", "-xc", "-", "-o"])
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("running gcc: {error}"))?;
    let mut stdin = compiler.stdin.take().ok_or("gcc has no standard input")?;
    stdin.write_all(source.as_bytes()).map_err(|error| format!("writing to gcc: {error}"))?;
    drop(stdin);
    let status = compiler.wait().map_err(|error| format!("waiting for gcc: {error}"))?;
    if !status.success() {
        return Err(format!("gcc could not build {name} ({status})"));
    }
    mode(&program, permissions)?;
    Layer::pack(folder)
}

fn users(folder: &Path, more_users: &str, more_groups: &str) -> Result<(), String> {
    put(folder, "etc/passwd", &format!("{PASSWD}{more_users}"))?;
    put(folder, "etc/group", &format!("{GROUP}{more_groups}"))?;
    put(folder, "etc/nsswitch.conf", NSSWITCH)
}

fn temporary(folder: &Path) -> Result<(), String> {
    let temporary = folder.join("tmp");
    fs::create_dir_all(&temporary).map_err(told("creating", &temporary))?;
    mode(&temporary, 0o1777)
}

fn put(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    let file = folder.join(name);
    parent(&file)?;
    fs::write(&file, text).map_err(told("writing", &file))?;
    mode(&file, 0o644)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    parent(to)?;
    fs::copy(from, to).map_err(told("copying to", to))?;
    mode(to, 0o755)
}

fn parent(file: &Path) -> Result<(), String> {
    let folder = file.parent().expect("every file lies in a folder of ours");
    fs::create_dir_all(folder).map_err(told("creating", folder))
}

fn mode(path: &Path, permissions: u32) -> Result<(), String> {
    fs::set_permissions(path, fs::Permissions::from_mode(permissions))
        .map_err(told("setting the mode of", path))
}
