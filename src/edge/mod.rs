//! The data plane: listeners that never close, and a route table that decides where each new connection, request of
//! HTTP or session of UDP goes.
//!
//! Whole route tables come in through a `watch` channel (level-triggered, each with its epoch), reports go out through
//! another. Three promises hold at every moment:
//!
//! - **A connection stays.** It lives with its replica until either side ends it, whatever tables come; unless one names
//!   its container in `cut`: then it is ended, and a report of that table or a later one with none open says that it is.
//! - **A report is a promise.** Once epoch E is reported, no connection will be sent to a replica that E's table does
//!   not route to. Connections that were being dialled at that moment are counted in `open`, and are checked against
//!   the newest table before their first byte goes through.
//! - **Replicas are containers, not addresses.** A freed address belongs to the very next container, so everything is
//!   keyed by container id.
//!
//! Not here: which replicas are ready, and what a drain is (`reconcile`). Nothing here knows Docker: the
//! room runs inside the supervisor, or in a process of its own (`process`), behind the same interface.

mod accept;
mod balance;
mod bound;
mod connection;
pub mod control;
mod datagram;
mod gate;
mod handover;
mod holder;
mod http;
mod later;
mod listen;
mod moving;
mod pipe;
pub mod process;
mod proxy_header;
mod pump;
mod switch;
mod workers;

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

pub use self::holder::Holder;
pub use self::listen::{BindError, Listeners, Obstacle};
pub use self::workers::Workers;

use self::switch::Switch;
use crate::reconcile::{EdgeReport, Routes};

/// Counts change with every connection; the supervisor hears of them at most this often. A new table is reported at
/// once. A drain therefore ends at most this much late, which nobody notices beside a stop that takes 100 ms.
const REPORT_INTERVAL: Duration = Duration::from_millis(50);

/// How an edge is told to end.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// Ports close; open connections go on.
    pub shutdown: CancellationToken,
    /// What can be ended properly is: websockets of HTTP mode, with a close frame. Everything else goes on.
    pub goodbye: CancellationToken,
}

/// A route table with its number.
type Table = (u64, Arc<Routes>);

/// How much the edge takes on, and how long it tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// For one dial of one replica.
    pub dial: Duration,
    /// How long a new connection may wait for a replica, all dials included; then it is reset.
    pub patience: Duration,
    /// Open connections of one published port, at least 1; beyond that new ones stay in the kernel's queue. Fewer where
    /// the process may not have so many files open.
    pub connections: usize,
    /// Pipes for connections that move much at once, two file descriptors each; beyond that, and with 0, bytes are copied.
    pub pipes: usize,
    /// UDP sessions of one published port, at least 1; beyond that datagrams of others are dropped.
    pub sessions: usize,
    /// Until a connection's first request of HTTP has come, and for the head of each.
    pub head: Duration,
    /// How long a connection of HTTP may be without a request.
    pub keep_alive: Duration,
    /// How long a kept connection of HTTP/1 may still ask when its port is closed.
    pub linger: Duration,
    /// How long nothing of a request, of an answer or of a UDP session may move, where the file does not say.
    pub idle: Duration,
}

/// Of the files that the process may have open, so many are not for connections: the engine's, the journal's, probes.
const OTHER_FILES: usize = 512;
/// The least that a port gets, however few files there may be.
const CONNECTIONS_MIN: usize = 64;

impl Limits {
    /// No more connections for each of `ports` than there are file descriptors for, two for each: one port that is
    /// flooded leaves the others theirs.
    fn within_open_files(self, ports: usize) -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let each = files.saturating_sub(OTHER_FILES) / 2 / ports.max(1);
        let most = each.max(CONNECTIONS_MIN);
        Self {
            connections: self.connections.min(most),
            sessions: self.sessions.min(most),
            ..self
        }
    }

    /// What a host's edge runs with.
    ///
    /// A replica is a container of the same host: one that has not answered a SYN in a second is dead or stuck.
    /// Patience covers the replacement of a service's only replica after a crash (1 to 4 s with its probes), yet ends
    /// before most clients' own timeouts. The caps bound memory (some KiB and two file descriptors per connection).
    /// `keep_alive` and `idle` are nginx's defaults (`keepalive_timeout`, `proxy_read_timeout`): longer than what proxies in
    /// front of the edge keep connections for.
    pub const STANDARD: Self = Self {
        dial: Duration::from_secs(1),
        patience: Duration::from_secs(5),
        connections: 8192,
        pipes: 128,
        sessions: 1024,
        head: Duration::from_secs(30),
        keep_alive: Duration::from_secs(75),
        linger: Duration::from_secs(2),
        idle: Duration::from_mins(1),
    };
}

/// Forwards connections by the newest table until it is told to end; then closes the listeners at once, and returns when the
/// last connection has ended. Tables are applied and reports sent until then.
///
/// The sender of `routes` may go away: the last table stays in force.
///
/// # Panics
/// Only with the panic of an accepting task, which would be a bug.
///
/// # Cancel safety
/// Dropping the future closes the listeners and ends the reports and the connections that are still open.
pub async fn run(
    listeners: Listeners,
    limits: Limits,
    workers: Workers,
    mut routes: watch::Receiver<(u64, Arc<Routes>)>,
    reports: watch::Sender<EdgeReport>,
    end: End,
) {
    let End { shutdown, goodbye } = end;
    let switch = Arc::new(Switch::new());
    apply(&switch, &mut routes, &reports);
    let connections = TaskTracker::new();
    let crew = workers::Crew::new(&workers, &switch);
    let mut pace = interval(REPORT_INTERVAL);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ground = accept::Ground {
        limits: limits.within_open_files(listeners.count()),
        switch: Arc::clone(&switch),
        crew: crew.clone(),
        pipes: pipe::Pipes::new(limits.pipes),
        began: pace.tick().await,
        connections: connections.clone(),
        shutdown: shutdown.clone(),
        goodbye,
    };
    let mut acceptors = accept::start(listeners, &ground, &routes);
    let mut finished = pin!(finish(&mut acceptors, &connections, &shutdown));
    let mut has_supervisor = true;
    loop {
        // Cancel safety: a lost tick or an undelivered change only delays a report; the counts are levels.
        tokio::select! {
            biased;
            changed = next_table(&mut routes, has_supervisor) => match changed {
                Ok(()) => {
                    apply(&switch, &mut routes, &reports);
                    crew.forget_others();
                }
                Err(_) => has_supervisor = false,
            },
            () = next_count(&mut pace, &switch) => publish(&switch, &reports),
            () = &mut finished => break,
        }
    }
    publish(&switch, &reports);
}

/// Every forwarded connection takes two descriptors: as many as the host allows are asked for.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        debug!(%error, "the limit of open files stays as it is");
    }
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

async fn next_count(pace: &mut Interval, switch: &Switch) {
    pace.tick().await;
    switch.counted().await;
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
