//! The threads of the data plane, apart from the supervisor's one: neither waits for the other, as it will be when the
//! edge is a process of its own.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::edge;
use crate::reconcile::{EdgeReport, Routes};
use crate::spec::Published;

/// The threads of the data plane, apart from the supervisor's: neither waits for the other.
pub(super) struct EdgeThreads {
    /// For what is accepted; what is forwarded is the workers'.
    runtime: Option<Runtime>,
    workers: Option<edge::Workers>,
}

/// The processors that this process may use, at least 1.
pub(super) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl EdgeThreads {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("edge")
            .enable_all()
            .build()?;
        let threads = Self {
            runtime: Some(runtime),
            workers: Some(edge::Workers::start()?),
        };
        Ok(threads)
    }

    /// Binds `ports`, and sees that the host would give those of `later`.
    ///
    /// # Errors
    /// Each of `ports` that cannot be bound; where all can, the first of `later` that never could.
    pub(super) fn bind(
        &self,
        ports: &BTreeSet<Published>,
        later: &BTreeSet<Published>,
    ) -> Result<edge::Listeners, Vec<edge::BindError>> {
        let _inside = self.runtime.as_ref().map(Runtime::enter);
        let bound = edge::Listeners::bind(ports).and_then(|bound| bound.and_later(later));
        bound.map_err(|first| match refused(ports) {
            none if none.is_empty() => vec![first],
            all => all,
        })
    }

    /// Whether the engine could bind these ports now.
    ///
    /// # Errors
    /// Each that it could not.
    pub(super) fn try_ports(
        &self,
        ports: &BTreeSet<Published>,
    ) -> Result<(), Vec<edge::BindError>> {
        let _inside = self.runtime.as_ref().map(Runtime::enter);
        let mut all = refused(ports);
        // The engine has the privilege.
        all.retain(|error| !matches!(error.obstacle, edge::Obstacle::Privileged { .. }));
        if all.is_empty() { Ok(()) } else { Err(all) }
    }

    /// Runs the edge on its threads. It ends with them, when this is dropped.
    pub(super) async fn run(
        mut self,
        listeners: edge::Listeners,
        routes: watch::Receiver<(u64, Arc<Routes>)>,
        reports: watch::Sender<EdgeReport>,
        shutdown: CancellationToken,
    ) {
        let mut running = JoinSet::new();
        if let (Some(runtime), Some(workers)) = (&self.runtime, self.workers.take()) {
            let limits = edge::Limits::STANDARD;
            // What is open ends with this process.
            let end = edge::End {
                shutdown: shutdown.clone(),
                goodbye: shutdown,
            };
            let edge = edge::run(listeners, limits, workers, routes, reports, end);
            running.spawn_on(edge, runtime.handle());
        }
        if let Some(joined) = running.join_next().await {
            unless_panicked(joined);
        }
    }
}

impl Drop for EdgeThreads {
    /// A runtime must not wait for its threads inside another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Those that the host does not give now: each is bound and let go of.
fn refused(ports: &BTreeSet<Published>) -> Vec<edge::BindError> {
    let bound = |port: &Published| edge::Listeners::bind(&BTreeSet::from([*port]));
    ports.iter().filter_map(|port| bound(port).err()).collect()
}

/// A panic of a task goes on here: it is a bug, and everything that is supervised survives it.
pub(super) fn unless_panicked<T>(joined: Result<T, JoinError>) -> Option<T> {
    match joined {
        Ok(ended) => Some(ended),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}
