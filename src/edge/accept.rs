//! Accepts connections: one task for each listening socket, one cap for each published port.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::switch::Switch;
use super::{Limits, Listeners, connection};
use crate::spec::Published;

/// Between two attempts while the host is out of file descriptors or memory. Accepting again at once would spin: the
/// connection stays in the queue, and the socket stays readable.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Starts one task per socket. Each ends at `shutdown`, and closes its socket by that.
pub(super) fn start(
    listeners: Listeners,
    limits: Limits,
    switch: &Arc<Switch>,
    connections: &TaskTracker,
    shutdown: &CancellationToken,
) -> JoinSet<()> {
    let mut acceptors = JoinSet::new();
    for (published, sockets) in listeners.into_sockets() {
        let places = Arc::new(Semaphore::new(limits.connections));
        for socket in sockets {
            let acceptor = Acceptor {
                published,
                socket,
                limits,
                places: Arc::clone(&places),
                switch: Arc::clone(switch),
                connections: connections.clone(),
                shutdown: shutdown.clone(),
            };
            acceptors.spawn(acceptor.run());
        }
    }
    acceptors
}

struct Acceptor {
    published: Published,
    socket: TcpListener,
    limits: Limits,
    places: Arc<Semaphore>,
    switch: Arc<Switch>,
    connections: TaskTracker,
    shutdown: CancellationToken,
}

impl Acceptor {
    async fn run(self) {
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
