//! Accepts connections: one task for each listening socket, one cap for each published port.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::switch::Switch;
use super::{Limits, Listeners, Table, connection, later};
use crate::spec::Published;

/// Between two attempts while the host is out of file descriptors or memory. Accepting again at once would spin: the
/// connection stays in the queue, and the socket stays readable.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What every acceptor needs.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) limits: Limits,
    pub(super) switch: Arc<Switch>,
    pub(super) connections: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

/// Starts one task per socket, and one per port that is bound later. Each ends at `shutdown`, and closes its socket by
/// that.
pub(super) fn start(
    listeners: Listeners,
    ground: &Ground,
    routes: &watch::Receiver<Table>,
) -> JoinSet<()> {
    let mut acceptors = JoinSet::new();
    let (sockets, later) = listeners.into_sockets();
    for (published, sockets) in sockets {
        for acceptor in Acceptor::of_port(published, sockets, ground) {
            acceptors.spawn(acceptor.run());
        }
    }
    for published in later {
        acceptors.spawn(later::run(published, ground.clone(), routes.clone()));
    }
    acceptors
}

pub(super) struct Acceptor {
    published: Published,
    socket: TcpListener,
    limits: Limits,
    places: Arc<Semaphore>,
    switch: Arc<Switch>,
    connections: TaskTracker,
    shutdown: CancellationToken,
}

impl Acceptor {
    /// One for each socket of a port, under one cap.
    pub(super) fn of_port(
        published: Published,
        sockets: Vec<TcpListener>,
        ground: &Ground,
    ) -> Vec<Self> {
        let places = Arc::new(Semaphore::new(ground.limits.connections));
        let of_socket = |socket| Self {
            published,
            socket,
            limits: ground.limits,
            places: Arc::clone(&places),
            switch: Arc::clone(&ground.switch),
            connections: ground.connections.clone(),
            shutdown: ground.shutdown.clone(),
        };
        sockets.into_iter().map(of_socket).collect()
    }

    pub(super) async fn run(self) {
        while let Some((client, place)) = self.next().await {
            let serve = connection::serve(
                client,
                self.published,
                Arc::clone(&self.switch),
                self.limits,
            );
            self.connections.spawn(async move {
                serve.await;
                drop(place);
            });
        }
    }

    /// The next connection with its place under the cap; `None` at shutdown.
    async fn next(&self) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let place = self
            .until_shutdown(Arc::clone(&self.places).acquire_owned())
            .await?
            .ok()?;
        let client = self.accept().await?;
        Some((client, place))
    }

    async fn accept(&self) -> Option<TcpStream> {
        let published = self.published;
        let mut is_exhausted = false;
        loop {
            let error = match self.until_shutdown(self.socket.accept()).await? {
                Ok((client, _)) => {
                    if is_exhausted {
                        info!(port = %published, "accepting connections again");
                    }
                    return Some(client);
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
            self.until_shutdown(pause.tick()).await?;
        }
    }

    async fn until_shutdown<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        // Cancel safety: `accept` and `acquire_owned` lose nothing when dropped, and nothing is needed any more.
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => None,
            output = future => Some(output),
        }
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
