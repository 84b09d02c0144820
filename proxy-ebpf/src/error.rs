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
    #[error("no cgroup2 mount for the socket programs")]
    NoCgroup2,
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
