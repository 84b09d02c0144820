//! What can go wrong with a request.

use serde::Deserialize;
use serde_json::Value;

/// The server's `metav1.Status`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ApiStatus {
    pub code: u16,
    pub reason: String,
    pub message: String,
    pub details: Value,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with an error status; its message says all.
    #[error("{}", .0.message)]
    Api(ApiStatus),
    /// No answer: try again.
    #[error("{doing}: {cause}")]
    Transport { doing: String, cause: String },
    /// The answer is not what the kind promises.
    #[error("reading the answer to {doing}: {cause}")]
    Decode { doing: String, cause: String },
    /// The client could not be set up from its configuration.
    #[error("{0}")]
    Config(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn code(&self) -> Option<u16> {
        match self {
            Error::Api(status) => Some(status.code),
            Error::Transport { .. } | Error::Decode { .. } | Error::Config(_) => None,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Error::Api(status) => &status.reason,
            Error::Transport { .. } | Error::Decode { .. } | Error::Config(_) => "",
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    pub fn is_already_exists(&self) -> bool {
        self.reason() == "AlreadyExists"
    }

    /// The resourceVersion (or a precondition) did not match.
    pub fn is_conflict(&self) -> bool {
        self.reason() == "Conflict"
    }

    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// The resourceVersion is too old: list again.
    pub fn is_gone(&self) -> bool {
        self.code() == Some(410)
    }

    /// The same request may succeed later without any change by the caller.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Api(status) => {
                matches!(status.code, 409 | 429 | 500 | 503 | 504) && !self.is_already_exists()
            }
            Error::Transport { .. } => true,
            Error::Decode { .. } | Error::Config(_) => false,
        }
    }
}
