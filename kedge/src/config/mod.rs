//! `/etc/kedge/config.yaml` and its drop-ins: the same names and values as flags and environment.
//!
//! ```text
//! command line > environment (KEDGE_…) > config.yaml.d/*.yaml, the last one first > config.yaml > default
//! ```
//!
//! What the files say is put into the command line where neither it nor the environment says anything, so that there is
//! one place that knows what a value may be.

mod file;

use crate::failure::{Exit, Failure, Outcome};
use crate::options::Cli;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};
use file::Entry;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Commands whose flags the files may set, beside those that every command has.
const RUNNING: [&str; 7] = ["start", "check", "config", "apiserver", "scheduler", "controllers", "kubelet"];
/// These say where the files are, or are about one call only.
const COMMAND_LINE_ONLY: [&str; 6] = ["root", "config", "foreground", "output", "help", "version"];

/// The command line with what the files add to it.
pub fn parse() -> Result<Cli, Failure> {
    let given: Vec<OsString> = std::env::args_os().collect();
    let complete = complete(&given)?;
    let matches = Cli::command().try_get_matches_from(complete).unwrap_or_else(|error| error.exit());
    Cli::from_arg_matches(&matches).map_err(|error| Failure::with(Exit::Usage, error))
}

fn complete(given: &[OsString]) -> Result<Vec<OsString>, Failure> {
    // Only to see what is said already; mistakes are told when all is there.
    let first = Cli::command().ignore_errors(true).try_get_matches_from(given);
    let Ok(matches) = first else { return Ok(given.to_vec()) };
    let is_strict = matches.subcommand_name().is_some_and(|name| RUNNING.contains(&name));
    let entries = load(&matches, is_strict)?;
    let mut complete = given.to_vec();
    for entry in entries.values() {
        let (global, own) = places(&entry.key, &matches);
        if let Some((arg, matches)) = global.or(own)
            && is_silent(matches, &arg)
            && let Some(word) = word(entry, &arg)
        {
            // A flag of every command comes first: behind `kubectl` everything is kubectl's.
            let at = if arg.is_global_set() { 1 } else { complete.len() };
            complete.insert(at, word);
        }
    }
    Ok(complete)
}

type Place<'a> = Option<(Arg, &'a ArgMatches)>;

/// The flag of this name: of every command, and of the one that was called.
fn places<'a>(key: &str, matches: &'a ArgMatches) -> (Place<'a>, Place<'a>) {
    let command = Cli::command();
    let named = |command: &Command| command.get_arguments().find(|arg| arg.get_long() == Some(key)).cloned();
    let own = matches.subcommand().and_then(|(name, matches)| {
        let command = command.find_subcommand(name).filter(|_| RUNNING.contains(&name))?;
        Some((named(command)?, matches))
    });
    (named(&command).map(|arg| (arg, matches)), own)
}

fn is_silent(matches: &ArgMatches, arg: &Arg) -> bool {
    let source = matches
        .try_contains_id(arg.get_id().as_str())
        .ok()
        .and_then(|_| matches.value_source(arg.get_id().as_str()));
    !matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// `--key=value`; nothing for a switch that is off.
fn word(entry: &Entry, arg: &Arg) -> Option<OsString> {
    if arg.get_action().takes_values() {
        return Some(format!("--{}={}", entry.key, entry.values.join(",")).into());
    }
    entry.values.contains(&"true".to_owned()).then(|| format!("--{}", entry.key).into())
}

/// What the files say, each key checked by itself so that a mistake is told with its line. Commands that do not run a part
/// pass over what is wrong: a node whose file has a slip can still be looked at, stopped and deleted.
fn load(matches: &ArgMatches, is_strict: bool) -> Result<BTreeMap<String, Entry>, Failure> {
    let usage = |text: String| Failure::with(Exit::Usage, text);
    let tolerated = |result: Result<(), String>| match result {
        Err(text) if is_strict => Err(usage(text)),
        other => Ok(other.is_ok()),
    };
    let path = |name: &str| matches.try_get_one::<PathBuf>(name).ok().flatten();
    let root = path("root").map_or(Path::new("/"), PathBuf::as_path);
    let named = path("config");
    let main = named.cloned().unwrap_or_else(|| root.join("etc/kedge/config.yaml"));
    let mut entries = BTreeMap::new();
    let mut all = Vec::new();
    let mut read = |path: &Path| file::read(path).map(|found| found.map(|found| all.extend(found)).is_some());
    let first = read(&main);
    if named.is_some() && first == Ok(false) {
        return Err(usage(format!("--config: there is no {}", main.display())));
    }
    tolerated(first.map(drop))?;
    let drop_ins = drop_ins(&main);
    tolerated(drop_ins.as_ref().map(drop).map_err(String::clone))?;
    for path in drop_ins.unwrap_or_default() {
        tolerated(read(&path).map(drop))?;
    }
    let known = known();
    for entry in all {
        if tolerated(check(&entry, &known))? {
            entries.insert(entry.key.clone(), entry);
        }
    }
    Ok(entries)
}

/// `config.yaml.d/*.yaml`, by name.
fn drop_ins(main: &Path) -> Result<Vec<PathBuf>, String> {
    let mut folder = main.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| path.extension() == Some(OsStr::new("yaml")));
    paths.sort();
    Ok(paths)
}

/// Every flag that a file may set, by its name.
fn known() -> BTreeMap<String, Arg> {
    let command = Cli::command();
    let running = RUNNING.iter().filter_map(|name| command.find_subcommand(name));
    let args = running.flat_map(Command::get_arguments).chain(command.get_arguments());
    args.filter(|arg| !arg.is_hide_set())
        .filter_map(|arg| Some((arg.get_long()?.to_owned(), arg.clone())))
        .filter(|(name, _)| !COMMAND_LINE_ONLY.contains(&name.as_str()))
        .collect()
}

fn check(entry: &Entry, known: &BTreeMap<String, Arg>) -> Result<(), String> {
    let key = entry.key.as_str();
    if COMMAND_LINE_ONLY.contains(&key) {
        return Err(entry.refuse(format!("{key} can only be given on the command line")));
    }
    let Some(arg) = known.get(key) else {
        let near = known.keys().find(|name| is_near(name, key));
        let hint = near.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        return Err(entry.refuse(format!("unknown key {key}{hint}; `kedge start --help` lists them")));
    };
    if !arg.get_action().takes_values() {
        return match entry.values.as_slice() {
            [value] if ["true", "false"].contains(&value.as_str()) => Ok(()),
            _ => Err(entry.refuse(format!("{key} is true or false"))),
        };
    }
    if entry.values.len() != 1 && arg.get_value_delimiter().is_none() {
        return Err(entry.refuse(format!("{key} takes one value")));
    }
    let word = word(entry, arg).unwrap_or_default();
    let alone = Command::new("kedge").arg(arg.clone().required(false));
    match alone.try_get_matches_from([OsString::from("kedge"), word]) {
        Ok(_) => Ok(()),
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Err(entry.refuse(first.trim_start_matches("error: ")))
        }
    }
}

/// One letter more, less or other, or another way to write the words.
fn is_near(name: &str, key: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    let (name, key) = (plain(name), plain(key));
    let same = |text: &str, other: &str| text.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let front = same(&name, &key);
    let reversed = |text: &str| text.chars().rev().collect::<String>();
    let back = same(&reversed(&name), &reversed(&key));
    let longer = name.chars().count().max(key.chars().count());
    name == key || longer > 3 && front + back + 1 >= longer
}

/// `kedge config`: the effective configuration of a start, as a file that would set it.
pub fn print() -> Outcome {
    let given: Vec<OsString> = std::env::args_os().collect();
    let failed = |error: clap::Error| Failure::with(Exit::Usage, error);
    let before = Cli::command().ignore_errors(true).try_get_matches_from(&given).map_err(failed)?;
    let entries = load(&before, true)?;
    let command = Cli::command();
    let matches = command.clone().try_get_matches_from(complete(&given)?).map_err(failed)?;
    let Some((name, after)) = matches.subcommand() else { return Ok(()) };
    let (Some(before), Some(command)) = (before.subcommand_matches(name), command.find_subcommand(name))
    else {
        return Ok(());
    };
    for (name, arg) in known() {
        if command.get_arguments().any(|of_start| of_start.get_long() == Some(&name)) || arg.is_global_set() {
            let entry = entries.get(&name).filter(|_| is_silent(before, &arg));
            println!("{}", line(&name, &arg, after, entry));
        }
    }
    Ok(())
}

fn line(name: &str, arg: &Arg, matches: &ArgMatches, entry: Option<&Entry>) -> String {
    let id = arg.get_id().as_str();
    let raw = matches.get_raw(id).into_iter().flatten();
    let values: Vec<String> = raw.map(|value| quoted(&value.to_string_lossy())).collect();
    let source = match (matches.value_source(id), entry) {
        (Some(ValueSource::EnvVariable), _) => "environment".to_owned(),
        (Some(ValueSource::CommandLine), Some(entry)) => format!("{}:{}", entry.file.display(), entry.line),
        (Some(ValueSource::CommandLine), None) => "command line".to_owned(),
        (Some(_), _) => "default".to_owned(),
        (None, _) => return format!("# {name}:"),
    };
    let value = match (arg.get_action().takes_values(), arg.get_value_delimiter()) {
        (false, _) => matches.get_flag(id).to_string(),
        (true, Some(_)) => format!("[{}]", values.join(", ")),
        (true, None) => values.join(""),
    };
    format!("{name}: {value}  # {source}")
}

/// As YAML wants it where a plain word would be something else.
fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !text.starts_with('-');
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    /// The command line, as it becomes with this file.
    fn completed(line: &str, file: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.yaml");
        std::fs::write(&path, file).unwrap();
        let line = format!("kedge {line} --config {}", path.display());
        let words = complete(&words(&line)).map_err(|failure| failure.text)?;
        let text: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        Ok(text.join(" ").replace(&format!("{}", path.display()), "C").replace("kedge ", ""))
    }

    #[test]
    fn files_speak_where_nobody_else_does() {
        let file = "cluster-cidr: 10.1.0.0/16\nnode-name: n\nno-kubeconfig: true\ndisable: [dns, proxy]\nseccomp-default: false\n";
        assert_eq!(
            completed("start --cluster-cidr 10.2.0.0/16", file).as_deref(),
            Ok(
                "--node-name=n start --cluster-cidr 10.2.0.0/16 --config C --disable=dns,proxy --no-kubeconfig --seccomp-default=false"
            )
        );
        assert_eq!(completed("status", file).as_deref(), Ok("--node-name=n status --config C"));
        assert_eq!(completed("start", "no-kubeconfig: false").as_deref(), Ok("start --config C"));
    }

    #[test]
    fn a_slip_in_a_file_does_not_keep_a_node_from_being_stopped() {
        let file = "node-name: n\nno-such-key: 1\nlog-format: loud\n";
        for command in ["stop", "delete", "status", "version"] {
            assert_eq!(completed(command, file), Ok(format!("--node-name=n {command} --config C")));
            assert_eq!(completed(command, "- no mapping"), Ok(format!("{command} --config C")));
        }
        assert!(completed("start", file).is_err() && completed("check", file).is_err());
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (file, wanted) in [
            ("\nclustr-cidr: 10.1.0.0/16\n", "line 2: unknown key clustr-cidr; did you mean cluster-cidr?"),
            ("clusterCIDR: 10.1.0.0/16\n", "line 1: unknown key clusterCIDR; did you mean cluster-cidr?"),
            ("secure-port: many\n", "line 1: invalid value 'many' for '--secure-port"),
            ("node-name: a\nroot: /x\n", "line 2: root can only be given on the command line"),
            ("no-kubeconfig: perhaps\n", "no-kubeconfig is true or false"),
            ("node-name: [a, b]\n", "node-name takes one value"),
            ("disable: [etcd]\n", "invalid value 'etcd' for '--disable"),
        ] {
            let said = completed("start", file).unwrap_err();
            assert!(said.contains(wanted), "{file:?}: {said}");
        }
    }

    /// Flag, environment and key have one name, for whatever a file may set.
    #[test]
    fn every_key_has_its_variable() {
        for (name, arg) in known() {
            let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
            let expected = match name.as_str() {
                "kubeconfig" => "KUBECONFIG".to_owned(),
                name => format!("KEDGE_{}", name.to_uppercase().replace('-', "_")),
            };
            assert_eq!(variable, Some(expected), "{name}");
        }
    }

    #[test]
    fn values_are_quoted_where_yaml_reads_them_otherwise() {
        assert_eq!([quoted("a-b"), quoted("*"), quoted("a: b"), quoted("")], ["a-b", "'*'", "'a: b'", "''"]);
    }
}
