//! Events of pods and of the node, with upstream's reasons and messages. Counting and combining is the recorder's
//! (`base/client`).

use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Normal,
    Warning,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub severity: Severity,
    pub reason: Cow<'static, str>,
    pub message: String,
    /// The container that it is about.
    pub container: Option<String>,
}

impl Event {
    pub fn normal(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Event {
        Event { severity: Severity::Normal, reason: reason.into(), message: message.into(), container: None }
    }

    pub fn warning(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Event {
        Event { severity: Severity::Warning, reason: reason.into(), message: message.into(), container: None }
    }

    pub fn of(mut self, container: &str) -> Event {
        self.container = Some(container.to_owned());
        self
    }
}
