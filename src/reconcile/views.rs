//! What a plan publishes. Views are computed, never commanded: nobody "adds a route".

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Beside, Planned, Status, Time};
use crate::spec::{
    ContainerId, FileDigest, Forwarding, Probe, Published, ReplicaName, Serial, ServiceName,
};

/// The answer of [`World::plan`](super::World::plan).
#[derive(Clone, PartialEq, Debug)]
#[must_use = "a plan that nobody carries out decides nothing"]
pub struct Step {
    /// What is legal and wanted now. Begin each, then plan again.
    pub actions: Vec<Planned>,
    /// For the edge; `None` while replicas of an earlier supervisor are being taken over: the edge keeps its table.
    pub routes: Option<Routes>,
    /// Who listens in the pods.
    pub edges: Edges,
    /// For the probes.
    pub targets: Targets,
    /// The copies of secrets and configs that have to stay: every other one may be removed. `None` while that is not
    /// known: then none may.
    pub files: Option<BTreeSet<FileDigest>>,
    /// What is beside the project, as it was listed, for the guard.
    pub beside: Arc<Beside>,
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
    /// What each port leads to that this process listens on.
    pub listeners: BTreeMap<Published, Listener>,
    /// The same for the services that have pods: there every port is one of the pod's own.
    pub pods: BTreeMap<ServiceName, BTreeMap<Published, Listener>>,
    /// Not in rotation any more; their connections are still counted.
    pub draining: BTreeSet<ContainerId>,
    /// Of these, too, and each connection, request, tunnel and session that leads to them is ended at once. Each is in
    /// `draining` as well.
    pub cut: BTreeSet<ContainerId>,
}

impl Routes {
    /// Every backend.
    pub fn backends(&self) -> impl Iterator<Item = &Backend> {
        let pods = self.pods.values().flat_map(BTreeMap::values);
        self.listeners
            .values()
            .chain(pods)
            .flat_map(|listener| &listener.backends)
    }

    /// What the edge of a service's pod is given.
    #[must_use]
    pub fn of_pod(&self, service: &ServiceName) -> Self {
        Self {
            listeners: self.pods.get(service).cloned().unwrap_or_default(),
            pods: BTreeMap::new(),
            draining: self.draining.clone(),
            cut: self.cut.clone(),
        }
    }
}

/// What one published port leads to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listener {
    /// How it is forwarded.
    pub forwarding: Forwarding,
    /// To whom, in the order of their names.
    pub backends: Vec<Backend>,
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
    /// Open TCP connections, HTTP requests and UDP sessions, by container.
    pub open: BTreeMap<ContainerId, u64>,
}

/// What an edge in a pod says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EdgeSaid {
    /// As every edge reports.
    pub report: EdgeReport,
    /// Where it is in its life.
    pub stage: EdgeStage,
    /// How its probes go.
    pub asks: Asks,
}

/// How the probes of an edge go, from which it is seen that it hangs: its control connection stands then, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Asks {
    /// How long the slowest of whom it is to ask may take: its interval and its time limit. Zero where it asks nobody.
    pub every: Duration,
    /// How long no answer has come, and nothing else was heard of it, since it was last told whom to ask.
    pub silent: Duration,
}

/// Where an edge is in its life.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum EdgeStage {
    /// It accepts nothing yet.
    #[default]
    Idle,
    /// It accepts, but not on every port of its table.
    Partial {
        /// Why not.
        why: String,
    },
    /// It accepts on every port of its table.
    Serving,
    /// It accepts nothing any more: another one has its sockets.
    Spent,
}

/// The edges in pods, by their containers, and what each is to do.
pub type Edges = BTreeMap<ContainerId, EdgeOrder>;

/// One edge in a pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EdgeOrder {
    /// Whose pod it is.
    pub service: ServiceName,
    /// Which edge of that it is.
    pub serial: Serial,
    /// Whether it is the one that is to listen.
    pub listens: bool,
    /// The edge that has the sockets, where this one is to take them over.
    pub takes_over: Option<Serial>,
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
