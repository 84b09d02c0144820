use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("mount a bpffs at {path}")]
    Mount { path: PathBuf, source: io::Error },
    /// The kernel's verifier or loader refused; the cause carries its words.
    #[error("load eBPF: {what}")]
    Load {
        what: String,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{doing}")]
    Bpf { doing: String, source: io::Error },
    #[error("{doing}")]
    Netlink { doing: String, source: io::Error },
    /// A task that should run for ever ended.
    #[error("ended unexpectedly: {0}")]
    Ended(String),
}

pub(crate) trait Doing<T> {
    /// Says what was being done when bpf(2) failed.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Bpf { doing: doing(), source })
    }
}
