//! What a plan publishes. Views are computed, never commanded: nobody "adds a route".

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::{Planned, Status, Time};
use crate::spec::{ContainerId, FileDigest, Probe, Published, ReplicaName};

/// The answer of [`World::plan`](super::World::plan).
#[derive(Clone, PartialEq, Debug)]
#[must_use = "a plan that nobody carries out decides nothing"]
pub struct Step {
    /// What is legal and wanted now. Begin each, then plan again.
    pub actions: Vec<Planned>,
    /// For the edge; `None` while replicas of an earlier supervisor are being taken over: the edge keeps its table.
    pub routes: Option<Routes>,
    /// For the probes.
    pub targets: Targets,
    /// The copies of secrets and configs that have to stay: every other one may be removed. `None` while that is not
    /// known: then none may.
    pub files: Option<BTreeSet<FileDigest>>,
    /// For people.
    pub status: Status,
    /// Plan again by then even if nothing happens.
    pub wake_at: Option<Time>,
    /// A `down` was asked for and nothing of it is left to do.
    pub finished: bool,
    /// Nothing is half done that somebody else could trip over: a supervisor that is to end may.
    pub settled: bool,
}

/// Which replicas traffic may go to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Routes {
    /// The backends of each published port, in the order of their names.
    pub listeners: BTreeMap<Published, Vec<Backend>>,
    /// Not in rotation any more; their connections are still counted.
    pub draining: BTreeSet<ContainerId>,
}

/// One replica as the edge reaches it. The container's id is the key: a freed address goes to the very next container.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Backend {
    /// For people.
    pub replica: ReplicaName,
    /// The key.
    pub container_id: ContainerId,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What the edge says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EdgeReport {
    /// No connection is dialled any more to a backend that this table does not have.
    pub epoch: u64,
    /// Open connections by container.
    pub open: BTreeMap<ContainerId, u64>,
}

/// Which replicas are probed from outside, and how.
pub type Targets = BTreeMap<ContainerId, Target>;

/// One replica to be probed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// For people.
    pub replica: ReplicaName,
    /// Where it listens.
    pub address: SocketAddr,
    /// [`Probe::Http`] or [`Probe::Tcp`].
    pub probe: Probe,
    /// From the end of one probe to the begin of the next.
    pub interval: Duration,
    /// For one probe.
    pub timeout: Duration,
}
