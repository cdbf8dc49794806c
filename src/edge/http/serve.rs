//! One client's connection: which version it speaks, and how long it may rest.
//!
//! Not here: the versions themselves (`first`, `second`), and what a request is answered (`exchange`).

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Response;
use hyper::body::{Body, Incoming};
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::activity::{Activity, Busy};
use super::fields::Client;
use super::first::{self, Left};
use super::second;
use super::stream::ClientStream;
use super::tunnel::Tunnel;
use crate::edge::accept::Ground;
use crate::edge::connection::tune;
use crate::edge::gate::Place;
use crate::edge::switch::Claim;
use crate::edge::workers::Turn;
use crate::spec::Published;

/// The most that is held of a request's head or of a body at once; nginx takes heads of 32 KiB
/// (`large_client_header_buffers`).
pub(super) const BUFFER_BYTES: usize = 64 << 10;
/// An answer so long is taken from its replica whole, whether its client reads or not.
const IN_ONE_GO: u64 = 16 << 10;
/// For an answer that is cut to end in order: on HTTP/2 the client's other requests go on then.
const ENDS_WITHIN: Duration = Duration::from_millis(100);
/// What a connection of HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What all requests of one connection share.
pub(super) struct Front {
    pub(super) ground: Ground,
    pub(super) listener: Published,
    pub(super) peer: SocketAddr,
    pub(super) client: Client,
    pub(super) activity: Arc<Activity>,
    /// An answer that was cut waits for this client, who does not read it.
    pub(super) cut: CancellationToken,
    /// How long nothing may move, by the table of this number.
    idle: Mutex<(u64, Duration)>,
    /// What the connection becomes as soon as the client was told.
    tunnel: Mutex<Option<Tunnel>>,
    pub(super) turn: Turn,
    /// Under the port's cap, until the connection has ended, and what it was upgraded to.
    _place: Option<Place>,
}

impl Front {
    /// Sees to it that an answer whose replica is cut ends. It does by itself as soon as the client takes more of it; a
    /// client that does not is closed, or it would hold its place with the replica until it is too slow.
    pub(super) fn watch_for_cut(
        &self,
        claim: &Claim,
        answer: &Response<Incoming>,
        busy: &mut Busy,
    ) {
        let size = answer.body().size_hint().exact();
        if size.is_none_or(|size| size > IN_ONE_GO) {
            self.watch(claim, busy);
        }
    }

    /// The connection becomes a tunnel once its client was told.
    pub(super) fn change(&self, mut tunnel: Tunnel) {
        self.watch(&tunnel.claim, &mut tunnel.busy);
        *self.lock() = Some(tunnel);
    }

    pub(super) fn is_changed(&self) -> bool {
        self.lock().is_some()
    }

    fn watch(&self, claim: &Claim, busy: &mut Busy) {
        let (cut, ended, client) = (claim.cut().clone(), busy.ended(), self.cut.clone());
        self.turn.pool.tasks().spawn(async move {
            // Cancel safety: both only wait.
            tokio::select! {
                () = ended.cancelled() => {}
                () = cut.cancelled() => if timeout(ENDS_WITHIN, ended.cancelled()).await.is_err() {
                    client.cancel();
                }
            }
        });
    }

    /// Ends when the client has asked nothing for too long, or its port is closed and it asks nothing more.
    async fn over(&self) {
        let limits = self.ground.limits;
        let limit = |activity: &Activity| {
            if activity.has_asked() {
                limits.keep_alive
            } else {
                limits.head
            }
        };
        let look = limits.keep_alive;
        // Cancel safety: both only wait.
        tokio::select! {
            () = self.activity.rested_by(limit, Duration::ZERO, look) => {}
            () = self.ground.shutdown.cancelled() => self.lingered().await,
        }
    }

    /// Ends when no request is open, and none was for as long as the last one may still be on its way.
    pub(super) async fn lingered(&self) {
        let linger = self.ground.limits.linger;
        self.activity.rested(linger, self.activity.now()).await;
    }

    /// How long nothing of a request or an answer may move, by the table in force.
    pub(super) fn idle(&self) -> Duration {
        let mut known = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = self.ground.switch.epoch();
        if known.0 != epoch {
            *known = (epoch, idle_of(&self.ground, &self.listener));
        }
        known.1
    }

    fn lock(&self) -> MutexGuard<'_, Option<Tunnel>> {
        // Each change is whole; a panic elsewhere takes nothing from that.
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one client until it ends, rests too long, or the edge is to end; requests that are open are answered then.
pub(in crate::edge) async fn serve(
    client: TcpStream,
    peer: SocketAddr,
    listener: Published,
    ground: Ground,
    turn: Turn,
    place: Option<Place>,
) {
    if let Err(error) = tune(&client) {
        debug!(port = %listener, %error, "socket option");
    }
    // Before the look: it is never newer than what was seen.
    let epoch = ground.switch.epoch();
    let idle = idle_of(&ground, &listener);
    let activity = Activity::new(ground.began);
    let front = Arc::new(Front {
        ground,
        listener,
        peer,
        client: Client::new(peer),
        activity: Arc::clone(&activity),
        cut: CancellationToken::new(),
        idle: Mutex::new((epoch, idle)),
        tunnel: Mutex::new(None),
        turn,
        _place: place,
    });
    let mut over = pin!(front.over());
    // Cancel safety: nothing was read yet.
    let begun = tokio::select! {
        biased;
        begun = begins_with_preface(&client) => begun,
        () = over.as_mut() => {
            // A close with something unread would be a reset.
            recv(&client, &mut [0; PREFACE.len()][..], RecvFlags::DONTWAIT).ok();
            return;
        }
    };
    let mut client = ClientStream::new(client, idle, activity);
    // In boxes, so that a connection that rests is small.
    match begun {
        Ok(false) => {}
        Ok(true) => return Box::pin(second::serve(&front, client, over)).await,
        Err(error) => return debug!(port = %listener, %peer, %error, "a client's connection broke"),
    }
    loop {
        client = match Box::pin(first::serve(&front, client, over.as_mut())).await {
            Left::Between(client) => client,
            Left::Changed(client, read) => {
                let tunnel = front.lock().take();
                if let Some(tunnel) = tunnel {
                    Box::pin(tunnel.run(&front, client.into_inner(), read)).await;
                }
                return;
            }
            Left::Closed => return,
        };
        // Cancel safety: both only wait.
        tokio::select! {
            biased;
            // What is wrong with it is seen when it is read.
            _ = client.readable() => {}
            () = over.as_mut() => return,
        }
    }
}

fn idle_of(ground: &Ground, listener: &Published) -> Duration {
    let forwarding = ground.switch.forwarding(listener).unwrap_or_default();
    forwarding.idle_timeout.unwrap_or(ground.limits.idle)
}

/// Whether the client begins as HTTP/2 does. It is only looked at: nothing is held for a client that says nothing.
async fn begins_with_preface(client: &TcpStream) -> io::Result<bool> {
    loop {
        let ready = client.ready(Interest::READABLE).await?;
        let look = || {
            let mut begin = [0; PREFACE.len()];
            let (_, count) = recv(client, &mut begin[..], RecvFlags::PEEK)?;
            match begin.get(..count).unwrap_or_default() {
                begin if begin == PREFACE => Ok(true),
                // There is more to come; this is waited for where the kernel is said to have nothing.
                begin if PREFACE.starts_with(begin) && !ready.is_read_closed() => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                _ => Ok(false),
            }
        };
        match client.try_io(Interest::READABLE, look) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            looked => return looked,
        }
    }
}
