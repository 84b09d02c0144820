//! `round`: shards that are too long for every landing. Whoever ran one commits its line in `tests/rounds.tsv`.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

const DATES: &str = "tests/rounds.tsv";

struct Shard {
    name: &'static str,
    what: &'static str,
    cargo: &'static [&'static str],
}

const SHARDS: &[Shard] = &[
    Shard {
        name: "sim",
        what: "all cores under virtual time, every saved seed",
        cargo: &["test", "--profile", "ci", "--package", "kedge-sim"],
    },
    Shard {
        name: "vm-6.1",
        what: "privileged and spine on Debian 12's kernel: cgroup v2, clsact (`cargo xtask dist` first)",
        cargo: &["xtask", "vm", "6.1"],
    },
    Shard {
        name: "vm-6.12",
        what: "the same on the backports' kernel: cgroup v2, tcx",
        cargo: &["xtask", "vm", "6.12"],
    },
    Shard {
        name: "pods",
        what: "recorded pod lives that take minutes",
        cargo: &[
            "test",
            "--profile",
            "ci",
            "--package",
            "kedge-conformance",
            "--test",
            "pods",
            "--",
            "--ignored",
        ],
    },
    Shard {
        name: "conformance-long",
        what: "upstream's specs that take at least 100 s by design",
        cargo: &["xtask", "conformance", "--all", "--phase", "long"],
    },
    Shard {
        name: "conformance-serial",
        what: "upstream's specs that must run alone",
        cargo: &["xtask", "conformance", "--all", "--phase", "serial"],
    },
    Shard {
        name: "bench",
        what: "the numbers of docs/SPECIFICATION.md that have a bench",
        cargo: &["xtask", "bench"],
    },
];

pub fn run(root: &Path, name: Option<&str>) -> Result<(), String> {
    let path = root.join(DATES);
    let dates = std::fs::read_to_string(&path).map_err(|error| format!("{DATES}: {error}"))?;
    let Some(name) = name else {
        for shard in SHARDS {
            println!("{:<20} {:<24} {}", shard.name, last(&dates, shard.name), shard.what);
        }
        return Ok(());
    };
    let shard = SHARDS.iter().find(|shard| shard.name == name);
    let shard = shard.ok_or_else(|| format!("no shard {name}: `cargo xtask round` lists them"))?;
    let start = Instant::now();
    let result = crate::embed::cargo(root, shard.cargo);
    let outcome = if result.is_ok() { "green" } else { "red" };
    let line = format!("{name}\t{}\t{}\t{outcome}\n", today()?, start.elapsed().as_secs());
    std::fs::write(&path, dates + &line).map_err(|error| format!("{DATES}: {error}"))?;
    result
}

/// When a shard ran last and how it ended.
fn last(dates: &str, name: &str) -> String {
    let mut lines = dates.lines().filter_map(|line| line.split_once('\t'));
    let run = lines.rfind(|(shard, _)| *shard == name);
    run.map_or_else(|| "never".to_owned(), |(_, rest)| rest.replace('\t', " "))
}

fn today() -> Result<String, String> {
    let output = Command::new("date")
        .args(["-u", "+%F"])
        .output()
        .map_err(|error| format!("running date: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_counts() {
        let dates = "shard\tdate\tseconds\toutcome\nsim\t2026-01-01\t9\tred\nsim\t2026-01-02\t8\tgreen\n";
        assert_eq!(last(dates, "sim"), "2026-01-02 8 green");
        assert_eq!(last(dates, "bench"), "never");
    }
}
