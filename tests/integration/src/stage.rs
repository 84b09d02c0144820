//! The test's own program, `actor`, on the node and in pods. A pod gets it with the libraries of the machine by a hostPath.

use crate::image::libraries;
use crate::lab::Lab;
use crate::wait::eventually;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub struct Stage {
    folder: PathBuf,
    loader: String,
}

/// What a load has said.
#[derive(Debug)]
pub struct Load {
    pub sent: u32,
    pub failed: u32,
    /// SYNs that had to be sent again.
    pub again: u64,
    pub first_failure: String,
}

impl Stage {
    pub fn new(lab: &Lab, actor: &Path) -> Stage {
        let folder = lab.root().join("stage");
        let failed = |error: std::io::Error| panic!("{}: {error}", folder.display());
        fs::create_dir(&folder).unwrap_or_else(failed);
        // Pods that are not root write their results here.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap_or_else(failed);
        fs::copy(actor, folder.join("actor")).map(drop).unwrap_or_else(failed);
        let libraries = libraries(actor);
        for library in &libraries {
            fs::copy(library, folder.join(name(library))).map(drop).unwrap_or_else(failed);
        }
        let loader = libraries.iter().find(|path| name(path).starts_with("ld-")).expect("a loader");
        Stage { loader: name(loader).to_owned(), folder }
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Makes a file that somebody waits for.
    pub fn signal(&self, file: &str) {
        fs::write(self.path(file), "").expect("a file of the stage");
    }

    /// The manifest of a pod that does this; files are below `/stage`.
    pub fn pod(&self, name: &str, act: &str) -> String {
        let words: Vec<String> =
            [&format!("/stage/{}", self.loader), "--library-path", "/stage", "/stage/actor"]
                .into_iter()
                .chain(act.split_whitespace())
                .map(|word| format!("{word:?}"))
                .collect();
        format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: kedge.local/hello:1
    command: [{}]
    volumeMounts: [{{name: stage, mountPath: /stage}}]
  volumes: [{{name: stage, hostPath: {{path: {}}}}}]
"#,
            words.join(", "),
            self.folder.display()
        )
    }

    /// Runs an act on the node itself.
    pub fn on_node(&self, lab: &Lab, act: &str) -> std::process::Child {
        let program = self.path("actor").display().to_string();
        let words: Vec<&str> = [program.as_str()].into_iter().chain(act.split_whitespace()).collect();
        lab.node_running(&words)
    }

    /// What a load has written to this file, once it has stopped.
    pub fn result(&self, file: &str) -> Load {
        let text = eventually(&format!("{file} is written"), Duration::from_secs(30), || {
            fs::read_to_string(self.path(file)).ok()
        });
        let mut words = text.trim().splitn(4, ' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).expect("three numbers");
        let (sent, failed, again) = (number() as u32, number() as u32, number());
        Load { sent, failed, again, first_failure: words.next().unwrap_or_default().to_owned() }
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
