//! What happens. The only way to change the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{
    Action, BreakGlass, DependencySeen, Desired, EdgeReport, EdgeSaid, Listing, Observed, Reason,
    Routes, Time, Touch,
};
use crate::spec::{ContainerId, ServiceName};

/// Something that happened. No event is an error: what does not fit the world is dropped.
#[derive(Clone, Debug)]
pub enum Event {
    /// What is wanted from now on.
    Wanted(BTreeMap<ServiceName, Desired>),
    /// Containers of docker compose that are left as they are, and why: only to be shown.
    Refused(BTreeMap<ServiceName, String>),
    /// Everything of the project, as listed. The truth, as of the time the listing was asked for.
    Listed {
        /// When the listing was asked for.
        asked_at: Time,
        /// What it says.
        listing: Listing,
    },
    /// One container, as inspected.
    Seen {
        /// When the inspection was asked for.
        asked_at: Time,
        /// Which.
        id: ContainerId,
        /// What it says; `None` when there is no such container.
        observed: Option<Box<Observed>>,
    },
    /// The containers of services that docker compose runs and a phoenix depends on; all of them.
    Dependencies {
        /// When they were asked for.
        asked_at: Time,
        /// What is there.
        seen: Vec<DependencySeen>,
    },
    /// The engine sent a signal to a container, for phoenixd or for somebody else. A hint at why it ends, nothing more.
    Signalled {
        /// Whom.
        id: ContainerId,
    },
    /// Something was done to a container or in it, as a witness tells.
    Touched {
        /// To whom.
        id: ContainerId,
        /// What.
        touch: Touch,
    },
    /// What supervisors before this one have judged tainted, as the journal says: by what. Told before the first listing;
    /// it holds for those that are still there.
    Remembered(BTreeMap<ContainerId, String>),
    /// The engine does not answer. Nothing is begun until the next listing.
    Unreachable {
        /// Why.
        error: String,
    },
    /// The journal cannot be written, and why; `None`: it can again. A replacement is then not begun, and what serves
    /// goes on serving.
    Journal {
        /// Why not.
        error: Option<String>,
    },
    /// A probe ended.
    Probed {
        /// When it began.
        asked_at: Time,
        /// Whom it asked.
        id: ContainerId,
        /// What came of it: `Err` says why it failed.
        result: Result<(), String>,
    },
    /// The shell handed a route table to the edge.
    Published {
        /// Its number: one more for every table that differs from the one before.
        epoch: u64,
        /// The table.
        routes: Arc<Routes>,
    },
    /// The edge of this process speaks.
    Edge(EdgeReport),
    /// An edge in a pod speaks, or does not answer.
    EdgeOf {
        /// Its container.
        id: ContainerId,
        /// What it says; `Err` says why nothing.
        said: Result<EdgeSaid, String>,
    },
    /// The time has come at which the plan wanted to be asked again, and everything that waited was told.
    Woken,
    /// Somebody asks for something.
    Command(Command),
    /// The shell is about to carry an action out.
    Began {
        /// What.
        action: Action,
        /// Why.
        reason: Reason,
    },
    /// An action ended.
    Ended {
        /// What.
        action: Action,
        /// What came of it.
        outcome: Outcome,
    },
}

/// Something that somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Replace every replica that these services have now.
    Recycle {
        /// Under this number the status tells how it went.
        request: RequestId,
        /// Which; all when empty.
        services: BTreeSet<ServiceName>,
    },
    /// Break a replica open.
    BreakGlass {
        /// Under this number the status tells how it went.
        request: RequestId,
        /// What is asked for.
        asked: BreakGlass,
    },
    /// Destroy what is broken open of a service before its time.
    EndGlass {
        /// Under this number the status tells how it went.
        request: RequestId,
        /// Of which.
        service: ServiceName,
    },
    /// Remove everything of the project, and finish.
    Down {
        /// The named volumes too.
        volumes: bool,
    },
    /// Begin nothing that would be half done: this supervisor ends, and what it supervises stays.
    Leave,
}

/// The number of a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// What came of an action, with what was seen afterwards.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Done, by this call or by one before it.
    Done(Sight),
    /// Not done.
    Failed {
        /// Why.
        failure: Failure,
        /// What is there now.
        sight: Sight,
    },
    /// Nobody knows: the call and the look after it failed both.
    Unknown {
        /// Why.
        failure: Failure,
    },
}

impl Outcome {
    /// Whether things are not as they were taken to be, so that only a listing can tell. What a start or a connect does
    /// not find is the container or one of its networks: engines make a container of a network that is not there
    /// (20.10.24, 28.5.2: create answers 201, start 404 "network … not found").
    pub fn asks_for_a_listing(&self, action: &Action) -> bool {
        match self {
            Self::Unknown { .. } => true,
            Self::Done(_) => false,
            Self::Failed { failure, .. } => {
                failure.kind == FailureKind::NotFound
                    && matches!(action, Action::Start { .. } | Action::Connect { .. })
            }
        }
    }
}

/// What was seen after an action.
#[derive(Clone, Debug)]
pub enum Sight {
    /// The action is not about a container.
    Nothing,
    /// The container is not there.
    Gone {
        /// When it was asked for.
        asked_at: Time,
    },
    /// The container.
    Container {
        /// When it was asked for.
        asked_at: Time,
        /// What it looks like.
        observed: Box<Observed>,
    },
}

/// Why a call failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What sort of failure.
    pub kind: FailureKind,
    /// The engine's words, or ours.
    pub message: String,
}

/// What sort of failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// The container's name is somebody else's.
    NameTaken,
    /// An address, a port or something else is taken or in use.
    Conflict,
    /// The container, image or network is not there.
    NotFound,
    /// A replica differs from the original, and nobody knows why.
    Differs,
    /// The engine will not do it.
    Refused,
    /// The engine does not answer, or not in time: it says nothing about the service.
    Unavailable,
}
