//! `depends_on`: what a first start waits for, when an updated dependency asks for replacement, and who leaves first.
//!
//! Three rules. A service's *first start* waits until each dependency meets its condition: as long as no replica of it
//! was started, by what is there and by what this supervisor has begun. What comes later waits for nothing: a
//! replacement is not held up by a database that restarts. An *update* of a dependency with `restart: true` makes stale
//! what was born after an earlier one, by its label. And in a `down`, whoever depends on others leaves before them.
//!
//! Not here: how a service of docker compose is looked at (`docker`), and whether a dependency exists (`compose`).

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Planner;
use super::replica::{Replica, how_it_ended};
use super::service::Service;
use super::world::EngineState;
use super::{ContainerState, DependencySeen, Desired, Health, Reason, Time, WaitingOn, World};
use crate::spec::{
    BornAfter, Condition, ContainerId, Dependency, Generation, Incarnation, PodPart, RunBy,
    ServiceName, SpecHash,
};

/// What the services need of each other now: worked out once for each plan, in one pass.
#[derive(Default)]
pub(super) struct Needs<'a> {
    summaries: BTreeMap<&'a ServiceName, Summary<'a>>,
    gates: BTreeMap<&'a ServiceName, Gate>,
}

/// The replicas of one service, as far as its dependents care.
#[derive(Default)]
struct Summary<'a> {
    /// In rotation, of the wanted generation.
    current: usize,
    /// In rotation, of another one.
    other: usize,
    /// The newest of those of another generation that live and do not leave.
    older: Option<(Generation, &'a SpecHash)>,
}

/// Whether a service may be started for the first time.
enum Gate {
    Closed(WaitingOn),
    /// With what is missing of the dependencies that are not required.
    Open(Vec<String>),
}

/// What a dependency is to a condition.
enum Judged {
    Met,
    /// Not yet, and it is on its way.
    Coming(State),
    /// It does not come by itself; docker compose gives up here.
    Failed(State),
}

/// What a dependency is now, for people.
struct State {
    text: String,
    since: Option<Time>,
    ended: bool,
    hint: Option<String>,
}

/// Whether a dependency is another one than when a replica was born.
enum Updated {
    /// It is the same.
    No,
    /// Another one is there and ready.
    Ready,
    /// Another one is to come, or is not ready yet.
    Coming(WaitingOn),
}

/// An update of a dependency that a replica was born before.
pub(super) struct Update {
    pub(super) reason: Reason,
    /// The new one is not ready: the replacement waits for it.
    pub(super) held: Option<WaitingOn>,
}

impl World {
    /// Takes over what is there of the services that docker compose runs; `false` when that is nothing new.
    pub(super) fn depend(&mut self, asked_at: Time, mut seen: Vec<DependencySeen>) -> bool {
        if asked_at < self.dependencies_at.max(self.depends_since) {
            return false;
        }
        self.dependencies_at = asked_at;
        for one in &mut seen {
            // A time of Docker's is converted at each look, and comes out a little different.
            let same = |old: &&DependencySeen| old.id == one.id && old.state == one.state;
            if let Some(old) = self.dependencies.iter().find(same) {
                one.since = old.since.or(one.since);
            }
        }
        let changed = self.dependencies != seen;
        self.dependencies = seen;
        changed
    }

    /// A dependency of docker compose that no listing was about yet is not known to be missing: nothing is begun before
    /// one was.
    pub(super) fn look_for_dependencies(
        &mut self,
        now: Time,
        wanted: &BTreeMap<ServiceName, Desired>,
    ) {
        let of_compose = |desired: &Desired| -> BTreeSet<ServiceName> {
            let on = desired.depends_on.iter();
            on.filter(|(_, dependency)| dependency.run_by == RunBy::Compose)
                .map(|(name, _)| name.clone())
                .collect()
        };
        let services = self.services.values();
        let before: BTreeSet<ServiceName> = services
            .flat_map(|service| of_compose(&service.desired))
            .collect();
        if wanted
            .values()
            .flat_map(of_compose)
            .all(|name| before.contains(&name))
        {
            return;
        }
        self.depends_since = now;
        if self.engine == EngineState::Reachable {
            self.engine = EngineState::Unlisted;
        }
    }

    pub(super) fn what_is_needed(&self) -> Needs<'_> {
        let mut needs = Needs::default();
        let depends = |service: &Service| !service.desired.depends_on.is_empty();
        if self.down.is_some() || !self.services.values().any(depends) {
            return needs;
        }
        // A pod begins with its service: until then there is nothing to reach by its address, and nothing of ours holds
        // a network that docker compose may make at the same time.
        let waits_as = |name: &ServiceName| match name.pod_part() {
            Some((service, PodPart::Pause)) => self.services.get(&service),
            Some((_, PodPart::Edge)) | None => self.services.get(name),
        };
        for replica in self.replicas.values() {
            let Some(service) = self.services.get(&replica.name.service) else {
                continue;
            };
            let summary = needs.summaries.entry(&replica.name.service).or_default();
            let is_current = replica.spec_hash == service.desired.spec_hash;
            if replica.is_in_rotation(&service.desired) {
                *(if is_current {
                    &mut summary.current
                } else {
                    &mut summary.other
                }) += 1;
            }
            if !is_current && replica.is_live() && !replica.is_leaving() {
                let this = Some((replica.generation, &replica.spec_hash));
                summary.older = summary.older.max(this);
            }
        }
        for (name, service) in &self.services {
            let who = waits_as(name).filter(|who| !service.begun && !who.begun && depends(who));
            if let Some(who) = who {
                let gate = self.gate(who, &needs);
                needs.gates.insert(name, gate);
            }
        }
        needs
    }

    fn gate(&self, service: &Service, needs: &Needs<'_>) -> Gate {
        let mut first = None;
        let mut more = Vec::new();
        let mut missing = Vec::new();
        for (name, dependency) in &service.desired.depends_on {
            let state = match self.judge_dependency(name, *dependency, needs) {
                Judged::Met => continue,
                Judged::Failed(state) if !dependency.required => {
                    missing.push(format!(
                        "without {}, which is not required: {}",
                        whose(name, dependency.run_by),
                        state.text
                    ));
                    continue;
                }
                Judged::Coming(state) | Judged::Failed(state) => state,
            };
            if first.is_some() {
                more.push(name.clone());
            } else {
                first = Some((name, dependency, state));
            }
        }
        match first {
            None => Gate::Open(missing),
            Some((name, dependency, state)) => {
                Gate::Closed(state.waiting(name, dependency.condition, dependency.run_by, more))
            }
        }
    }

    fn judge_dependency(
        &self,
        name: &ServiceName,
        dependency: Dependency,
        needs: &Needs<'_>,
    ) -> Judged {
        match dependency.run_by {
            RunBy::Phoenixd => self.judge_phoenix(name, dependency.condition, needs),
            RunBy::Compose => {
                let of = self.dependencies.iter().filter(|one| one.service == *name);
                let there: Vec<&DependencySeen> = of.filter(|one| is_there(one)).collect();
                judge_containers(name, &there, dependency.condition)
            }
        }
    }

    fn judge_phoenix(&self, name: &ServiceName, condition: Condition, needs: &Needs<'_>) -> Judged {
        let Some(service) = self.services.get(name) else {
            return Judged::Failed(State::of("it is not in the file"));
        };
        // docker compose waits for no dependency that is to have no container (2.40.3, `shouldWaitForDependency`).
        if service.desired.replicas == 0 {
            return Judged::Met;
        }
        let met = match condition {
            Condition::Started => service.begun && self.has_address(name),
            Condition::Healthy => needs.in_rotation(name) && self.is_forwarded_to(name),
            Condition::CompletedSuccessfully => false,
        };
        if met {
            return Judged::Met;
        }
        if let Some((_, _, last)) = service.failures() {
            return Judged::Failed(State::of(last));
        }
        Judged::Coming(State::of(if service.begun {
            "no replica is ready"
        } else {
            "no replica has started"
        }))
    }

    /// The replicas of the wanted generation serve, and none of another one does, or stays and may serve again.
    fn has_moved(&self, name: &ServiceName, needs: &Needs<'_>) -> bool {
        self.services.contains_key(name)
            && needs.summaries.get(name).is_some_and(|summary| {
                summary.current > 0 && summary.other == 0 && summary.older.is_none()
            })
    }

    /// The containers of a service of docker compose that were started at some time.
    fn started_of(&self, name: &ServiceName) -> BTreeSet<ContainerId> {
        self.dependencies
            .iter()
            .filter(|one| one.service == *name && is_there(one))
            .filter(|one| one.state != ContainerState::Created)
            .map(|one| one.id.clone())
            .collect()
    }

    /// Those that leave only after others: each service that is still needed, with who needs it.
    ///
    /// Labels of different generations may form a ring. Where nobody is without dependents, nobody waits.
    pub(super) fn needed_by(&self) -> BTreeMap<&ServiceName, BTreeSet<&ServiceName>> {
        let live = || self.replicas.values().filter(|replica| replica.is_live());
        let all: BTreeSet<&ServiceName> = live().map(|replica| &replica.name.service).collect();
        let mut needed: BTreeMap<&ServiceName, BTreeSet<&ServiceName>> = BTreeMap::new();
        for replica in live() {
            let dependent = &replica.name.service;
            for dependency in replica
                .born_after()
                .into_iter()
                .flat_map(|after| after.0.keys())
            {
                if let Some(dependency) = all.get(dependency).filter(|one| **one != dependent) {
                    needed.entry(dependency).or_default().insert(dependent);
                }
            }
        }
        if needed.len() == all.len() {
            needed.clear();
        }
        needed
    }
}

impl Needs<'_> {
    /// What the first start of a service waits for.
    pub(super) fn first_start(&self, name: &ServiceName) -> Option<&WaitingOn> {
        match self.gates.get(name)? {
            Gate::Closed(on) => Some(on),
            Gate::Open(_) => None,
        }
    }

    /// What is missing of the dependencies that are not required, where this is the first start.
    pub(super) fn missing(&self, name: &ServiceName) -> &[String] {
        match self.gates.get(name) {
            Some(Gate::Open(missing)) => missing,
            Some(Gate::Closed(_)) | None => &[],
        }
    }

    fn in_rotation(&self, name: &ServiceName) -> bool {
        self.summaries
            .get(name)
            .is_some_and(|summary| summary.current + summary.other > 0)
    }
}

impl Planner<'_> {
    /// Which one of each dependency a replica is born after that is made now.
    pub(super) fn born_after(&self, service: &Service) -> BornAfter {
        let of = |(name, dependency): (&ServiceName, &Dependency)| {
            let incarnation = match dependency.run_by {
                RunBy::Phoenixd => {
                    let current = &self.world.services.get(name)?.desired.spec_hash;
                    // Who is born while one gives way to the other may have met the older one still.
                    let older = self.needs.summaries.get(name).and_then(|one| one.older);
                    let older = older.filter(|_| !self.world.has_moved(name, &self.needs));
                    Incarnation::Phoenix(older.map_or(current, |(_, hash)| hash).clone())
                }
                RunBy::Compose => Incarnation::Compose(self.world.started_of(name)),
            };
            Some((name.clone(), incarnation))
        };
        BornAfter(service.desired.depends_on.iter().filter_map(of).collect())
    }

    /// The update of a dependency that the replica was born before, if there is one. What its label does not tell of
    /// is no reason.
    pub(super) fn update_of(&self, replica: &Replica, service: &Service) -> Option<Update> {
        let born_after = replica.born_after()?;
        let mut held = None;
        for (name, dependency) in &service.desired.depends_on {
            let Some(then) = born_after.0.get(name).filter(|_| dependency.restart) else {
                continue;
            };
            let updated = self.updated(name, *dependency, then);
            let reason = Reason::DependencyUpdated {
                dependency: name.clone(),
                run_by: dependency.run_by,
            };
            match updated {
                Updated::No => {}
                Updated::Ready => return Some(Update { reason, held: None }),
                Updated::Coming(on) => {
                    held.get_or_insert(Update {
                        reason,
                        held: Some(on),
                    });
                }
            }
        }
        held
    }

    fn updated(&self, name: &ServiceName, dependency: Dependency, then: &Incarnation) -> Updated {
        match dependency.run_by {
            RunBy::Phoenixd => {
                let Some(service) = self.world.services.get(name) else {
                    return Updated::No;
                };
                let current = &service.desired.spec_hash;
                if *then == Incarnation::Phoenix(current.clone()) || service.desired.replicas == 0 {
                    return Updated::No;
                }
                if self.world.has_moved(name, &self.needs) {
                    return Updated::Ready;
                }
                let state = State::of("its new generation has not taken over yet");
                Updated::Coming(state.waiting(
                    name,
                    Condition::Healthy,
                    dependency.run_by,
                    Vec::new(),
                ))
            }
            RunBy::Compose => {
                let now = self.world.started_of(name);
                let is_known = match then {
                    Incarnation::Compose(then) => !then.is_disjoint(&now),
                    Incarnation::Phoenix(_) => false,
                };
                if now.is_empty() || is_known {
                    return Updated::No;
                }
                match self.world.judge_dependency(name, dependency, &self.needs) {
                    Judged::Met => Updated::Ready,
                    Judged::Coming(state) | Judged::Failed(state) => {
                        let (condition, run_by) = (dependency.condition, dependency.run_by);
                        Updated::Coming(state.waiting(name, condition, run_by, Vec::new()))
                    }
                }
            }
        }
    }
}

impl State {
    fn of(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            since: None,
            ended: false,
            hint: None,
        }
    }

    fn waiting(
        self,
        name: &ServiceName,
        condition: Condition,
        run_by: RunBy,
        more: Vec<ServiceName>,
    ) -> WaitingOn {
        WaitingOn::Dependency {
            dependency: name.clone(),
            run_by,
            condition,
            state: self.text,
            since: self.since,
            ended: self.ended,
            hint: self.hint,
            more,
        }
    }
}

/// `` `db` (docker compose's) ``
pub(super) fn whose(name: &ServiceName, run_by: RunBy) -> String {
    match run_by {
        RunBy::Phoenixd => format!("`{name}`"),
        RunBy::Compose => format!("`{name}` (docker compose's)"),
    }
}

/// What is about to be no more counts as gone.
fn is_there(one: &DependencySeen) -> bool {
    !matches!(one.state, ContainerState::Removing | ContainerState::Dead)
}

/// Containers of docker compose against a condition, as `docker compose up` judges them (2.40.3, `waitDependencies`,
/// `isServiceHealthy`, `isServiceCompleted`): all of them have to be healthy, one has to have completed.
///
/// `service_started` is where phoenixd must see what compose has done itself: one runs, or has ended well and is not
/// kept running by the engine, as a container that does one thing and ends.
fn judge_containers(
    name: &ServiceName,
    containers: &[&DependencySeen],
    condition: Condition,
) -> Judged {
    let Some(first) = containers.first() else {
        return Judged::Failed(State {
            hint: Some(format!("`docker compose up -d {name}` makes one")),
            ..State::of("there is no container of it")
        });
    };
    let is_done =
        |one: &DependencySeen| matches!(one.state, ContainerState::Exited { code: 0, .. });
    let is_met = match condition {
        Condition::Started => containers
            .iter()
            .any(|one| is_up(&one.state) || (is_done(one) && !one.restarts)),
        Condition::Healthy => containers.iter().all(|one| is_healthy(one)),
        Condition::CompletedSuccessfully => containers.iter().any(|one| is_done(one)),
    };
    if is_met {
        return Judged::Met;
    }
    let (one, comes) = match condition {
        Condition::Started => (*first, false),
        Condition::Healthy => {
            let unwell = containers.iter().find(|one| !is_healthy(one));
            let one = unwell.copied().unwrap_or(first);
            let runs = matches!(
                one.state,
                ContainerState::Running | ContainerState::Restarting
            );
            (one, runs && one.health == Health::Starting)
        }
        Condition::CompletedSuccessfully => {
            let ended = containers
                .iter()
                .find(|one| how_it_ended(&one.state).is_some());
            (ended.copied().unwrap_or(first), ended.is_none())
        }
    };
    let state = state_of(name, one, condition);
    if comes {
        Judged::Coming(state)
    } else {
        Judged::Failed(state)
    }
}

fn is_up(state: &ContainerState) -> bool {
    match state {
        ContainerState::Running | ContainerState::Paused | ContainerState::Restarting => true,
        ContainerState::Created
        | ContainerState::Exited { .. }
        | ContainerState::Removing
        | ContainerState::Dead => false,
    }
}

fn is_healthy(one: &DependencySeen) -> bool {
    one.state == ContainerState::Running && one.health == Health::Healthy
}

/// What a container that does not meet the condition is now.
fn state_of(name: &ServiceName, one: &DependencySeen, condition: Condition) -> State {
    let start = || Some(format!("`docker compose up -d {name}` starts it"));
    let (text, hint) = match (&one.state, condition, one.health) {
        (ContainerState::Created, ..) => ("it was never started".to_owned(), start()),
        (ContainerState::Paused, ..) => (
            "it is paused".to_owned(),
            Some(format!("`docker compose unpause {name}` lets it go on")),
        ),
        (ContainerState::Restarting, ..) => ("it is restarting".to_owned(), None),
        (ContainerState::Running, Condition::Healthy, Health::None) => (
            "it has no health check".to_owned(),
            Some("give it a `healthcheck`, or write `condition: service_started`".to_owned()),
        ),
        (ContainerState::Running, Condition::Healthy, Health::Unhealthy) => {
            ("it is unhealthy".to_owned(), None)
        }
        (ContainerState::Running, Condition::Healthy, Health::Starting | Health::Healthy) => {
            ("it is starting".to_owned(), None)
        }
        (ContainerState::Running, Condition::Started | Condition::CompletedSuccessfully, _) => {
            ("it runs".to_owned(), None)
        }
        (ContainerState::Exited { .. } | ContainerState::Removing | ContainerState::Dead, ..) => {
            (how_it_ended(&one.state).unwrap_or_default(), start())
        }
    };
    State {
        text,
        since: one.since,
        ended: how_it_ended(&one.state).is_some(),
        hint,
    }
}
