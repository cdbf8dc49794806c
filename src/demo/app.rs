//! The demo application: a small web server that shows which replica answers, and that ends so that nobody notices.
//!
//! # How it ends
//!
//! After SIGTERM it is a lame duck. A client of HTTP/1.1 that keeps its connection alive through a TCP forwarder knows
//! nothing of a new route table: its next request comes over the old connection, to this replica. A server that closes
//! idle connections at once (as `axum::serve` does) crosses such a request on the wire, and the client sees a reset.
//! So, from SIGTERM on:
//!
//! - connections are still accepted, and every request is answered with `Connection: close`: the client itself makes
//!   its next request over a new connection, which the edge sends to another replica. Nothing is lost.
//! - a connection without a request is closed only after [`QUIET`]. A client that comes more often than that loses
//!   nothing; one that comes less often meets the close with a probability of its round trip time over its period,
//!   which HTTP/1.1 cannot take away.
//! - requests in flight are finished, streams get a proper end, websockets a close frame.
//! - it ends as soon as no connection is left. What is left when the container's grace is over, the engine kills.
//!
//! Not here: what is answered (`routes`).

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use tracing::{debug, info, warn};

use super::routes::{self, App};
use super::websocket;

/// For how long a connection must have been without a request after SIGTERM before it is closed. Browsers slow the
/// timers of a background tab down to one per second; a page that polls there must still meet an open connection.
pub const QUIET: Duration = Duration::from_millis(1500);
/// Before it ends without connections: one look into the kernel's queue of those that were not accepted yet.
const LAST_LOOK: Duration = Duration::from_millis(1);
/// Between two attempts to accept when the process is out of file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// What the application knows of itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The port that it listens on, on every IPv4 address.
    pub port: u16,
    /// The container's name, or its host name where the name is not known.
    pub container: String,
    /// The container's host name: its short id, unless the file says otherwise.
    pub id: String,
    /// The replica's number, where it is known.
    pub serial: Option<u64>,
    /// How long the replica may live, where it is known.
    pub ttl: Option<Duration>,
    /// Whether visitors may crash it, make it unhealthy and try to break in.
    pub mischief: bool,
    /// A monotonic clock; only differences count.
    pub clock: fn() -> Duration,
}

/// Why the application ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port cannot be listened on.
    #[error("port {port} cannot be listened on")]
    Listen {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    /// A visitor asked for it.
    #[error("crashed, as a visitor asked for")]
    Crashed,
}

/// Serves until SIGTERM or SIGINT, then ends as the module describes. The signals are handled, not left to their
/// default, so that it also ends as process 1 of a container.
///
/// # Errors
/// The port or the signals are not to be had, or a visitor crashed it.
pub async fn serve(settings: Settings) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let port = settings.port;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .await
        .map_err(|source| Error::Listen { port, source })?;
    info!(port, container = settings.container, "demo application");
    let shutdown = CancellationToken::new();
    let signals = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
        pending::<Infallible>().await
    };
    tokio::select! {
        result = serve_on(listener, settings, shutdown.clone()) => result,
        never = signals => match never {},
    }
}

/// The same with a listener and a trigger of the caller's.
///
/// # Errors
/// A visitor crashed it.
///
/// # Cancel safety
/// Dropping the future cuts every connection.
pub async fn serve_on(
    listener: TcpListener,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let app = Arc::new(App::new(settings, shutdown.clone()));
    let router = routes::router(&app);
    let mut connections = JoinSet::new();
    loop {
        if shutdown.is_cancelled() && connections.is_empty() {
            match timeout(LAST_LOOK, listener.accept()).await {
                Ok(Ok((stream, _))) => {
                    connections.spawn(connection(stream, router.clone(), shutdown.clone()));
                }
                Ok(Err(_)) | Err(_) => return Ok(()),
            }
        }
        // Cancel safety: nothing is lost; a connection that was not accepted stays in the queue.
        tokio::select! {
            biased;
            () = app.crash.cancelled() => return Err(Error::Crashed),
            () = shutdown.cancelled(), if connections.is_empty() => {}
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "a connection's task ended");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), shutdown.clone()));
                }
                Err(error) => {
                    warn!(%error, "accept");
                    let mut pause = interval(EXHAUSTED_PAUSE);
                    pause.reset();
                    pause.tick().await;
                }
            },
        }
    }
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    // Fails only for a connection that is gone already.
    stream.set_nodelay(true).ok();
    let requests = watch::Sender::new(0_u32);
    let mut pending_requests = requests.subscribe();
    let (upgrades, mut taken) = mpsc::channel(1);
    let service = service_fn(|mut request: Request<Incoming>| {
        let pending = Pending::new(&requests);
        let mut router = router.clone();
        let (shutdown, upgrades) = (&shutdown, &upgrades);
        async move {
            let upgrade = hyper::upgrade::on(&mut request);
            let response = router.call(request.map(Body::new)).await?;
            let (mut parts, body) = response.into_parts();
            if parts.status == StatusCode::SWITCHING_PROTOCOLS {
                // A connection is upgraded once.
                upgrades.try_send(upgrade).ok();
            } else if shutdown.is_cancelled() {
                parts
                    .headers
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let body = Answer {
                body,
                _pending: pending,
            };
            Ok::<_, Infallible>(Response::from_parts(parts, body))
        }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served.with_upgrades());
    let mut lull = pin!(async {
        shutdown.cancelled().await;
        quiet(&mut pending_requests).await;
    });
    let mut is_closing = false;
    loop {
        // The connection comes first: a request that has arrived is answered, not closed away.
        tokio::select! {
            biased;
            result = &mut served => {
                if let Err(error) = result {
                    debug!(%error, "connection");
                }
                break;
            }
            () = &mut lull, if !is_closing => {
                is_closing = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
    if let Ok(upgrade) = taken.try_recv()
        && let Err(error) = echo(upgrade, &shutdown).await
    {
        debug!(%error, "websocket");
    }
}

async fn echo(upgrade: OnUpgrade, shutdown: &CancellationToken) -> io::Result<()> {
    let stream = upgrade.await.map_err(io::Error::other)?;
    websocket::echo(TokioIo::new(stream), shutdown).await
}

/// Returns when there was no request for [`QUIET`].
async fn quiet(requests: &mut watch::Receiver<u32>) {
    loop {
        // The sender lives as long as the connection, so neither wait fails before that ends.
        if requests.wait_for(|count| *count == 0).await.is_err() {
            return;
        }
        if timeout(QUIET, requests.wait_for(|count| *count > 0))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// A request from its arrival until its answer's last byte, or until the client has given up.
struct Pending(watch::Sender<u32>);

impl Pending {
    fn new(requests: &watch::Sender<u32>) -> Self {
        requests.send_modify(|count| *count += 1);
        Self(requests.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// An answer's body; the request is pending until it is dropped.
struct Answer {
    body: Body,
    _pending: Pending,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
