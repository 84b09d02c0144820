//! `cargo xtask sim`: fresh seeds until the time is up, over every simulated core in turn; or one seed again.
//!
//! A seed that fails is printed with what it broke, and the program ends with 1: `--seed N` replays it.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Writes and crashes of one run of the store.
const STORE_STEPS: usize = 200;

type Run = fn(u64) -> Result<(), String>;

const WORLDS: [(&str, Run); 4] = [
    ("controllers", kedge_sim::controllers::run),
    ("pod", kedge_sim::pod::run),
    ("scheduler", kedge_sim::scheduler::run),
    ("store", store),
];

fn store(seed: u64) -> Result<(), String> {
    kedge_sim::store::run(seed, STORE_STEPS)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--minutes", minutes] => match minutes.parse::<f64>() {
            Ok(minutes) if minutes > 0.0 => explore(Duration::from_secs_f64(minutes * 60.0)),
            _ => usage(),
        },
        ["--seed", seed] => seed.parse().map_or_else(|_| usage(), |seed| report(replay(seed))),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: sim --minutes N | --seed N");
    ExitCode::from(2)
}

fn explore(limit: Duration) -> ExitCode {
    let began = Instant::now();
    // The clock only picks where to begin; each run is a function of its seed.
    let first = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() << 20;
    let mut count = 0;
    while began.elapsed() < limit {
        let ended = replay(first + count);
        if ended.is_err() {
            return report(ended);
        }
        count += 1;
    }
    println!("{count} seeds from {first}: clean ({:.0} s)", began.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn replay(seed: u64) -> Result<(), String> {
    for (world, run) in WORLDS {
        run(seed).map_err(|broken| format!("{world}, seed {seed}: {broken}"))?;
    }
    Ok(())
}

fn report(ended: Result<(), String>) -> ExitCode {
    match ended {
        Ok(()) => {
            println!("clean");
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}
