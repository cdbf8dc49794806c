//! One connection as lines: reading and writing are apart, so that neither waits for the other.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::wire::{self, Line, WireError};
use super::{LineBuffer, LineError};

/// A peer that does not take a line for so long is stuck.
const WRITE: Duration = Duration::from_secs(10);
/// Read at once, at least.
const PIECE: usize = 8 << 10;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum SpeechError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Line(#[from] LineError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the other side closed the connection")]
    Closed,
    #[error("the other side closed the connection within a line")]
    Torn,
    #[error("the other side takes nothing")]
    Stuck,
    #[error("no answer in time")]
    Silent,
    #[error("refused: {0}")]
    Refused(String),
    #[error("it said what does not belong here")]
    OutOfPlace,
}

/// The reading half.
#[derive(Debug)]
pub(in crate::edge) struct Speech<R> {
    from: R,
    buffer: LineBuffer,
}

impl<R: AsyncRead + Unpin> Speech<R> {
    pub(in crate::edge) fn new(from: R) -> Self {
        Self {
            from,
            buffer: LineBuffer::default(),
        }
    }

    /// The next line.
    ///
    /// # Cancel safety
    /// What has arrived stays here.
    pub(in crate::edge) async fn line(&mut self) -> Result<Vec<u8>, SpeechError> {
        loop {
            if let Some(line) = self.buffer.next()? {
                return Ok(line);
            }
            let space = self.buffer.space();
            space.reserve(PIECE);
            if self.from.read_buf(space).await? == 0 {
                return Err(if self.buffer.is_empty() {
                    SpeechError::Closed
                } else {
                    SpeechError::Torn
                });
            }
        }
    }

    /// The next line, understood. Cancel safe, as [`Speech::line`].
    pub(in crate::edge) async fn next<T: Line>(&mut self) -> Result<T, SpeechError> {
        Ok(wire::decode(&self.line().await?)?)
    }
}

/// Writes one line; not cancel safe.
pub(in crate::edge) async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    line: &[u8],
) -> Result<(), SpeechError> {
    timeout(WRITE, to.write_all(line))
        .await
        .map_err(|_| SpeechError::Stuck)?
        .map_err(SpeechError::Io)
}

/// The same for what is no line yet.
pub(in crate::edge) async fn say(
    to: &mut (impl AsyncWrite + Unpin),
    what: &impl Line,
) -> Result<(), SpeechError> {
    write(to, &wire::encode(what)?).await
}
