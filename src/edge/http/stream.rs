//! A client's connection, and the bound on how long it may not read what is sent to it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Interval, interval};

use super::activity::Activity;

/// Ends what does not move for some time.
#[derive(Debug)]
pub(super) struct Patience {
    idle: Duration,
    timer: Option<Interval>,
    is_waiting: bool,
}

impl Patience {
    pub(super) fn new(idle: Duration) -> Self {
        Self {
            idle: idle.max(Duration::from_millis(1)),
            timer: None,
            is_waiting: false,
        }
    }

    /// For how long nothing may move, from the next time on.
    pub(super) fn set(&mut self, idle: Duration) {
        self.idle = idle.max(Duration::from_millis(1));
        self.is_waiting = false;
    }

    /// Nothing moves: ready when that has been so for long enough, and then again after as long. The timer stays when
    /// something moves: that it is put off costs less than another one.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        let timer = self.timer.get_or_insert_with(|| interval(idle));
        if !self.is_waiting {
            self.is_waiting = true;
            timer.reset_after(idle);
        }
        let ended = timer.poll_tick(context).map(drop);
        self.is_waiting = ended.is_pending();
        ended
    }

    /// Something has moved.
    pub(super) fn renew(&mut self) {
        self.is_waiting = false;
    }
}

/// What is written at once without a vector, which costs the kernel more than a copy of so little.
const SMALL_BYTES: usize = 2 << 10;

/// Writes slices, those of a small message as one.
fn poll_write_slices(
    stream: &mut TcpStream,
    context: &mut Context<'_>,
    slices: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    if let [one] = slices {
        return stream.poll_write(context, one);
    }
    let mut small = [0; SMALL_BYTES];
    let mut length = 0;
    for slice in slices {
        let Some(room) = small.get_mut(length..length + slice.len()) else {
            return stream.poll_write_vectored(context, slices);
        };
        room.copy_from_slice(slice);
        length += slice.len();
    }
    stream.poll_write(context, small.get(..length).unwrap_or_default())
}

/// A connection to a replica.
#[derive(Debug)]
pub(super) struct ReplicaStream(pub(super) TcpStream);

impl AsyncRead for ReplicaStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for ReplicaStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_slices(&mut self.0, context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct ClientStream {
    stream: TcpStream,
    /// What was read of it already.
    before: Bytes,
    patience: Patience,
    activity: Arc<Activity>,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream, idle: Duration, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            before: Bytes::new(),
            patience: Patience::new(idle),
            activity,
        }
    }

    /// The same, of which `before` was read and is to be read again.
    pub(super) fn with(mut self, before: Bytes) -> Self {
        self.before = before;
        self.activity.record().shrink();
        // A connection that rests needs no timer.
        self.patience = Patience::new(self.patience.idle);
        self
    }

    /// Ends when there may be something to read.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if self.before.is_empty() {
            self.stream.readable().await?;
        }
        Ok(())
    }

    pub(super) fn into_inner(self) -> TcpStream {
        self.stream
    }

    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.patience.renew();
            return written;
        }
        self.patience
            .poll_end(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            // It was recorded when it was read first.
            let count = self.before.len().min(buffer.remaining());
            buffer.put_slice(&self.before.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            let new = buffer.filled().get(before..);
            self.activity.record().add(new.unwrap_or_default());
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = poll_write_slices(&mut self.stream, context, slices);
        self.written(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls it when it has written everything that it holds.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.activity.flushed();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
