//! Everything that is known, changed only by applying events.
//!
//! Not here: any decision. What follows from the world is in `plan`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::glass::failure_of;
use super::outside::Existing;
use super::replica::{Replica, Routed};
use super::requests::Request;
use super::rotation;
use super::service::Service;
use super::{
    Action, Beside, Command, ContainerState, DependencySeen, Desired, EdgeReport, EdgeSaid, Event,
    Failure, FailureKind, Limits, Meddling, Outcome, Reason, RequestId, Routes, Sight, Subject,
    Time, Touch, Touched,
};
use crate::spec::{
    ContainerId, NetworkName, ProjectName, ReplicaName, Serial, ServiceName, VolumeName,
};

/// Everything that is known of one project.
#[derive(Clone, Debug)]
pub struct World {
    pub(super) project: ProjectName,
    pub(super) limits: Limits,
    pub(super) services: BTreeMap<ServiceName, Service>,
    pub(super) replicas: BTreeMap<ReplicaName, Replica>,
    /// Containers with the project's label that are no replica.
    pub(super) strays: BTreeMap<ContainerId, Replica>,
    /// Containers that are no more, with the time of the look that said so: an older look that arrives later must
    /// not bring them back.
    pub(super) tombstones: BTreeMap<ContainerId, Time>,
    /// The number of the newest route table that the edge was given.
    pub(super) published: Option<u64>,
    /// The networks and volumes that exist.
    pub(super) existing: BTreeMap<Resource, Existing>,
    /// Those that a service needs and that somebody else removed.
    pub(super) removed: BTreeSet<Resource>,
    /// What somebody else did, lately.
    pub(super) meddling: VecDeque<Meddling>,
    /// Containers of services that docker compose runs and a phoenix depends on, as of this time.
    pub(super) dependencies: Vec<DependencySeen>,
    pub(super) dependencies_at: Time,
    /// What was looked at before this did not look for all of them.
    pub(super) depends_since: Time,
    pub(super) resources: BTreeMap<Resource, ResourceCall>,
    /// What was done to replicas lately, and how much of it there ever was.
    pub(super) touches: VecDeque<Touched>,
    pub(super) touch_number: u64,
    /// What was done to containers that were not seen yet.
    pub(super) early: VecDeque<(ContainerId, Touch)>,
    /// What supervisors before this one have judged tainted, and was not seen yet.
    pub(super) remembered: BTreeMap<ContainerId, String>,
    pub(super) engine: EngineState,
    /// Why the journal cannot be written, if it cannot.
    pub(super) journal_error: Option<String>,
    /// The engine was listed at least once.
    pub(super) listed: bool,
    pub(super) edge: EdgeReport,
    /// What the edges in pods said last, by container.
    pub(super) edges: BTreeMap<ContainerId, EdgeSaid>,
    /// Those of them that did not answer when they were asked last.
    pub(super) mute: BTreeSet<ContainerId>,
    pub(super) down: Option<Down>,
    /// This supervisor ends.
    pub(super) leaving: bool,
    pub(super) requests: BTreeMap<RequestId, Request>,
    /// Units of docker compose that are left as they are, and why.
    pub(super) refused: BTreeMap<ServiceName, String>,
    /// What is beside the project, as it was listed.
    pub(super) beside: Arc<Beside>,
}

/// A network or volume that is made or removed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Resource {
    Network(NetworkName),
    Volume(VolumeName),
}

/// A call about a network or volume: under way, or to be repeated after a failure.
#[derive(Clone, Debug, Default)]
pub(super) struct ResourceCall {
    pub(super) under_way: bool,
    pub(super) attempts: u32,
    pub(super) until: Time,
    pub(super) last: String,
}

/// Whether the engine answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum EngineState {
    /// Not listed yet.
    Unlisted,
    Reachable,
    Unreachable(String),
}

/// Everything is to be removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Down {
    pub(super) volumes: bool,
}

impl World {
    /// A world in which nothing is known yet.
    pub fn new(project: ProjectName, limits: Limits) -> Self {
        Self {
            project,
            limits,
            services: BTreeMap::new(),
            replicas: BTreeMap::new(),
            strays: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            published: None,
            existing: BTreeMap::new(),
            removed: BTreeSet::new(),
            meddling: VecDeque::new(),
            dependencies: Vec::new(),
            dependencies_at: Time::BOOT,
            depends_since: Time::BOOT,
            resources: BTreeMap::new(),
            touches: VecDeque::new(),
            touch_number: 0,
            early: VecDeque::new(),
            remembered: BTreeMap::new(),
            engine: EngineState::Unlisted,
            journal_error: None,
            listed: false,
            edge: EdgeReport::default(),
            edges: BTreeMap::new(),
            mute: BTreeSet::new(),
            down: None,
            leaving: false,
            requests: BTreeMap::new(),
            refused: BTreeMap::new(),
            beside: Arc::default(),
        }
    }

    /// What is known of a container of the project: which replica it is, and its last state.
    pub fn known(&self, id: &ContainerId) -> Option<(&ReplicaName, &ContainerState)> {
        let replica = self
            .replicas
            .values()
            .find(|replica| replica.id() == Some(id))?;
        Some((&replica.name, &replica.observed.as_ref()?.state))
    }

    /// Takes in what happened. Total: what does not fit is dropped.
    ///
    /// `false` says that nothing has changed that a plan looks at: most answers of probes are so, and need no plan.
    pub fn apply(&mut self, now: Time, event: Event) -> bool {
        match event {
            Event::Wanted(wanted) => self.want(now, wanted),
            Event::Refused(refused) => self.refused = refused,
            Event::Listed { asked_at, listing } => self.list(now, asked_at, listing),
            Event::Seen {
                asked_at,
                id,
                observed: Some(observed),
            } => {
                debug_assert_eq!(
                    id, observed.id,
                    "an inspection is about the container that was asked for"
                );
                self.see(now, asked_at, *observed);
            }
            Event::Seen {
                asked_at,
                id,
                observed: None,
            } => self.gone(now, asked_at, &id),
            Event::Dependencies { asked_at, seen } => {
                if !self.depend(asked_at, seen) {
                    return false;
                }
            }
            Event::Signalled { id } => {
                self.signalled(now, &id);
                return false;
            }
            Event::Touched { id, touch } => {
                if !self.touched(now, &id, touch) {
                    return false;
                }
            }
            Event::Remembered(taints) => self.remembered = taints,
            Event::Unreachable { error } => self.engine = EngineState::Unreachable(error),
            Event::Journal { error } => {
                if !self.journal_is(error) {
                    return false;
                }
            }
            Event::Probed {
                asked_at,
                id,
                result,
            } => {
                if !self.probed(now, asked_at, &id, result) {
                    return false;
                }
            }
            Event::Published { epoch, routes } => self.published(now, epoch, &routes),
            Event::Edge(report) => {
                if !self.edge_reported(report) {
                    return false;
                }
            }
            Event::EdgeOf { id, said } => {
                if !self.edge_said(now, &id, said) {
                    return false;
                }
            }
            Event::Woken => self.settle_checks(now),
            Event::Command(command) => self.command(now, command),
            Event::Began { action, reason } => self.began(now, &action, reason),
            Event::Ended { action, outcome } => self.ended(now, &action, outcome),
        }
        self.settle_glass(now);
        self.settle_requests();
        true
    }

    fn command(&mut self, now: Time, command: Command) {
        match command {
            Command::Recycle { request, services } => self.recycle(request, &services),
            Command::BreakGlass { request, asked } => self.break_glass(request, asked),
            Command::EndGlass { request, service } => self.end_glass(now, request, &service),
            Command::Leave => self.leaving = true,
            Command::Down { volumes } => {
                self.down = Some(Down { volumes });
                self.let_originals_be(|_| true);
            }
        }
    }

    fn want(&mut self, now: Time, wanted: BTreeMap<ServiceName, Desired>) {
        self.look_for_dependencies(now, &wanted);
        self.services.retain(|name, _| wanted.contains_key(name));
        self.let_originals_be(|unit| !wanted.contains_key(unit));
        for (name, desired) in wanted {
            match self.services.get_mut(&name) {
                Some(service) => service.want(desired),
                None => {
                    self.services.insert(name, Service::new(desired));
                }
            }
        }
        for replica in self.replicas.values() {
            if let Some(service) = self.services.get_mut(&replica.name.service) {
                service.saw(replica.name.serial, replica.generation);
                service.begun |= replica.has_process() && service.desired.replicas > 0;
            }
        }
        if self.listed {
            self.settle_generations();
        }
    }

    /// Every wanted definition gets its revision.
    pub(super) fn settle_generations(&mut self) {
        for (name, service) in &mut self.services {
            let same = replicas_of(&self.replicas, name)
                .filter(|replica| {
                    !replica.name.is_original() && replica.spec_hash == service.desired.spec_hash
                })
                .map(|replica| replica.generation)
                .max();
            service.settle_generation(same);
        }
    }

    fn published(&mut self, now: Time, epoch: u64, routes: &Routes) {
        self.cut_published(now, epoch, routes);
        self.published = Some(epoch);
        for replica in self.replicas.values_mut() {
            let is_in = replica
                .id()
                .is_some_and(|id| rotation::contains(routes, id));
            match (replica.routed, is_in) {
                (_, true) => replica.routed = Routed::In,
                (Routed::In, false) => replica.routed = Routed::Out { epoch },
                (Routed::Never | Routed::Out { .. }, false) => {}
            }
        }
    }

    fn began(&mut self, now: Time, action: &Action, reason: Reason) {
        match action {
            Action::CreateNetwork(name) | Action::RemoveNetwork(name) => {
                self.resource_began(Resource::Network(name.clone()));
            }
            Action::CreateVolume(name) | Action::RemoveVolume(name) => {
                self.resource_began(Resource::Volume(name.clone()));
            }
            Action::Create {
                replica: name,
                generation,
                spec_hash,
                image: _,
                born_after: _,
                joins: _,
            } => {
                self.condemn_replaced(&reason);
                let mut replica = Replica::new(name.clone(), *generation, spec_hash.clone(), now);
                replica.call = Some(action.name());
                replica.made_here = true;
                if let Some(service) = self.services.get_mut(&name.service) {
                    service.saw(name.serial, *generation);
                }
                self.replicas.insert(name.clone(), replica);
            }
            Action::Drain { replica, .. } => {
                if let Some(replica) = self.replicas.get_mut(replica) {
                    replica.condemned.get_or_insert(reason.clone());
                    replica.draining = Some((now, reason));
                }
            }
            Action::Connect { .. }
            | Action::Disconnect { .. }
            | Action::Start { .. }
            | Action::Compare { .. }
            | Action::Rename { .. }
            | Action::Look { .. }
            | Action::Freeze { .. }
            | Action::Capture { .. }
            | Action::Destroy { .. }
            | Action::Stop { .. }
            | Action::Remove { .. } => {
                self.seizure_began(action);
                self.naming_began(action);
                self.glass_began(now, action, &reason);
                let is_destruction = matches!(action, Action::Destroy { .. });
                let is_stop = matches!(action, Action::Stop { .. });
                let is_removal = matches!(action, Action::Remove { .. }) || is_destruction;
                if let Some(replica) = self.subject_mut(action) {
                    replica.call = Some(action.name());
                    replica.removal_asked |= is_removal;
                    replica.stop_asked |= is_destruction;
                    if is_stop {
                        replica.stop_asked = true;
                        replica.condemned.get_or_insert(reason.clone());
                    }
                }
                if is_stop
                    && reason.is_failed_birth()
                    && let Some(name) = action.replica()
                {
                    self.failed(now, name, &reason.to_string());
                }
            }
        }
    }

    /// A replacement that an update of a dependency asked for goes on also when that one falters again meanwhile.
    fn condemn_replaced(&mut self, reason: &Reason) {
        if let Reason::Replaces {
            replica: old,
            because,
        } = reason
            && matches!(**because, Reason::DependencyUpdated { .. })
            && let Some(old) = self.replicas.get_mut(old)
        {
            old.condemned.get_or_insert(Reason::clone(because));
        }
    }

    fn resource_began(&mut self, resource: Resource) {
        self.resources.entry(resource).or_default().under_way = true;
    }

    /// The replica or stray that an action is about.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only a stop or a removal can be about a stray"
    )]
    fn subject_mut(&mut self, action: &Action) -> Option<&mut Replica> {
        match action {
            Action::Stop {
                subject: Subject { id, replica: None },
                ..
            }
            | Action::Remove {
                subject: Subject { id, replica: None },
            } => self.strays.get_mut(id),
            other => self.replicas.get_mut(other.replica()?),
        }
    }

    fn ended(&mut self, now: Time, action: &Action, outcome: Outcome) {
        if let Some(resource) = resource_of(action) {
            self.resource_ended(now, action, resource, outcome);
            return;
        }
        if let (Action::Start { replica, .. }, Outcome::Done(_)) = (action, &outcome)
            && let Some(service) = self.services.get_mut(&replica.service)
        {
            service.begun = true;
        }
        self.seizure_ended(action, &outcome);
        let failure = failure_of(&outcome);
        let is_known = !matches!(outcome, Outcome::Unknown { .. });
        if let Some(replica) = self.subject_mut(action) {
            replica.call = None;
            if matches!(outcome, Outcome::Done(_)) {
                replica.retry = None;
                replica.compared |= matches!(action, Action::Compare { .. });
            }
        }
        match outcome {
            Outcome::Done(sight) => self.sight(now, action, sight),
            Outcome::Failed { failure, sight } => {
                // In this order: what is gone afterwards is known until then.
                self.call_failed(now, action, &failure);
                self.sight(now, action, sight);
            }
            Outcome::Unknown { failure } => {
                if let Some(replica) = self.subject_mut(action) {
                    replica.unknown_since = Some(now);
                    replica.call_failed(now, failure.message);
                }
            }
        }
        self.naming_ended(action, is_known);
        self.glass_renamed(now, action, failure.as_ref());
    }

    fn sight(&mut self, now: Time, action: &Action, sight: Sight) {
        match sight {
            Sight::Nothing => {}
            Sight::Container { asked_at, observed } => self.see(now, asked_at, *observed),
            Sight::Gone { asked_at } => match action.container() {
                Some(id) => self.gone(now, asked_at, id),
                // A create that made nothing.
                None => {
                    if let Some(name) = action.replica()
                        && self
                            .replicas
                            .get(name)
                            .is_some_and(|replica| replica.observed.is_none())
                    {
                        self.replicas.remove(name);
                    }
                }
            },
        }
    }

    /// A failed create or start is the service's failure, unless the engine was just not there.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a new action is no birth unless it is said here"
    )]
    fn call_failed(&mut self, now: Time, action: &Action, failure: &Failure) {
        let runs = (self.subject_mut(action)).is_some_and(|replica| replica.has_process());
        // One that runs and is ready is born.
        let is_birth = match action {
            Action::Create { .. } | Action::Start { .. } => true,
            Action::Connect { .. } => !runs,
            _ => false,
        };
        if let Some(replica) = self.subject_mut(action) {
            replica.call_failed(now, failure.message.clone());
            if is_birth && failure.kind != FailureKind::Unavailable {
                replica.condemned.get_or_insert(Reason::Ended {
                    how: failure.message.clone(),
                });
            }
        }
        if let (Some(name), FailureKind::Differs) = (action.replica(), failure.kind) {
            self.objected(&name.clone(), &failure.message);
        }
        let Some(name) = action.replica().filter(|_| is_birth) else {
            return;
        };
        match failure.kind {
            // Nothing is wrong with the service: the engine is away, or the name is a stranger's and the next is free.
            FailureKind::Unavailable | FailureKind::NameTaken | FailureKind::Differs => return,
            FailureKind::NotFound => {
                if let Some(service) = self.services.get_mut(&name.service)
                    && matches!(action, Action::Create { .. })
                {
                    service.image_moved = true;
                }
            }
            FailureKind::Conflict | FailureKind::Refused => {}
        }
        self.failed(now, name, &failure.message);
    }

    fn resource_ended(&mut self, now: Time, action: &Action, resource: Resource, outcome: Outcome) {
        let failure = match outcome {
            Outcome::Done(_) => {
                self.resources.remove(&resource);
                let made = matches!(action, Action::CreateNetwork(_) | Action::CreateVolume(_));
                self.removed.remove(&resource);
                let was_twice = (self.existing.get(&resource)).is_some_and(|it| it.twice);
                if made || was_twice {
                    let existing = Existing {
                        ours: made,
                        twice: false,
                        asked_at: now,
                    };
                    self.existing.insert(resource, existing);
                } else {
                    self.existing.remove(&resource);
                }
                return;
            }
            Outcome::Failed { failure, .. } | Outcome::Unknown { failure } => failure,
        };
        let call = self.resources.entry(resource).or_default();
        call.under_way = false;
        call.until = now + super::replica::call_delay(call.attempts);
        call.attempts = call.attempts.saturating_add(1);
        call.last = failure.message;
    }
}

/// The replicas of one service. A plan asks for every service: to look at all replicas each time would be a square.
pub(super) fn replicas_of<'r>(
    replicas: &'r BTreeMap<ReplicaName, Replica>,
    service: &ServiceName,
) -> impl Iterator<Item = &'r Replica> + use<'r> {
    let name = |serial| ReplicaName::new(service.clone(), Serial(serial));
    let of = replicas.range(name(0)..=name(u64::MAX));
    of.map(|(_, replica)| replica)
}

fn resource_of(action: &Action) -> Option<Resource> {
    match action {
        Action::CreateNetwork(name) | Action::RemoveNetwork(name) => {
            Some(Resource::Network(name.clone()))
        }
        Action::CreateVolume(name) | Action::RemoveVolume(name) => {
            Some(Resource::Volume(name.clone()))
        }
        Action::Create { .. }
        | Action::Connect { .. }
        | Action::Disconnect { .. }
        | Action::Start { .. }
        | Action::Compare { .. }
        | Action::Rename { .. }
        | Action::Look { .. }
        | Action::Drain { .. }
        | Action::Freeze { .. }
        | Action::Capture { .. }
        | Action::Destroy { .. }
        | Action::Stop { .. }
        | Action::Remove { .. } => None,
    }
}
