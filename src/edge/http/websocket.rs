//! A websocket between a client and a replica: bytes as in TCP mode, of which is known only where a frame ends. Between
//! two frames it can be ended with a close frame (RFC 6455, 5.5.1) instead of a reset: when the edge is to end, and when
//! a replica that is being replaced ends without one.
//!
//! Not here: what frames say, whether they are valid.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::try_join;
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::serve::Front;
use crate::edge::pump;
use crate::edge::switch::Claim;

/// Of one read. Held only while there is something to move.
const BUFFER_BYTES: usize = 16 << 10;
/// For the other side's part of a goodbye.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// "Going away" (RFC 6455, 7.4.1).
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();
const CLOSE: u8 = 0x8;
const FINAL: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const MASK_BYTES: u64 = 4;
/// The largest head without its mask: two bytes, and a length of eight.
const HEAD_MAX: usize = 10;

/// Who sends in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sender {
    /// What it sends is masked.
    Client,
    Replica,
}

/// Where one direction is among its frames (RFC 6455, 5.2).
#[derive(Debug, Default)]
struct Frames {
    /// Of the frame that has begun, as far as it has come.
    head: [u8; HEAD_MAX],
    seen: usize,
    /// Of that frame, once its head is whole.
    left: u64,
    /// The last one has come.
    is_closed: bool,
}

impl Frames {
    /// Nothing of a frame is under way.
    fn is_between(&self) -> bool {
        self.seen == 0 && self.left == 0
    }

    /// Follows the bytes to the end of the frame that they begin with or go on with, and says how many these are.
    fn follow_one(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken)
            && self.left == 0
        {
            taken += 1;
            self.begin(byte);
            if self.is_between() {
                return taken;
            }
        }
        let rest = u64::try_from(bytes.len() - taken).unwrap_or(u64::MAX);
        let moved = self.left.min(rest);
        self.left -= moved;
        taken + usize::try_from(moved).unwrap_or(usize::MAX)
    }

    /// Follows all of them.
    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.follow_one(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// One more byte of a head.
    fn begin(&mut self, byte: u8) {
        if let Some(place) = self.head.get_mut(self.seen) {
            *place = byte;
        }
        self.seen += 1;
        let [first, second, long @ ..] = self.head;
        let (length, whole) = match second & !MASKED {
            126 => (u64::from(u16::from_be_bytes([long[0], long[1]])), 4),
            127 => (u64::from_be_bytes(long), HEAD_MAX),
            short => (u64::from(short), 2),
        };
        // The second byte is the last one's until it has come.
        if self.seen < 2 || self.seen < whole {
            return;
        }
        let mask = if second & MASKED == 0 { 0 } else { MASK_BYTES };
        self.left = length.saturating_add(mask);
        self.is_closed |= first & OPCODE == CLOSE;
        self.seen = 0;
    }
}

/// One of both, and where what it sends is among its frames.
pub(super) struct Side {
    pub(super) stream: TcpStream,
    frames: Frames,
}

impl Side {
    /// Who has sent these bytes already.
    pub(super) fn begun(stream: TcpStream, bytes: &[u8]) -> Self {
        let mut frames = Frames::default();
        frames.follow(bytes);
        Self { stream, frames }
    }
}

/// Forwards until both sides have ended. Both are reset when one breaks, nothing moves for `idle`, or the claim is cut.
///
/// # Errors
/// It was reset.
pub(super) async fn both(
    front: &Front,
    claim: &Claim,
    mut client: Side,
    mut replica: Side,
    idle: Option<Duration>,
) -> io::Result<()> {
    // Cancel safety: whatever was not moved yet ends with both connections.
    let result = tokio::select! {
        biased;
        () = claim.cut().cancelled() => Err(io::Error::other("cut: nothing may lead to the replica any more")),
        result = both_ways(front, claim, &mut client, &mut replica, idle) => result,
    };
    if result.is_err() {
        pump::reset(&client.stream);
        pump::reset(&replica.stream);
    }
    result
}

async fn both_ways(
    front: &Front,
    claim: &Claim,
    client: &mut Side,
    replica: &mut Side,
    idle: Option<Duration>,
) -> io::Result<()> {
    let (moved, parted) = (AtomicU64::new(0), CancellationToken::new());
    let (client_read, client_write) = client.stream.split();
    let (replica_read, replica_write) = replica.stream.split();
    let way = |from, to, sender, frames| Way {
        front,
        claim,
        from,
        to,
        sender,
        frames,
        moved: &moved,
        parted: &parted,
    };
    let (from_client, from_replica) = (&mut client.frames, &mut replica.frames);
    let there = way(client_read, replica_write, Sender::Client, from_client).run();
    let back = way(replica_read, client_write, Sender::Replica, from_replica).run();
    let (there, back) = (pin!(there), pin!(back));
    // Cancel safety: whichever ends first, both connections end with it.
    tokio::select! {
        result = try_join(there, back) => result.map(drop),
        error = pump::stall(&moved, idle) => Err(error),
    }
}

/// One direction.
struct Way<'w> {
    front: &'w Front,
    claim: &'w Claim,
    from: ReadHalf<'w>,
    to: WriteHalf<'w>,
    sender: Sender,
    frames: &'w mut Frames,
    moved: &'w AtomicU64,
    /// The replica has left, and its client was told.
    parted: &'w CancellationToken,
}

/// What was read.
enum Read {
    Some(Vec<u8>),
    /// There is nothing more to come, or what came broke.
    End(io::Result<()>),
    /// The edge is to end, and a frame has.
    Goodbye,
    /// Nobody is there to be sent anything.
    Parted,
}

impl Way<'_> {
    /// Forwards it until it ends, then ends the other side. Ends without an error when that cannot be written: what it
    /// has sent before it broke is still on its way in the other direction, which will find out, and may have a goodbye
    /// to send there.
    async fn run(mut self) -> io::Result<()> {
        loop {
            match self.read().await {
                Read::Some(bytes) => {
                    self.moved.fetch_add(1, Ordering::Relaxed);
                    if self.to.write_all(&bytes).await.is_err() {
                        self.read_to_end().await;
                        return Ok(());
                    }
                    self.moved.fetch_add(1, Ordering::Relaxed);
                }
                Read::Goodbye => {
                    self.part().await;
                    self.read_to_end().await;
                    return Ok(());
                }
                Read::Parted => {
                    self.read_to_end().await;
                    return Ok(());
                }
                Read::End(_) if self.is_left_without_goodbye() => {
                    self.parted.cancel();
                    self.part().await;
                    return Ok(());
                }
                Read::End(Ok(())) => {
                    // Fails when it has gone: then both directions have ended.
                    self.to.shutdown().await.ok();
                    return Ok(());
                }
                Read::End(Err(error)) => return Err(error),
            }
        }
    }

    /// What came, as far as it is to be forwarded.
    async fn read(&mut self) -> Read {
        let goodbye = &self.front.ground.goodbye;
        loop {
            // Cancel safety: both only wait.
            tokio::select! {
                biased;
                () = goodbye.cancelled(), if self.frames.is_between() => return Read::Goodbye,
                () = self.parted.cancelled() => return Read::Parted,
                ready = self.from.readable() => if let Err(error) = ready {
                    return Read::End(Err(error));
                }
            }
            let mut bytes = Vec::with_capacity(BUFFER_BYTES);
            match pump::read_now(&mut self.from, &mut bytes) {
                Ok(Some(0)) => return Read::End(Ok(())),
                Ok(Some(_)) if goodbye.is_cancelled() => {
                    // The rest of this frame, and no other.
                    bytes.truncate(self.frames.follow_one(&bytes));
                    return Read::Some(bytes);
                }
                Ok(Some(_)) => {
                    self.frames.follow(&bytes);
                    return Read::Some(bytes);
                }
                Ok(None) => {}
                Err(error) => return Read::End(Err(error)),
            }
        }
    }

    /// It was a replica's, which is being replaced and has ended without a close frame: nobody is there to send one, and
    /// its client need not take that for a failure.
    fn is_left_without_goodbye(&self) -> bool {
        let backend = self.claim.backend();
        let switch = &self.front.ground.switch;
        self.sender == Sender::Replica
            && self.frames.is_between()
            && !self.frames.is_closed
            && !switch.routes_to(&self.front.listener, &backend.container_id)
    }

    /// Ends this direction properly. What cannot be said to a peer that has gone is not.
    async fn part(&mut self) {
        if !self.frames.is_closed {
            let goodbye = close_frame(self.sender);
            self.to.write_all(&goodbye).await.ok();
        }
        self.to.shutdown().await.ok();
    }

    /// Waits a little until whoever was told has ended as well: with something unread, the close would be a reset, and
    /// the goodbye might be lost.
    async fn read_to_end(&mut self) {
        let mut bytes = Vec::with_capacity(BUFFER_BYTES);
        let to_the_end = async {
            while let Ok(1..) = self.from.read_buf(&mut bytes).await {
                bytes.clear();
            }
        };
        timeout(ANSWERED_WITHIN, to_the_end).await.ok();
    }
}

/// The last frame of whoever sends it, as if it came from there.
fn close_frame(sender: Sender) -> Vec<u8> {
    let length = 2;
    match sender {
        Sender::Replica => [&[FINAL | CLOSE, length], &GOING_AWAY[..]].concat(),
        Sender::Client => {
            let mut mask = [0; 4];
            // Whatever it is, the frame is valid: two bytes of the protocol's own lead nobody astray (RFC 6455, 10.3).
            getrandom(&mut mask, GetRandomFlags::NONBLOCK).ok();
            let payload: Vec<u8> = (GOING_AWAY.iter().zip(mask))
                .map(|(byte, mask)| byte ^ mask)
                .collect();
            [&[FINAL | CLOSE, MASKED | length], &mask[..], &payload].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of zeros (RFC 6455, 5.2).
    fn frame(is_masked: bool, length: usize) -> Vec<u8> {
        let masked = if is_masked { MASKED } else { 0 };
        let mut bytes = vec![0x82];
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if short < 126 => bytes.push(masked | short),
            (_, Ok(length)) => {
                bytes.push(masked | 0x7e);
                bytes.extend(length.to_be_bytes());
            }
            _ => {
                bytes.push(masked | 0x7f);
                bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
            }
        }
        let mask = if is_masked { 4 } else { 0 };
        bytes.resize(bytes.len() + mask + length, 0);
        bytes
    }

    /// Where frames end, when the bytes come in pieces of `size`.
    fn ends(bytes: &[u8], size: usize) -> Vec<usize> {
        let mut frames = Frames::default();
        let (mut at, mut ends) = (0, Vec::new());
        for mut piece in bytes.chunks(size) {
            while !piece.is_empty() {
                let taken = frames.follow_one(piece);
                piece = &piece[taken..];
                at += taken;
                if frames.is_between() {
                    ends.push(at);
                }
            }
        }
        ends
    }

    #[test]
    fn the_end_of_a_frame_is_found_however_its_bytes_come() {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for is_masked in [false, true] {
            for length in [0, 1, 125, 126, 127, 300, 65_535, 65_536] {
                bytes.extend(frame(is_masked, length));
                expected.push(bytes.len());
            }
        }
        for size in [1, 2, 3, 7, 4096, bytes.len()] {
            assert_eq!(ends(&bytes, size), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_goodbye_is_a_frame_of_either_side_and_known_as_the_last() {
        let sent = close_frame(Sender::Replica);
        assert_eq!(sent, [0x88, 2, 0x03, 0xe9]);
        let masked = close_frame(Sender::Client);
        let [0x88, 0x82, a, b, _, _, x, y] = masked[..] else {
            panic!("{masked:?}");
        };
        assert_eq!([x ^ a, y ^ b], [0x03, 0xe9]);
        for bytes in [sent, masked] {
            let mut frames = Frames::default();
            frames.follow(&bytes);
            assert!(frames.is_closed && frames.is_between());
        }
        let mut frames = Frames::default();
        frames.follow(&frame(false, 9));
        assert!(!frames.is_closed);
    }

    #[test]
    fn a_length_beyond_everything_is_followed_without_an_overflow() {
        let mut frames = Frames::default();
        frames.follow(&[0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2]);
        assert!(!frames.is_between());
    }
}
