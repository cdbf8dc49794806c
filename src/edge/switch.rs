//! The one place where the table and the counts are held, shared by all connections of the edge.
//!
//! It is a mutex, not a task with a queue, because choosing a replica and counting the connection must be one step
//! with regard to a new table, and each holds it for a microsecond. Nothing waits while holding it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::balance::{Balance, Way};
use crate::reconcile::{Backend, EdgeReport, Routes};
use crate::spec::{ContainerId, Forwarding, Published};

/// The table in force, who is connected, and who wants to hear of changes.
///
/// What a request only looks at does not take the lock, which threads would take from each other: the number of the table
/// in force, and whether a change of a count is still to be told.
#[derive(Debug)]
pub(super) struct Switch {
    balance: Mutex<Balance>,
    /// Of the table in force.
    epoch: AtomicU64,
    /// The epoch of the newest table, for connections that wait for one.
    applied: watch::Sender<u64>,
    /// A count has changed.
    counted: Notify,
    /// That was told, and the counts were not looked at since.
    is_told: AtomicBool,
}

impl Switch {
    pub(super) fn new() -> Self {
        Self {
            balance: Mutex::default(),
            epoch: AtomicU64::new(0),
            applied: watch::Sender::new(0),
            counted: Notify::new(),
            is_told: AtomicBool::new(false),
        }
    }

    /// Puts a table in force: from its return on, no new connection is sent by an older one.
    pub(super) fn apply(&self, epoch: u64, routes: Arc<Routes>) {
        let mut balance = self.lock();
        balance.apply(epoch, routes);
        self.epoch.store(epoch, Ordering::SeqCst);
        drop(balance);
        self.applied.send_replace(epoch);
    }

    /// Tells of each table that is put in force from now on.
    pub(super) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// The number of the table in force.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Whether the table in force sends connections of the listener to the container.
    pub(super) fn routes_to(&self, listener: &Published, container: &ContainerId) -> bool {
        self.lock().routes_to(listener, container)
    }

    /// How connections of the listener are forwarded, once a table has it.
    pub(super) fn forwarding(&self, listener: &Published) -> Option<Forwarding> {
        self.lock().forwarding(listener)
    }

    /// Whether the table in force still knows the container, in rotation or draining.
    pub(super) fn knows(&self, container: &ContainerId) -> bool {
        self.lock().knows(container)
    }

    /// Whether any listener of the table in force leads to the container.
    pub(super) fn serves(&self, container: &ContainerId) -> bool {
        self.lock().serves(container)
    }

    /// What the edge says of itself.
    pub(super) fn report(&self) -> EdgeReport {
        // Before the look: a change after it is told anew.
        self.is_told.store(false, Ordering::SeqCst);
        self.lock().report()
    }

    /// Ends when a count has changed since the last report.
    pub(super) async fn counted(&self) {
        self.counted.notified().await;
    }

    fn count(&self) {
        if !self.is_told.load(Ordering::SeqCst) && !self.is_told.swap(true, Ordering::SeqCst) {
            self.counted.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Balance> {
        // Every method of `Balance` leaves it whole; a panic elsewhere takes nothing from that.
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place with a replica, counted from the choice, before the dial, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    switch: Arc<Switch>,
    way: Arc<Way>,
}

impl Claim {
    /// Chooses a replica by the table in force, not among `tried`, and counts the connection.
    pub(super) fn take(
        switch: &Arc<Switch>,
        listener: &Published,
        tried: &BTreeSet<ContainerId>,
    ) -> Option<Self> {
        let mut balance = switch.lock();
        let way = balance.claim(listener, tried)?;
        drop(balance);
        switch.count();
        Some(Self {
            switch: Arc::clone(switch),
            way,
        })
    }

    /// Cancelled when a table says that whatever leads to the replica is to end.
    pub(super) fn cut(&self) -> &CancellationToken {
        &self.way.cut
    }

    /// No table has come since it was chosen.
    pub(super) fn is_newest(&self) -> bool {
        self.way.is_newest(&self.switch)
    }

    /// The replica.
    pub(super) fn backend(&self) -> &Backend {
        &self.way.backend
    }

    /// The same, to be held on to.
    pub(super) fn way(&self) -> &Arc<Way> {
        &self.way
    }
}

impl Way {
    /// The table that leads there is in force.
    pub(super) fn is_newest(&self, switch: &Switch) -> bool {
        self.epoch == switch.epoch()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.switch.lock().release(&self.way.backend.container_id);
        self.switch.count();
    }
}
