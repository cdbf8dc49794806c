//! Moves bytes between two sockets: half-close, backpressure, and no buffer while there is nothing to move.
//!
//! `tokio::io::copy_bidirectional` holds both buffers for the life of the connection: 128 KiB for an idle keep-alive
//! connection at the size that bulk transfers want. Here a buffer exists from the first byte of a burst to the last.

use std::io;
use std::pin::pin;

use futures::future::try_join;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// Of the first read of a burst: enough for a request or a small answer.
const SMALL_BYTES: usize = 8 << 10;
/// Once a read has filled the small one. Measured: 8 KiB costs 1.3 CPU seconds per GiB, 64 KiB 0.5, 256 KiB 0.4.
const LARGE_BYTES: usize = 64 << 10;

/// Forwards both directions until both have ended. When one side breaks, the other is reset: a FIN would tell it that
/// what it has is all there is.
///
/// # Errors
/// A read failed; both are reset.
pub(super) async fn both(mut client: TcpStream, mut upstream: TcpStream) -> io::Result<()> {
    let (client_read, client_write) = client.split();
    let (upstream_read, upstream_write) = upstream.split();
    let result = try_join(
        pin!(one_way(client_read, upstream_write)),
        pin!(one_way(upstream_read, client_write)),
    )
    .await;
    if result.is_err() {
        reset(&client);
        reset(&upstream);
    }
    result.map(drop)
}

/// Makes the close that follows a reset instead of a FIN.
pub(super) fn reset(stream: &TcpStream) {
    // It fails only for a socket that is no more, and then nobody is there to be told.
    stream.set_zero_linger().ok();
}

/// Forwards one direction until `from` ends, then ends `to`. Ends also when `to` cannot be written, and without an
/// error: what `to` has sent before it broke is still on its way through the other direction, which will find out.
async fn one_way(from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
    loop {
        from.readable().await?;
        let mut buffer = Vec::with_capacity(SMALL_BYTES);
        loop {
            match from.try_read_buf(&mut buffer) {
                Ok(0) => {
                    // Fails when `to` has gone: then both directions have ended.
                    to.shutdown().await.ok();
                    return Ok(());
                }
                Ok(count) => {
                    if to.write_all(&buffer).await.is_err() {
                        return Ok(());
                    }
                    buffer.clear();
                    if count == SMALL_BYTES && buffer.capacity() < LARGE_BYTES {
                        buffer = Vec::with_capacity(LARGE_BYTES);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
}
