//! The checkers, by the names of the design. They compare what phoenixd decides with what really is, and know nothing of
//! how the core decides.
//!
//! What a fault excuses, and for how long, is written at each check. `disturbed_at` is the last instant at which
//! anything went wrong or anybody asked for anything: promises in bounded time count from there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use phoenixd::reconcile::{
    Action, Backend, ContainerState, Desired, Event, Outcome, Reason, RequestId, RequestState,
    Routes, Sight, Stage, Status, Step, Time,
};
use phoenixd::spec::{ContainerId, ReplicaName, ServiceName};

use super::edge::{Edge, backends};
use super::host::{Container, Host, is_process};
use super::setup::{Defect, Setup};

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
    births_limit: usize,
    calls_limit: usize,
    remote: bool,
    is_down: bool,
    /// Containers that this supervisor was told of.
    known: BTreeSet<ContainerId>,
    /// Creates of this supervisor that are under way.
    creating: BTreeMap<ReplicaName, ()>,
    /// Births of this supervisor that are not over.
    births: BTreeSet<ReplicaName>,
    /// Its calls that are under way, by what they are about.
    calls: BTreeSet<String>,
    /// Since when a container is drained, and stopped, by this supervisor.
    drained_at: BTreeMap<ContainerId, Time>,
    stopped: BTreeSet<ContainerId>,
    /// Those that it may take out of rotation even if none is left.
    excused: BTreeSet<ContainerId>,
    /// When containers ended.
    ended_at: BTreeMap<ContainerId, Time>,
    /// Mutating calls of the last minute.
    recent: VecDeque<Time>,
    looks: VecDeque<Time>,
    /// Requests that were told to be over.
    settled: BTreeMap<RequestId, bool>,
    /// This supervisor acted because a life ends.
    expiry: bool,
}

/// A probe, a hint or the next listing tells of it by then: the period of listings and what a probe may take.
const NOTICED: Duration = Duration::from_secs(40);
/// After a disturbance everything is as wanted again by then: backoff, budget, a probe's deadline, one replacement
/// after the other.
pub(super) const RECOVERED: Duration = Duration::from_secs(400);
/// What the end of a life may be late by when nothing is wrong.
const LATE: Duration = Duration::from_secs(0);

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
            known: BTreeSet::new(),
            creating: BTreeMap::new(),
            births: BTreeSet::new(),
            calls: BTreeSet::new(),
            drained_at: BTreeMap::new(),
            stopped: BTreeSet::new(),
            excused: BTreeSet::new(),
            ended_at: BTreeMap::new(),
            recent: VecDeque::new(),
            looks: VecDeque::new(),
            settled: BTreeMap::new(),
            expiry: false,
        }
    }

    pub(super) fn fail(&mut self, at: Time, invariant: &'static str, text: String) {
        self.violation.get_or_insert(Violation {
            invariant,
            at,
            text,
        });
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
        self.creating.clear();
        self.births.clear();
        self.calls.clear();
        self.drained_at.clear();
        self.stopped.clear();
        self.excused.clear();
        self.settled.clear();
        self.expiry = false;
        self.disturbed(now);
    }

    pub(super) fn died(&mut self, now: Time, id: &ContainerId) {
        self.ended_at.insert(id.clone(), now);
    }

    /// What the supervisor is told, it knows.
    pub(super) fn told(&mut self, now: Time, event: &Event) {
        match event {
            Event::Listed { listing, .. } => {
                let listed: BTreeSet<&str> = listing
                    .containers
                    .iter()
                    .map(|observed| observed.id.as_str())
                    .collect();
                self.calls
                    .retain(|about| listed.contains(about.as_str()) || about.contains(' '));
                self.known.extend(
                    listing
                        .containers
                        .iter()
                        .map(|observed| observed.id.clone()),
                );
            }
            Event::Seen {
                id,
                observed: Some(_),
                ..
            } => drop(self.known.insert(id.clone())),
            // A call about what is not there any more has done what it could.
            Event::Seen {
                id, observed: None, ..
            } => drop(self.calls.remove(id.as_str())),
            Event::Ended { action, outcome } => {
                self.calls.remove(&about(action));
                if let Action::Create { replica, .. } = action {
                    self.creating.remove(replica);
                    if !matches!(outcome, Outcome::Done(_)) {
                        self.births.remove(replica);
                    }
                }
                if let Outcome::Done(Sight::Container { observed, .. })
                | Outcome::Failed {
                    sight: Sight::Container { observed, .. },
                    ..
                } = outcome
                {
                    self.known.insert(observed.id.clone());
                }
            }
            Event::Command(_) => {
                // What is to be replaced before it is ready is no birth any more.
                self.births.clear();
                self.disturbed(now);
            }
            Event::Unreachable { .. } => self.disturbed(now),
            Event::Wanted(_)
            | Event::Probed { .. }
            | Event::Published { .. }
            | Event::Edge(_)
            | Event::Began { .. } => {}
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
        let same = |other: &&Container| {
            other.id != *id
                && !other.meddled
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
            !ready.contains(replica)
                && (rows.contains(replica) || self.creating.contains_key(replica))
        });
    }

    /// I1, I8: a table does not lose its last backend by phoenixd's own doing, and holds nothing weak.
    pub(super) fn publishes(&mut self, now: Time, host: &Host, before: &Routes, after: &Routes) {
        for backend in backends(after) {
            let container = host.containers.get(&backend.container_id);
            if container.is_some_and(|c| c.quality.fault == Some(Defect::Weak)) && !self.remote {
                self.fail(
                    now,
                    "I8",
                    format!(
                        "{} is weaker than the policy and in rotation",
                        backend.replica
                    ),
                );
            }
            if container
                .is_some_and(|c| c.started.is_some() && c.serves_at.is_none_or(|at| at > now))
            {
                self.fail(
                    now,
                    "I2",
                    format!("{} is in rotation and was never ready", backend.replica),
                );
            }
        }
        for (port, old) in &before.listeners {
            let emptied = !old.is_empty() && after.listeners.get(port).is_none_or(Vec::is_empty);
            let owner = old
                .first()
                .and_then(|backend| self.wanted.get(&backend.replica.service));
            if !emptied || self.is_down || owner.is_none_or(|desired| desired.replicas == 0) {
                continue;
            }
            for backend in old {
                let id = &backend.container_id;
                if !self.excused.contains(id) && is_well(host, id, now) {
                    let text = format!(
                        "{} is well and was the last in rotation, and phoenixd took it out",
                        backend.replica
                    );
                    self.fail(now, "I1", text);
                }
            }
        }
    }

    /// Whether this supervisor acted because a life ends.
    pub(super) fn saw_expiry(&self) -> bool {
        self.expiry
    }

    /// What phoenixd begins to do.
    pub(super) fn begins(
        &mut self,
        now: Time,
        host: &Host,
        edge: &Edge,
        published: Option<&Routes>,
        action: &Action,
        reason: &Reason,
    ) {
        self.expiry |= super::seeds::is_expiry(reason);
        match action {
            Action::Create { replica, .. } => self.begins_birth(now, host, replica),
            Action::Drain { replica, id } => {
                self.begins_drain(now, host, published, replica, id, reason)
            }
            Action::Stop { subject, .. } => {
                if subject.replica.is_some() {
                    self.begins_stop(now, host, edge, &subject.id);
                }
                self.stopped.insert(subject.id.clone());
            }
            Action::CreateNetwork(_)
            | Action::CreateVolume(_)
            | Action::Connect { .. }
            | Action::Start { .. }
            | Action::Look { .. }
            | Action::Remove { .. }
            | Action::RemoveNetwork(_)
            | Action::RemoveVolume(_) => {}
        }
        if !matches!(action, Action::Drain { .. }) {
            self.calls.insert(about(action));
        }
        if self.calls.len() > self.calls_limit {
            self.fail(now, "I13", format!("{} calls at once", self.calls.len()));
        }
        let window = match action {
            Action::Look { .. } => (&mut self.looks, 6000),
            _ => (&mut self.recent, 400 + 100 * self.wanted.len()),
        };
        let (times, bound) = window;
        times.push_back(now);
        while times
            .front()
            .is_some_and(|first| now.since(*first) > Duration::from_mins(1))
        {
            times.pop_front();
        }
        if times.len() > bound {
            let text = format!(
                "{} calls within a minute, the last: {action}: {reason}",
                times.len()
            );
            self.fail(now, "tight-loop", text);
        }
    }

    /// I3: what this supervisor knows of, with what it makes, is within the surge. I13: births are bounded.
    fn begins_birth(&mut self, now: Time, host: &Host, replica: &ReplicaName) {
        self.creating.insert(replica.clone(), ());
        self.births.insert(replica.clone());
        let Some(desired) = self.wanted.get(&replica.service) else {
            self.fail(
                now,
                "I6",
                format!("{replica} is made, and nobody wants its service"),
            );
            return;
        };
        let limit = desired.replicas + desired.phoenix.surge;
        let creating = self
            .creating
            .keys()
            .filter(|other| other.service == replica.service)
            .count();
        let live = host
            .live_of(&replica.service)
            .filter(|c| self.known.contains(&c.id) && !c.meddled)
            .filter(|c| {
                c.identity
                    .as_ref()
                    .is_none_or(|i| !self.creating.contains_key(&i.replica))
            })
            .count();
        if u32::try_from(creating + live).unwrap_or(u32::MAX) > limit {
            let text = format!(
                "{replica} is made, {live} live, {creating} are being made, the limit is {limit}"
            );
            self.fail(now, "I3", text);
        }
        if self.births.len() > self.births_limit {
            let text = format!("{} births at once: {:?}", self.births.len(), self.births);
            self.fail(now, "I13", text);
        }
    }

    /// I1, I9, I13: a ready replica leaves only when as many as are wanted remain without it.
    fn begins_drain(
        &mut self,
        now: Time,
        host: &Host,
        published: Option<&Routes>,
        replica: &ReplicaName,
        id: &ContainerId,
        reason: &Reason,
    ) {
        let own_will = match reason {
            Reason::Expired { .. }
            | Reason::NewGeneration { .. }
            | Reason::Commanded(_)
            | Reason::Unhealthy { .. }
            | Reason::NeverReady { .. }
            | Reason::ImageMoved
            | Reason::Excess { .. } => true,
            Reason::Ended { .. }
            | Reason::Weaker { .. }
            | Reason::Overdue
            | Reason::Orphan
            | Reason::Down => false,
            Reason::Needed
            | Reason::Missing { .. }
            | Reason::Replaces { .. }
            | Reason::Birth
            | Reason::Pace
            | Reason::Stray
            | Reason::Drained { .. } => {
                self.fail(
                    now,
                    "reasons",
                    format!("{replica} is drained because of {reason}"),
                );
                false
            }
        };
        let desired = self.wanted.get(&replica.service);
        let surge = desired.map_or(0, |desired| desired.phoenix.surge);
        let wanted = desired.map_or(0, |desired| desired.replicas);
        if !own_will || wanted == 0 || (surge == 0 && wanted == 1) {
            self.excused.insert(id.clone());
        }
        let drained_before = self.drained_at.clone();
        self.drained_at.entry(id.clone()).or_insert(now);
        let in_table = |id: &ContainerId| {
            published
                .is_some_and(|table| backends(table).any(|backend| backend.container_id == *id))
        };
        if !own_will || !in_table(id) {
            return;
        }
        let of_service = |c: &&Container| {
            c.service() == Some(&replica.service)
                && c.id != *id
                && !drained_before.contains_key(&c.id)
        };
        let others: Vec<&Container> = host.containers.values().filter(of_service).collect();
        let staying = others.iter().filter(|c| in_table(&c.id)).count();
        let unwell = others
            .iter()
            .filter(|c| {
                !in_table(&c.id) && self.known.contains(&c.id) && !self.stopped.contains(&c.id)
            })
            .filter(|c| {
                c.identity
                    .as_ref()
                    .is_some_and(|i| !self.births.contains(&i.replica))
            })
            .count();
        let spare = usize::from(surge == 0);
        if staying + unwell + spare < usize::try_from(wanted).unwrap_or(0) {
            let text = format!(
                "{replica} leaves ({reason}), {staying} stay in rotation, {wanted} are wanted"
            );
            self.fail(now, if staying == 0 { "I1" } else { "I13" }, text);
        }
    }

    /// I9: the edge sends nothing to what is stopped, and its connections had their time.
    fn begins_stop(&mut self, now: Time, host: &Host, edge: &Edge, id: &ContainerId) {
        let Some(container) = host.containers.get(id) else {
            return;
        };
        if !is_process(&container.state) {
            return;
        }
        if edge.has(id) {
            let text = format!(
                "{} is stopped while the edge still sends to it",
                container.name
            );
            self.fail(now, "I9", text);
        }
        let drain = container
            .service()
            .and_then(|service| self.wanted.get(service))
            .map(|d| d.phoenix.drain);
        let open = edge.open(id);
        let had = self.drained_at.get(id).map(|since| now.since(*since));
        if let (Some(drain), true) = (drain, open > 0)
            && had.is_none_or(|had| had < drain)
            && !self.stopped.contains(id)
        {
            let text = format!(
                "{} is stopped with {open} connections after {had:?} of {drain:?}",
                container.name
            );
            self.fail(now, "I9", text);
        }
    }

    /// I2: a request goes only to what is ready; what fell ill by itself is noticed in bounded time.
    pub(super) fn dialled(&mut self, now: Time, host: &Host, backend: &Backend) -> bool {
        let id = &backend.container_id;
        let container = host.containers.get(id);
        let right = host
            .owner(backend.address.ip())
            .is_some_and(|owner| owner.id == *id);
        let serves = container.is_some_and(|container| container.serves(now));
        if self.stopped.contains(id) {
            self.fail(
                now,
                "I2",
                format!(
                    "a request went to {}, which phoenixd stops",
                    backend.replica
                ),
            );
        }
        if serves && right {
            return true;
        }
        let ever = container.is_none_or(|c| c.serves_at.is_some_and(|at| at <= now));
        if !ever {
            self.fail(
                now,
                "I2",
                format!(
                    "a request went to {}, which was never ready",
                    backend.replica
                ),
            );
        }
        let flaps = container.is_some_and(|c| c.quality.fault == Some(Defect::Flaps));
        let since = match container {
            Some(container) if container.state == ContainerState::Running => container.bad_since,
            _ => self.ended_at.get(id).copied(),
        };
        let since = since.unwrap_or(Time::BOOT).max(self.disturbed_at);
        if !flaps && now.since(since) > NOTICED {
            let text = format!(
                "a request went to {}, which does not serve since {since:?}",
                backend.replica
            );
            self.fail(now, "I2", text);
        }
        false
    }

    /// What is true at every instant, looked at once a second.
    pub(super) fn tick(&mut self, now: Time, host: &Host, edge: &Edge, status: Option<&Status>) {
        let calm = now.since(self.disturbed_at);
        for container in host.containers.values().filter(|c| c.labelled) {
            self.check_container(now, calm, container, status);
        }
        if calm < RECOVERED || self.is_down {
            return;
        }
        let wanted = self.wanted.clone();
        for (name, desired) in &wanted {
            let live = host.live_of(name).count();
            if u32::try_from(live).unwrap_or(u32::MAX) > desired.replicas + desired.phoenix.surge {
                self.fail(now, "I3", format!("{live} of {name} live"));
            }
            let spared = host.live_of(name).any(|c| {
                c.serves(now)
                    && c.serves_at.is_some_and(|at| now.since(at) > NOTICED)
                    && !c.terminating
                    && !self.drained_at.contains_key(&c.id)
            });
            let routed = backends(&edge.table).any(|backend| backend.replica.service == *name);
            let weak = host.live_of(name).any(|c| c.quality.fault.is_some());
            if spared && !routed && !weak && desired.replicas > 0 && !desired.published.is_empty() {
                self.fail(
                    now,
                    "I1",
                    format!("{name} has a replica that serves, and none in rotation"),
                );
            }
        }
    }

    fn check_container(
        &mut self,
        now: Time,
        calm: Duration,
        container: &Container,
        status: Option<&Status>,
    ) {
        let name = container.name.clone();
        let desired = container
            .service()
            .and_then(|service| self.wanted.get(service))
            .cloned();
        let runs = is_process(&container.state);
        let since = container
            .started
            .unwrap_or(container.made_at)
            .max(self.disturbed_at);
        let Some(desired) = desired.filter(|_| !self.is_down) else {
            if now.since(since.max(container.made_at)) > RECOVERED {
                self.fail(now, "I6", format!("{name} is nobody's and still there"));
            }
            return;
        };
        if container.quality.fault == Some(Defect::Weak)
            && runs
            && !self.remote
            && now.since(since) > NOTICED
        {
            self.fail(
                now,
                "I8",
                format!("{name} is weaker than the policy and still runs"),
            );
        }
        let ended = self
            .ended_at
            .get(&container.id)
            .copied()
            .unwrap_or(container.made_at);
        if !runs && calm > RECOVERED && now.since(ended) > NOTICED {
            self.fail(now, "I6", format!("{name} does not run and is still there"));
        }
        let failed = container
            .service()
            .zip(status)
            .and_then(|(service, status)| status.services.get(service))
            .is_none_or(|service| service.failures > 0);
        if let Some(born) = container.started
            && runs
            && !failed
            && calm > RECOVERED
        {
            let row = status.and_then(|status| {
                status
                    .replicas
                    .iter()
                    .find(|row| row.container_id.as_ref() == Some(&container.id))
            });
            let longest = born + desired.phoenix.ttl;
            let deadline = row
                .and_then(|row| row.deadline)
                .map_or(longest, |at| at.min(longest));
            if now > deadline + LATE {
                let late = now.since(deadline);
                self.fail(now, "I5", format!("{name} is {late:?} past its deadline"));
            }
        }
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
fn about(action: &Action) -> String {
    action
        .container()
        .map_or_else(|| action.to_string(), |id| id.as_str().to_owned())
}

/// It serves, and has for long enough that nobody can have thought otherwise.
fn is_well(host: &Host, id: &ContainerId, now: Time) -> bool {
    host.containers.get(id).is_some_and(|container| {
        let ill = container
            .bad_since
            .is_some_and(|_| now.since(container.hung_until) < NOTICED);
        container.serves(now)
            && !ill
            && container.bad_since.is_none()
            && !container.terminating
            && container.quality.fault.is_none()
    })
}
