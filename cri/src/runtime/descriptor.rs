//! A pipe or terminal as an asynchronous stream.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub struct Descriptor {
    fd: AsyncFd<OwnedFd>,
    dropped: Option<Box<dyn FnOnce() + Send>>,
}

impl Descriptor {
    #[expect(deprecated, reason = "sound for an OwnedFd that is never replaced; `register` is an unsafe fn")]
    pub fn new(fd: OwnedFd) -> io::Result<Descriptor> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Descriptor { fd: AsyncFd::new(fd)?, dropped: None })
    }

    pub fn when_dropped(&mut self, act: impl FnOnce() + Send + 'static) {
        self.dropped = Some(Box::new(act));
    }

    /// Appends what can be read without waiting, up to a total of `len_max`.
    pub fn take_rest(&mut self, into: &mut Vec<u8>, len_max: usize) {
        let mut chunk = vec![0; 32 * 1024];
        while into.len() < len_max
            && let Ok(len @ 1..) = rustix::io::read(self.fd.get_ref(), &mut chunk)
        {
            into.extend_from_slice(&chunk[..len.min(len_max - into.len())]);
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if let Some(act) = self.dropped.take() {
            act();
        }
    }
}

impl AsyncRead for Descriptor {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(context))?;
            let read = guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), buffer.initialize_unfilled())?));
            match read {
                Ok(Ok(len)) => {
                    buffer.advance(len);
                    return Poll::Ready(Ok(()));
                }
                // A terminal whose last process is gone: its end of file.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Descriptor {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.fd.poll_write_ready(context))?;
            match guard.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A pipe ends when it is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
