//! The one place where the table and the counts are held, shared by all connections of the edge.
//!
//! It is a mutex, not a task with a queue, because choosing a replica and counting the connection must be one step
//! with regard to a new table, and each holds it for a microsecond. Nothing waits while holding it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::balance::Balance;
use crate::reconcile::{Backend, EdgeReport, Routes};
use crate::spec::{ContainerId, Published};

/// The table in force, who is connected, and who wants to hear of changes.
#[derive(Debug)]
pub(super) struct Switch {
    balance: Mutex<Balance>,
    /// The epoch of the newest table, for connections that wait for one.
    applied: watch::Sender<u64>,
    /// A count has changed.
    counted: Notify,
}

impl Switch {
    pub(super) fn new() -> Self {
        Self {
            balance: Mutex::default(),
            applied: watch::Sender::new(0),
            counted: Notify::new(),
        }
    }

    /// Puts a table in force: from its return on, no new connection is sent by an older one.
    pub(super) fn apply(&self, epoch: u64, routes: Arc<Routes>) {
        self.lock().apply(epoch, routes);
        self.applied.send_replace(epoch);
    }

    /// Tells of each table that is put in force from now on.
    pub(super) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Whether the table in force sends connections of the listener to the container.
    pub(super) fn routes_to(&self, listener: &Published, container: &ContainerId) -> bool {
        self.lock().routes_to(listener, container)
    }

    /// What the edge says of itself.
    pub(super) fn report(&self) -> EdgeReport {
        self.lock().report()
    }

    /// Notified after each change of a count.
    pub(super) fn counted(&self) -> &Notify {
        &self.counted
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
    backend: Backend,
}

impl Claim {
    /// Chooses a replica by the table in force, not among `tried`, and counts the connection.
    pub(super) fn take(
        switch: &Arc<Switch>,
        listener: &Published,
        tried: &BTreeSet<ContainerId>,
    ) -> Option<Self> {
        let backend = switch.lock().claim(listener, tried)?;
        switch.counted.notify_one();
        Some(Self {
            switch: Arc::clone(switch),
            backend,
        })
    }

    /// The replica.
    pub(super) fn backend(&self) -> &Backend {
        &self.backend
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.switch.lock().release(&self.backend.container_id);
        self.switch.counted.notify_one();
    }
}
