//! A connection to a replica, and what drives it: the task of the request that has it, so that a request wakes no other
//! task and no other thread.
//!
//! Not here: which replica (`exchange`), and where connections rest (`pool`).

use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, Parts, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::aside::Aside;
use super::body::{Progress, Upload};
use super::serve::BUFFER_BYTES;
use super::stream::{Patience, ReplicaStream};

type Io = TokioIo<ReplicaStream>;

/// One connection to a replica.
pub(super) struct Line {
    sender: SendRequest<Upload>,
    driver: Driver,
    /// Kept from request to request, as its timer is.
    patience: Patience,
}

/// What moves the connection's bytes.
enum Driver {
    /// Whoever has it.
    Own(Box<Driven>),
    /// A task: the request's body and the answer go on whether the other is taken or not.
    Task,
    /// Nothing any more: it has become something else.
    Changed(Box<Parts<Io>>),
    /// Nothing any more.
    Ended,
}

struct Driven {
    connection: Connection<Io, Upload>,
    cut: Aside<WaitForCancellationFutureOwned>,
}

impl Driven {
    /// Moves what can be moved; ready when the connection is none any more.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if Pin::new(&mut self.cut).poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::other("cut")));
        }
        let ended = self.connection.poll_without_shutdown(context);
        ended.map_err(io::Error::other)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl Line {
    /// Speaks HTTP/1.1 from here on, until `cut`: then it is closed at once.
    pub(super) async fn open(
        stream: TcpStream,
        cut: CancellationToken,
        idle: Duration,
    ) -> io::Result<Self> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .handshake(TokioIo::new(ReplicaStream(stream)))
            .await
            .map_err(io::Error::other)?;
        let cut = Aside::new(cut.cancelled_owned());
        Ok(Self {
            sender,
            driver: Driver::Own(Box::new(Driven { connection, cut })),
            patience: Patience::new(idle),
        })
    }

    /// The answer to a request, what became of the request, or nothing when neither the answer nor the rest of the
    /// request's body came for `patience`.
    pub(super) async fn ask(
        &mut self,
        request: Request<Upload>,
        patience: Duration,
        progress: &Progress,
    ) -> Option<Result<Response<Incoming>, TrySendError<Request<Upload>>>> {
        self.patience.set(patience);
        let mut sent = pin!(unconstrained(self.sender.try_send_request(request)));
        let mut seen = progress.moved();
        std::future::poll_fn(|context| {
            self.driver.poll(context);
            // Only what was driven just now can have brought it: nobody needs to be woken by it.
            let mut nobody = Context::from_waker(Waker::noop());
            if let Poll::Ready(outcome) = sent.as_mut().poll(&mut nobody) {
                self.patience.renew();
                return Poll::Ready(Some(outcome));
            }
            while self.patience.poll_end(context).is_ready() {
                let moved = progress.moved();
                if moved == seen {
                    return Poll::Ready(None);
                }
                seen = moved;
            }
            Poll::Pending
        })
        .await
    }

    /// The next part of the answer's body; an error, too, when none came for as long as `set_idle` says.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut frame = Poll::Pending;
        if matches!(self.driver, Driver::Own(_)) {
            let mut nobody = Context::from_waker(Waker::noop());
            frame = Pin::new(&mut *body).poll_frame(&mut nobody);
            if frame.is_pending() {
                self.driver.poll(context);
            }
        }
        if frame.is_pending() {
            frame = Pin::new(body).poll_frame(context);
        }
        match frame {
            Poll::Ready(frame) => {
                self.patience.renew();
                Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
            }
            Poll::Pending => {
                let end = self.patience.poll_end(context);
                end.map(|()| Some(Err(io::ErrorKind::TimedOut.into())))
            }
        }
    }

    /// How long nothing of the answer's body may come.
    pub(super) fn set_idle(&mut self, idle: Duration) {
        self.patience.set(idle);
    }

    /// From here on a task drives it: while a client still sends, it may be one that does not read, and the other way
    /// round.
    pub(super) fn drive_by(&mut self, tasks: &TaskTracker) {
        if !self.may_become_ready() {
            return;
        }
        if let Driver::Own(mut driven) = std::mem::replace(&mut self.driver, Driver::Task) {
            tasks.spawn(async move {
                let ended = std::future::poll_fn(|context| driven.poll(context)).await;
                if let Err(error) = ended {
                    debug!(%error, "a connection to a replica broke");
                }
            });
        }
    }

    /// Whether it could take another request when it was driven last.
    pub(super) fn was_ready(&self) -> bool {
        self.may_become_ready() && self.sender.is_ready()
    }

    /// Whether it can take another request now. Wakes nobody for that: it is looked at again.
    pub(super) fn is_ready(&mut self) -> bool {
        if !matches!(self.driver, Driver::Own(_)) {
            return false;
        }
        let mut nobody = Context::from_waker(Waker::noop());
        let look = std::future::poll_fn(|context| {
            self.driver.poll(context);
            Poll::Ready(())
        });
        // What has come is seen, however much the task has done in its turn.
        let looked = pin!(unconstrained(look)).poll(&mut nobody);
        looked.is_ready() && self.was_ready()
    }

    /// Whether it is still driven by whoever has it.
    pub(super) fn may_become_ready(&self) -> bool {
        matches!(self.driver, Driver::Own(_))
    }

    /// Ends when it can take another request, with `true`, or never will.
    pub(super) async fn ready(&mut self) -> bool {
        std::future::poll_fn(|context| {
            self.driver.poll(context);
            match &self.driver {
                Driver::Own(_) if self.sender.is_ready() => Poll::Ready(true),
                Driver::Own(_) => Poll::Pending,
                Driver::Task | Driver::Changed(_) | Driver::Ended => Poll::Ready(false),
            }
        })
        .await
    }

    /// The bare connection after `101 Switching Protocols`, and what was read of it already.
    pub(super) async fn changed(mut self) -> io::Result<(TcpStream, Bytes)> {
        std::future::poll_fn(|context| {
            self.driver.poll(context);
            match self.driver {
                Driver::Own(_) => Poll::Pending,
                Driver::Task | Driver::Changed(_) | Driver::Ended => Poll::Ready(()),
            }
        })
        .await;
        match self.driver {
            Driver::Changed(parts) => Ok((parts.io.into_inner().0, parts.read_buf)),
            Driver::Own(_) | Driver::Task | Driver::Ended => {
                Err(io::Error::other("it ended before it was upgraded"))
            }
        }
    }
}

impl Driver {
    fn poll(&mut self, context: &mut Context<'_>) {
        let Self::Own(driven) = self else {
            return;
        };
        let Poll::Ready(ended) = driven.poll(context) else {
            return;
        };
        let Self::Own(driven) = std::mem::replace(self, Self::Ended) else {
            return;
        };
        match ended {
            // Whoever waits for an answer or the rest of one hears that none comes, as this is taken apart.
            Ok(()) => *self = Self::Changed(Box::new(driven.connection.into_parts())),
            Err(error) => debug!(%error, "a connection to a replica broke"),
        }
    }
}
