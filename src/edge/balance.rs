//! Which replica a new connection goes to: the newest table, and how many connections each container has.
//!
//! Pure data. Not here: locks and notifications (`switch`), sockets (`connection`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::reconcile::{Backend, EdgeReport, Listener, Routes};
use crate::spec::{self, ContainerId, Forwarding, Published};

/// The table in force and the connections that it and its predecessors led to.
#[derive(Debug, Default)]
pub(super) struct Balance {
    epoch: u64,
    routes: Arc<Routes>,
    /// Those of each listener, to be held by what is sent to them.
    ways: BTreeMap<Published, Vec<Arc<Way>>>,
    /// Every container of the table, and every other one that still has connections.
    open: BTreeMap<ContainerId, Open>,
    /// Where the next search begins, by listener, so that ties go round.
    cursors: BTreeMap<Published, usize>,
}

/// What a connection is led to.
#[derive(Debug)]
pub(super) struct Way {
    /// The replica.
    pub(super) backend: Backend,
    /// Cancelled when a table says that whatever leads to the replica now is cut.
    pub(super) cut: CancellationToken,
    /// The table that leads there.
    pub(super) epoch: u64,
}

/// What leads to one container.
#[derive(Debug, Default)]
struct Open {
    count: u64,
    /// Cancelled when a table says that what leads there now is cut.
    cut: CancellationToken,
}

impl Balance {
    /// Puts a table in force, and tells those whom it cuts.
    pub(super) fn apply(&mut self, epoch: u64, routes: Arc<Routes>) {
        self.epoch = epoch;
        self.routes = routes;
        let routes = Arc::clone(&self.routes);
        self.open
            .retain(|container, open| open.count > 0 || is_known(&routes, container));
        let listed = routes
            .backends()
            .map(|backend| &backend.container_id)
            .chain(&routes.draining);
        for container in listed {
            self.open.entry(container.clone()).or_default();
        }
        for container in &routes.cut {
            if let Some(open) = self.open.get_mut(container) {
                // Another one for those to come: a later table may lead there again.
                std::mem::take(&mut open.cut).cancel();
            }
        }
        let way = |backend: &Backend| {
            Arc::new(Way {
                backend: backend.clone(),
                cut: self.cut(&backend.container_id),
                epoch,
            })
        };
        self.ways = (routes.listeners.iter())
            .map(|(listener, led)| (*listener, led.backends.iter().map(way).collect()))
            .collect();
        self.cursors
            .retain(|listener, _| routes.listeners.contains_key(listener));
    }

    /// The backend whose turn it is among those that were not tried yet; it is counted from here on, until
    /// [`Balance::release`].
    pub(super) fn claim(
        &mut self,
        listener: &Published,
        tried: &BTreeSet<ContainerId>,
    ) -> Option<Arc<Way>> {
        let Listener { forwarding, .. } = self.routes.listeners.get(listener)?;
        let ways = self.ways.get(listener)?;
        let start = self.cursors.get(listener).copied().unwrap_or(0) % ways.len().max(1);
        let mut in_turn = ways
            .iter()
            .enumerate()
            .cycle()
            .skip(start)
            .take(ways.len())
            .filter(|(_, way)| !tried.contains(&way.backend.container_id));
        let (index, way) = match forwarding.balance {
            spec::Balance::LeastConn => in_turn.min_by_key(|(_, way)| {
                let open = self.open.get(&way.backend.container_id);
                open.map(|open| open.count)
            }),
            spec::Balance::RoundRobin => in_turn.next(),
        }?;
        self.cursors.insert(*listener, index + 1);
        let open = self.open.get_mut(&way.backend.container_id)?;
        open.count = open.count.saturating_add(1);
        Some(Arc::clone(way))
    }

    /// What tells a connection of the container, claimed under the table in force, that it is cut.
    fn cut(&self, container: &ContainerId) -> CancellationToken {
        let open = self.open.get(container);
        open.map(|open| open.cut.clone()).unwrap_or_default()
    }

    /// One connection of the container has ended.
    pub(super) fn release(&mut self, container: &ContainerId) {
        let Some(open) = self.open.get_mut(container) else {
            return;
        };
        open.count = open.count.saturating_sub(1);
        if open.count == 0 && !is_known(&self.routes, container) {
            self.open.remove(container);
        }
    }

    /// Whether the table in force sends connections of the listener to the container.
    pub(super) fn routes_to(&self, listener: &Published, container: &ContainerId) -> bool {
        self.routes.listeners.get(listener).is_some_and(|listener| {
            listener
                .backends
                .iter()
                .any(|b| b.container_id == *container)
        })
    }

    /// How connections of the listener are forwarded, once a table has it.
    pub(super) fn forwarding(&self, listener: &Published) -> Option<Forwarding> {
        Some(self.routes.listeners.get(listener)?.forwarding)
    }

    /// Whether the table in force still knows the container, in rotation or draining.
    pub(super) fn knows(&self, container: &ContainerId) -> bool {
        is_known(&self.routes, container)
    }

    /// Whether any listener of the table in force leads to the container.
    pub(super) fn serves(&self, container: &ContainerId) -> bool {
        self.routes
            .backends()
            .any(|backend| backend.container_id == *container)
    }

    /// What the edge says of itself.
    pub(super) fn report(&self) -> EdgeReport {
        EdgeReport {
            epoch: self.epoch,
            open: (self.open.iter())
                .map(|(container, open)| (container.clone(), open.count))
                .collect(),
        }
    }
}

fn is_known(routes: &Routes, container: &ContainerId) -> bool {
    routes.draining.contains(container)
        || routes
            .backends()
            .any(|backend| backend.container_id == *container)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{ReplicaName, Serial, ServiceName, Transport};

    const PORT: Published = Published {
        host_ip: None,
        host_port: 8080,
        target: 80,
        transport: Transport::Tcp,
    };

    fn table(ready: &[&str], draining: &[&str]) -> Arc<Routes> {
        let backends = ready.iter().zip(1..).map(|(id, serial)| Backend {
            replica: ReplicaName::new(ServiceName::new("web"), Serial(serial)),
            container_id: ContainerId::new(*id),
            address: ([127, 0, 0, 1], 80).into(),
        });
        let listener = Listener {
            backends: backends.collect(),
            ..Listener::default()
        };
        Arc::new(Routes {
            listeners: BTreeMap::from([(PORT, listener)]),
            pods: BTreeMap::new(),
            draining: draining.iter().map(|id| ContainerId::new(*id)).collect(),
            cut: BTreeSet::new(),
        })
    }

    fn claim(balance: &mut Balance) -> Option<String> {
        let way = balance.claim(&PORT, &BTreeSet::new())?;
        Some(way.backend.container_id.to_string())
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
    fn round_robin_takes_each_in_turn_however_loaded_it_is() {
        let mut balance = Balance::default();
        let mut routes = table(&["a", "b", "c"], &[]).as_ref().clone();
        for listener in routes.listeners.values_mut() {
            listener.forwarding.balance = spec::Balance::RoundRobin;
        }
        balance.apply(1, Arc::new(routes));
        let mut turns: Vec<_> = (0..4).filter_map(|_| claim(&mut balance)).collect();
        balance.release(&ContainerId::new("c"));
        turns.extend(claim(&mut balance));
        assert_eq!(turns, ["a", "b", "c", "a", "b"]);
    }

    #[test]
    fn what_was_tried_or_left_the_table_is_not_claimed() {
        let mut balance = Balance::default();
        assert_eq!(claim(&mut balance), None);
        balance.apply(1, table(&["a", "b"], &[]));
        let tried = BTreeSet::from([ContainerId::new("a")]);
        let second = balance.claim(&PORT, &tried).unwrap();
        assert_eq!(second.backend.container_id, ContainerId::new("b"));
        balance.apply(2, table(&["a"], &["b"]));
        assert_eq!(claim(&mut balance).as_deref(), Some("a"));
        assert!(!balance.routes_to(&PORT, &ContainerId::new("b")));
        balance.apply(3, table(&[], &["a", "b"]));
        assert_eq!(claim(&mut balance), None);
    }

    #[test]
    fn a_table_cuts_what_leads_to_a_container_now_and_nothing_that_comes_later() {
        let id = ContainerId::new("a");
        let mut balance = Balance::default();
        balance.apply(1, table(&["a", "b"], &[]));
        let (early, other) = (balance.cut(&id), balance.cut(&ContainerId::new("b")));
        let mut routes = table(&["b"], &["a"]).as_ref().clone();
        routes.cut.insert(id.clone());
        balance.apply(2, Arc::new(routes));
        assert!(early.is_cancelled() && !other.is_cancelled());
        balance.apply(3, table(&["a", "b"], &[]));
        assert!(!balance.cut(&id).is_cancelled());
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
