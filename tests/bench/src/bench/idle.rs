//! What a node costs that does nothing but keep two pods.

use std::time::Duration;

use crate::bench::pods;
use crate::node::{self, Node};
use crate::{Outcome, report};

const SETTLE: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_secs(60);

pub fn run() -> Outcome {
    let node = Node::start()?;
    let mut api = node.api()?;
    for name in ["one", "two"] {
        pods::start(&mut api, name)?;
    }
    std::thread::sleep(SETTLE);
    let before = (node::cpu_ms(node.pid), node::wakeups(node.pid));
    std::thread::sleep(WINDOW);
    let cpu = node::cpu_ms(node.pid) - before.0;
    let wakeups = node::wakeups(node.pid) - before.1;
    let kb = |file: &str, field: &str| node::kb(node.pid, file, field).unwrap_or(f64::NAN) / 1024.0;
    report::line("idle node with two pods: RSS", kb("status", "VmRSS"), "MB", "120 MB");
    report::line("  of it the binary's own pages", kb("status", "RssFile"), "MB", "-");
    report::line("  highest RSS since the start", kb("status", "VmHWM"), "MB", "-");
    report::line("idle CPU", cpu / WINDOW.as_millis() as f64 * 100.0, "%", "0.5 % of a core");
    report::line("idle wakeups", wakeups / WINDOW.as_secs_f64(), "/s", "-");
    Ok(())
}

pub fn size() -> Outcome {
    let path = node::binary()?;
    let bytes = std::fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?.len();
    report::line("binary", bytes as f64 / 1e6, "MB", "40 MB");
    Ok(())
}
