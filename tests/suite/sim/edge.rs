//! The edge as the supervisor knows it: it takes tables with a delay, dials what its table says, and reports. With it
//! the clients, whose every request is checked against what really is.

use std::collections::BTreeMap;
use std::sync::Arc;

use phoenixd::reconcile::{Backend, EdgeReport, Routes};
use phoenixd::spec::{ContainerId, Published, Transport};

/// The edge.
#[derive(Debug, Default)]
pub(super) struct Edge {
    pub(super) epoch: u64,
    pub(super) table: Arc<Routes>,
    pub(super) connections: BTreeMap<u64, Connection>,
    turns: BTreeMap<Published, usize>,
    next: u64,
    /// What became of the clients' requests.
    pub(super) served: u64,
    pub(super) refused: u64,
    pub(super) cut: u64,
}

/// One open connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) backend: ContainerId,
}

impl Edge {
    /// Takes a table over; an older one than its own is dropped.
    pub(super) fn install(&mut self, epoch: u64, table: Arc<Routes>) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.table = table;
        }
    }

    /// Takes every table, whatever its number: for a supervisor that forgot where it was.
    pub(super) fn install_any(&mut self, epoch: u64, table: Arc<Routes>) {
        self.epoch = epoch;
        self.table = table;
    }

    pub(super) fn report(&self) -> EdgeReport {
        let mut open = BTreeMap::new();
        for connection in self.connections.values() {
            *open.entry(connection.backend.clone()).or_insert(0) += 1;
        }
        EdgeReport {
            epoch: self.epoch,
            open,
        }
    }

    pub(super) fn open(&self, id: &ContainerId) -> usize {
        self.connections
            .values()
            .filter(|connection| connection.backend == *id)
            .count()
    }

    /// Whose turn it is on a port.
    pub(super) fn choose(&mut self, published: Published) -> Option<Backend> {
        let backends = &self.table.listeners.get(&published)?.backends;
        let turn = self.turns.entry(published).or_insert(0);
        *turn = turn.wrapping_add(1);
        backends.get(turn.checked_rem(backends.len())?).cloned()
    }

    pub(super) fn opened(&mut self, backend: ContainerId) -> u64 {
        self.next += 1;
        self.served += 1;
        self.connections.insert(self.next, Connection { backend });
        self.next
    }

    /// Several as one: whatever any of them may send to, and every connection.
    pub(super) fn joined<'e>(all: impl Iterator<Item = &'e Self>) -> Self {
        let (mut table, mut whole) = (Routes::default(), Self::default());
        for edge in all {
            for backends in edge.table.listeners.values() {
                // By which port is nobody's business here.
                let port = Published {
                    host_ip: None,
                    host_port: u16::try_from(table.listeners.len()).unwrap_or(0),
                    target: 0,
                    transport: Transport::Tcp,
                };
                table.listeners.insert(port, backends.clone());
            }
            for connection in edge.connections.values() {
                whole.next += 1;
                whole.connections.insert(whole.next, connection.clone());
            }
        }
        whole.table = Arc::new(table);
        whole
    }

    /// What its table says is to end.
    pub(super) fn cut(&mut self) {
        for id in self.table.cut.clone() {
            self.cut_all_of(&id);
        }
    }

    /// A container's end ends its connections, and so does a table that says so.
    pub(super) fn cut_all_of(&mut self, id: &ContainerId) -> usize {
        let before = self.connections.len();
        self.connections
            .retain(|_, connection| connection.backend != *id);
        let cut = before - self.connections.len();
        self.cut += u64::try_from(cut).unwrap_or(0);
        cut
    }

    pub(super) fn has(&self, id: &ContainerId) -> bool {
        // What is in pods is theirs.
        let own = self.table.listeners.values();
        own.flat_map(|listener| &listener.backends)
            .any(|backend| backend.container_id == *id)
    }
}

/// Every backend of a table.
pub(super) fn backends(table: &Routes) -> impl Iterator<Item = &Backend> {
    table.backends()
}
