//! The recorded behaviour of kube-apiserver 1.36.2 against ours.
//!
//! `record.py`, which recorded upstream, sends the same requests to a lab node whose API server runs alone with the
//! controllers that ran at the recording, normalises the answers and compares. Two nodes share the groups, side by side.

use kedge_conformance::known::Known;
use kedge_conformance::planted::{Dice, plant};
use kedge_integration::lab::{Lab, NODE_IP};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What one node answers. The groups of one node take about as long as those of the other.
const SHARES: [&[&str]; 2] = [
    &["discovery", "openapi", "tables", "bootstrap", "defaulting", "validation", "auth"],
    &["patch", "apply", "verbs", "watch", "protobuf"],
];
const TOKEN: &str = "recorder";
/// No share takes longer; a server that does not answer is not waited for.
const LIMIT_S: &str = "240";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/upstream/api")
}

fn recorder() -> String {
    golden().join("record.py").display().to_string()
}

/// Starts a server as upstream's was and sends it the requests of the groups; the answers come to lie in `out`.
fn replay(lab: &Lab, groups: &[&str], out: &Path) {
    let tokens = lab.root().join("tokens.csv");
    fs::write(&tokens, format!("{TOKEN},admin,admin,\"system:masters\"\n")).expect("the tokens");
    let controllers =
        "namespace-controller,serviceaccount-controller,root-ca-certificate-publisher-controller";
    lab.kedge(&format!(
        "start --no-kubeconfig --disable kubelet,scheduler,proxy,dns --controllers={controllers} --token-auth-file {}",
        tokens.display()
    ))
    .ok();
    let (base, out) = (format!("https://{NODE_IP}:6443"), out.display().to_string());
    let (recorder, golden) = (recorder(), golden().display().to_string());
    let mut words = vec!["timeout", LIMIT_S, "python3", "-B", &recorder, "--base", &base, "--token", TOKEN];
    words.extend(["--out", &out, "--like", &golden]);
    words.extend(groups.iter().flat_map(|group| ["--group", group]));
    let output = lab.node_running(&words).wait_with_output().expect("the recorder's output");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    println!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the recorder failed");
}

/// The names of the equal cases, and what the comparer said about the others.
fn compare(golden: &Path, recorded: &Path, flags: &[&str]) -> (BTreeSet<String>, String) {
    let same = recorded.join("same");
    let output = Command::new("python3")
        .args(["-B", &recorder(), "--max", "1000", "--diff"])
        .args([golden, recorded])
        .arg("--same")
        .arg(&same)
        .args(flags)
        .output()
        .expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = fs::read_to_string(&same).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (names.lines().map(str::to_owned).collect(), said)
}

/// A group's recording.
fn group(name: &str) -> Value {
    let path = golden().join(format!("{name}.json"));
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("JSON")
}

/// `GROUP CASE` of all cases but those that differ between two recordings of one server.
fn cases() -> BTreeSet<String> {
    let unstable = fs::read_to_string(golden().join("unstable.txt")).expect("the unstable cases");
    let unstable: BTreeSet<String> = unstable.lines().map(|line| line.replace('/', " ")).collect();
    let all = SHARES.iter().flat_map(|groups| groups.iter()).flat_map(|name| {
        let document = group(name);
        let cases = document["cases"].as_object().expect("cases");
        cases.keys().map(|case| format!("{name} {case}")).collect::<Vec<_>>()
    });
    all.filter(|case| !unstable.contains(case)).collect()
}

#[test]
fn recorded_answers() {
    let labs: Vec<Lab> = SHARES.iter().map_while(|_| Lab::or_skip()).collect();
    if labs.len() < SHARES.len() {
        return;
    }
    let answers = tempfile::tempdir().expect("a folder");
    std::thread::scope(|scope| {
        for (lab, groups) in labs.iter().zip(SHARES) {
            scope.spawn(|| replay(lab, groups, answers.path()));
        }
    });
    let (equal, said) = compare(&golden(), answers.path(), &[]);
    let cases = cases();
    let equal = equal.intersection(&cases).cloned().collect();
    let verdict = Known::read("api-recordings").judge(&cases, &equal);
    println!("{said}\n{} of {} cases are equal", equal.len(), cases.len());
    println!("{}", verdict.news.join("\n"));
    assert!(verdict.findings.is_empty(), "{}", verdict.findings.join("\n"));
}

/// DESIGN section 6: of 200 changes of one field, planted in recordings, at least 195 are reported.
#[test]
fn planted_changes_are_reported() {
    const PLANTED: usize = 200;
    let folder = tempfile::tempdir().expect("a folder");
    let mut cases: Vec<String> = cases().into_iter().collect();
    let mut groups: Vec<(&str, Value)> =
        SHARES.concat().into_iter().map(|name| (name, group(name))).collect();
    let mut dice = Dice::new(36);
    let mut planted = Vec::new();
    while planted.len() < PLANTED {
        let name = cases.swap_remove(dice.below(cases.len()));
        let (of, case) = name.split_once(' ').expect("two words");
        let document = &mut groups.iter_mut().find(|(group, _)| *group == of).expect("a group").1;
        let steps = document["cases"][case].as_array_mut().expect("steps");
        let step = dice.below(steps.len());
        let mut answers = steps[step].take();
        let request = answers.as_object_mut().and_then(|step| step.remove("request"));
        if let Some(done) = plant(&mut answers, &mut dice) {
            planted.push((name.clone(), done));
        }
        if let Some(request) = request {
            answers["request"] = request;
        }
        steps[step] = answers;
    }
    for (name, document) in &groups {
        fs::write(folder.path().join(format!("{name}.json")), document.to_string()).expect("a recording");
    }
    let (equal, _) = compare(&golden(), folder.path(), &["--again"]);
    let missed: Vec<&(String, String)> = planted.iter().filter(|(name, _)| equal.contains(name)).collect();
    println!("{} of {PLANTED} planted changes are reported; missed: {missed:#?}", PLANTED - missed.len());
    assert!(missed.len() <= 5, "{missed:#?}");
}
