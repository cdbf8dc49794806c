//! Accepts connections: one task for each socket, one gate for each published port.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::gate::{Gate, Place};
use super::listen::Sockets;
use super::pipe::Pipes;
use super::switch::Switch;
use super::workers::{Crew, Turn};
use super::{Limits, Listeners, Table, connection, datagram, http, later, moving, pump};
use crate::spec::{EdgeProtocol, Forwarding, Published};

/// Between two attempts while the host is out of file descriptors or memory. Accepting again at once would spin: the
/// connection stays in the queue, and the socket stays readable.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What every acceptor needs.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) limits: Limits,
    pub(super) switch: Arc<Switch>,
    /// Who serves what is accepted.
    pub(super) crew: Crew,
    /// For what moves much.
    pub(super) pipes: Pipes,
    pub(super) connections: TaskTracker,
    pub(super) shutdown: CancellationToken,
    /// Connections that can be ended properly are to end.
    pub(super) goodbye: CancellationToken,
    /// From which time is counted.
    pub(super) began: Instant,
}

impl Ground {
    pub(super) fn now(&self) -> Instant {
        self.began + self.began.elapsed()
    }

    /// Ends with the future's output, or at shutdown with nothing.
    pub(super) async fn until_shutdown<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        // Cancel safety: what is waited for here loses nothing when dropped, and nothing is needed any more.
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => None,
            output = future => Some(output),
        }
    }
}

/// Starts one task per socket, and one per port that is bound later. Each ends at `shutdown`, and closes its socket by
/// that.
pub(super) fn start(
    mut listeners: Listeners,
    ground: &Ground,
    routes: &watch::Receiver<Table>,
) -> JoinSet<()> {
    let mut acceptors = JoinSet::new();
    if let Some(opened) = listeners.take_moving() {
        acceptors.spawn(moving::run(opened, ground.clone()));
    }
    let (sockets, later) = listeners.into_sockets();
    for (published, sockets) in sockets {
        start_port(published, sockets, ground, &mut acceptors);
    }
    for published in later {
        acceptors.spawn(later::run(published, ground.clone(), routes.clone()));
    }
    acceptors
}

/// The tasks of one port that is bound.
pub(super) fn start_port(
    published: Published,
    sockets: Sockets,
    ground: &Ground,
    tasks: &mut JoinSet<()>,
) {
    let gate = Gate::new(ground.now());
    match sockets {
        Sockets::Tcp(sockets) => {
            for socket in sockets {
                let acceptor = Acceptor {
                    published,
                    socket,
                    gate: Arc::clone(&gate),
                    ground: ground.clone(),
                };
                tasks.spawn(acceptor.run());
            }
        }
        Sockets::Udp(sockets) => {
            for socket in sockets {
                let (gate, ground) = (Arc::clone(&gate), ground.clone());
                tasks.spawn(datagram::run(published, socket, gate, ground));
            }
        }
    }
}

struct Acceptor {
    published: Published,
    socket: TcpListener,
    gate: Arc<Gate>,
    ground: Ground,
}

impl Acceptor {
    async fn run(self) {
        while let Some((client, peer)) = self.accept().await {
            // One accepted connection per socket may wait here; all further ones wait in the kernel's queue.
            let place = self.place().await;
            let place = if let Some((place, share_of)) = place {
                let admitted = self.gate.admit(place, peer.ip(), share_of);
                if admitted.is_none() {
                    debug!(port = %self.published, %peer, "this client has too many connections: reset");
                    pump::reset(&client);
                    continue;
                }
                admitted
            } else {
                // What was accepted before the shutdown is served.
                None
            };
            let (published, ground) = (self.published, self.ground.clone());
            let (turn, client) = match (ground.crew.turn(), client.into_std()) {
                (Some(turn), Ok(client)) => (turn, client),
                (_, Err(error)) => {
                    debug!(port = %published, %peer, %error, "lost: no worker can have it");
                    continue;
                }
                (None, Ok(_)) => continue,
            };
            let (connections, worker) = (ground.connections.clone(), turn.runtime.clone());
            let served = async move {
                match TcpStream::from_std(client) {
                    Ok(client) => serve(client, peer, published, ground, turn, place).await,
                    Err(error) => debug!(port = %published, %peer, %error, "lost"),
                }
            };
            connections.spawn_on(served, &worker);
        }
    }

    /// A place by the newest table's limits, and of how many one client has a share; `None` at shutdown.
    async fn place(&self) -> Option<(Place, usize)> {
        let Ground { switch, limits, .. } = &self.ground;
        let mut applied = switch.applied();
        loop {
            let forwarding = switch.forwarding(&self.published).unwrap_or_default();
            let cap = cap(&forwarding, limits.connections);
            let wait = match self.gate.try_enter(cap) {
                None => None,
                Some(place) => {
                    let turn = forwarding
                        .rate
                        .map(|rate| self.gate.try_turn(rate, self.ground.now()));
                    match turn {
                        None | Some(Ok(())) => return Some((place, share_of(&forwarding, cap))),
                        Some(Err(wait)) => Some(wait),
                    }
                }
            };
            let changed = async {
                tokio::select! {
                    () = self.gate.freed(), if wait.is_none() => {}
                    Ok(()) = applied.changed() => {}
                    else => std::future::pending().await,
                }
            };
            match wait {
                None => self.ground.until_shutdown(changed).await?,
                Some(wait) => {
                    let waited = timeout(wait, changed);
                    self.ground.until_shutdown(waited).await?.ok();
                }
            }
        }
    }

    async fn accept(&self) -> Option<(TcpStream, SocketAddr)> {
        let published = self.published;
        let mut is_exhausted = false;
        loop {
            let error = match self.ground.until_shutdown(self.socket.accept()).await? {
                Ok(accepted) => {
                    if is_exhausted {
                        info!(port = %published, "accepting connections again");
                    }
                    return Some(accepted);
                }
                Err(error) => error,
            };
            if belongs_to_connection(&error) {
                debug!(port = %published, %error, "a connection ended before it was accepted");
                continue;
            }
            if !is_exhausted {
                is_exhausted = true;
                warn!(port = %published, %error, "no connection can be accepted");
            }
            let mut pause = interval(EXHAUSTED_PAUSE);
            pause.reset();
            self.ground.until_shutdown(pause.tick()).await?;
        }
    }
}

/// What the file asks for, within what the edge can take on.
pub(super) fn cap(forwarding: &Forwarding, limit: usize) -> usize {
    forwarding.max_connections.map_or(limit, |asked| {
        usize::try_from(asked.get()).map_or(limit, |asked| asked.min(limit))
    })
}

/// Where the file itself bounds the connections, it says that further ones wait: then nobody is turned away.
pub(super) fn share_of(forwarding: &Forwarding, cap: usize) -> usize {
    match forwarding.max_connections {
        None => cap,
        Some(_) => usize::MAX / 4,
    }
}

/// Serves one connection by the protocol of the newest table; its place is given back at the end.
async fn serve(
    client: TcpStream,
    peer: SocketAddr,
    published: Published,
    ground: Ground,
    turn: Turn,
    place: Option<Place>,
) {
    let mut applied = ground.switch.applied();
    let known = async {
        loop {
            if let Some(forwarding) = ground.switch.forwarding(&published) {
                return forwarding;
            }
            if applied.changed().await.is_err() {
                return Forwarding::default();
            }
        }
    };
    let Ok(forwarding) = timeout(ground.limits.patience, known).await else {
        debug!(port = %published, "no table has this port: connection reset");
        pump::reset(&client);
        return;
    };
    match forwarding.protocol {
        EdgeProtocol::Tcp => {
            let serve = connection::serve(client, peer, published, &ground, forwarding);
            serve.await;
            drop((place, turn));
        }
        EdgeProtocol::Http => http::serve(client, peer, published, ground, turn, place).await,
    }
}

/// `accept(2)`, *Error handling*: errors that are pending on the new socket are passed on as errors of accept, and are
/// to be treated like EAGAIN.
fn belongs_to_connection(error: &std::io::Error) -> bool {
    let pending = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::INTR,
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
    ];
    Errno::from_io_error(error).is_some_and(|errno| pending.contains(&errno))
}
