//! Passes listening sockets from one edge process to the next, without closing one: `SCM_RIGHTS` on the control socket.
//!
//! The new edge asks (`give`); the old one sends its table and copies of its sockets, in batches, and goes on accepting; the new
//! one accepts too, and says so (`taken`); only then the old one stops, and says so (`released`). The kernel's queue belongs to
//! the socket, not to a process: what waits in it is accepted by whoever is there. An old edge that ends before `taken` has
//! given what it has sent; a new one that ends before `taken` has changed nothing.
//!
//! Not here: who hands over to whom, and when (`control::keeper`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::{interval, timeout};
use tracing::warn;

use super::bound::Bound;
use super::control::wire::{self, Asked, Line, Role, Said, Socket};
use super::control::{Held, LineBuffer, SpeechError};

/// Sockets that go with one line. The kernel takes 253 at most (`SCM_MAX_FD`, `unix(7)`).
const BATCH: usize = 128;
const MOST_AT_ONCE: usize = 253;
/// For one step of the other side.
const STEP: Duration = Duration::from_secs(10);
/// An old edge that broke off is looked for so often, so long, before the attempt counts as failed: a process that was
/// killed closes its sockets one after the other.
const LOOKS: usize = 50;
const LOOK: Duration = Duration::from_millis(10);

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeError {
    /// There is no such edge any more.
    #[error("that edge is gone")]
    Gone,
    /// It will not.
    #[error("that edge refuses: {0}")]
    Refused(String),
    /// Anything else; worth another attempt.
    #[error(transparent)]
    Failed(#[from] SpeechError),
}

impl From<io::Error> for TakeError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// What an edge has given.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// The table that it had in force.
    pub(super) table: Option<Held>,
    /// Copies of its sockets.
    pub(super) sockets: Vec<(Socket, Bound)>,
    /// It waits for the acknowledgement; `None` where it has ended.
    pub(super) giver: Option<Giver>,
}

/// Sends copies of the sockets, and how many they were.
pub(super) async fn send_sockets(
    stream: &UnixStream,
    sockets: &[(Socket, OwnedFd)],
) -> Result<(), SpeechError> {
    for batch in sockets.chunks(BATCH) {
        let line = wire::encode(&Said::Sockets(
            batch.iter().map(|(socket, _)| *socket).collect(),
        ))?;
        let fds: Vec<_> = batch.iter().map(|(_, fd)| fd.as_fd()).collect();
        send(stream, &line, &fds).await?;
    }
    let all = Said::AllSent {
        count: sockets.len(),
    };
    send(stream, &wire::encode(&all)?, &[]).await
}

/// The descriptors go with the first byte.
async fn send(stream: &UnixStream, line: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SpeechError> {
    let all = async {
        let (mut rest, mut fds) = (line, fds);
        while !rest.is_empty() {
            let sent = stream
                .async_io(Interest::WRITABLE, || send_once(stream, rest, fds))
                .await?;
            rest = rest.get(sent..).unwrap_or_default();
            fds = &[];
        }
        Ok(())
    };
    timeout(STEP, all).await.map_err(|_| SpeechError::Stuck)?
}

fn send_once(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_AT_ONCE))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many sockets for one message"));
    }
    Ok(sendmsg(
        stream,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?)
}

/// Asks the edge behind `path` for everything that it accepts on.
///
/// # Cancel safety
/// Dropping it leaves the other edge as it was.
pub(super) async fn collect(path: &Path, own: u64) -> Result<Collected, TakeError> {
    let mut had = Collected::default();
    let mut looks = interval(LOOK);
    let mut looked = 0;
    loop {
        looks.tick().await;
        looked += 1;
        let mut collected = Collected::default();
        match timeout(STEP, attempt(path, own, &mut collected)).await {
            Ok(Ok(())) => return Ok(collected),
            // It has ended after it gave: what it gave lives here only, and is all that there is.
            Ok(Err(TakeError::Gone)) if !had.sockets.is_empty() => return Ok(had),
            Ok(Err(TakeError::Failed(error))) => {
                if collected.sockets.len() >= had.sockets.len() {
                    had = collected;
                    had.giver = None;
                }
                if had.sockets.is_empty() || looked == LOOKS {
                    return Err(error.into());
                }
            }
            Ok(Err(error)) => return Err(error),
            Err(_elapsed) => return Err(SpeechError::Silent.into()),
        }
    }
}

async fn attempt(path: &Path, own: u64, collected: &mut Collected) -> Result<(), TakeError> {
    let stream = UnixStream::connect(path).await.map_err(|error| {
        let gone = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
        if gone.contains(&error.kind()) {
            TakeError::Gone
        } else {
            error.into()
        }
    })?;
    let mut giver = Giver {
        stream,
        buffer: LineBuffer::default(),
        fds: Vec::new(),
    };
    let hello = wire::encode_hello(Some(Role::Edge)).map_err(SpeechError::from)?;
    send(&giver.stream, &hello, &[]).await?;
    let line = giver.line().await?;
    if let Ok(Said::Refused { why }) = wire::decode(&line) {
        return Err(TakeError::Refused(why));
    }
    wire::decode_hello(&line).map_err(SpeechError::from)?;
    giver.ask(&Asked::Give { to: own }).await?;
    let mut keys = Vec::new();
    let result = receive_all(&mut giver, &mut keys, &mut collected.table).await;
    // Both arrive in the order in which they were sent, so also what is not whole belongs together.
    let fds = std::mem::take(&mut giver.fds);
    let is_whole = result.is_err() || fds.len() == keys.len();
    let pairs = keys.into_iter().zip(fds);
    collected.sockets = pairs.filter_map(|(key, fd)| bound(key, fd)).collect();
    result?;
    if !is_whole {
        return Err(SpeechError::OutOfPlace.into());
    }
    collected.giver = Some(giver);
    Ok(())
}

async fn receive_all(
    giver: &mut Giver,
    keys: &mut Vec<Socket>,
    table: &mut Option<Held>,
) -> Result<(), TakeError> {
    loop {
        match giver.hear().await? {
            Said::Handing { table: handed } => *table = handed.map(Held::from),
            Said::Sockets(more) => {
                keys.extend(more);
                if keys.len() > wire::LISTENERS {
                    return Err(SpeechError::OutOfPlace.into());
                }
            }
            Said::AllSent { count } if count == keys.len() => return Ok(()),
            Said::Refused { why } => return Err(TakeError::Refused(why)),
            Said::AllSent { .. } | Said::Report(_) | Said::Probed(_) | Said::Released {} => {
                return Err(SpeechError::OutOfPlace.into());
            }
        }
    }
}

/// What was handed over, as far as it is that.
fn bound(key: Socket, fd: OwnedFd) -> Option<(Socket, Bound)> {
    match Bound::of(key.key.transport.into(), key.address, fd) {
        Ok(socket) => Some((key, socket)),
        Err(got) => {
            warn!(address = %key.address, ?got, "what was handed over is not that socket");
            None
        }
    }
}

/// The old edge, seen from the new one.
#[derive(Debug)]
pub(super) struct Giver {
    stream: UnixStream,
    buffer: LineBuffer,
    fds: Vec<OwnedFd>,
}

impl Giver {
    /// Tells it that its connections are accepted here, and waits until it accepts none any more.
    pub(super) async fn acknowledge(mut self) -> Result<(), TakeError> {
        self.ask(&Asked::Taken {}).await?;
        match timeout(STEP, self.hear()).await {
            Ok(Ok(Said::Released {})) => Ok(()),
            Ok(Ok(Said::Refused { why })) => Err(TakeError::Refused(why)),
            Ok(Ok(_)) => Err(SpeechError::OutOfPlace.into()),
            Ok(Err(error)) => Err(error.into()),
            Err(_elapsed) => Err(SpeechError::Silent.into()),
        }
    }

    async fn ask(&self, what: &Asked) -> Result<(), SpeechError> {
        send(&self.stream, &wire::encode(what)?, &[]).await
    }

    async fn hear<T: Line>(&mut self) -> Result<T, SpeechError> {
        Ok(wire::decode(&self.line().await?)?)
    }

    async fn line(&mut self) -> Result<Vec<u8>, SpeechError> {
        let mut piece = vec![0; 8 << 10];
        loop {
            if let Some(line) = self.buffer.next()? {
                return Ok(line);
            }
            let (stream, fds) = (&self.stream, &mut self.fds);
            let count = stream
                .async_io(Interest::READABLE, || receive(stream, &mut piece, fds))
                .await?;
            if count == 0 {
                return Err(SpeechError::Closed);
            }
            if self.fds.len() > wire::LISTENERS {
                return Err(SpeechError::OutOfPlace);
            }
            let bytes = piece.get(..count).unwrap_or_default();
            self.buffer.space().extend_from_slice(bytes);
        }
    }
}

fn receive(stream: &UnixStream, piece: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_AT_ONCE))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(piece)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        // What does not fit under the limit of open files is closed by the kernel: `unix(7)`.
        return Err(io::Error::other(
            "not all sockets have arrived: raise the limit of open files (nofile)",
        ));
    }
    Ok(received.bytes)
}
