//! What the API is given by the supervisor, and what it hands to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::Problem;
use crate::reconcile::{BreakGlass, RequestId, Status, Time};
use crate::spec::{ProjectName, ServiceName};

/// What the API knows and whom it asks.
#[derive(Clone, Debug)]
pub struct State {
    /// What does not change.
    pub about: About,
    /// What does.
    pub status: watch::Receiver<Arc<Snapshot>>,
    /// Where commands go.
    pub commands: mpsc::Sender<CommandRequest>,
    /// The clock of the status: ages follow from it at the time of a request.
    pub clock: fn() -> Time,
}

/// The supervisor, as far as it does not change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    /// Whose supervisor it is.
    pub project: ProjectName,
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it began, by the wall clock.
    pub since: jiff::Timestamp,
    /// When it began, by the clock of the status.
    pub started_at: Time,
}

/// What the supervisor publishes for people.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// Where the supervisor is in its own life: `running`.
    pub phase: &'static str,
    /// The engine, once it has answered.
    pub engine: Option<EngineVersion>,
    /// The plan's view.
    pub status: Status,
    /// A `down` was asked for and nothing of it is left to do ([`Step::finished`](crate::reconcile::Step::finished)).
    /// It must be published before the API's shutdown begins: so whoever waits for it learns of it.
    pub finished: bool,
}

/// The engine, as it calls itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EngineVersion {
    /// `29.1.3`
    pub version: String,
    /// `1.52`
    pub api_version: String,
}

/// Something that somebody asks for. To drop the reply means that the supervisor is ending.
#[derive(Debug)]
pub enum CommandRequest {
    /// Replace every replica that these services have now.
    Recycle {
        /// Which, each of them known; all when empty.
        services: BTreeSet<ServiceName>,
        /// Gets the number that the supervisor gives it, or why not.
        reply: oneshot::Sender<Result<RequestId, Problem>>,
    },
    /// Break a replica open.
    BreakGlass {
        /// What is asked for, within bounds.
        asked: BreakGlass,
        /// Gets the number that the supervisor gives it, or why not.
        reply: oneshot::Sender<Result<RequestId, Problem>>,
    },
    /// Destroy what is broken open before its time.
    EndGlass {
        /// Of which service, that is known.
        service: ServiceName,
        /// Gets the number that the supervisor gives it, or why not.
        reply: oneshot::Sender<Result<RequestId, Problem>>,
    },
    /// Remove everything of the project, and finish.
    Down {
        /// The named volumes too.
        volumes: bool,
        /// Gets whether it will be done, or why not.
        reply: oneshot::Sender<Result<(), Problem>>,
    },
}
