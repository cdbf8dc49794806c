//! Moves bytes between two sockets: half-close, backpressure, and no buffer while there is nothing to move.
//!
//! `tokio::io::copy_bidirectional` holds both buffers for the life of the connection: 128 KiB for an idle keep-alive
//! connection at the size that bulk transfers want. Here a buffer exists from the first byte of a burst to the last.

use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::try_join;
use rustix::pipe::{SpliceFlags, splice as splice_fd};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::task::unconstrained;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::pipe::{Pipe, Pipes};

/// Of the first read of a burst: enough for a request or a small answer.
const SMALL_BYTES: usize = 8 << 10;
/// Once a read has filled the small one. Measured: 8 KiB costs 1.3 CPU seconds per GiB, 64 KiB 0.5, 256 KiB 0.4.
const LARGE_BYTES: usize = 64 << 10;

/// Forwards both directions until both have ended. When one side breaks, the other is reset: a FIN would tell it that
/// what it has is all there is.
///
/// # Errors
/// A read failed, nothing has moved for `idle`, or it was cut; both are reset.
pub(super) async fn both(
    mut client: TcpStream,
    mut upstream: TcpStream,
    idle: Option<Duration>,
    pipes: &Pipes,
    cut: &CancellationToken,
) -> io::Result<()> {
    // Cancel safety: whatever was not moved yet ends with both connections.
    let result = tokio::select! {
        biased;
        () = cut.cancelled() => Err(io::Error::other("cut: nothing may lead to the replica any more")),
        result = both_ways(&mut client, &mut upstream, idle, pipes) => result,
    };
    if result.is_err() {
        reset(&client);
        reset(&upstream);
    }
    result
}

async fn both_ways(
    client: &mut TcpStream,
    upstream: &mut TcpStream,
    idle: Option<Duration>,
    pipes: &Pipes,
) -> io::Result<()> {
    let (client_read, client_write) = client.split();
    let (upstream_read, upstream_write) = upstream.split();
    let moved = AtomicU64::new(0);
    let there = pin!(one_way(client_read, upstream_write, &moved, pipes));
    let back = pin!(one_way(upstream_read, client_write, &moved, pipes));
    // Cancel safety: whichever ends first, both connections end with it.
    tokio::select! {
        result = try_join(there, back) => result.map(drop),
        error = stall(&moved, idle) => Err(error),
    }
}

/// Ends when nothing has moved for `idle`, at most a quarter of it later.
pub(super) async fn stall(moved: &AtomicU64, idle: Option<Duration>) -> io::Error {
    let Some(idle) = idle else {
        return pending().await;
    };
    let (mut seen, mut quarters) = (moved.load(Ordering::Relaxed), 0);
    let mut pace = interval((idle / 4).max(Duration::from_millis(1)));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace.tick().await;
    loop {
        pace.tick().await;
        let now = moved.load(Ordering::Relaxed);
        quarters = if now == seen { quarters + 1 } else { 0 };
        seen = now;
        if quarters >= 4 {
            return io::ErrorKind::TimedOut.into();
        }
    }
}

/// Makes the close that follows a reset instead of a FIN.
pub(super) fn reset(stream: &TcpStream) {
    // It fails only for a socket that is no more, and then nobody is there to be told.
    stream.set_zero_linger().ok();
}

/// Forwards one direction until `from` ends, then ends `to`. Ends also when `to` cannot be written, and without an
/// error: what `to` has sent before it broke is still on its way through the other direction, which will find out.
async fn one_way(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    moved: &AtomicU64,
    pipes: &Pipes,
) -> io::Result<()> {
    let mut pipe = None;
    loop {
        from.readable().await?;
        if let Some(pipe) = &pipe {
            match splice(&from, &to, pipe, moved).await? {
                Spliced::Some => continue,
                Spliced::All => {
                    to.shutdown().await.ok();
                    return Ok(());
                }
                Spliced::Unwritable => return Ok(()),
            }
        }
        let mut buffer = Vec::with_capacity(SMALL_BYTES);
        loop {
            match read_now(&mut from, &mut buffer)? {
                Some(0) => {
                    // Fails when `to` has gone: then both directions have ended.
                    to.shutdown().await.ok();
                    return Ok(());
                }
                Some(count) => {
                    moved.fetch_add(1, Ordering::Relaxed);
                    if to.write_all(&buffer).await.is_err() {
                        return Ok(());
                    }
                    moved.fetch_add(1, Ordering::Relaxed);
                    buffer.clear();
                    if count == SMALL_BYTES && buffer.capacity() < LARGE_BYTES {
                        buffer = Vec::with_capacity(LARGE_BYTES);
                    } else if count == LARGE_BYTES {
                        pipe = pipes.take();
                        if pipe.is_some() {
                            break;
                        }
                    }
                }
                None => break,
            }
        }
    }
}

/// Reads what is there now; nothing, and without asking the kernel again, when the last read was not filled: tokio knows
/// by that, which `try_read_buf` leaves out.
///
/// It takes nothing of the task's budget (`tokio::task::coop`): without any left, a read would say that there is nothing,
/// and `readable` at once that there is something, for ever. Whoever reads in a loop has to wait for something else in it
/// that does, as for a write.
pub(super) fn read_now(from: &mut ReadHalf<'_>, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
    unconstrained(from.read_buf(buffer))
        .now_or_never()
        .transpose()
}

/// What came of one round through a pipe.
enum Spliced {
    /// Something was moved.
    Some,
    /// There is nothing more to come.
    All,
    /// It cannot be written any more.
    Unwritable,
}

/// Moves what there is through the pipe: from socket to socket without a copy into this process. The pipe is empty before
/// and after.
async fn splice(
    from: &ReadHalf<'_>,
    to: &WriteHalf<'_>,
    pipe: &Pipe,
    moved: &AtomicU64,
) -> io::Result<Spliced> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    let source = from.as_ref();
    let fill = || {
        let filled = splice_fd(source, None, pipe.write(), None, pipe.size(), flags);
        filled.map_err(io::Error::from)
    };
    let mut left = source.async_io(Interest::READABLE, fill).await?;
    if left == 0 {
        return Ok(Spliced::All);
    }
    moved.fetch_add(1, Ordering::Relaxed);
    let sink = to.as_ref();
    while left > 0 {
        let drain = || {
            let drained = splice_fd(pipe.read(), None, sink, None, left, flags);
            drained.map_err(io::Error::from)
        };
        match sink.async_io(Interest::WRITABLE, drain).await {
            Ok(0) | Err(_) => return Ok(Spliced::Unwritable),
            Ok(count) => left = left.saturating_sub(count),
        }
        moved.fetch_add(1, Ordering::Relaxed);
    }
    Ok(Spliced::Some)
}
