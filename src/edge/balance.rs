//! Which replica a new connection goes to: the newest table, and how many connections each container has.
//!
//! Pure data. Not here: locks and notifications (`switch`), sockets (`connection`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::reconcile::{Backend, EdgeReport, Routes};
use crate::spec::{ContainerId, Published};

/// The table in force and the connections that it and its predecessors led to.
#[derive(Debug, Default)]
pub(super) struct Balance {
    epoch: u64,
    routes: Arc<Routes>,
    /// Every container of the table, and every other one that still has connections.
    open: BTreeMap<ContainerId, u64>,
    /// Where the next search begins, by listener, so that ties go round.
    cursors: BTreeMap<Published, usize>,
}

impl Balance {
    /// Puts a table in force.
    pub(super) fn apply(&mut self, epoch: u64, routes: Arc<Routes>) {
        self.epoch = epoch;
        self.routes = routes;
        let routes = Arc::clone(&self.routes);
        self.open
            .retain(|container, count| *count > 0 || is_known(&routes, container));
        let listed = routes
            .listeners
            .values()
            .flatten()
            .map(|backend| &backend.container_id)
            .chain(&routes.draining);
        for container in listed {
            self.open.entry(container.clone()).or_insert(0);
        }
        self.cursors
            .retain(|listener, _| routes.listeners.contains_key(listener));
    }

    /// The backend with the fewest connections that was not tried yet, ties in turn; it is counted from here on, until
    /// [`Balance::release`].
    pub(super) fn claim(
        &mut self,
        listener: &Published,
        tried: &BTreeSet<ContainerId>,
    ) -> Option<Backend> {
        let backends = self.routes.listeners.get(listener)?;
        let start = self.cursors.get(listener).copied().unwrap_or(0) % backends.len().max(1);
        let (index, backend) = backends
            .iter()
            .enumerate()
            .cycle()
            .skip(start)
            .take(backends.len())
            .filter(|(_, backend)| !tried.contains(&backend.container_id))
            .min_by_key(|(_, backend)| self.open.get(&backend.container_id).copied())?;
        self.cursors.insert(*listener, index + 1);
        let count = self.open.entry(backend.container_id.clone()).or_insert(0);
        *count = count.saturating_add(1);
        Some(backend.clone())
    }

    /// One connection of the container has ended.
    pub(super) fn release(&mut self, container: &ContainerId) {
        let Some(count) = self.open.get_mut(container) else {
            return;
        };
        *count = count.saturating_sub(1);
        if *count == 0 && !is_known(&self.routes, container) {
            self.open.remove(container);
        }
    }

    /// Whether the table in force sends connections of the listener to the container.
    pub(super) fn routes_to(&self, listener: &Published, container: &ContainerId) -> bool {
        self.routes
            .listeners
            .get(listener)
            .is_some_and(|backends| backends.iter().any(|b| b.container_id == *container))
    }

    /// What the edge says of itself.
    pub(super) fn report(&self) -> EdgeReport {
        EdgeReport {
            epoch: self.epoch,
            open: self.open.clone(),
        }
    }
}

fn is_known(routes: &Routes, container: &ContainerId) -> bool {
    routes.draining.contains(container)
        || routes
            .listeners
            .values()
            .flatten()
            .any(|backend| backend.container_id == *container)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{ReplicaName, Serial, ServiceName};

    const PORT: Published = Published {
        host_ip: None,
        host_port: 8080,
        target: 80,
    };

    fn table(ready: &[&str], draining: &[&str]) -> Arc<Routes> {
        let backends = ready.iter().zip(1..).map(|(id, serial)| Backend {
            replica: ReplicaName::new(ServiceName::new("web"), Serial(serial)),
            container_id: ContainerId::new(*id),
            address: ([127, 0, 0, 1], 80).into(),
        });
        Arc::new(Routes {
            listeners: BTreeMap::from([(PORT, backends.collect())]),
            draining: draining.iter().map(|id| ContainerId::new(*id)).collect(),
        })
    }

    fn claim(balance: &mut Balance) -> Option<String> {
        let backend = balance.claim(&PORT, &BTreeSet::new())?;
        Some(backend.container_id.to_string())
    }

    fn counts(balance: &Balance) -> Vec<(String, u64)> {
        let report = balance.report();
        report
            .open
            .iter()
            .map(|(id, count)| (id.to_string(), *count))
            .collect()
    }

    #[test]
    fn ties_go_round_and_the_least_loaded_comes_first() {
        let mut balance = Balance::default();
        balance.apply(1, table(&["a", "b", "c"], &[]));
        let first: Vec<_> = (0..4).filter_map(|_| claim(&mut balance)).collect();
        assert_eq!(first, ["a", "b", "c", "a"]);
        balance.release(&ContainerId::new("c"));
        assert_eq!(claim(&mut balance).as_deref(), Some("c"));
        // Also when each connection ends before the next one comes.
        let mut balance = Balance::default();
        balance.apply(1, table(&["a", "b"], &[]));
        let mut turns = Vec::new();
        for _ in 0..4 {
            let id = claim(&mut balance).unwrap();
            balance.release(&ContainerId::new(&*id));
            turns.push(id);
        }
        assert_eq!(turns, ["a", "b", "a", "b"]);
    }

    #[test]
    fn what_was_tried_or_left_the_table_is_not_claimed() {
        let mut balance = Balance::default();
        assert_eq!(claim(&mut balance), None);
        balance.apply(1, table(&["a", "b"], &[]));
        let tried = BTreeSet::from([ContainerId::new("a")]);
        let second = balance.claim(&PORT, &tried).unwrap();
        assert_eq!(second.container_id, ContainerId::new("b"));
        balance.apply(2, table(&["a"], &["b"]));
        assert_eq!(claim(&mut balance).as_deref(), Some("a"));
        assert!(!balance.routes_to(&PORT, &ContainerId::new("b")));
        balance.apply(3, table(&[], &["a", "b"]));
        assert_eq!(claim(&mut balance), None);
    }

    #[test]
    fn a_container_is_counted_until_its_last_connection_ends() {
        let mut balance = Balance::default();
        balance.apply(1, table(&["a", "b"], &[]));
        assert_eq!(claim(&mut balance).as_deref(), Some("a"));
        balance.apply(2, table(&["c"], &["b"]));
        let of = |list: &[(&str, u64)]| {
            list.iter()
                .map(|(id, count)| ((*id).to_owned(), *count))
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(&balance), of(&[("a", 1), ("b", 0), ("c", 0)]));
        balance.release(&ContainerId::new("a"));
        assert_eq!(counts(&balance), of(&[("b", 0), ("c", 0)]));
    }
}
