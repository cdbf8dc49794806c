//! Websockets (RFC 6455): the answer to the handshake, frames, and an echo that says goodbye when it has to end.
//!
//! A message in several frames is sent back in as many. Not here: extensions, frames of more than 65,535 bytes; the
//! connection until it is upgraded (`app`).

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What RFC 6455, 1.3, appends to the client's key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// For the client's part of a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
/// The longest payload of a control frame; also the largest length that is written in one byte.
const SHORT_MAX: usize = 125;

/// A length that says that the two bytes after it are the length.
const IN_TWO_BYTES: u8 = 0x7e;
/// The same with eight.
const IN_EIGHT_BYTES: u8 = 0x7f;

/// Kinds of frames.
pub mod opcode {
    /// A message of UTF-8.
    pub const TEXT: u8 = 0x1;
    /// Nothing comes after it.
    pub const CLOSE: u8 = 0x8;
    /// To be answered with a pong of the same payload.
    pub const PING: u8 = 0x9;
    /// The answer.
    pub const PONG: u8 = 0xa;
    /// Frames of this bit speak of the connection itself.
    pub(super) const CONTROL: u8 = 0x8;
}

/// Reasons of a close frame.
pub mod code {
    /// The server ends.
    pub const GOING_AWAY: u16 = 1001;
    /// The other side does not speak this protocol.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A frame is longer than is taken here.
    pub const TOO_LONG: u16 = 1009;
}

/// Who sends: what a client sends is masked, what a server sends is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// With the mask of this frame; what is parsed has its own.
    Client([u8; 4]),
    /// Without.
    Server,
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The message ends with it.
    pub is_final: bool,
    /// Its kind, of [`opcode`].
    pub opcode: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// What is no frame, or none that is taken here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Wrong {
    /// RFC 6455 forbids it.
    #[error("against the protocol")]
    Protocol,
    /// More than 65,535 bytes.
    #[error("too long")]
    TooLong,
}

impl Wrong {
    fn code(self) -> u16 {
        match self {
            Self::Protocol => code::PROTOCOL_ERROR,
            Self::TooLong => code::TOO_LONG,
        }
    }
}

impl Frame {
    /// A whole message, or a control frame.
    pub fn whole(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            is_final: true,
            opcode,
            payload: payload.into(),
        }
    }

    /// The last frame of either side.
    pub fn close(code: u16) -> Self {
        Self::whole(opcode::CLOSE, code.to_be_bytes())
    }

    /// The reason of a close frame, where it has one.
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk()?;
        (self.opcode == opcode::CLOSE).then(|| u16::from_be_bytes(*code))
    }

    /// Its bytes; of the payload 65,535 at the most.
    pub fn encode(&self, sender: Sender) -> Vec<u8> {
        let length = u16::try_from(self.payload.len()).unwrap_or(u16::MAX);
        let mut bytes = vec![self.opcode | if self.is_final { FINAL } else { 0 }];
        let (masked, mask) = match sender {
            Sender::Client(mask) => (MASKED, mask),
            Sender::Server => (0, [0; 4]),
        };
        match u8::try_from(length) {
            Ok(short) if usize::from(short) <= SHORT_MAX => bytes.push(masked | short),
            _ => {
                bytes.push(masked | IN_TWO_BYTES);
                bytes.extend(length.to_be_bytes());
            }
        }
        if masked != 0 {
            bytes.extend(mask);
        }
        let payload = self.payload.iter().take(usize::from(length));
        bytes.extend(
            payload
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        bytes
    }

    /// Takes the first frame out of what was received; nothing while it is not whole.
    ///
    /// # Errors
    /// What follows can not be told apart any more.
    pub fn take(received: &mut Vec<u8>, is_masked: bool) -> Result<Option<Self>, Wrong> {
        let [first, second, rest @ ..] = received.as_slice() else {
            return Ok(None);
        };
        let (is_final, opcode) = (first & FINAL != 0, first & 0x0f);
        let length = second & !MASKED;
        let is_control = opcode & opcode::CONTROL != 0;
        let is_odd = is_control && (!is_final || usize::from(length) > SHORT_MAX);
        if first & RESERVED != 0 || (second & MASKED != 0) != is_masked || is_odd {
            return Err(Wrong::Protocol);
        }
        let (length, rest) = match (length, rest.split_first_chunk()) {
            (IN_TWO_BYTES, None) => return Ok(None),
            (IN_TWO_BYTES, Some((length, rest))) => {
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            (IN_EIGHT_BYTES, _) => return Err(Wrong::TooLong),
            (short, _) => (usize::from(short), rest),
        };
        let (mask, rest) = match rest.split_first_chunk() {
            Some((mask, rest)) if is_masked => (*mask, rest),
            None if is_masked => return Ok(None),
            Some(_) | None => ([0; 4], rest),
        };
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let payload = payload.iter().zip(mask.iter().cycle());
        let frame = Self {
            is_final,
            opcode,
            payload: payload.map(|(byte, mask)| byte ^ mask).collect(),
        };
        let after = received.len() - rest.len() + length;
        received.drain(..after);
        Ok(Some(frame))
    }
}

/// What proves to a client that its handshake was understood.
pub fn accept(key: &str) -> String {
    let text = format!("{key}{GUID}");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// Sends back what comes, until the client says goodbye or has gone. At `shutdown` it says goodbye itself.
///
/// # Errors
/// The connection broke.
///
/// # Cancel safety
/// Dropping the future cuts the connection.
pub(super) async fn echo<S>(mut stream: S, shutdown: &CancellationToken) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut received = Vec::new();
    loop {
        // Cancel safety: what was read is kept.
        let next = tokio::select! {
            biased;
            () = shutdown.cancelled() => return part(stream, received, code::GOING_AWAY).await,
            next = next(&mut stream, &mut received) => next?,
        };
        let frame = match next {
            None => return Ok(()),
            Some(Err(wrong)) => return part(stream, received, wrong.code()).await,
            Some(Ok(frame)) => frame,
        };
        let answer = match frame.opcode {
            opcode::PONG => continue,
            opcode::PING => Frame::whole(opcode::PONG, frame.payload),
            _ => frame,
        };
        stream.write_all(&answer.encode(Sender::Server)).await?;
        if answer.opcode == opcode::CLOSE {
            return stream.shutdown().await;
        }
    }
}

/// Says goodbye, and waits a little until the client does: who closes with something unread resets, and the client may
/// lose the goodbye.
async fn part<S>(mut stream: S, mut received: Vec<u8>, code: u16) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let goodbye = Frame::close(code).encode(Sender::Server);
    stream.write_all(&goodbye).await?;
    let answered = async {
        while let Some(Ok(frame)) = next(&mut stream, &mut received).await? {
            if frame.opcode == opcode::CLOSE {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    if let Ok(result) = timeout(GOODBYE, answered).await {
        result?;
    }
    stream.shutdown().await
}

/// The next frame; `None` at the end.
///
/// # Cancel safety
/// What was read is in `received`.
async fn next<S>(stream: &mut S, received: &mut Vec<u8>) -> io::Result<Option<Result<Frame, Wrong>>>
where
    S: AsyncRead + Unpin,
{
    loop {
        if let Some(taken) = Frame::take(received, true).transpose() {
            return Ok(Some(taken));
        }
        if stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}
