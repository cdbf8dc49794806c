//! The threads that forward: each has a runtime of its own and its own kept connections, and a connection stays with one.
//!
//! So nothing that a connection waits for wakes another thread, and no thread looks for work of others, which between two
//! small messages costs more than the messages (decision 42). Whoever accepts gives a connection to the thread that has
//! fewest; while few are open they meet on one thread, and the others sleep.
//!
//! Not here: what accepts, counts and hears of tables: that is on the runtime of whoever calls [`run`](super::run).

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::http::Pool;
use super::switch::Switch;

/// Beyond this many, forwarding waits for the kernel, not for a thread.
const THREADS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// How often each thread is asked whether it takes turns.
const ASKED_EVERY: Duration = Duration::from_secs(5);
/// A thread that has not answered at so many looks in a row never will.
const MISSED_MAX: u32 = 6;

/// Threads at work until this is dropped; then the connections that are still open end.
#[derive(Debug)]
pub struct Workers {
    runtimes: Vec<Handle>,
    _end: DropGuard,
}

impl Workers {
    /// One thread for each processor that this process may use, at most four.
    ///
    /// # Errors
    /// The system gives no thread, or no descriptor for it.
    pub fn start() -> io::Result<Self> {
        let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self::of(processors.min(THREADS_MAX))
    }

    /// So many threads.
    ///
    /// # Errors
    /// As [`Workers::start`].
    pub fn of(threads: NonZeroUsize) -> io::Result<Self> {
        let end = CancellationToken::new();
        let one = |number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (handle, end) = (runtime.handle().clone(), end.clone());
            let thread = std::thread::Builder::new().name(format!("edge-{number}"));
            thread.spawn(move || runtime.block_on(end.cancelled()))?;
            Ok(handle)
        };
        let runtimes = (0..threads.get()).map(one).collect::<io::Result<_>>();
        // Those that were begun before an error end with it.
        let end = end.clone().drop_guard();
        Ok(Self {
            runtimes: runtimes?,
            _end: end,
        })
    }

    /// Ends with the number of a thread on which something has not let go for half a minute: every connection that it has
    /// hangs, and new ones may. That is counted in looks, so that who was frozen is not taken for who hangs.
    ///
    /// # Cancel safety
    /// It only looks.
    pub fn stuck(&self) -> impl Future<Output = usize> + use<> {
        self.stuck_by(ASKED_EVERY)
    }

    fn stuck_by(&self, every: Duration) -> impl Future<Output = usize> + use<> {
        let runtimes = self.runtimes.clone();
        async move {
            let ask = |runtime: &Handle| (runtime.spawn(async {}), 0);
            let mut asked: Vec<(JoinHandle<()>, u32)> = runtimes.iter().map(ask).collect();
            let mut pace = interval(every);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                pace.tick().await;
                for (number, (runtime, one)) in runtimes.iter().zip(&mut asked).enumerate() {
                    if one.0.is_finished() {
                        *one = ask(runtime);
                    } else if one.1 < MISSED_MAX {
                        one.1 += 1;
                    } else {
                        return number;
                    }
                }
            }
        }
    }
}

/// The workers of one edge, each with what its connections share.
#[derive(Clone, Debug)]
pub(super) struct Crew(Arc<[Worker]>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    pool: Arc<Pool>,
    /// Connections that it has.
    open: Arc<AtomicUsize>,
}

/// One connection's place with a worker, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) runtime: Handle,
    /// Kept connections to replicas that speak HTTP.
    pub(super) pool: Arc<Pool>,
    open: Arc<AtomicUsize>,
}

impl Crew {
    pub(super) fn new(workers: &Workers, switch: &Arc<Switch>) -> Self {
        let one = |runtime: &Handle| Worker {
            runtime: runtime.clone(),
            pool: Pool::new(switch),
            open: Arc::default(),
        };
        Self(workers.runtimes.iter().map(one).collect())
    }

    /// A place with the one that has fewest connections; where several have, with the first of them.
    pub(super) fn turn(&self) -> Option<Turn> {
        let worker = (self.0.iter()).min_by_key(|one| one.open.load(Ordering::Relaxed))?;
        worker.open.fetch_add(1, Ordering::Relaxed);
        Some(Turn {
            runtime: worker.runtime.clone(),
            pool: Arc::clone(&worker.pool),
            open: Arc::clone(&worker.open),
        })
    }

    /// As [`Pool::forget_others`], of each.
    pub(super) fn forget_others(&self) {
        for worker in self.0.iter() {
            worker.pool.forget_others();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crew(threads: usize) -> (Workers, Crew) {
        let workers = Workers::of(NonZeroUsize::new(threads).unwrap()).unwrap();
        let crew = Crew::new(&workers, &Arc::new(Switch::new()));
        (workers, crew)
    }

    fn open(crew: &Crew) -> Vec<usize> {
        let open = |one: &Worker| one.open.load(Ordering::Relaxed);
        crew.0.iter().map(open).collect()
    }

    #[test]
    fn a_connection_is_given_to_the_thread_that_has_fewest_and_the_first_of_those() {
        let (_workers, crew) = crew(3);
        for _ in 0..4 {
            drop(crew.turn().unwrap());
            assert_eq!(open(&crew), [0, 0, 0]);
        }
        let mut turns: Vec<Turn> = (0..5).map(|_| crew.turn().unwrap()).collect();
        assert_eq!(open(&crew), [2, 2, 1]);
        drop(turns.remove(0));
        assert_eq!(open(&crew), [1, 2, 1]);
        turns.push(crew.turn().unwrap());
        assert_eq!(open(&crew), [2, 2, 1]);
    }

    #[tokio::test]
    async fn a_thread_that_something_does_not_let_go_of_is_noticed() {
        let (workers, _crew) = crew(2);
        let (lets_go, held) = std::sync::mpsc::channel::<()>();
        workers.runtimes[1].spawn(async move { assert!(held.recv().is_err()) });
        // Long enough for the other one to have its turns on a busy host.
        assert_eq!(workers.stuck_by(Duration::from_millis(200)).await, 1);
        drop(lets_go);
    }

    #[test]
    fn what_runs_on_a_worker_ends_with_it() {
        let (workers, crew) = crew(1);
        let (ends, ended) = std::sync::mpsc::channel::<()>();
        crew.turn().unwrap().runtime.spawn(async move {
            let _held = ends;
            std::future::pending::<()>().await;
        });
        drop(workers);
        // Only when the task was dropped.
        assert!(ended.recv().is_err());
    }
}
