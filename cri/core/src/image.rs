//! What an image config says about the process, in plain fields.

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME=value`, in the image's order.
    pub env: Vec<String>,
    /// `user`, `uid`, `user:group`, `uid:gid`, or empty.
    pub user: String,
    pub working_dir: String,
    /// Paths declared by VOLUME.
    pub volumes: Vec<String>,
    /// `SIGTERM`, `15`, or empty.
    pub stop_signal: String,
}
