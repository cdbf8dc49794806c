//! The data plane: TCP listeners that never close, and a route table that decides where each new connection goes.
//!
//! Whole route tables come in through a `watch` channel (level-triggered, each with its epoch), reports go out through
//! another. Three promises hold at every moment:
//!
//! - **A connection stays.** A new table never cuts one: it lives with its replica until either side ends it.
//! - **A report is a promise.** Once epoch E is reported, no connection will be sent to a replica that E's table does
//!   not route to. Connections that were being dialled at that moment are counted in `open`, and are checked against
//!   the newest table before their first byte goes through.
//! - **Replicas are containers, not addresses.** A freed address belongs to the very next container, so everything is
//!   keyed by container id.
//!
//! Not here: which replicas are ready, and what a drain is (`reconcile`). Nothing here knows Docker; this room will
//! move into a process of its own, and its interface is made for that.

mod accept;
mod balance;
mod connection;
mod holder;
mod later;
mod listen;
mod pump;
mod switch;

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::holder::Holder;
pub use self::listen::{BindError, Listeners, Obstacle};

use self::switch::Switch;
use crate::reconcile::{EdgeReport, Routes};

/// Counts change with every connection; the supervisor hears of them at most this often. A new table is reported at
/// once. A drain therefore ends at most this much late, which nobody notices beside a stop that takes 100 ms.
const REPORT_INTERVAL: Duration = Duration::from_millis(50);

/// A route table with its number.
type Table = (u64, Arc<Routes>);

/// How much the edge takes on, and how long it tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// For one dial of one replica.
    pub dial: Duration,
    /// How long a new connection may wait for a replica, all dials included; then it is reset.
    pub patience: Duration,
    /// Open connections of one published port, at least 1; beyond that new ones stay in the kernel's queue.
    pub connections: usize,
}

impl Limits {
    /// What a host's edge runs with.
    ///
    /// A replica is a container of the same host: one that has not answered a SYN in a second is dead or stuck.
    /// Patience covers the replacement of a service's only replica after a crash (1 to 4 s with its probes), yet ends
    /// before most clients' own timeouts. The cap bounds memory (some KiB and two file descriptors per connection).
    pub const STANDARD: Self = Self {
        dial: Duration::from_secs(1),
        patience: Duration::from_secs(5),
        connections: 8192,
    };
}

/// Forwards connections by the newest table until `shutdown`; then closes the listeners at once, and returns when the
/// last connection has ended. Tables are applied and reports sent until then.
///
/// The sender of `routes` may go away: the last table stays in force.
///
/// # Panics
/// Only with the panic of an accepting task, which would be a bug.
///
/// # Cancel safety
/// Dropping the future closes the listeners and ends the reports. Open connections go on until the runtime ends.
pub async fn run(
    listeners: Listeners,
    limits: Limits,
    mut routes: watch::Receiver<(u64, Arc<Routes>)>,
    reports: watch::Sender<EdgeReport>,
    shutdown: CancellationToken,
) {
    let switch = Arc::new(Switch::new());
    apply(&switch, &mut routes, &reports);
    let connections = TaskTracker::new();
    let ground = accept::Ground {
        limits,
        switch: Arc::clone(&switch),
        connections: connections.clone(),
        shutdown: shutdown.clone(),
    };
    let mut acceptors = accept::start(listeners, &ground, &routes);
    let mut finished = pin!(finish(&mut acceptors, &connections, &shutdown));
    let mut pace = interval(REPORT_INTERVAL);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut has_supervisor = true;
    loop {
        // Cancel safety: a lost tick or an undelivered change only delays a report; the counts are levels.
        tokio::select! {
            biased;
            changed = next_table(&mut routes, has_supervisor) => match changed {
                Ok(()) => apply(&switch, &mut routes, &reports),
                Err(_) => has_supervisor = false,
            },
            () = next_count(&mut pace, switch.counted()) => publish(&switch, &reports),
            () = &mut finished => break,
        }
    }
    publish(&switch, &reports);
}

async fn next_table(
    routes: &mut watch::Receiver<(u64, Arc<Routes>)>,
    has_supervisor: bool,
) -> Result<(), watch::error::RecvError> {
    if has_supervisor {
        routes.changed().await
    } else {
        pending().await
    }
}

async fn next_count(pace: &mut Interval, counted: &Notify) {
    pace.tick().await;
    counted.notified().await;
}

async fn finish(
    acceptors: &mut JoinSet<()>,
    connections: &TaskTracker,
    shutdown: &CancellationToken,
) {
    if acceptors.is_empty() {
        // Without ports there is nobody to wait for, and still reports to send.
        shutdown.cancelled().await;
    }
    while let Some(ended) = acceptors.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    connections.close();
    connections.wait().await;
}

fn apply(
    switch: &Switch,
    routes: &mut watch::Receiver<(u64, Arc<Routes>)>,
    reports: &watch::Sender<EdgeReport>,
) {
    let (epoch, table) = routes.borrow_and_update().clone();
    switch.apply(epoch, table);
    publish(switch, reports);
}

fn publish(switch: &Switch, reports: &watch::Sender<EdgeReport>) {
    let report = switch.report();
    reports.send_if_modified(|last| {
        let is_new = *last != report;
        if is_new {
            *last = report;
        }
        is_new
    });
}
