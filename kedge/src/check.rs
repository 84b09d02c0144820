//! `kedge check`: what this machine lacks and how to mend it; and its required questions before a start, with what costs time
//! left out, so that a start which must fail is refused before anything is made.

use crate::control;
use crate::failure::{Failure, Outcome};
use crate::options::{CheckOptions, Output, Part, StartOptions};
use crate::probes::{Machine, PROBES, Probe};
use crate::site::SiteOptions;
use kedge_machinery::Roots;
use serde::Serialize;

/// One finding.
#[derive(Debug, Serialize)]
struct Finding {
    feature: &'static str,
    /// `ok`, `missing` (kedge cannot run) or `degraded` (it runs with less).
    verdict: &'static str,
    detail: String,
    /// What to do about it; empty when all is well.
    mend: &'static str,
}

pub fn check(site: &SiteOptions, options: &CheckOptions) -> Outcome {
    let mut roots = site.roots()?;
    roots.ports.api = options.secure_port;
    let ports = if control::is_running(&roots) { Vec::new() } else { listening(&roots, &options.disable) };
    let machine = Machine { roots: &roots, ports: &ports, is_thorough: true };
    let findings: Vec<Finding> =
        PROBES.iter().map(|probe| examine(probe, &machine, &options.without)).collect();
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&findings).unwrap_or_default()),
        Output::Text => findings.iter().for_each(print),
    }
    let missing = findings.iter().filter(|finding| finding.verdict == "missing").count();
    if missing == 0 {
        Ok(())
    } else {
        Err(Failure::new(format!("{missing} things are missing on this machine")))
    }
}

/// Refuses a start that cannot succeed: one sentence with everything that is missing. Nothing has been made yet.
pub fn refuse(roots: &Roots, options: &StartOptions) -> Outcome {
    if control::is_running(roots) {
        let text = "kedge is running already: see `kedge status`, or end it with `kedge stop` first";
        return Err(Failure::new(text));
    }
    let ports = listening(roots, &options.disable);
    let machine = Machine { roots, ports: &ports, is_thorough: false };
    let missing: Vec<String> = PROBES
        .iter()
        .filter(|probe| probe.required)
        .map(|probe| examine(probe, &machine, &options.without))
        .filter(|finding| finding.verdict == "missing")
        .map(|finding| format!("{}: {}: {}", finding.feature, finding.detail, finding.mend))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Failure::new(missing.join("; "))) }
}

/// The ports of the parts that are not left to others.
fn listening(roots: &Roots, disabled: &[Part]) -> Vec<u16> {
    let runs = |part: Part| !disabled.contains(&Part::Kubelet) && !disabled.contains(&part);
    let ports = roots.ports;
    [
        (true, ports.api),
        (runs(Part::Kubelet), ports.kubelet),
        (runs(Part::Kubelet), ports.kubelet_health),
        (runs(Part::Proxy), ports.proxy_health),
        (runs(Part::Dns), ports.dns),
    ]
    .into_iter()
    .filter_map(|(runs, port)| runs.then_some(port))
    .collect()
}

fn examine(probe: &Probe, machine: &Machine<'_>, hidden: &[String]) -> Finding {
    let hidden = hidden.iter().any(|name| name == probe.feature);
    let result = if hidden { Err("treated as missing (--without)".to_owned()) } else { (probe.run)(machine) };
    let (verdict, detail, mend) = match result {
        Ok(detail) => ("ok", detail, ""),
        Err(detail) if probe.required => ("missing", detail, probe.mend),
        Err(detail) => ("degraded", detail, probe.mend),
    };
    Finding { feature: probe.feature, verdict, detail, mend }
}

fn print(finding: &Finding) {
    println!("{:<9} {:<16} {}", finding.verdict, finding.feature, finding.detail);
    if !finding.mend.is_empty() {
        println!("{:<26} -> {}", "", finding.mend);
    }
}
