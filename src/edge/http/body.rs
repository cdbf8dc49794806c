//! Bodies on their way through: each frame as it comes, with a bound on how long none may come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::activity::{Activity, Busy};
use super::line::Line;
use super::pool::Pool;
use super::stream::Patience;
use crate::edge::switch::Claim;

/// How far a client's body is on its way to a replica; nothing where there is none.
#[derive(Clone, Default, Debug)]
pub(super) struct Progress(Option<Arc<Moved>>);

#[derive(Default, Debug)]
struct Moved {
    frames: AtomicU64,
    is_over: AtomicBool,
}

/// What [`Progress::moved`] is when the client was too slow.
const TOO_SLOW: u64 = u64::MAX;

impl Progress {
    /// Counts frames, for those who wait for the answer.
    pub(super) fn moved(&self) -> u64 {
        let moved = self.0.as_ref();
        moved.map_or(0, |moved| moved.frames.load(Ordering::Relaxed))
    }

    /// Whether the client did not send in time.
    pub(super) fn was_too_slow(&self) -> bool {
        self.moved() == TOO_SLOW
    }

    /// Whether nothing more of it goes to the replica.
    pub(super) fn is_over(&self) -> bool {
        let moved = self.0.as_ref();
        moved.is_none_or(|moved| moved.is_over.load(Ordering::Relaxed))
    }
}

/// A client's body on its way to a replica. Most requests have none, and are moved about without one.
#[derive(Debug)]
pub(super) struct Upload(Option<Box<Sent>>);

#[derive(Debug)]
struct Sent {
    body: Incoming,
    patience: Patience,
    progress: Progress,
    activity: Arc<Activity>,
    has_ended: bool,
}

impl Upload {
    pub(super) fn new(body: Incoming, idle: Duration, activity: &Arc<Activity>) -> Self {
        Self((!body.is_end_stream()).then(|| {
            Box::new(Sent {
                body,
                patience: Patience::new(idle),
                progress: Progress(Some(Arc::default())),
                activity: Arc::clone(activity),
                has_ended: false,
            })
        }))
    }

    /// One without a body can be made again.
    pub(super) fn again(&self) -> Option<Self> {
        self.0.is_none().then_some(Self(None))
    }

    pub(super) fn progress(&self) -> Progress {
        let sent = self.0.as_ref();
        sent.map(|sent| sent.progress.clone()).unwrap_or_default()
    }
}

impl Sent {
    fn moved(&self) -> Option<&Moved> {
        self.progress.0.as_deref()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.has_ended && !self.body.is_end_stream() {
            self.activity.has_remains();
        }
        if let Some(moved) = self.moved() {
            moved.is_over.store(true, Ordering::Relaxed);
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(sent) = &mut self.get_mut().0 else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut sent.body).poll_frame(context) {
            Poll::Ready(frame) => {
                sent.patience.renew();
                sent.has_ended = frame.is_none();
                if let Some(moved) = sent.moved() {
                    moved.frames.fetch_add(1, Ordering::Relaxed);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
            }
            Poll::Pending => sent.patience.poll_end(context).map(|()| {
                if let Some(moved) = sent.moved() {
                    moved.frames.store(TOO_SLOW, Ordering::Relaxed);
                }
                Some(Err(io::ErrorKind::TimedOut.into()))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        let sent = self.0.as_ref();
        sent.is_none_or(|sent| sent.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let none = || SizeHint::with_exact(0);
        let sent = self.0.as_ref();
        sent.map_or_else(none, |sent| sent.body.size_hint())
    }
}

/// What an answer holds until it has gone through.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) claim: Claim,
    pub(super) line: Line,
    pub(super) pool: Arc<Pool>,
    pub(super) busy: Busy,
}

/// A replica's body on its way to a client.
#[derive(Debug)]
pub(super) struct Download {
    body: Incoming,
    lease: Option<Lease>,
    has_ended: bool,
    /// What it ends with, once what came before has been written.
    error: Option<io::Error>,
}

impl Download {
    pub(super) fn new(body: Incoming, idle: Duration, mut lease: Lease) -> Self {
        lease.line.set_idle(idle);
        Self {
            body,
            lease: Some(lease),
            has_ended: false,
            error: None,
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        // An answer that was not read to its end leaves a connection that is good for nothing.
        if self.has_ended || self.body.is_end_stream() {
            let (way, now) = (Arc::clone(lease.claim.way()), lease.busy.now());
            lease.pool.keep(way, lease.line, now);
        }
        drop(lease.claim);
        drop(lease.busy);
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// A replica's.
    Replica(Download),
    /// The edge's own.
    Own(Full<Bytes>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let download = match self.get_mut() {
            Self::Own(text) => {
                let frame = Pin::new(text).poll_frame(context);
                return frame.map(|frame| frame.map(|frame| frame.map_err(|never| match never {})));
            }
            Self::Replica(download) => download,
        };
        let Some(lease) = &mut download.lease else {
            return Poll::Ready(None);
        };
        if let Some(error) = download.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = lease.line.poll_frame(&mut download.body, context);
        if let Poll::Ready(Some(Err(error))) = frame {
            // hyper drops what it has not written yet as soon as it hears of an error: it is to write first.
            download.error = Some(error);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        download.has_ended = matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Replica(download) => download.body.is_end_stream(),
            Self::Own(text) => text.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Replica(download) => download.body.size_hint(),
            Self::Own(text) => text.size_hint(),
        }
    }
}
