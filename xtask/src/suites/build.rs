//! Builds every test program and the binaries they drive with one command, and runs them as `cargo test` would.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::outcome::Tally;
use crate::embed;

pub struct Program {
    executable: PathBuf,
    /// The package's folder, where cargo runs its tests.
    folder: PathBuf,
    package: String,
    target: String,
}

pub fn build(root: &Path) -> Result<Vec<Program>, String> {
    embed::run(root)?;
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--workspace", "--profile", "ci", "--bins", "--tests"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("running cargo: {error}"))?;
    if !output.status.success() {
        return Err("the tests do not build".to_owned());
    }
    let mut programs: Vec<Program> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(artifact).collect();
    programs.sort_by(|a, b| a.executable.cmp(&b.executable));
    Ok(programs)
}

/// One line of cargo's messages, if it speaks of a test program.
fn artifact(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["profile"]["test"] != true {
        return None;
    }
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    // `path+file:///clone/base/api#kedge-api@0.1.0`, or `…/hello#0.1.0` where folder and package have one name.
    let id = message["package_id"].as_str()?.rsplit_once('#')?.1;
    let package = match id.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => folder.file_name()?.to_string_lossy().into_owned(),
    };
    Some(Program {
        executable: message["executable"].as_str()?.into(),
        folder,
        package,
        target: message["target"]["name"].as_str()?.to_owned(),
    })
}

impl Program {
    pub fn suite(&self) -> &'static str {
        match (self.package.as_str(), self.target.as_str()) {
            ("kedge-sim", _) => "sim",
            // A recorded session drives a real supervisor.
            ("kedge-privileged", _) | ("kedge-pause", "session") => "privileged",
            ("kedge-integration", _) => "integration",
            ("kedge-conformance", _) => "conformance",
            _ => "unit",
        }
    }

    pub fn title(&self) -> String {
        format!("{} {}", self.package, self.target)
    }

    /// How it is called to judge this `kedge`.
    pub fn command(&self, root: &Path, kedge: &Path) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .arg("--show-output")
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("KEDGE_BIN", kedge)
            .env("KEDGE_PAUSE", embed::target(root).join("embed/pause"))
            .env("PATH", crate::tools::search_path())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, root: &Path) -> Tally {
        let kedge = embed::target(root).join("ci/kedge");
        match self.command(root, &kedge).output() {
            Err(error) => Tally::of_check(&self.title(), Err(error.to_string())),
            Ok(output) => {
                let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
                text.push_str(&String::from_utf8_lossy(&output.stderr));
                let tally = Tally::of_output(&self.title(), &text, output.status.success());
                if tally.failed > 0 {
                    println!("{text}");
                }
                tally
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_cargo_become_programs() {
        let line = |id: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"{id}","manifest_path":"/c/examples/hello/Cargo.toml",
                "target":{{"name":"t"}},"profile":{{"test":{test}}},"executable":"/t/x"}}"#
            )
            .replace('\n', "")
        };
        for (id, package, suite) in [
            ("path+file:///c/base/api#kedge-api@0.1.0", "kedge-api", "unit"),
            ("path+file:///c/examples/hello#0.1.0", "hello", "unit"),
            ("path+file:///c/tests/sim#kedge-sim@0.1.0", "kedge-sim", "sim"),
        ] {
            let program = artifact(&line(id, true)).expect("a test program");
            assert_eq!((program.package.as_str(), program.suite()), (package, suite));
            assert!(artifact(&line(id, false)).is_none());
        }
    }
}
