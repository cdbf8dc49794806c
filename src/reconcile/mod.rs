//! Decides: events in, actions and views out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::spec::{ContainerId, Published, ReplicaName};

/// Which replicas traffic may go to; a function of the world, never commanded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Routes {
    /// The backends of each published port.
    pub listeners: BTreeMap<Published, Vec<Backend>>,
    /// Not in rotation; their connections are still counted.
    pub draining: BTreeSet<ContainerId>,
}

/// A replica that traffic may go to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Backend {
    /// Its name.
    pub replica: ReplicaName,
    /// Its container.
    pub container_id: ContainerId,
    /// Where it is dialled.
    pub address: SocketAddr,
}

/// What the edge says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EdgeReport {
    /// Of the newest table that new connections are sent by.
    pub epoch: u64,
    /// Open connections by container: all that ever were in a table and still have some, and zero entries for those
    /// in the current table.
    pub open: BTreeMap<ContainerId, u64>,
}
