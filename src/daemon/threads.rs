//! The threads of the data plane, apart from the supervisor's one: neither waits for the other, as it will be when the
//! edge is a process of its own.

use std::collections::BTreeSet;
use std::io;

use tokio::runtime::Runtime;
use tokio::task::{JoinError, JoinSet};

use crate::edge;
use crate::spec::Published;

/// A forwarded byte costs more in the kernel than here: more threads than this only share the same work.
const EDGE_THREADS: usize = 4;

/// The threads of the data plane, apart from the supervisor's: neither waits for the other.
pub(super) struct EdgeThreads(Option<Runtime>);

/// The processors that this process may use, at least 1.
pub(super) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl EdgeThreads {
    pub(super) fn start() -> io::Result<Self> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cpus().min(EDGE_THREADS))
            .thread_name("edge")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    pub(super) fn bind(
        &self,
        ports: &BTreeSet<Published>,
        later: &BTreeSet<Published>,
    ) -> Result<edge::Listeners, edge::BindError> {
        let _inside = self.0.as_ref().map(Runtime::enter);
        edge::Listeners::bind(ports)?.and_later(later)
    }

    /// Runs the edge on its threads. It ends with them, when this is dropped.
    pub(super) async fn run(self, edge: impl Future<Output = ()> + Send + 'static) {
        let mut running = JoinSet::new();
        if let Some(runtime) = &self.0 {
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
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A panic of a task goes on here: it is a bug, and everything that is supervised survives it.
pub(super) fn unless_panicked<T>(joined: Result<T, JoinError>) -> Option<T> {
    match joined {
        Ok(ended) => Some(ended),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}
