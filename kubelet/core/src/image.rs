//! When an image is pulled, and what is said about it.

use std::time::Duration;

use kedge_api::pod::Container;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Use,
    Pull,
    /// `imagePullPolicy: Never` and the image is not here.
    Refuse,
}

pub fn need(container: &Container, present: bool) -> Need {
    match (container.image_pull_policy.as_str(), present) {
        ("Always", _) => Need::Pull,
        (_, true) => Need::Use,
        ("Never", false) => Need::Refuse,
        (_, false) => Need::Pull,
    }
}

/// `1.234s`, `87ms`: the duration of a pull as upstream prints it.
pub fn pull_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let fraction = format!("{:03}", ms % 1000);
    let fraction = fraction.trim_end_matches('0');
    let seconds = ms / 1000;
    let second = match fraction {
        "" => format!("{}s", seconds % 60),
        fraction => format!("{}.{fraction}s", seconds % 60),
    };
    if seconds < 60 { second } else { format!("{}m{second}", seconds / 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        for (policy, present, expected) in [
            ("Always", true, Need::Pull),
            ("IfNotPresent", true, Need::Use),
            ("IfNotPresent", false, Need::Pull),
            ("Never", true, Need::Use),
            ("Never", false, Need::Refuse),
        ] {
            let container = Container { image_pull_policy: policy.into(), ..Container::default() };
            assert_eq!(need(&container, present), expected, "{policy} {present}");
        }
    }

    #[test]
    fn durations() {
        for (ms, text) in [(87, "87ms"), (1000, "1s"), (1230, "1.23s"), (61_005, "1m1.005s")] {
            assert_eq!(pull_duration(Duration::from_millis(ms)), text);
        }
    }
}
