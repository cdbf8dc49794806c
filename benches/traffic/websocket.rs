//! Clients that keep a websocket open, send a message every second and await its echo.
//!
//! One that ends with a close frame ended properly: the client answers it and opens another one at once. One that ends
//! otherwise is broken. What was not sent back before a goodbye is sent again over the next websocket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use phoenixd::demo::websocket::{Frame, Sender, accept, opcode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::http::text;
use crate::tally::Tally;

/// The example of RFC 6455; a mask and a key hide nothing here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [7, 1, 9, 3];
/// For an echo, and for each step of opening and closing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before a websocket is opened once more that could not be opened, or was broken.
const PAUSE: Duration = Duration::from_millis(200);

/// How websockets ended.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) opened: AtomicU64,
    pub(crate) not_opened: AtomicU64,
    /// With 1001, the server's.
    pub(crate) going_away: AtomicU64,
    /// With another close frame of the server's.
    pub(crate) otherwise: AtomicU64,
    /// By the client, at the end of the load.
    pub(crate) own: AtomicU64,
    pub(crate) broken: AtomicU64,
}

fn more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// One client, with one websocket after the other.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) ends: Arc<Ends>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) stop: CancellationToken,
}

/// An open websocket.
struct Open {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Until the load ends.
    pub(crate) async fn run(self, mut ticks: Interval) {
        let mut due = VecDeque::new();
        while !self.stop.is_cancelled() {
            let since = Instant::now();
            self.tally.connected();
            let opened = timeout(PATIENCE, open(self.address)).await;
            let ended = match opened.unwrap_or_else(|_| Err("not opened in time".to_owned())) {
                Ok(open) => {
                    more(&self.ends.opened);
                    let ended = self.talk(open, &mut ticks, &mut due).await;
                    ended.inspect_err(|_| more(&self.ends.broken))
                }
                Err(why) => {
                    more(&self.ends.not_opened);
                    Err(format!("not opened: {why}"))
                }
            };
            match ended {
                Ok(()) => self.tally.resent(due.len(), "no echo before a goodbye"),
                Err(why) => {
                    self.tally.count(since.elapsed(), Err(why));
                    due.clear();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Until the websocket ends: properly, or with the reason why not.
    async fn talk(
        &self,
        mut open: Open,
        ticks: &mut Interval,
        due: &mut VecDeque<Instant>,
    ) -> Result<(), String> {
        for _ in 0..due.len() {
            open.send(&Frame::whole(opcode::TEXT, "hello")).await?;
        }
        loop {
            let limit = due.front().map_or(Instant::now(), |first| *first) + PATIENCE;
            // Cancel safety: what was read is kept; a tick that is not taken comes again.
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.leave(open).await,
                frame = open.next() => {
                    let frame = frame?;
                    if frame.opcode == opcode::CLOSE {
                        return self.left(open, &frame).await;
                    }
                    if let Some(due) = due.pop_front() {
                        self.tally.count(due.elapsed(), Ok(()));
                    }
                }
                tick = ticks.tick() => {
                    due.push_back(tick);
                    open.send(&Frame::whole(opcode::TEXT, "hello")).await?;
                }
                () = tokio::time::sleep_until(limit), if !due.is_empty() => {
                    return Err("no echo in time".to_owned());
                }
            }
        }
    }

    /// The server says goodbye.
    async fn left(&self, mut open: Open, goodbye: &Frame) -> Result<(), String> {
        match goodbye.close_code() {
            Some(1001) => more(&self.ends.going_away),
            Some(_) | None => more(&self.ends.otherwise),
        }
        // It may have gone already: its part is done.
        open.send(goodbye).await.ok();
        Ok(())
    }

    /// The load ends.
    async fn leave(&self, mut open: Open) -> Result<(), String> {
        open.send(&Frame::close(1000)).await?;
        let goodbye = async {
            loop {
                if open.next().await?.opcode == opcode::CLOSE {
                    return Ok(());
                }
            }
        };
        let left = timeout(PATIENCE, goodbye).await;
        left.unwrap_or_else(|_| Err("no goodbye in time".to_owned()))?;
        more(&self.ends.own);
        Ok(())
    }
}

/// Dials and shakes hands.
async fn open(address: SocketAddr) -> Result<Open, String> {
    let stream = TcpStream::connect(address).await.map_err(text)?;
    let mut open = Open {
        stream,
        received: Vec::new(),
    };
    let request = format!(
        "GET /websocket HTTP/1.1\r\nhost: bench\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\r\n"
    );
    let sent = open.stream.write_all(request.as_bytes()).await;
    sent.map_err(text)?;
    let end = loop {
        let found = open.received.windows(4).position(|end| end == b"\r\n\r\n");
        match found {
            Some(end) => break end + 4,
            None => open.read().await?,
        }
    };
    let head: Vec<u8> = open.received.drain(..end).collect();
    let head = String::from_utf8_lossy(&head);
    let proof = format!(": {}\r\n", accept(KEY));
    if head.starts_with("HTTP/1.1 101 ") && head.contains(&proof) {
        Ok(open)
    } else {
        Err(head.lines().next().unwrap_or_default().to_owned())
    }
}

impl Open {
    async fn send(&mut self, frame: &Frame) -> Result<(), String> {
        let bytes = frame.encode(Sender::Client(MASK));
        let sent = self.stream.write_all(&bytes).await;
        // What was sent before it broke may be a goodbye that is not read yet.
        match sent {
            Ok(()) => Ok(()),
            Err(error) => match self.next().await {
                Ok(frame) if frame.opcode == opcode::CLOSE => {
                    self.received.splice(0..0, frame.encode(Sender::Server));
                    Ok(())
                }
                Ok(_) | Err(_) => Err(format!("send: {}", text(error))),
            },
        }
    }

    async fn next(&mut self) -> Result<Frame, String> {
        loop {
            match Frame::take(&mut self.received, false) {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => self.read().await?,
                Err(wrong) => return Err(wrong.to_string()),
            }
        }
    }

    async fn read(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) => Err("ended without a close frame".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("without a close frame: {}", text(error))),
        }
    }
}
