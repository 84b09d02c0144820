//! Debian's docker-registry on a lab node's loopback.

use crate::lab::Lab;
use crate::tools;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;

pub struct Registry {
    server: Child,
    /// `127.0.0.1:PORT`.
    pub host: String,
}

impl Registry {
    /// None, and a line that says so, where the program is missing. `users`: lines of an htpasswd file (bcrypt), if only
    /// they may pull.
    pub fn start(lab: &Lab, port: u16, users: Option<&str>) -> Option<Registry> {
        let Some(program) = tools::daemon("docker-registry", "usr/bin/docker-registry") else {
            println!("skipped: docker-registry is not in the tools folder (make prepare-test)");
            return None;
        };
        let folder = lab.root().join(format!("registry-{port}"));
        let host = format!("127.0.0.1:{port}");
        fs::create_dir_all(&folder).expect("a folder");
        let mut config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{host}'}}\n",
            folder.join("data").display()
        );
        if let Some(users) = users {
            let file = folder.join("htpasswd");
            fs::write(&file, users).expect("writing the users");
            config.push_str(&format!("auth: {{htpasswd: {{realm: lab, path: {}}}}}\n", file.display()));
        }
        let file = folder.join("config.yml");
        fs::write(&file, config).expect("writing the registry's configuration");
        let words = [program.display().to_string(), "serve".to_owned(), file.display().to_string()];
        let mut server = lab.node_running(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let mut log = BufReader::new(server.stderr.take().expect("a piped standard error")).lines();
        let listening = log.by_ref().map_while(Result::ok).any(|line| line.contains("listening on"));
        assert!(listening, "the registry did not start");
        // Somebody has to read on, or the registry blocks on its log.
        std::thread::spawn(move || log.for_each(drop));
        Some(Registry { server, host })
    }

    /// Copies an image there, as skopeo names its source. `login`: `user:password`.
    #[track_caller]
    pub fn push(&self, lab: &Lab, source: &str, name: &str, login: Option<&str>) {
        let target = format!("docker://{}/{name}", self.host);
        let mut words = vec!["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"];
        words.extend(login.iter().flat_map(|login| ["--dest-creds", login]));
        words.extend([source, &target]);
        lab.node(&words).ok();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// skopeo's name of the demo image that is embedded in kedge.
pub fn demo_image(lab: &Lab) -> String {
    format!("oci-archive:{}:kedge.local/hello:1", demo_archive(&lab.tools().kedge).display())
}

/// The same as a file: an OCI layout in a tar. It lies where kedge's own build takes it from.
pub fn demo_archive(kedge: &Path) -> std::path::PathBuf {
    kedge.parent().and_then(Path::parent).expect("a target folder").join("embed/hello.tar")
}
