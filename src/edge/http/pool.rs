//! Connections to replicas that wait for their next request, by container: an address belongs to the very next one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, interval, timeout};
use tokio_util::task::TaskTracker;

use super::line::Line;
use crate::edge::balance::Way;
use crate::edge::switch::Switch;
use crate::reconcile::Backend;
use crate::spec::ContainerId;

/// Kept connections of one replica's port; more than these were open at once only in a burst.
const KEPT_MAX: usize = 256;
/// After this a kept connection is closed: NAT and replicas forget them.
const KEPT_FOR: Duration = Duration::from_mins(1);
/// A request that cannot be sent twice goes over a kept connection only if that has rested for less: then the replica is
/// not just about to close it. Servers close idle ones after 2 s (gunicorn) at the earliest, 5 s (Node) as a rule.
const RESTED_MAX: Duration = Duration::from_secs(1);
/// For a connection to become ready after an answer; it is then, or the request's body is still on its way.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// Between two looks at those that rest.
const LOOKS: Duration = Duration::from_secs(1);

/// The kept connections.
#[derive(Debug)]
pub(in crate::edge) struct Pool {
    switch: Arc<Switch>,
    kept: Mutex<Shelf>,
    /// What drives connections that nobody waits for.
    tasks: TaskTracker,
}

#[derive(Default, Debug)]
struct Shelf {
    kept: BTreeMap<ContainerId, BTreeMap<SocketAddr, Vec<Kept>>>,
    /// Somebody looks after those that rest.
    is_looked_after: bool,
}

#[derive(Debug)]
struct Kept {
    line: Line,
    since: Instant,
}

impl Kept {
    fn is_good(&mut self) -> bool {
        self.since.elapsed() < KEPT_FOR && self.line.is_ready()
    }
}

impl Pool {
    pub(in crate::edge) fn new(switch: &Arc<Switch>) -> Arc<Self> {
        Arc::new(Self {
            switch: Arc::clone(switch),
            kept: Mutex::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// What drives connections.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// The one that was used last, if any is good for such a request.
    pub(super) fn take(&self, backend: &Backend, can_repeat: bool) -> Option<Line> {
        let longest = if can_repeat { KEPT_FOR } else { RESTED_MAX };
        loop {
            let mut one = self.last(backend, longest)?;
            if one.line.is_ready() {
                return Some(one.line);
            }
        }
    }

    fn last(&self, backend: &Backend, longest: Duration) -> Option<Kept> {
        let mut all = self.lock();
        let of_container = all.kept.get_mut(&backend.container_id)?;
        // All others have rested for longer.
        of_container
            .get_mut(&backend.address)?
            .pop_if(|last| last.since.elapsed() < longest)
    }

    /// Keeps a connection whose answer has gone through, as soon as it can take another request.
    pub(super) fn keep(self: &Arc<Self>, way: Arc<Way>, mut line: Line, now: Instant) {
        // Most are: with the last byte of an answer that came at once.
        if line.was_ready() || line.is_ready() {
            self.put(&way, line, now);
        } else if line.may_become_ready() {
            let pool = Arc::clone(self);
            self.tasks.spawn(async move {
                if let Ok(true) = timeout(READY_WITHIN, line.ready()).await {
                    pool.put(&way, line, now);
                }
            });
        }
    }

    fn put(self: &Arc<Self>, way: &Way, line: Line, since: Instant) {
        let backend = &way.backend;
        let mut all = self.lock();
        // Under the lock: a table that comes in between is followed by `forget_others`, which waits for it.
        if !way.is_newest(&self.switch) && !self.switch.serves(&backend.container_id) {
            return;
        }
        let all = &mut *all;
        if !all.kept.contains_key(&backend.container_id) {
            let container = backend.container_id.clone();
            all.kept.insert(container, BTreeMap::new());
        }
        let Some(of_container) = all.kept.get_mut(&backend.container_id) else {
            return;
        };
        let of_replica = of_container.entry(backend.address).or_default();
        if of_replica.len() >= KEPT_MAX {
            of_replica.retain_mut(Kept::is_good);
        }
        if of_replica.len() < KEPT_MAX {
            of_replica.push(Kept { line, since });
        }
        if !all.is_looked_after {
            all.is_looked_after = true;
            self.tasks.spawn(Self::look_after(Arc::downgrade(self)));
        }
    }

    /// Closes those that their replicas have closed, and those that have rested for too long, until none is left.
    async fn look_after(pool: Weak<Self>) {
        let mut pace = interval(LOOKS);
        pace.tick().await;
        loop {
            pace.tick().await;
            let Some(pool) = pool.upgrade() else {
                return;
            };
            let mut all = pool.lock();
            all.kept.retain(|_, of_container| {
                of_container.retain(|_, of_replica| {
                    of_replica.retain_mut(Kept::is_good);
                    !of_replica.is_empty()
                });
                !of_container.is_empty()
            });
            if all.kept.is_empty() {
                all.is_looked_after = false;
                return;
            }
        }
    }

    /// Closes the connections of replicas that the table in force leads nothing to: one that drains ends sooner without.
    pub(in crate::edge) fn forget_others(&self) {
        let serves = |container: &ContainerId| self.switch.serves(container);
        self.lock().kept.retain(|container, _| serves(container));
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Each change is whole; a panic elsewhere takes nothing from that.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
