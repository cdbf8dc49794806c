//! What a plan asks for. Each action is one call to the engine, safe to repeat, and carries its reason.

use std::fmt;
use std::time::Duration;

use super::{RequestId, Touch};
use crate::spec::{
    BornAfter, ContainerId, Generation, ImageId, NetworkName, ReplicaName, RunBy, ServiceName,
    SpecHash, VolumeName, Weakness,
};

/// What a person has to know of a changed pod.
const POD_CHANGED: &str = "its ports, names or networks changed: the service is not reached while it is replaced, and its open \
    connections end";

/// One call to the engine; or, for [`Action::Drain`], a decision that is remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Make a network of the project.
    CreateNetwork(NetworkName),
    /// Make a named volume of the project.
    CreateVolume(VolumeName),
    /// Make a replica's container, attached to the first of its networks. An existing container of that name counts
    /// as made when its labels and its spec hash match.
    Create {
        /// Which replica.
        replica: ReplicaName,
        /// Goes into its labels.
        generation: Generation,
        /// Goes into its labels.
        spec_hash: SpecHash,
        /// Name the image by this id: its name leads elsewhere.
        image: Option<ImageId>,
        /// Goes into its labels.
        born_after: BornAfter,
        /// The container whose network namespace it joins.
        joins: Option<ContainerId>,
    },
    /// Attach a container to a further network: before its start, or when it is ready.
    Connect {
        /// Which replica.
        replica: ReplicaName,
        /// Its container.
        id: ContainerId,
        /// The network.
        network: NetworkName,
    },
    /// Take a container off the network on which it is only while it is ready.
    Disconnect {
        /// Which replica.
        replica: ReplicaName,
        /// Its container.
        id: ContainerId,
        /// The network.
        network: NetworkName,
    },
    /// Start a container, once.
    Start {
        /// Which replica.
        replica: ReplicaName,
        /// Its container.
        id: ContainerId,
    },
    /// Compare a replica that has not started with the original whose place it is to take.
    Compare {
        /// Which replica.
        replica: ReplicaName,
        /// Its container.
        id: ContainerId,
        /// The original's.
        original: ContainerId,
    },
    /// Give a replica the name of the container whose place it took.
    Rename {
        /// Which replica.
        replica: ReplicaName,
        /// Its container.
        id: ContainerId,
        /// The name.
        name: String,
    },
    /// Inspect a container.
    Look {
        /// Which replica.
        replica: ReplicaName,
        /// Its container.
        id: ContainerId,
    },
    /// Take a replica out of rotation for good. No call: the route table follows from it.
    Drain {
        /// Which replica.
        replica: ReplicaName,
        /// Its container.
        id: ContainerId,
    },
    /// Send the stop signal, and SIGKILL after the grace.
    Stop {
        /// Whom.
        subject: Subject,
        /// How long the process may take; the container's own where `None`.
        grace: Option<Duration>,
    },
    /// Freeze every process of a tainted replica.
    Freeze {
        /// Which replica.
        replica: ReplicaName,
        /// Its container.
        id: ContainerId,
    },
    /// Write down what a tainted replica looks like: a few calls, which only read.
    Capture {
        /// Which replica.
        replica: ReplicaName,
        /// Its container.
        id: ContainerId,
    },
    /// Kill a tainted replica and remove its container, with its anonymous volumes.
    Destroy {
        /// Whom.
        subject: Subject,
    },
    /// Remove a container that does not run, with its anonymous volumes; an original without them.
    Remove {
        /// Whom.
        subject: Subject,
    },
    /// Remove a network that phoenixd made.
    RemoveNetwork(NetworkName),
    /// Remove a volume that phoenixd made.
    RemoveVolume(VolumeName),
}

/// A container that an action is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Subject {
    /// Its container.
    pub id: ContainerId,
    /// Which replica it is; `None` for a stray.
    pub replica: Option<ReplicaName>,
}

/// An action with its reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

/// Why an action is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A service needs the network or volume, and it does not exist.
    Needed,
    /// The same; it existed, and somebody else removed it.
    RemovedFromOutside,
    /// Somebody else made a network of the same name at the same time.
    MadeTwice,
    /// Fewer replicas live than are wanted.
    Missing {
        /// How many live.
        live: u32,
        /// How many are wanted.
        wanted: u32,
    },
    /// A replica is to be replaced, start-first.
    Replaces {
        /// Which.
        replica: ReplicaName,
        /// Why.
        because: Box<Reason>,
    },
    /// The next step of a birth.
    Birth,
    /// It is ready, and is to be found by the service's names.
    Ready,
    /// The replica's state is asked for by inspection.
    Pace,
    /// Its TTL ends at a deadline that leaves just the time to replace it.
    Expired {
        /// How long it may live.
        lifetime: Duration,
    },
    /// The service's definition or image changed.
    NewGeneration {
        /// Its own.
        from: Generation,
        /// The wanted one.
        to: Generation,
    },
    /// Somebody asked for it.
    Commanded(RequestId),
    /// It was ready and is not any more.
    Unhealthy {
        /// What the last probe said.
        last: String,
    },
    /// It was not ready in time.
    NeverReady {
        /// The time it had.
        deadline: Duration,
        /// What the last probe said.
        last: Option<String>,
    },
    /// The kernel or the engine says that it is weaker than the policy.
    Weaker {
        /// How.
        weaknesses: Vec<String>,
    },
    /// More live than are wanted.
    Excess {
        /// How many are wanted.
        wanted: u32,
    },
    /// A dependency with `restart: true` was updated after it was made.
    DependencyUpdated {
        /// Which.
        dependency: ServiceName,
        /// Who runs it.
        run_by: RunBy,
    },
    /// A first start without a dependency that is not required.
    WithoutOptional {
        /// Why it is made.
        because: Box<Reason>,
        /// What is missing of each such dependency.
        missing: Vec<String>,
    },
    /// It was made from another image: the name leads elsewhere since the hash was taken.
    ImageMoved,
    /// The supervisor ends before it took the place of the container before it.
    Leaving,
    /// Its service is not in the file any more.
    Orphan,
    /// It carries the project's label, but no replica's.
    Stray,
    /// It ended.
    Ended {
        /// How.
        how: String,
    },
    /// It has left the rotation and its connections have ended, or had their time.
    Drained {
        /// Connections that are still open and have the grace to end.
        open: u64,
        /// Why it left.
        because: Box<Reason>,
    },
    /// What a pause holds changed: ports, names or networks.
    PodChanged,
    /// The container whose network namespace it joined is gone.
    PodGone,
    /// Another edge has its sockets.
    HandedOver,
    /// It has left the rotation, and the edge has ended what its drain left open.
    Cut {
        /// How many connections, requests, tunnels and sessions; by the report before the order to cut them.
        connections: u64,
        /// Why it left.
        because: Box<Reason>,
    },
    /// The name of the one that is gone is free.
    HandedOn,
    /// Something was done to it, so that it is not what was started any more.
    Tainted {
        /// What; the first.
        touch: Touch,
    },
    /// Somebody wants to get into it.
    BreakGlass {
        /// Who, by the number of the request.
        request: RequestId,
        /// For how long.
        length: Duration,
        /// Why. Hostile text.
        reason: String,
    },
    /// It was broken open, and that is over.
    GlassOver {
        /// Why.
        why: String,
    },
    /// It differs from the original, and nobody knows why.
    Differs {
        /// How.
        how: String,
    },
    /// It is past its deadline, and the file says `overdue: stop`.
    Overdue,
    /// `phoenixd down`.
    Down,
}

impl Reason {
    /// A failure of the service, that its backoff and budget count.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a new reason is no failure unless it is said here"
    )]
    pub(super) fn is_failed_birth(&self) -> bool {
        match self {
            Self::NeverReady { .. } | Self::Weaker { .. } => true,
            Self::Drained { because, .. } | Self::Cut { because, .. } => because.is_failed_birth(),
            _ => false,
        }
    }

    /// The words of those that are always the same, and longer than a line.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a new reason has its words where all others have them"
    )]
    fn fixed(&self) -> Option<&'static str> {
        Some(match self {
            Self::MadeTwice => "somebody else made one of the same name at the same time",
            Self::HandedOver => "another edge has its sockets",
            Self::PodChanged => POD_CHANGED,
            Self::PodGone => "the network that it forwards in is gone",
            _ => return None,
        })
    }

    /// Turns weaknesses that the kernel reports into a reason.
    pub(super) fn weaker(weaknesses: &[Weakness]) -> Self {
        Self::Weaker {
            weaknesses: weaknesses.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Action {
    /// The name of [`Action::Create`].
    pub(super) const CREATE: &str = "create";

    /// Its name in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateNetwork(_) => "create-network",
            Self::CreateVolume(_) => "create-volume",
            Self::Create { .. } => Self::CREATE,
            Self::Connect { .. } => "connect",
            Self::Disconnect { .. } => "disconnect",
            Self::Start { .. } => "start",
            Self::Compare { .. } => "compare",
            Self::Rename { .. } => "rename",
            Self::Look { .. } => "look",
            Self::Drain { .. } => "drain",
            Self::Freeze { .. } => "freeze",
            Self::Capture { .. } => "capture",
            Self::Destroy { .. } => "destroy",
            Self::Stop { .. } => "stop",
            Self::Remove { .. } => "remove",
            Self::RemoveNetwork(_) => "remove-network",
            Self::RemoveVolume(_) => "remove-volume",
        }
    }

    /// The replica that it is about.
    pub fn replica(&self) -> Option<&ReplicaName> {
        match self {
            Self::Create { replica, .. }
            | Self::Connect { replica, .. }
            | Self::Disconnect { replica, .. }
            | Self::Start { replica, .. }
            | Self::Compare { replica, .. }
            | Self::Rename { replica, .. }
            | Self::Look { replica, .. }
            | Self::Freeze { replica, .. }
            | Self::Capture { replica, .. }
            | Self::Drain { replica, .. } => Some(replica),
            Self::Stop { subject, .. } | Self::Destroy { subject } | Self::Remove { subject } => {
                subject.replica.as_ref()
            }
            Self::CreateNetwork(_)
            | Self::CreateVolume(_)
            | Self::RemoveNetwork(_)
            | Self::RemoveVolume(_) => None,
        }
    }

    /// The container that it is about, where there is one already.
    pub fn container(&self) -> Option<&ContainerId> {
        match self {
            Self::Connect { id, .. }
            | Self::Disconnect { id, .. }
            | Self::Start { id, .. }
            | Self::Compare { id, .. }
            | Self::Rename { id, .. }
            | Self::Look { id, .. }
            | Self::Freeze { id, .. }
            | Self::Capture { id, .. }
            | Self::Drain { id, .. } => Some(id),
            Self::Stop { subject, .. } | Self::Destroy { subject } | Self::Remove { subject } => {
                Some(&subject.id)
            }
            Self::Create { .. }
            | Self::CreateNetwork(_)
            | Self::CreateVolume(_)
            | Self::RemoveNetwork(_)
            | Self::RemoveVolume(_) => None,
        }
    }

    /// The service that it is about.
    pub fn service(&self) -> Option<&ServiceName> {
        self.replica().map(|replica| &replica.service)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNetwork(name) => write!(f, "create network {name}"),
            Self::CreateVolume(name) => write!(f, "create volume {name}"),
            Self::Create {
                replica,
                generation,
                ..
            } => write!(f, "create {replica} (generation {generation})"),
            Self::Connect {
                replica, network, ..
            } => write!(f, "connect {replica} to {network}"),
            Self::Disconnect {
                replica, network, ..
            } => write!(f, "disconnect {replica} from {network}"),
            Self::Start { replica, .. } => write!(f, "start {replica}"),
            Self::Compare {
                replica, original, ..
            } => write!(f, "compare {replica} with {}", original.short()),
            Self::Rename { replica, name, .. } => write!(f, "rename {replica} to {name}"),
            Self::Look { replica, .. } => write!(f, "look at {replica}"),
            Self::Drain { replica, .. } => write!(f, "drain {replica}"),
            Self::Freeze { replica, .. } => write!(f, "freeze {replica}"),
            Self::Capture { replica, .. } => write!(f, "capture {replica}"),
            Self::Destroy { subject } => write!(f, "destroy {subject}"),
            Self::Stop { subject, .. } => write!(f, "stop {subject}"),
            Self::Remove { subject } => write!(f, "remove {subject}"),
            Self::RemoveNetwork(name) => write!(f, "remove network {name}"),
            Self::RemoveVolume(name) => write!(f, "remove volume {name}"),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.replica {
            Some(replica) => replica.fmt(f),
            None => write!(f, "stray {}", self.id.short()),
        }
    }
}

fn drained(open: u64, because: &Reason) -> String {
    match open {
        0 => format!("drained: {because}"),
        open => format!("drain time is over with {open} connections open: {because}"),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show =
            |d: &Duration| humantime::format_duration(super::status::whole_ms(*d)).to_string();
        match self {
            Self::Needed => f.write_str("a service needs it"),
            Self::MadeTwice | Self::HandedOver | Self::PodChanged | Self::PodGone => {
                f.write_str(self.fixed().unwrap_or_default())
            }
            Self::RemovedFromOutside => {
                f.write_str("a service needs it, and it was removed from outside")
            }
            Self::Missing { live, wanted } => write!(f, "{live} of {wanted} replicas live"),
            Self::Replaces { replica, because } => write!(f, "replaces {replica}: {because}"),
            Self::Birth => f.write_str("birth"),
            Self::Ready => f.write_str("it is ready"),
            Self::Pace => f.write_str("its state is due to be read"),
            Self::Expired { lifetime } => write!(f, "its life of {} ends", show(lifetime)),
            Self::NewGeneration { from, to } => write!(f, "generation {from} gives way to {to}"),
            Self::Commanded(_) => f.write_str("recycle was asked for"),
            Self::Unhealthy { last } => write!(f, "it is not ready any more: {last}"),
            Self::NeverReady {
                deadline,
                last: None,
            } => write!(f, "it was not ready within {}", show(deadline)),
            Self::NeverReady {
                deadline,
                last: Some(last),
            } => {
                write!(f, "it was not ready within {}: {last}", show(deadline))
            }
            Self::Weaker { weaknesses } => {
                write!(f, "it is weaker than the policy: {}", weaknesses.join("; "))
            }
            Self::Excess { wanted } => write!(f, "only {wanted} wanted"),
            Self::DependencyUpdated {
                dependency,
                run_by: RunBy::Phoenixd,
            } => write!(f, "its dependency `{dependency}` was updated"),
            Self::DependencyUpdated {
                dependency,
                run_by: RunBy::Compose,
            } => write!(
                f,
                "its dependency `{dependency}` (docker compose's) was recreated"
            ),
            Self::WithoutOptional { because, missing } => {
                write!(f, "{because}; {}", missing.join("; "))
            }
            Self::ImageMoved => f.write_str("the image's name leads to another image now"),
            Self::Leaving => f.write_str(
                "the supervisor ends, and docker compose would take it for one too many",
            ),
            Self::Orphan => f.write_str("its service is not in the file"),
            Self::Stray => f.write_str("it carries the project's label, but no replica's"),
            Self::Ended { how } | Self::Differs { how } => f.write_str(how),
            Self::Drained { open, because } => f.write_str(&drained(*open, because)),
            Self::Tainted { touch } => write!(f, "tainted: {}", touch.words()),
            Self::BreakGlass { .. } | Self::GlassOver { .. } | Self::Cut { .. } => {
                f.write_str(&self.of_glass().unwrap_or_default())
            }
            Self::HandedOn => f.write_str("its name is handed on"),
            Self::Overdue => {
                f.write_str("it is past its deadline, and the file says `overdue: stop`")
            }
            Self::Down => f.write_str("`phoenixd down`"),
        }
    }
}
