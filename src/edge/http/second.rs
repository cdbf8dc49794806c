//! HTTP/2 with a client that begins with it (h2c with prior knowledge): its requests at once.
//!
//! Not here: what a request is answered (`exchange`).

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::exchange;
use super::serve::{BUFFER_BYTES, Front};
use super::stream::ClientStream;

/// Requests at once on one connection; nginx's default.
const STREAMS_MAX: u32 = 128;
/// A client that has vanished is noticed after both.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Requests run on tasks of their own, which the edge waits for.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// Answers what comes, until the client ends the connection or it is `over`.
pub(super) async fn serve(
    front: &Arc<Front>,
    client: ClientStream,
    mut over: Pin<&mut impl Future<Output = ()>>,
) {
    let shared = Arc::clone(front);
    let service = service_fn(move |request: Request<Incoming>| {
        let front = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(exchange::answer(front, request).await) }
    });
    let mut builder = http2::Builder::new(Tracked(front.ground.connections.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(BUFFER_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(client), service));
    let mut was_told = false;
    // Cancel safety: the connection stays pinned; the others only wait.
    let ended = loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => break ended,
            () = front.cut.cancelled() => return,
            // It says that it ends; requests that are on their way are answered.
            () = front.ground.shutdown.cancelled(), if !was_told => {
                connection.as_mut().graceful_shutdown();
                was_told = true;
            }
            () = over.as_mut() => {
                connection.as_mut().graceful_shutdown();
                let lingered = pin!(front.lingered());
                tokio::select! {
                    biased;
                    ended = connection.as_mut() => break ended,
                    () = front.cut.cancelled() => return,
                    () = lingered => return,
                }
            }
        }
    };
    if let Err(error) = ended {
        debug!(port = %front.listener, peer = %front.peer, %error, "a client's connection broke");
    }
}
