//! What happens on one client's connection: which of its requests are open, and when it rests.
//!
//! Requests only count; whoever waits for a rest looks at that by the clock. So a request wakes nobody.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::record::Record;

/// Of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    record: Record,
    /// From which time is counted.
    began: Instant,
    open: AtomicUsize,
    /// When the last answer had gone through, or the connection came; in microseconds.
    since: AtomicU64,
    has_asked: AtomicBool,
    /// Every answer is in the kernel's hands.
    is_flushed: AtomicBool,
    /// A request's body was not read to its end: what follows is not the next request.
    has_remains: AtomicBool,
    ended: Notify,
}

impl Activity {
    pub(super) fn new(began: Instant) -> Arc<Self> {
        let activity = Self {
            record: Record::new(),
            began,
            open: AtomicUsize::new(0),
            since: AtomicU64::new(0),
            has_asked: AtomicBool::new(false),
            is_flushed: AtomicBool::new(true),
            has_remains: AtomicBool::new(false),
            ended: Notify::new(),
        };
        activity.stamp();
        Arc::new(activity)
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// A request is open until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.has_asked.store(true, Ordering::Release);
        Busy {
            activity: Arc::clone(self),
            ended: None,
        }
    }

    /// Everything that was to be written is.
    pub(super) fn flushed(&self) {
        self.is_flushed.store(true, Ordering::Release);
    }

    /// A request's body was not read to its end.
    pub(super) fn has_remains(&self) {
        self.has_remains.store(true, Ordering::Release);
    }

    /// Whether a request has come.
    pub(super) fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::Acquire)
    }

    /// Whether, but for what was read of the next request, nothing is left of those that came.
    pub(super) fn is_between_requests(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
            && self.is_flushed.load(Ordering::Acquire)
            && !self.has_remains.load(Ordering::Acquire)
    }

    /// How long it is since time is counted.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Ends when no request is open, and none was for `limit`, counted not from before `from`.
    pub(super) async fn rested(&self, limit: Duration, from: Duration) {
        self.rested_by(|_| limit, from, limit).await;
    }

    /// The same with a limit that may become another one, which is asked for every `look` at the latest.
    pub(super) async fn rested_by(
        &self,
        limit: impl Fn(&Self) -> Duration,
        from: Duration,
        look: Duration,
    ) {
        loop {
            // Before the look: what ends after it is heard of.
            let ended = self.ended.notified();
            if self.open.load(Ordering::Acquire) > 0 {
                ended.await;
                continue;
            }
            let since = Duration::from_micros(self.since.load(Ordering::Acquire));
            let due = since.max(from) + limit(self);
            let now = self.now();
            if now >= due {
                return;
            }
            let until = self.began + due.min(now + look);
            timeout_at(until, pending::<()>()).await.ok();
        }
    }

    fn stamp(&self) {
        let now = u64::try_from(self.now().as_micros()).unwrap_or(u64::MAX);
        self.since.store(now, Ordering::Release);
    }
}

/// One open request of a connection.
#[derive(Debug)]
pub(super) struct Busy {
    activity: Arc<Activity>,
    ended: Option<CancellationToken>,
}

impl Busy {
    /// The time.
    pub(super) fn now(&self) -> Instant {
        self.activity.began + self.activity.now()
    }

    /// Cancelled when the request is open no more.
    pub(super) fn ended(&mut self) -> CancellationToken {
        self.ended.get_or_insert_default().clone()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(ended) = &self.ended {
            ended.cancel();
        }
        let activity = &self.activity;
        activity.record.resume();
        activity.is_flushed.store(false, Ordering::Release);
        activity.stamp();
        activity.open.fetch_sub(1, Ordering::AcqRel);
        activity.ended.notify_waiters();
    }
}
