//! Questions that many tests put to a node.

use crate::lab::Lab;
use crate::run::{Ran, contains};
use crate::wait::eventually;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A service's rules follow its endpoints, and a status the facts, within this.
pub const LIMIT: Duration = Duration::from_secs(20);

impl Lab {
    /// A field of an object in the namespace `default`.
    #[track_caller]
    pub fn field(&self, object: &str, path: &str) -> String {
        self.kubectl(&format!("get {object} -o jsonpath={{{path}}}")).ok()
    }

    /// Waits until a field has this value.
    #[track_caller]
    pub fn field_becomes(&self, object: &str, path: &str, wanted: &str) {
        let mut last = String::new();
        let found = crate::wait::within(LIMIT, || {
            last = self.field(object, path);
            (last == wanted).then_some(())
        });
        assert!(found.is_some(), "{path} of {object} is {last:?}, not {wanted:?}, after {LIMIT:?}");
    }

    #[track_caller]
    pub fn pods_are_ready(&self, selector: &str) {
        self.kubectl(&format!("wait --for=condition=Ready pod {selector} --timeout=50s")).ok();
    }

    /// Deletes a pod of the namespace `default` and waits until it is gone, whoever is the first to remove it.
    #[track_caller]
    pub fn remove_pod(&self, name: &str) {
        self.kubectl(&format!("delete pod {name} --timeout=30s")).ok();
        contains(&self.kubectl(&format!("get pod {name}")).fails_with(1), &["NotFound"]);
    }

    pub fn get_from_node(&self, url: &str) -> Ran {
        self.node(&["curl", "-sS", "--max-time", "3", url])
    }

    pub fn get_from_outside(&self, url: &str) -> Ran {
        self.outside(&["curl", "-sS", "--max-time", "3", url])
    }

    /// Waits until the answer to this URL, asked on the node, has `wanted` in it.
    #[track_caller]
    pub fn answers(&self, url: &str, wanted: &str) {
        eventually(&format!("{url} answers {wanted:?}"), LIMIT, || {
            let answer = self.get_from_node(url);
            (answer.succeeded() && answer.stdout.contains(wanted)).then_some(())
        });
    }

    /// The number of the process that runs the node.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let text = self.kedge("status --output json").ok();
        let status: serde_json::Value = serde_json::from_str(&text).expect("status in JSON");
        status["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a process number")
    }

    /// Ends kedge as a crash would, and waits until it has ended.
    #[track_caller]
    pub fn kill_kedge(&self) {
        let kedge = self.pid();
        crate::cgroups::kill(kedge);
        let process = format!("/proc/{kedge}");
        eventually("kedge has ended", LIMIT, || (!Path::new(&process).exists()).then_some(()));
        self.kedge("status").fails_with(3);
    }
}

/// A file of the repository, by its path in it.
pub fn of_repository(path: &str) -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo and xtask say where a test's package is");
    Path::new(&here).join("../..").join(path)
}
