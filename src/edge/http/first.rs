//! HTTP/1.1 with a client: requests one after the other, and nothing held for a connection that rests between two.
//!
//! hyper keeps two buffers of 8 KiB for as long as it has a connection. So it gets one only when there is something to
//! read, and gives it back between two requests. Not here: what a request is answered (`exchange`).

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::aside::Aside;
use super::exchange;
use super::serve::{BUFFER_BYTES, Front};
use super::stream::ClientStream;

/// A connection that rests for so long gives its buffers back. Another two cost a microsecond.
const HELD_FOR: Duration = Duration::from_millis(100);

/// Why hyper does not keep a connection, whatever its client does.
enum End {
    Cut,
    Rest,
    Over,
}

/// How a connection was left.
pub(super) enum Left {
    /// Between two requests, or with a part of the next.
    Between(ClientStream),
    /// With `101 Switching Protocols`, and with what came of the new protocol.
    Changed(ClientStream, Bytes),
    /// It is closed.
    Closed,
}

/// Answers what comes, until nothing more does for a while. When it is `over`, and nothing is open, the connection ends.
pub(super) async fn serve(
    front: &Arc<Front>,
    client: ClientStream,
    over: Pin<&mut impl Future<Output = ()>>,
) -> Left {
    let service = service_fn(|request: Request<Incoming>| async {
        let answer = exchange::answer(Arc::clone(front), request).await;
        Ok::<_, Infallible>(with_end(answer, front.ground.shutdown.is_cancelled()))
    });
    // Without a timer: how long a head may take is seen to by `over`.
    let mut connection = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(client), service);
    let aside = Aside::new(async {
        // Cancel safety: all of them only wait.
        tokio::select! {
            biased;
            () = front.cut.cancelled() => End::Cut,
            () = rests(front) => End::Rest,
            () = over => End::Over,
        }
    });
    // Cancel safety: the connection stays, and the others only wait.
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        end = aside => match end {
            End::Cut => return Left::Closed,
            End::Rest => {
                let parts = connection.into_parts();
                return Left::Between(parts.io.into_inner().with(parts.read_buf));
            }
            End::Over => {
            Pin::new(&mut connection).graceful_shutdown();
            let lingered = pin!(front.lingered());
            tokio::select! {
                biased;
                ended = &mut connection => ended,
                () = front.cut.cancelled() => return Left::Closed,
                () = lingered => return Left::Closed,
            }
            }
        }
    };
    match ended {
        Ok(()) if front.is_changed() => {
            let parts = connection.into_parts();
            Left::Changed(parts.io.into_inner(), parts.read_buf)
        }
        Ok(()) => Left::Closed,
        Err(error) => {
            debug!(port = %front.listener, peer = %front.peer, %error, "a client's connection broke");
            Left::Closed
        }
    }
}

/// Ends when hyper can be parted from the connection: everything was answered, written, and read.
async fn rests(front: &Front) {
    let activity = &front.activity;
    let mut from = activity.now();
    loop {
        activity.rested(HELD_FOR, from).await;
        if activity.is_between_requests() {
            return;
        }
        from = activity.now();
    }
}

/// The connection ends after this answer, unless it becomes something else.
fn with_end<B>(mut answer: Response<B>, ends: bool) -> Response<B> {
    if ends && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
    }
    answer
}
