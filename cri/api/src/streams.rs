//! Streams of exec, attach and port-forward, and the event feed.

use crate::RuntimeEvent;

/// A connected bidirectional byte stream.
pub trait ByteStream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> ByteStream for T {}

pub type BoxRead = Box<dyn tokio::io::AsyncRead + Send + Unpin>;
pub type BoxWrite = Box<dyn tokio::io::AsyncWrite + Send + Unpin>;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSyncResponse {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit_code: i32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecRequest {
    pub cmd: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachRequest {
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    pub width: u16,
    pub height: u16,
}

/// The near end of a running exec or attach. Dropping `stdin` closes the far stdin; dropping everything ends the exec's tree.
pub struct ExecStreams {
    pub stdin: Option<BoxWrite>,
    pub stdout: Option<BoxRead>,
    /// None with a tty: both come through `stdout`.
    pub stderr: Option<BoxRead>,
    /// Window sizes; None without a tty.
    pub resize: Option<tokio::sync::mpsc::Sender<TerminalSize>>,
    /// The exit code, once the process has ended (attach: when the container has).
    pub exit: tokio::sync::oneshot::Receiver<crate::Result<i32>>,
}

pub type EventReceiver = tokio::sync::broadcast::Receiver<RuntimeEvent>;
