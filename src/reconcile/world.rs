//! Everything that is known, changed only by applying events.
//!
//! Not here: any decision. What follows from the world is in `plan`.

use std::collections::{BTreeMap, BTreeSet};

use super::replica::{Replica, Routed, how_it_ended};
use super::rotation;
use super::service::Service;
use super::{
    Action, Command, Desired, EdgeReport, Event, Failure, FailureKind, Health, Identity, Limits,
    Listing, Observed, Outcome, Reason, RequestId, Routes, Sight, Subject, Time,
};
use crate::spec::{
    ContainerId, NetworkName, Probe, ProjectName, ReplicaName, ServiceName, VolumeName,
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
    /// Existing networks; `true` where phoenixd made them.
    pub(super) networks: BTreeMap<NetworkName, bool>,
    /// Existing volumes; `true` where phoenixd made them.
    pub(super) volumes: BTreeMap<VolumeName, bool>,
    pub(super) resources: BTreeMap<Resource, ResourceCall>,
    pub(super) engine: EngineState,
    pub(super) edge: EdgeReport,
    pub(super) down: Option<Down>,
    pub(super) requests: BTreeMap<RequestId, Request>,
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

/// A request to recycle.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) services: BTreeSet<ServiceName>,
    /// The replicas that have to go.
    pub(super) targets: BTreeSet<ContainerId>,
    /// Why it came to nothing.
    pub(super) failed: Option<String>,
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
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            resources: BTreeMap::new(),
            engine: EngineState::Unlisted,
            edge: EdgeReport::default(),
            down: None,
            requests: BTreeMap::new(),
        }
    }

    /// Takes in what happened. Total: what does not fit is dropped.
    pub fn apply(&mut self, now: Time, event: Event) {
        match event {
            Event::Wanted(wanted) => self.want(wanted),
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
            Event::Unreachable { error } => self.engine = EngineState::Unreachable(error),
            Event::Probed {
                asked_at,
                id,
                result,
            } => self.probed(now, asked_at, &id, result),
            Event::Published { epoch, routes } => self.published(epoch, &routes),
            Event::Edge(report) => self.edge = report,
            Event::Command(Command::Recycle { request, services }) => {
                self.recycle(request, &services)
            }
            Event::Command(Command::Down { volumes }) => self.down = Some(Down { volumes }),
            Event::Began { action, reason } => self.began(now, &action, reason),
            Event::Ended { action, outcome } => self.ended(now, &action, outcome),
        }
    }

    fn want(&mut self, wanted: BTreeMap<ServiceName, Desired>) {
        self.services.retain(|name, _| wanted.contains_key(name));
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
            }
        }
        if self.engine != EngineState::Unlisted {
            self.settle_generations();
        }
    }

    /// Every wanted definition gets its revision.
    fn settle_generations(&mut self) {
        for (name, service) in &mut self.services {
            let same = self
                .replicas
                .values()
                .filter(|replica| {
                    replica.name.service == *name && replica.spec_hash == service.desired.spec_hash
                })
                .map(|replica| replica.generation)
                .max();
            service.settle_generation(same);
        }
    }

    fn list(&mut self, now: Time, asked_at: Time, listing: Listing) {
        self.engine = EngineState::Reachable;
        self.networks = listing
            .networks
            .into_iter()
            .map(|network| (network.name, network.ours))
            .collect();
        self.volumes = listing
            .volumes
            .into_iter()
            .map(|volume| (volume.name, volume.ours))
            .collect();
        let listed: BTreeSet<ContainerId> = listing
            .containers
            .iter()
            .map(|observed| observed.id.clone())
            .collect();
        for observed in listing.containers {
            self.see(now, asked_at, observed);
        }
        let unlisted: Vec<ContainerId> = self
            .replicas
            .values()
            .chain(self.strays.values())
            .filter_map(Replica::id)
            .filter(|id| !listed.contains(*id))
            .cloned()
            .collect();
        for id in unlisted {
            self.gone(now, asked_at, &id);
        }
        // A create whose outcome was unknown left nothing behind, as far as this listing goes.
        let lost = |replica: &Replica| {
            replica.observed.is_none()
                && replica.unknown_since.is_some_and(|since| asked_at >= since)
        };
        self.replicas.retain(|_, replica| !lost(replica));
        self.settle_generations();
    }

    fn see(&mut self, now: Time, asked_at: Time, observed: Observed) {
        let Some(identity) = self.identity_of(&observed) else {
            let stray = self.strays.entry(observed.id.clone()).or_insert_with(|| {
                let nobody = ReplicaName::new(
                    ServiceName::new(observed.name.clone()),
                    crate::spec::Serial(0),
                );
                Replica::new(
                    nobody,
                    crate::spec::Generation(0),
                    crate::spec::SpecHash::new(""),
                    now,
                )
            });
            if stray.seen_at <= asked_at {
                stray.seen_at = asked_at;
                stray.observed = Some(observed);
            }
            return;
        };
        let Identity {
            replica: name,
            generation,
            spec_hash,
        } = identity;
        if let Some(service) = self.services.get_mut(&name.service) {
            service.saw(name.serial, generation);
        }
        let replica = self
            .replicas
            .entry(name.clone())
            .or_insert_with(|| Replica::new(name.clone(), generation, spec_hash, now));
        if replica.seen_at > asked_at {
            return;
        }
        replica.seen_at = asked_at;
        if replica.unknown_since.is_some_and(|since| asked_at >= since) {
            replica.unknown_since = None;
        }
        // Only what was seen to live can die: one that is found dead at start is cleared away, not held against it.
        let was_alive = replica
            .observed
            .as_ref()
            .is_some_and(|before| before.state.is_live());
        let ended = how_it_ended(&observed.state);
        let health = observed.health;
        replica.observed = Some(observed);
        match ended {
            Some(how) if was_alive => self.died(now, &name, &how),
            Some(_) => {}
            None => self.probed_by_docker(now, asked_at, &name, health),
        }
    }

    /// The labels of a replica; `None` for a stray: malformed ones, or those of a replica that is another container.
    fn identity_of(&self, observed: &Observed) -> Option<Identity> {
        let identity = observed.identity.clone()?;
        match self.replicas.get(&identity.replica).and_then(Replica::id) {
            Some(known) if *known != observed.id => None,
            _ if self.strays.contains_key(&observed.id) => None,
            Some(_) | None => Some(identity),
        }
    }

    /// There is no such container any more.
    fn gone(&mut self, now: Time, asked_at: Time, id: &ContainerId) {
        self.strays
            .retain(|stray, replica| stray != id || replica.seen_at > asked_at);
        let Some(replica) = self.replica_of(id) else {
            return;
        };
        if replica.seen_at > asked_at {
            return;
        }
        let name = replica.name.clone();
        if replica.is_running() {
            self.died(now, &name, "its container vanished");
        }
        self.replicas.remove(&name);
    }

    fn replica_of(&mut self, id: &ContainerId) -> Option<&mut Replica> {
        self.replicas
            .values_mut()
            .find(|replica| replica.id() == Some(id))
    }

    /// A replica's process ended by itself. One that had proven itself is simply replaced; another one is a failure.
    fn died(&mut self, now: Time, name: &ReplicaName, how: &str) {
        let Some(replica) = self.replicas.get_mut(name) else {
            return;
        };
        let Some(service) = self.services.get(&name.service) else {
            return;
        };
        let proven = replica.is_stable(&service.desired, now);
        let expected = replica.stop_asked;
        replica.probe.ready_since = None;
        if !expected && !proven {
            self.failed(now, name, how);
        }
    }

    /// A failure of the service: its backoff begins, and a recycle that somebody asked for has come to nothing.
    fn failed(&mut self, now: Time, name: &ReplicaName, why: &str) {
        let id = self.replicas.get(name).and_then(Replica::id).cloned();
        if let Some(service) = self.services.get_mut(&name.service) {
            service.fail(now, format!("{name}: {why}"));
        }
        for (number, request) in &mut self.requests {
            let is_target = id.as_ref().is_some_and(|id| request.targets.contains(id));
            if is_target || request.failed.is_some() || !request.services.contains(&name.service) {
                continue;
            }
            request.failed = Some(format!("{name}: {why}"));
            let commanded = Reason::Commanded(*number);
            for replica in self.replicas.values_mut() {
                if replica.condemned.as_ref() == Some(&commanded) && replica.draining.is_none() {
                    replica.condemned = None;
                }
            }
        }
    }

    fn probed(&mut self, now: Time, asked_at: Time, id: &ContainerId, result: Result<(), String>) {
        let Some(replica) = self.replica_of(id) else {
            return;
        };
        // A probe that began before the process did asked somebody else.
        if !replica.is_running() || replica.born_at().is_none_or(|born| asked_at < born) {
            return;
        }
        let name = replica.name.clone();
        self.judge(now, &name, result);
    }

    /// Docker's own status, or plain running, where that is the probe.
    fn probed_by_docker(&mut self, now: Time, asked_at: Time, name: &ReplicaName, health: Health) {
        let Some(service) = self.services.get(&name.service) else {
            return;
        };
        let probe = &service.desired.probe;
        let (successes, failures) = (
            service.desired.phoenix.probe.successes,
            service.desired.phoenix.probe.failures,
        );
        let Some(replica) = self.replicas.get_mut(name) else {
            return;
        };
        if !replica.is_running() || replica.born_at().is_none_or(|born| asked_at < born) {
            return;
        }
        let result = match (probe, health) {
            (Probe::Running, _) | (Probe::Docker, Health::Healthy) => Ok(()),
            (Probe::Docker, Health::Unhealthy) => Err("Docker says unhealthy".to_owned()),
            (Probe::Docker, Health::None | Health::Starting)
            | (Probe::Http { .. } | Probe::Tcp { .. }, _) => return,
        };
        // Docker has counted already; one word of it is enough.
        match &result {
            Ok(()) => replica.probe.successes = replica.probe.successes.max(successes - 1),
            Err(_) => replica.probe.failures = replica.probe.failures.max(failures - 1),
        }
        self.judge(now, name, result);
    }

    /// Counts one result of a probe.
    fn judge(&mut self, now: Time, name: &ReplicaName, result: Result<(), String>) {
        let Some(service) = self.services.get_mut(&name.service) else {
            return;
        };
        let Some(replica) = self.replicas.get_mut(name) else {
            return;
        };
        let setting = &service.desired.phoenix.probe;
        match result {
            Ok(()) => {
                replica.probe.failures = 0;
                replica.probe.successes = replica.probe.successes.saturating_add(1);
                if replica.probe.ready_since.is_none()
                    && replica.probe.successes >= setting.successes
                {
                    if replica.made_here && !replica.probe.was_ready {
                        service.started_in(now.since(replica.known_at));
                    }
                    replica.probe.ready_since = Some(now);
                    replica.probe.was_ready = true;
                }
                if replica.condemned.is_none()
                    && replica.is_stable(&service.desired, now)
                    && service
                        .failures()
                        .is_some_and(|(_, at, _)| *at < replica.known_at)
                {
                    service.forgive();
                }
            }
            Err(why) => {
                replica.probe.successes = 0;
                replica.probe.failures = replica.probe.failures.saturating_add(1);
                replica.probe.last_failure = Some(why.clone());
                if replica.probe.failures >= setting.failures && replica.probe.ready_since.is_some()
                {
                    let proven = replica.is_stable(&service.desired, now);
                    replica.probe.ready_since = None;
                    if replica.condemned.is_none() {
                        replica.condemned = Some(Reason::Unhealthy { last: why.clone() });
                    }
                    if !proven && !replica.stop_asked && replica.draining.is_none() {
                        self.failed(now, name, &format!("it is not ready any more: {why}"));
                    }
                }
            }
        }
    }

    fn published(&mut self, epoch: u64, routes: &Routes) {
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

    fn recycle(&mut self, number: RequestId, services: &BTreeSet<ServiceName>) {
        let is_meant = |name: &ServiceName| services.is_empty() || services.contains(name);
        let mut request = Request {
            services: self
                .services
                .keys()
                .filter(|name| is_meant(name))
                .cloned()
                .collect(),
            targets: BTreeSet::new(),
            failed: None,
        };
        for replica in self
            .replicas
            .values_mut()
            .filter(|replica| request.services.contains(&replica.name.service))
        {
            if replica.is_live() && replica.condemned.is_none() {
                replica.condemned = Some(Reason::Commanded(number));
            }
            request.targets.extend(replica.id().cloned());
        }
        for (name, service) in &mut self.services {
            if request.services.contains(name) {
                service.forgive();
            }
        }
        self.requests.insert(number, request);
    }

    fn began(&mut self, now: Time, action: &Action, reason: Reason) {
        match action {
            Action::CreateNetwork(name) | Action::RemoveNetwork(name) => {
                self.resource_began(Resource::Network(name.clone()))
            }
            Action::CreateVolume(name) | Action::RemoveVolume(name) => {
                self.resource_began(Resource::Volume(name.clone()))
            }
            Action::Create {
                replica: name,
                generation,
                spec_hash,
            } => {
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
            | Action::Start { .. }
            | Action::Look { .. }
            | Action::Stop { .. }
            | Action::Remove { .. } => {
                let is_stop = matches!(action, Action::Stop { .. });
                if let Some(replica) = self.subject_mut(action) {
                    replica.call = Some(action.name());
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

    fn resource_began(&mut self, resource: Resource) {
        self.resources.entry(resource).or_default().under_way = true;
    }

    /// The replica or stray that an action is about.
    fn subject_mut(&mut self, action: &Action) -> Option<&mut Replica> {
        match action {
            Action::Stop {
                subject: Subject { id, replica: None },
                ..
            }
            | Action::Remove {
                subject: Subject { id, replica: None },
            } => self.strays.get_mut(id),
            _ => action
                .replica()
                .and_then(|name| self.replicas.get_mut(name)),
        }
    }

    fn ended(&mut self, now: Time, action: &Action, outcome: Outcome) {
        if let Some(resource) = resource_of(action) {
            self.resource_ended(now, action, resource, outcome);
            return;
        }
        if let Some(replica) = self.subject_mut(action) {
            replica.call = None;
            if matches!(outcome, Outcome::Done(_)) {
                replica.retry = None;
            }
        }
        match outcome {
            Outcome::Done(sight) => self.sight(now, action, sight),
            Outcome::Failed { failure, sight } => {
                self.sight(now, action, sight);
                self.call_failed(now, action, failure);
            }
            Outcome::Unknown { failure } => {
                if let Some(replica) = self.subject_mut(action) {
                    replica.unknown_since = Some(now);
                    replica.call_failed(now, failure.message);
                }
            }
        }
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
    fn call_failed(&mut self, now: Time, action: &Action, failure: Failure) {
        let is_birth = matches!(
            action,
            Action::Create { .. } | Action::Connect { .. } | Action::Start { .. }
        );
        if let Some(replica) = self.subject_mut(action) {
            replica.call_failed(now, failure.message.clone());
            if is_birth && failure.kind != FailureKind::Unavailable {
                replica.condemned.get_or_insert(Reason::Ended {
                    how: failure.message.clone(),
                });
            }
        }
        if is_birth
            && failure.kind != FailureKind::Unavailable
            && let Some(name) = action.replica()
        {
            self.failed(now, &name.clone(), &failure.message);
        }
    }

    fn resource_ended(&mut self, now: Time, action: &Action, resource: Resource, outcome: Outcome) {
        let failure = match outcome {
            Outcome::Done(_) => {
                self.resources.remove(&resource);
                let made = matches!(action, Action::CreateNetwork(_) | Action::CreateVolume(_));
                match (resource, made) {
                    (Resource::Network(name), true) => drop(self.networks.insert(name, true)),
                    (Resource::Network(name), false) => drop(self.networks.remove(&name)),
                    (Resource::Volume(name), true) => drop(self.volumes.insert(name, true)),
                    (Resource::Volume(name), false) => drop(self.volumes.remove(&name)),
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
        | Action::Start { .. }
        | Action::Look { .. }
        | Action::Drain { .. }
        | Action::Stop { .. }
        | Action::Remove { .. } => None,
    }
}
