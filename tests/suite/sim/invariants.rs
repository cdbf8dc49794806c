//! The checkers, by the names of the design. They compare what phoenixd decides with what really is, and know nothing of
//! how the core decides.
//!
//! What a fault excuses, and for how long, is written at each check. `disturbed_at` is the last instant at which
//! anything went wrong or anybody asked for anything: promises in bounded time count from there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use phoenixd::reconcile::{
    Action, Desired, Event, Outcome, RequestId, RequestState, Sight, Stage, Step, Time,
};
use phoenixd::spec::{ContainerId, FileDigest, ReplicaName, ServiceName};

use super::depends::Dependencies;
use super::glass::Glass;
use super::host::{Container, Host};
use super::replay::Unheard;
use super::setup::Setup;
use super::taints::Tainted;

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Violation {
    pub(super) invariant: &'static str,
    pub(super) at: Time,
    pub(super) text: String,
}

/// What the checkers remember.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) violation: Option<Violation>,
    pub(super) disturbed_at: Time,
    pub(super) wanted: BTreeMap<ServiceName, Desired>,
    /// What was wanted before, for what was decided then.
    pub(super) births_limit: usize,
    pub(super) calls_limit: usize,
    pub(super) remote: bool,
    pub(super) is_down: bool,
    /// Containers that this supervisor was told of, with the time of the newest look.
    pub(super) known: BTreeMap<ContainerId, Time>,
    /// Containers that it was told are no more.
    pub(super) gone: BTreeSet<ContainerId>,
    /// Creates of this supervisor that are under way.
    pub(super) creating: BTreeSet<ReplicaName>,
    /// Births of this supervisor that are not over.
    pub(super) births: BTreeSet<ReplicaName>,
    /// Its calls that are under way, by what they are about.
    pub(super) calls: BTreeSet<String>,
    /// Since when a container is drained, and stopped, by this supervisor.
    pub(super) drained_at: BTreeMap<ContainerId, Time>,
    pub(super) stopped: BTreeSet<ContainerId>,
    /// Those that it may take out of rotation even if none is left.
    pub(super) excused: BTreeSet<ContainerId>,
    /// When containers ended.
    pub(super) ended_at: BTreeMap<ContainerId, Time>,
    /// Faults and wishes of the last minute: each may call for some work.
    pub(super) strikes: VecDeque<Time>,
    /// Mutating calls of the last minute.
    pub(super) recent: VecDeque<Time>,
    pub(super) looks: VecDeque<Time>,
    /// Requests that were told to be over.
    pub(super) settled: BTreeMap<RequestId, bool>,
    /// This supervisor acted because a life ends.
    pub(super) expiry: bool,
    /// Units of which some supervisor found a replica equal to the original.
    pub(super) compared: BTreeSet<ServiceName>,
    pub(super) dependencies: Dependencies,
    pub(super) tainted: Tainted,
    pub(super) unheard: Unheard,
    /// Why the journal cannot be written, as this supervisor was told.
    pub(super) unrecorded: Option<String>,
    pub(super) glass: Glass,
    /// Containers whose names were to be taken away.
    pub(super) unnamed: BTreeSet<ContainerId>,
}

const MINUTE: Duration = Duration::from_mins(1);

impl Judge {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            violation: None,
            disturbed_at: Time::BOOT,
            wanted: setup.wanted.clone(),
            births_limit: usize::try_from(setup.limits.births).unwrap_or(usize::MAX),
            calls_limit: setup.limits.calls,
            remote: setup.remote,
            is_down: false,
            known: BTreeMap::new(),
            gone: BTreeSet::new(),
            creating: BTreeSet::new(),
            births: BTreeSet::new(),
            calls: BTreeSet::new(),
            drained_at: BTreeMap::new(),
            stopped: BTreeSet::new(),
            excused: BTreeSet::new(),
            ended_at: BTreeMap::new(),
            strikes: VecDeque::new(),
            recent: VecDeque::new(),
            looks: VecDeque::new(),
            settled: BTreeMap::new(),
            expiry: false,
            compared: BTreeSet::new(),
            dependencies: Dependencies::default(),
            tainted: Tainted::default(),
            unheard: Unheard::default(),
            unrecorded: None,
            glass: Glass::default(),
            unnamed: BTreeSet::new(),
        }
    }

    pub(super) fn fail(&mut self, at: Time, invariant: &'static str, text: String) {
        self.violation.get_or_insert(Violation {
            invariant,
            at,
            text,
        });
    }

    pub(super) fn struck(&mut self, now: Time) {
        remember(&mut self.strikes, now);
        self.disturbed(now);
    }

    pub(super) fn disturbed(&mut self, at: Time) {
        self.disturbed_at = self.disturbed_at.max(at);
    }

    pub(super) fn wanted(&mut self, now: Time, wanted: &BTreeMap<ServiceName, Desired>) {
        self.wanted.clone_from(wanted);
        self.disturbed(now);
    }

    pub(super) fn goes_down(&mut self) {
        self.is_down = true;
    }

    /// A supervisor that knows nothing yet.
    pub(super) fn booted(&mut self, now: Time) {
        self.known.clear();
        self.gone.clear();
        self.creating.clear();
        self.births.clear();
        self.calls.clear();
        self.drained_at.clear();
        self.stopped.clear();
        self.excused.clear();
        self.settled.clear();
        self.tainted = self.tainted.next();
        self.unheard = self.unheard.next();
        self.unrecorded = None;
        self.glass = Glass::default();
        self.expiry = false;
        self.forget_dependencies();
        self.disturbed(now);
    }

    pub(super) fn died(&mut self, now: Time, id: &ContainerId) {
        self.ended_at.insert(id.clone(), now);
    }

    /// What the supervisor is told, it knows.
    pub(super) fn told(&mut self, now: Time, event: &Event) {
        match event {
            Event::Listed { asked_at, listing } => {
                let listed: BTreeSet<&str> = listing
                    .containers
                    .iter()
                    .map(|observed| observed.id.as_str())
                    .collect();
                self.calls
                    .retain(|about| listed.contains(about.as_str()) || about.contains(' '));
                for observed in &listing.containers {
                    self.told_of_freeze(observed);
                    self.saw(&observed.id, *asked_at);
                    self.told_of_replica(observed);
                }
                self.told_of_dependencies(*asked_at, &listing.dependencies);
            }
            Event::Dependencies { asked_at, seen } => self.told_of_dependencies(*asked_at, seen),
            Event::Seen {
                asked_at,
                id,
                observed: Some(observed),
            } => {
                self.saw(id, *asked_at);
                self.told_of_freeze(observed);
                self.told_of_replica(observed);
            }
            Event::Seen {
                asked_at,
                id,
                observed: None,
            } => self.saw_none(id, *asked_at),
            Event::Ended { action, outcome } => self.told_of_end(action, outcome),
            Event::Command(_) => {
                // What is to be replaced before it is ready is no birth any more.
                self.births.clear();
                self.disturbed(now);
            }
            Event::Unreachable { .. } | Event::Journal { .. } => self.disturbed(now),
            Event::Wanted(_)
            | Event::Refused(_)
            | Event::Signalled { .. }
            | Event::Touched { .. }
            | Event::Remembered(_)
            | Event::Probed { .. }
            | Event::Published { .. }
            | Event::Edge(_)
            | Event::EdgeOf { .. }
            | Event::Woken
            | Event::Began { .. } => {}
        }
    }

    fn told_of_end(&mut self, action: &Action, outcome: &Outcome) {
        self.calls.remove(&about(action));
        self.told_of_capture(action, outcome);
        if let (Action::Compare { replica, .. }, Outcome::Done(_)) = (action, outcome) {
            self.compared.insert(replica.service.clone());
        }
        if let Action::Create { replica, .. } = action {
            self.creating.remove(replica);
        }
        // A step that failed ends the birth; what it left is only to be removed.
        if !matches!(outcome, Outcome::Done(_))
            && let Some(replica) = action.replica()
        {
            self.births.remove(replica);
        }
        match outcome {
            Outcome::Done(sight) | Outcome::Failed { sight, .. } => match sight {
                Sight::Container { asked_at, observed } => {
                    self.saw(&observed.id, *asked_at);
                    self.told_of_freeze(observed);
                    self.told_of_replica(observed);
                }
                Sight::Gone { asked_at } => {
                    if let Some(id) = action.container() {
                        self.saw_none(id, *asked_at);
                    }
                }
                Sight::Nothing => {}
            },
            Outcome::Unknown { .. } => {}
        }
    }

    fn saw(&mut self, id: &ContainerId, asked_at: Time) {
        self.told_of_early(id);
        let known = self.known.entry(id.clone()).or_insert(asked_at);
        *known = asked_at.max(*known);
    }

    /// It is no more: a call about it has done what it could. An older look does not say so against a newer one.
    fn saw_none(&mut self, id: &ContainerId, asked_at: Time) {
        self.calls.remove(id.as_str());
        if self.known.get(id).is_none_or(|known| *known <= asked_at) {
            self.gone.insert(id.clone());
        }
    }

    /// I7: what a create came to is what was asked for.
    pub(super) fn ended(&mut self, now: Time, action: &Action, outcome: &Outcome) {
        if let (
            Action::Create {
                replica, spec_hash, ..
            },
            Outcome::Done(Sight::Container { observed, .. }),
        ) = (action, outcome)
        {
            let fits = observed.identity.as_ref().is_some_and(|identity| {
                identity.replica == *replica && identity.spec_hash == *spec_hash
            });
            if !fits {
                let text = format!(
                    "{replica} was taken to be {} with other labels",
                    observed.id.short()
                );
                self.fail(now, "I7", text);
            }
        }
    }

    /// I7: no serial for two containers at once.
    pub(super) fn born(&mut self, now: Time, host: &Host, id: &ContainerId) {
        let Some(newborn) = host.containers.get(id) else {
            return;
        };
        if let Some(identity) = &newborn.identity {
            self.born_of(now, &identity.spec_hash);
        }
        let same = |other: &&Container| {
            other.id != *id
                && !other.meddled
                // A create that was lost on its way may come again once the name was handed on; it is a stray then.
                && other.marked.as_ref() != Some(&other.name)
                && other.identity.as_ref().map(|identity| &identity.replica)
                    == newborn.identity.as_ref().map(|identity| &identity.replica)
        };
        if let Some(other) = host.containers.values().find(same) {
            self.fail(
                now,
                "I7",
                format!("{} has the serial of {}", newborn.name, other.name),
            );
        }
    }

    /// One verdict per replica; requests that are over stay over.
    pub(super) fn step(&mut self, now: Time, step: &Step) {
        let mut meant: BTreeSet<&ContainerId> = BTreeSet::new();
        for planned in &step.actions {
            if let Some(id) = planned.action.container()
                && !meant.insert(id)
            {
                self.fail(
                    now,
                    "one-verdict",
                    format!("two actions on {}: {}", id.short(), planned.action),
                );
            }
        }
        for (number, state) in &step.status.requests {
            let over = match state {
                RequestState::Pending(_) => None,
                RequestState::Done => Some(true),
                RequestState::Failed(_) => Some(false),
            };
            let before = self.settled.get(number).copied();
            if before.is_some() && before != over {
                self.fail(
                    now,
                    "requests",
                    format!("request {} was over and is {state:?}", number.0),
                );
            }
            if let Some(over) = over {
                self.settled.insert(*number, over);
            }
        }
        let ready: BTreeSet<&ReplicaName> = step
            .status
            .replicas
            .iter()
            .filter(|row| {
                !matches!(
                    row.stage,
                    Stage::Creating | Stage::Created | Stage::Starting
                )
            })
            .map(|row| &row.replica)
            .collect();
        let rows: BTreeSet<&ReplicaName> = step
            .status
            .replicas
            .iter()
            .map(|row| &row.replica)
            .collect();
        self.births.retain(|replica| {
            !ready.contains(replica) && (rows.contains(replica) || self.creating.contains(replica))
        });
    }

    /// Nothing is removed that a container mounts which the supervisor knows of.
    pub(super) fn sweeps(&mut self, now: Time, host: &Host, needed: &BTreeSet<FileDigest>) {
        let known = self.known.keys().filter(|id| !self.gone.contains(*id));
        let mut known = known.filter_map(|id| host.containers.get(id));
        if let Some(robbed) = known.find(|container| !container.files.is_subset(needed)) {
            let text = format!("{} lost a file", robbed.name);
            self.fail(now, "files", text);
        }
    }

    /// Whether this supervisor acted because a life ends.
    pub(super) fn saw_expiry(&self) -> bool {
        self.expiry
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "breaks {} at {:?}: {}",
            self.invariant,
            self.at.since_boot(),
            self.text
        )
    }
}

/// What a call is about: a container's id, or the action in words.
pub(super) fn about(action: &Action) -> String {
    action
        .container()
        .map_or_else(|| action.to_string(), |id| id.as_str().to_owned())
}

/// Adds an instant and forgets what is older than a minute.
pub(super) fn remember(times: &mut VecDeque<Time>, now: Time) {
    times.push_back(now);
    while times
        .front()
        .is_some_and(|first| now.since(*first) > MINUTE)
    {
        times.pop_front();
    }
}
