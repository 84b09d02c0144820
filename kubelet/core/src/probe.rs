//! A probe of one container as a machine.
//!
//! ```text
//!   waiting ──due──▶ running ──result──▶ waiting        (startup: ends with its first success)
//!                        └── failureThreshold in a row ──▶ tripped (liveness, startup: the container is restarted)
//! ```
//! Liveness and readiness wait for the startup probe. The shell runs the probe and times it; jitter comes in as an argument.

use std::time::Duration;

use kedge_api::IntOrString;
use kedge_api::pod::{Container, Probe};

use crate::Moment;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Startup, Kind::Liveness, Kind::Readiness];

    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Kind::Startup => container.startup_probe.as_deref(),
            Kind::Liveness => container.liveness_probe.as_deref(),
            Kind::Readiness => container.readiness_probe.as_deref(),
        }
    }

    fn title(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
        }
    }
}

/// What one run of a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure(String),
    /// The probe itself could not be run; it counts for nothing.
    Unknown(String),
}

/// What follows from an outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// The message of an `Unhealthy` event.
    pub event: Option<String>,
    /// The probe's result, once its threshold is reached.
    pub result: Option<bool>,
}

/// Before the first liveness probe of a container that asks for no delay.
const LIVENESS_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub kind: Kind,
    probe: Probe,
    started_at: Moment,
    next: Moment,
    running: bool,
    /// Nothing more comes of it: the startup probe has succeeded, or the container is to be restarted.
    over: bool,
    last: Option<bool>,
    in_a_row: i32,
}

impl Machine {
    /// `jitter` delays the first run; it is zero except after the node agent's own start, when all pods begin at once.
    pub fn new(kind: Kind, probe: &Probe, started_at: Moment, now: Moment, jitter: Duration) -> Machine {
        let first = started_at.after_s(i64::from(probe.initial_delay_seconds.max(0)));
        // A server that has just begun is no dead one: upstream's first look comes within a period (`liveness-http-404`).
        let settles = kind == Kind::Liveness && probe.initial_delay_seconds <= 0;
        let first =
            if settles { first.after(LIVENESS_AFTER.min(seconds(probe.period_seconds))) } else { first };
        Machine {
            kind,
            probe: probe.clone(),
            started_at,
            next: first.max(now).after(jitter),
            running: false,
            over: false,
            last: None,
            in_a_row: 0,
        }
    }

    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    pub fn timeout(&self) -> Duration {
        seconds(self.probe.timeout_seconds)
    }

    /// When the probe wants to run; None while it runs, or for ever.
    pub fn due(&self, container_started: bool) -> Option<Moment> {
        let waits = match self.kind {
            Kind::Startup => false,
            Kind::Liveness | Kind::Readiness => !container_started,
        };
        (!waits && !self.running && !self.over).then_some(self.next)
    }

    /// Marks the probe as running.
    pub fn begin(&mut self) {
        self.running = true;
    }

    pub fn finish(&mut self, outcome: &Outcome, now: Moment) -> Finding {
        self.running = false;
        self.next = self.next.after(seconds(self.probe.period_seconds)).max(now);
        let title = self.kind.title();
        let (good, event) = match outcome {
            Outcome::Success => (true, None),
            Outcome::Failure(output) => (false, Some(format!("{title} probe failed: {output}"))),
            Outcome::Unknown(cause) => {
                let event = format!("{title} probe errored and resulted in unknown state: {cause}");
                return Finding { event: Some(event), result: None };
            }
        };
        self.in_a_row = if self.last == Some(good) { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(good);
        let threshold = if good { self.probe.success_threshold } else { self.probe.failure_threshold };
        if self.in_a_row < threshold.max(1) {
            return Finding { event, result: None };
        }
        self.over = match self.kind {
            Kind::Startup => true,
            Kind::Liveness => !good,
            Kind::Readiness => false,
        };
        Finding { event, result: Some(good) }
    }

    /// The Killing message of a container that failed this probe.
    /// As messages name the probe: `liveness`.
    pub fn title(&self) -> String {
        self.kind.title().to_lowercase()
    }

    pub fn is_of(&self, started_at: Moment) -> bool {
        self.started_at == started_at
    }
}

fn seconds(count: i32) -> Duration {
    Duration::from_secs(u64::try_from(count.max(1)).unwrap_or(1))
}

/// A port by number, or by the name of one of the container's ports.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named =
                container.ports.iter().find(|port| port.name == *name).map(|port| port.container_port);
            named.or_else(|| name.parse().ok()).ok_or_else(|| format!("couldn't find port: {name}"))?
        }
    };
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("invalid port number: {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `steps`: seconds and outcome of each run (`+`, `-`, `?`); `expected`: results by letter, `.` for none yet.
    fn check(kind: Kind, probe: serde_json::Value, steps: &str, expected: &str) {
        let probe: Probe = serde_json::from_value(probe).unwrap();
        let mut machine = Machine::new(kind, &probe, Moment(0), Moment(0), Duration::ZERO);
        let mut seen = String::new();
        for step in steps.chars() {
            let Some(at) = machine.due(true) else {
                seen.push('x');
                continue;
            };
            machine.begin();
            assert_eq!(machine.due(true), None, "never twice at once");
            let outcome = match step {
                '+' => Outcome::Success,
                '-' => Outcome::Failure("no".into()),
                _ => Outcome::Unknown("exec".into()),
            };
            seen.push(match machine.finish(&outcome, at).result {
                None => '.',
                Some(true) => '+',
                Some(false) => '-',
            });
        }
        assert_eq!(seen, expected, "{kind:?} {steps}");
    }

    #[test]
    fn thresholds() {
        let three = || serde_json::json!({"failureThreshold": 3, "successThreshold": 1, "periodSeconds": 10});
        check(Kind::Liveness, three(), "++--+---+", "++..+..-x");
        check(Kind::Readiness, three(), "---+---", "..-+..-");
        check(Kind::Startup, three(), "--+-", "..+x");
        check(Kind::Startup, three(), "---+", "..-x");
        check(Kind::Liveness, three(), "-?--", "...-");
        check(Kind::Readiness, serde_json::json!({"successThreshold": 2}), "+-++", ".-.+");
    }

    #[test]
    fn timing() {
        let probe: Probe =
            serde_json::from_value(serde_json::json!({"initialDelaySeconds": 5, "periodSeconds": 10}))
                .unwrap();
        let jitter = Duration::from_millis(300);
        let mut machine = Machine::new(Kind::Readiness, &probe, Moment(1_000), Moment(2_000), jitter);
        assert_eq!(machine.due(false), None, "waits for the startup probe");
        assert_eq!(machine.due(true), Some(Moment(6_300)));
        machine.begin();
        machine.finish(&Outcome::Success, Moment(7_000));
        assert_eq!(machine.due(true), Some(Moment(16_300)), "the period does not drift");
        assert_eq!(machine.timeout(), Duration::from_secs(1));
        let plain = serde_json::from_value(serde_json::json!({"periodSeconds": 10})).unwrap();
        for (kind, due) in [(Kind::Readiness, 0), (Kind::Startup, 0), (Kind::Liveness, 1_000)] {
            let machine = Machine::new(kind, &plain, Moment(0), Moment(0), Duration::ZERO);
            assert_eq!(machine.due(true), Some(Moment(due)), "{kind:?}");
        }
    }

    #[test]
    fn ports() {
        let container: Container = serde_json::from_value(
            serde_json::json!({"name": "c", "ports": [{"name": "web", "containerPort": 80}]}),
        )
        .unwrap();
        for (text, expected) in [
            (IntOrString::Int(8080), Ok(8080)),
            (IntOrString::String("web".into()), Ok(80)),
            (IntOrString::String("81".into()), Ok(81)),
            (IntOrString::String("none".into()), Err("couldn't find port: none".to_owned())),
            (IntOrString::Int(0), Err("invalid port number: 0".to_owned())),
        ] {
            assert_eq!(port(&text, &container), expected);
        }
    }
}
