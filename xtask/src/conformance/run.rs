//! Running the specs: outside a lab is made and the request written into a folder, inside the node is started and ginkgo
//! run. Request, reports and logs lie in that folder and outlive the lab.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::Options;
use super::list::{Phase, Spec, focus};
use super::report::{self, Results};
use crate::tools;

const REQUEST: &str = "request.json";

/// What the inside needs to know.
#[derive(Serialize, Deserialize)]
struct Request {
    kedge: PathBuf,
    images: PathBuf,
    /// Groups run one after the other, the runs of a group beside each other.
    groups: Vec<Vec<Run>>,
}

/// One ginkgo.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    name: String,
    procs: u32,
    focus: String,
}

pub fn outside(
    folder: &Path,
    asked: &[&Spec],
    options: &Options,
    kedge: &Path,
    images: &Path,
) -> Result<Results, String> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(told(folder))?;
    }
    fs::create_dir_all(folder).map_err(told(folder))?;
    let groups = groups(asked, options.procs);
    let request = Request { kedge: kedge.to_owned(), images: images.to_owned(), groups };
    let text = serde_json::to_string(&request).map_err(|error| error.to_string())?;
    fs::write(folder.join(REQUEST), text).map_err(told(folder))?;
    let own = crate::lab::own_program();
    let mut lab = Command::new(&own);
    lab.args(["lab", "run", "--name", &options.lab.to_string(), "--"]).arg(&own);
    let status = lab.arg("conformance").arg("--inside").arg(folder).status();
    let status = status.map_err(|error| format!("making a lab: {error}"))?;
    if !status.success() {
        return Err(format!("the lab ended badly ({status}): see {}", folder.display()));
    }
    let mut results = Results::new();
    for run in request.groups.iter().flatten() {
        results.extend(read(&folder.join(&run.name))?);
    }
    Ok(results)
}

fn groups(asked: &[&Spec], procs: u32) -> Vec<Vec<Run>> {
    let run = |phase: Phase, procs: u32| {
        let names: Vec<&str> =
            asked.iter().filter(|spec| spec.phase == phase).map(|spec| spec.name.as_str()).collect();
        let procs = procs.min(u32::try_from(names.len()).unwrap_or(u32::MAX));
        (!names.is_empty()).then(|| Run { name: phase.to_string(), procs, focus: focus(names.into_iter()) })
    };
    // The long ones wait for most of their time: all of them at once.
    let beside: Vec<Run> = run(Phase::Parallel, procs).into_iter().chain(run(Phase::Long, 10)).collect();
    let alone: Vec<Run> = run(Phase::Serial, 1).into_iter().collect();
    [beside, alone].into_iter().filter(|group| !group.is_empty()).collect()
}

/// Ginkgo names its report after the place of the suite.
fn read(folder: &Path) -> Result<Results, String> {
    let files = fs::read_dir(folder).map_err(told(folder))?.flatten().map(|entry| entry.path());
    let mut reports = files.filter(|file| file.to_string_lossy().ends_with("report.json"));
    let file = reports.next().ok_or_else(|| format!("ginkgo wrote no report into {}", folder.display()))?;
    let bytes = fs::read(&file).map_err(told(&file))?;
    report::parse(&bytes).map_err(|why| format!("{}: {why}", file.display()))
}

/// Starts the node of this lab, runs the request and deletes the node.
pub fn inside(folder: &Path) -> Result<(), String> {
    let text = fs::read_to_string(folder.join(REQUEST)).map_err(told(folder))?;
    let request: Request = serde_json::from_str(&text).map_err(|error| format!("{REQUEST}: {error}"))?;
    let kedge = |words: &[&str]| {
        let status = Command::new(&request.kedge).args(words).stdout(Stdio::null()).status();
        let status = status.map_err(|error| format!("running kedge: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("`kedge {}` failed ({status})", words.join(" "))) }
    };
    kedge(&["start", "--no-kubeconfig"])?;
    let ran = kedge(&["image", "load", &request.images.display().to_string()])
        .and_then(|()| request.groups.iter().try_for_each(|group| run_group(folder, group)));
    let kept = keep_log(folder);
    let deleted = kedge(&["delete"]);
    ran.and(kept).and(deleted)
}

fn run_group(folder: &Path, group: &[Run]) -> Result<(), String> {
    let started: Result<Vec<Child>, String> = group.iter().map(|run| ginkgo(folder, run)).collect();
    // A red spec makes ginkgo's end red: the report says which, so only the waiting can fail here.
    for mut child in started? {
        child.wait().map_err(|error| format!("waiting for ginkgo: {error}"))?;
    }
    Ok(())
}

fn ginkgo(folder: &Path, run: &Run) -> Result<Child, String> {
    let tools = tools::folder()?;
    let kubeconfig = std::env::var("KUBECONFIG").map_err(|error| format!("KUBECONFIG: {error}"))?;
    let out = folder.join(&run.name);
    fs::create_dir_all(&out).map_err(told(&out))?;
    let log = File::create(out.join("log")).map_err(told(&out))?;
    let errors = log.try_clone().map_err(told(&out))?;
    let mut ginkgo = Command::new(tools.join("ginkgo"));
    ginkgo.args([
        "run",
        "--no-color",
        "--timeout=40m",
        "--flake-attempts=1",
        "--json-report=report.json",
        "--v",
    ]);
    ginkgo.arg(format!("--procs={}", run.procs));
    ginkgo.arg(format!("--output-dir={}", out.display())).arg(format!("--focus={}", run.focus));
    ginkgo.arg(tools.join("e2e.test")).arg("--").args(["--provider=skeleton", "--num-nodes=1"]);
    ginkgo.args(["--allowed-not-ready-nodes=-1", "--dump-logs-on-failure=false"]);
    ginkgo.arg(format!("--kubeconfig={kubeconfig}"));
    ginkgo.arg(format!("--kubectl-path={}", tools.join("kubectl").display()));
    ginkgo
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("running ginkgo: {error}"))
}

/// The lab's files go with it.
fn keep_log(folder: &Path) -> Result<(), String> {
    let root = std::env::var("KEDGE_ROOT").map_err(|error| format!("KEDGE_ROOT: {error}"))?;
    let log = Path::new(&root).join("var/log/kedge/kedge.log");
    fs::copy(&log, folder.join("kedge.log")).map(drop).map_err(told(&log))
}

fn told(path: &Path) -> impl FnOnce(std::io::Error) -> String {
    let path = path.display().to_string();
    move |error| format!("{path}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::list::Verdict;

    #[test]
    fn long_specs_run_beside_the_others_and_serial_ones_after() {
        let spec = |phase: Phase, name: &str| Spec {
            phase,
            verdict: Verdict::Green,
            upstream_seconds: 1.0,
            name: name.to_owned(),
        };
        let specs = [spec(Phase::Parallel, "p"), spec(Phase::Long, "l"), spec(Phase::Serial, "s")];
        let names = |asked: &[&Spec]| -> Vec<Vec<String>> {
            let groups = groups(asked, 12);
            groups.iter().map(|group| group.iter().map(|run| run.name.clone()).collect()).collect()
        };
        assert_eq!(names(&specs.iter().collect::<Vec<_>>()), [vec!["parallel", "long"], vec!["serial"]]);
        assert_eq!(names(&[&specs[2]]), [["serial"]]);
        assert_eq!(groups(&[&specs[0]], 12)[0][0].procs, 1, "no process without a spec");
    }
}
