//! Pipes for connections that move much at once, so many at most. Not here: what goes through them (`pump`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

/// Asked for; a user who is not root gets 64 MiB of pipes altogether (`fs.pipe-user-pages-soft`, `pipe(7)`), and smaller
/// ones after that, which do as well.
const PIPE_BYTES: usize = 256 << 10;
/// What a pipe has without asking (`pipe(7)`, *Pipe capacity*).
const PIPE_BYTES_DEFAULT: usize = 64 << 10;

/// How many there may be still.
#[derive(Clone, Debug)]
pub(super) struct Pipes {
    free: Arc<Semaphore>,
}

impl Pipes {
    pub(super) fn new(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// One of them; `None` where all are taken, or the process is out of descriptors: then bytes are copied.
    pub(super) fn take(&self) -> Option<Pipe> {
        let place = Arc::clone(&self.free).try_acquire_owned().ok()?;
        match Pipe::open(place) {
            Ok(pipe) => Some(pipe),
            Err(error) => {
                debug!(%error, "no pipe");
                None
            }
        }
    }
}

/// A pipe, until it is dropped.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    size: usize,
    _place: OwnedSemaphorePermit,
}

impl Pipe {
    fn open(place: OwnedSemaphorePermit) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let size = fcntl_setpipe_size(&write, PIPE_BYTES).unwrap_or(PIPE_BYTES_DEFAULT);
        Ok(Self {
            read,
            write,
            size,
            _place: place,
        })
    }

    pub(super) fn read(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    pub(super) fn write(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// How many bytes it takes at once.
    pub(super) fn size(&self) -> usize {
        self.size
    }
}
