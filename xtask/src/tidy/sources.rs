//! Rules about the text of committed files.

use std::path::Path;

const LINES_MAX: usize = 800;

/// Where `unsafe` may stand.
const UNSAFE_DOORS: &[&str] = &["base/sys/", "pause/", "proxy-ebpf/bpf/"];

/// Folders whose code decides: it takes time, randomness and the world as arguments.
const DECIDING: &[&str] = &["base/api/src/", "base/machinery/src/", "base/streaming/src/"];

/// What a core must not say outside its tests.
const SENSES: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "now_utc()",
    "std::fs::",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process::Command",
    "std::thread::",
    "async fn ",
];

/// Modules that exist under `cfg(test)` only; the attribute stands in their parent.
const TEST_FILES: &[&str] = &["/tests.rs", "/recordings.rs"];

pub fn check_file(path: &str, text: &str, places: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(place) = places.iter().find(|place| line.contains(&***place)) {
            findings.push(format!("{path}:{}: {place} is a path of one machine", number + 1));
        }
    }
    if !path.ends_with(".rs") {
        return findings;
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(format!("{path}: {lines} lines, more than {LINES_MAX}: two things live in it"));
    }
    let mut in_tests = TEST_FILES.iter().any(|name| path.ends_with(name)) || path.contains("/tests/");
    for (number, line) in text.lines().enumerate() {
        in_tests |= line.trim() == "#[cfg(test)]";
        if let Some(fault) = fault(path, code(line), in_tests) {
            findings.push(format!("{path}:{}: {fault}", number + 1));
        }
    }
    findings
}

fn fault(path: &str, code: &str, in_tests: bool) -> Option<String> {
    if is_unsafe(code) && !UNSAFE_DOORS.iter().any(|door| path.starts_with(door)) {
        return Some(format!("unsafe lives in {} only", UNSAFE_DOORS.join(", ")));
    }
    for stub in ["todo", "unimplemented"] {
        if code.contains(&format!("{stub}!(")) && !code.contains('"') {
            return Some(format!("{stub}! is a stub"));
        }
    }
    if code.trim() == "#[ignore]" {
        return Some("an ignored test needs its reason, which the runner prints".to_owned());
    }
    let decides = DECIDING.iter().any(|folder| path.starts_with(folder)) || path.contains("/core/src/");
    if !decides || in_tests {
        return None;
    }
    let sense = SENSES.iter().find(|sense| code.contains(**sense))?;
    Some(format!("a core must not use {}", sense.trim()))
}

/// The line without its comment. A `//` inside a string only makes the rule milder.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// The word as a keyword or attribute; in a string it is only a word.
fn is_unsafe(code: &str) -> bool {
    const FORMS: &[&str] =
        &["unsafe {", "unsafe fn ", "unsafe impl ", "unsafe extern ", "unsafe trait ", "#[unsafe("];
    !code.contains('"') && FORMS.iter().any(|form| code.contains(form))
}

/// Paths that must not be committed: the clone's own folder and caches of whoever runs this.
pub fn machine_paths(root: &Path, home: Option<&str>) -> Vec<String> {
    let home = home.filter(|home| home.len() > 1);
    let mut places: Vec<String> = home
        .iter()
        .flat_map(|home| [format!("{home}/.cache"), format!("{home}/.cargo"), format!("{home}/.rustup")])
        .collect();
    let clone = root.to_string_lossy();
    // A clone directly below the root has a name too short to tell from an ordinary path.
    if clone.matches('/').count() > 1 {
        places.push(format!("{clone}/"));
    }
    places
}

/// A package has a README of ten lines, its own or that of the room it stands in.
pub fn check_rooms(folders: &[String], files: &[String]) -> Vec<String> {
    let has = |folder: &str| files.contains(&format!("{folder}/README.md"));
    let room = |folder: &str| {
        folder.rsplit_once('/').map(|(room, _)| room.to_owned()).filter(|room| folders.contains(room))
    };
    let missing =
        folders.iter().filter(|folder| !has(folder) && !room(folder).is_some_and(|room| has(&room)));
    missing.map(|folder| format!("{folder}: no README.md")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> usize {
        check_file(path, text, &["/home/me/.cache".to_owned()]).len()
    }

    #[test]
    fn planted_texts_are_found() {
        let long = "\n".repeat(LINES_MAX + 1);
        for (path, text) in [
            ("kubelet/src/a.rs", "unsafe { f() }"),
            ("cri/src/a.rs", "pub unsafe fn f() {}"),
            ("cri/src/a.rs", "#[unsafe(no_mangle)]"),
            ("kubelet/src/a.rs", "    todo!()"),
            ("kubelet/src/a.rs", "    unimplemented!()"),
            ("kubelet/src/a.rs", "#[ignore]"),
            ("kubelet/src/a.rs", &long),
            ("kubelet/core/src/a.rs", "let now = Instant::now();"),
            ("base/machinery/src/a.rs", "pub async fn f() {}"),
            ("docs/a.md", "see /home/me/.cache/x"),
        ] {
            assert_eq!(check(path, text), 1, "{path}: {text}");
        }
    }

    #[test]
    fn ordinary_texts_pass() {
        for (path, text) in [
            ("base/sys/src/a.rs", "unsafe { f() }"),
            ("kubelet/src/a.rs", "// unsafe { } would be wrong here"),
            ("kubelet/src/a.rs", "#[ignore = \"prints figures\"]"),
            ("kubelet/src/a.rs", "let now = Instant::now();"),
            ("kubelet/core/src/a.rs", "#[cfg(test)]\nmod tests { fn f() { std::fs::read(p); } }"),
        ] {
            assert_eq!(check(path, text), 0, "{path}: {text}");
        }
    }

    #[test]
    fn a_room_without_readme_is_found() {
        let folders = ["cri", "cri/core", "dns"].map(str::to_owned);
        let files = ["cri/README.md"].map(str::to_owned);
        assert_eq!(check_rooms(&folders, &files), ["dns: no README.md"]);
    }

    #[test]
    fn the_clone_and_the_caches_are_paths_of_a_machine() {
        let places = machine_paths(Path::new("/src/kedge"), Some("/home/me"));
        assert!(places.contains(&"/src/kedge/".to_owned()) && places.contains(&"/home/me/.cargo".to_owned()));
        assert!(machine_paths(Path::new("/kedge"), None).is_empty());
    }
}
