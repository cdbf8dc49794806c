//! The plan: what the world, at a given time, asks to be done.
//!
//! Each replica has one [`Role`], and from it one [`Verdict`]; each service has at most one birth. A plan holds only
//! what is legal now: after every step the world is planned anew, so there is no graph of later actions.
//!
//! Not here: when a life ends (`schedule`), who is in rotation (`rotation`), what is remembered (`world`).

use std::collections::BTreeMap;

use super::replica::{Replica, Routed, Verified, how_it_ended};
use super::schedule::{self, Claim};
use super::service::Service;
use super::world::{EngineState, Resource};
use super::{
    Action, ContainerState, Desired, Planned, Reason, Step, Subject, Time, Verdict, WaitingOn,
    World, rotation,
};
use crate::spec::{Overdue, Probe, ReplicaName, ServiceName};
use std::time::Duration;

/// Between two looks at a process whose hardening the kernel does not confirm yet.
const PACE_KERNEL: Duration = Duration::from_millis(20);
/// Between two inspections of a replica that only Docker probes: an inspection costs 0.7 ms of the engine.
const PACE_INSPECT: Duration = Duration::from_millis(100);
/// Between two looks at a container that the engine is removing.
const PACE_REMOVING: Duration = Duration::from_secs(1);
/// Attempts to remove a network or volume before `down` leaves it and says so: others may use it.
const REMOVE_ATTEMPTS: u32 = 5;

/// What one replica is to the service now.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Role {
    /// Its process ended, or never will begin: the container is to be removed.
    Over(Reason),
    /// It is draining or being stopped.
    Leaving,
    /// It must go at once, whether or not there is another one.
    Doomed(Reason),
    /// It is to be replaced.
    Stale(Reason),
    /// It is as wanted: starting or ready.
    Fresh,
}

impl World {
    /// What to do now, what to publish, and when to ask again. A pure read: ask twice, get the same answer.
    pub fn plan(&self, now: Time) -> Step {
        let mut planner = Planner::new(self, now);
        if self.engine == EngineState::Reachable {
            planner.plan_strays();
            planner.plan_resources();
            planner.plan_services();
        } else {
            planner.wait_for_engine();
        }
        let finished = planner.is_finished();
        planner.wake_for_paces();
        let mut status = self.status(now, &planner.verdicts, &planner.births);
        status.left = if finished {
            self.left_behind()
        } else {
            Vec::new()
        };
        let Planner {
            verdicts,
            births,
            mut actions,
            wake,
            ..
        } = planner;
        actions.extend(
            verdicts
                .into_values()
                .chain(births.into_values())
                .filter_map(|verdict| match verdict {
                    Verdict::Act(action, reason) => Some(Planned { action, reason }),
                    Verdict::Keep | Verdict::Wait(_) => None,
                }),
        );
        let wake_at = wake.filter(|at| *at > now);
        Step {
            actions,
            routes: self.routes(),
            targets: self.targets(now),
            status,
            wake_at,
            finished,
        }
    }

    /// What a finished `down` could not remove.
    fn left_behind(&self) -> Vec<String> {
        self.resources
            .iter()
            .filter(|(resource, _)| self.is_ours(resource))
            .map(|(resource, call)| match resource {
                Resource::Network(name) => format!("network {name}: {}", call.last),
                Resource::Volume(name) => format!("volume {name}: {}", call.last),
            })
            .collect()
    }

    fn is_ours(&self, resource: &Resource) -> bool {
        match resource {
            Resource::Network(name) => self.networks.get(name) == Some(&true),
            Resource::Volume(name) => self.volumes.get(name) == Some(&true),
        }
    }
}

struct Planner<'a> {
    world: &'a World,
    now: Time,
    /// When each living replica's replacement begins.
    begins: BTreeMap<ReplicaName, Time>,
    calls_left: usize,
    births_left: u32,
    verdicts: BTreeMap<ReplicaName, Verdict>,
    births: BTreeMap<ServiceName, Verdict>,
    /// What is about no replica.
    actions: Vec<Planned>,
    wake: Option<Time>,
}

/// The replicas of one service with their roles.
struct Cast<'a> {
    desired: &'a Desired,
    members: Vec<(&'a Replica, Role)>,
}

impl<'a> Planner<'a> {
    fn new(world: &'a World, now: Time) -> Self {
        let calls = world
            .replicas
            .values()
            .chain(world.strays.values())
            .filter(|replica| replica.call.is_some())
            .count()
            + world
                .resources
                .values()
                .filter(|call| call.under_way)
                .count();
        let births = world
            .replicas
            .values()
            .filter(|replica| is_being_born(replica))
            .count();
        Self {
            world,
            now,
            begins: schedule::begins(
                world.claims(),
                usize::try_from(world.limits.births).unwrap_or(usize::MAX),
            ),
            calls_left: world.limits.calls.saturating_sub(calls),
            births_left: world
                .limits
                .births
                .saturating_sub(u32::try_from(births).unwrap_or(u32::MAX)),
            verdicts: BTreeMap::new(),
            births: BTreeMap::new(),
            actions: Vec::new(),
            wake: None,
        }
    }

    fn wake_at(&mut self, at: Time) {
        if at > self.now {
            self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        }
    }

    fn wait_for_engine(&mut self) {
        let on = match &self.world.engine {
            EngineState::Unreachable(error) => WaitingOn::Engine {
                error: error.clone(),
            },
            EngineState::Unlisted | EngineState::Reachable => WaitingOn::Listing,
        };
        for name in self.world.replicas.keys() {
            self.verdicts
                .insert(name.clone(), Verdict::Wait(on.clone()));
        }
        for (name, service) in &self.world.services {
            if service.desired.replicas > 0 {
                self.births.insert(name.clone(), Verdict::Wait(on.clone()));
            }
        }
    }

    /// Nothing of a `down` is left to do.
    fn is_finished(&self) -> bool {
        let Some(down) = self.world.down else {
            return false;
        };
        let given_up = |resource: Resource| {
            self.world
                .resources
                .get(&resource)
                .is_some_and(|call| !call.under_way && call.attempts >= REMOVE_ATTEMPTS)
        };
        let networks = self.world.networks.iter().filter(|(_, ours)| **ours);
        let volumes = self
            .world
            .volumes
            .iter()
            .filter(|(_, ours)| **ours && down.volumes);
        self.world.engine == EngineState::Reachable
            && self.world.replicas.is_empty()
            && self.world.strays.is_empty()
            && networks
                .into_iter()
                .all(|(name, _)| given_up(Resource::Network(name.clone())))
            && volumes
                .into_iter()
                .all(|(name, _)| given_up(Resource::Volume(name.clone())))
    }

    fn plan_strays(&mut self) {
        for (id, stray) in &self.world.strays {
            if stray.call.is_some() {
                continue;
            }
            if let Some(retry) = stray.retry.as_ref().filter(|retry| retry.until > self.now) {
                self.wake_at(retry.until);
                continue;
            }
            let subject = Subject {
                id: id.clone(),
                replica: None,
            };
            let runs = matches!(
                stray.observed.as_ref().map(|observed| &observed.state),
                Some(ContainerState::Running | ContainerState::Paused | ContainerState::Restarting)
            );
            let action = if runs {
                Action::Stop {
                    subject,
                    grace: None,
                }
            } else {
                Action::Remove { subject }
            };
            if self.take_call() {
                self.actions.push(Planned {
                    action,
                    reason: Reason::Stray,
                });
            }
        }
    }

    fn take_call(&mut self) -> bool {
        let free = self.calls_left > 0;
        self.calls_left = self.calls_left.saturating_sub(1);
        free
    }

    /// Networks and volumes: those that are needed are made, those that a `down` leaves without use are removed.
    fn plan_resources(&mut self) {
        let world = self.world;
        let mut wanted: Vec<(Resource, Action, Reason)> = Vec::new();
        if let Some(down) = world.down {
            if world.replicas.is_empty() && world.strays.is_empty() {
                let networks = world
                    .networks
                    .iter()
                    .filter(|(_, ours)| **ours)
                    .map(|(name, _)| name);
                wanted.extend(networks.map(|name| {
                    (
                        Resource::Network(name.clone()),
                        Action::RemoveNetwork(name.clone()),
                        Reason::Down,
                    )
                }));
                let volumes = world
                    .volumes
                    .iter()
                    .filter(|(_, ours)| **ours && down.volumes)
                    .map(|(name, _)| name);
                wanted.extend(volumes.map(|name| {
                    (
                        Resource::Volume(name.clone()),
                        Action::RemoveVolume(name.clone()),
                        Reason::Down,
                    )
                }));
                wanted.retain(|(resource, _, _)| {
                    world
                        .resources
                        .get(resource)
                        .is_none_or(|call| call.attempts < REMOVE_ATTEMPTS)
                });
            }
        } else {
            let desired = || world.services.values().map(|service| &service.desired);
            let networks = desired().flat_map(|desired| &desired.makes_networks);
            wanted.extend(
                networks
                    .filter(|name| !world.networks.contains_key(*name))
                    .map(|name| {
                        (
                            Resource::Network(name.clone()),
                            Action::CreateNetwork(name.clone()),
                            Reason::Needed,
                        )
                    }),
            );
            let volumes = desired().flat_map(|desired| &desired.makes_volumes);
            wanted.extend(
                volumes
                    .filter(|name| !world.volumes.contains_key(*name))
                    .map(|name| {
                        (
                            Resource::Volume(name.clone()),
                            Action::CreateVolume(name.clone()),
                            Reason::Needed,
                        )
                    }),
            );
        }
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
        wanted.dedup_by(|a, b| a.0 == b.0);
        for (resource, action, reason) in wanted {
            match world.resources.get(&resource) {
                Some(call) if call.under_way => {}
                Some(call) if call.until > self.now => self.wake_at(call.until),
                Some(_) | None => {
                    if self.take_call() {
                        self.actions.push(Planned { action, reason });
                    }
                }
            }
        }
    }

    fn plan_services(&mut self) {
        let world = self.world;
        for replica in world
            .replicas
            .values()
            .filter(|replica| !world.services.contains_key(&replica.name.service))
        {
            let reason = if world.down.is_some() {
                Reason::Down
            } else {
                Reason::Orphan
            };
            let role = self.role_of_unwanted(replica, reason);
            self.decide(replica, &role, None);
        }
        for (name, service) in &world.services {
            let cast = self.cast(name, service);
            let retiring = self.choose_retiring(&cast, service);
            for (replica, role) in &cast.members {
                let chosen = retiring
                    .as_ref()
                    .filter(|(chosen, _)| *chosen == replica.name);
                if let Some((_, reason)) = chosen {
                    self.retire(replica, reason.clone());
                } else {
                    self.decide(replica, role, Some(service));
                }
            }
            if world.down.is_none() {
                self.plan_birth(name, service, &cast);
            }
        }
    }

    fn cast(&mut self, name: &ServiceName, service: &'a Service) -> Cast<'a> {
        let desired = &service.desired;
        let members = self
            .world
            .replicas
            .values()
            .filter(|replica| replica.name.service == *name)
            .map(|replica| {
                let role = if self.world.down.is_some() {
                    self.role_of_unwanted(replica, Reason::Down)
                } else {
                    self.role(replica, service)
                };
                (replica, role)
            })
            .collect();
        Cast { desired, members }
    }

    fn role_of_unwanted(&self, replica: &Replica, reason: Reason) -> Role {
        if let Some(over) = over(replica) {
            return Role::Over(over);
        }
        if replica.draining.is_some() || replica.stop_asked {
            return Role::Leaving;
        }
        match replica.observed.as_ref().map(|observed| &observed.state) {
            Some(ContainerState::Created) => Role::Over(reason),
            _ => Role::Doomed(reason),
        }
    }

    fn role(&self, replica: &Replica, service: &Service) -> Role {
        let desired = &service.desired;
        if let Some(over) = over(replica) {
            return Role::Over(over);
        }
        if replica.draining.is_some() || replica.stop_asked {
            return Role::Leaving;
        }
        let state = replica.observed.as_ref().map(|observed| &observed.state);
        let condemned = self.staleness(replica, service);
        if state == Some(&ContainerState::Created) {
            return match (condemned, replica.verified(&desired.policy)) {
                // It was never started: there is nothing to replace.
                (Some(reason), _) | (None, Verified::Weak(reason)) => Role::Over(reason),
                (None, Verified::Strong | Verified::Unavailable | Verified::Pending) => Role::Fresh,
            };
        }
        if state == Some(&ContainerState::Running) {
            if let Verified::Weak(reason) = replica.verified(&desired.policy) {
                return Role::Doomed(reason);
            }
            if let Some(reason) = self.never_ready(replica, desired) {
                // One that this supervisor did not make may have served before: it waits for its replacement.
                return if replica.made_here {
                    Role::Doomed(reason)
                } else {
                    Role::Stale(reason)
                };
            }
        }
        condemned.map_or(Role::Fresh, Role::Stale)
    }

    fn never_ready(&self, replica: &Replica, desired: &Desired) -> Option<Reason> {
        let deadline = desired.phoenix.probe.deadline;
        let since = replica
            .probed_since()
            .filter(|_| !replica.probe.was_ready)?;
        (self.now.since(since) >= deadline).then(|| Reason::NeverReady {
            deadline,
            last: replica.probe.last_failure.clone(),
        })
    }

    fn staleness(&self, replica: &Replica, service: &Service) -> Option<Reason> {
        if let Some(reason) = &replica.condemned {
            return Some(reason.clone());
        }
        if replica.spec_hash != service.desired.spec_hash {
            let to = service
                .generation
                .as_ref()
                .map_or(replica.generation.next(), |(_, generation)| *generation);
            return Some(Reason::NewGeneration {
                from: replica.generation,
                to,
            });
        }
        match replica.observed.as_ref().map(|observed| &observed.state) {
            Some(ContainerState::Paused) => {
                return Some(Reason::Unhealthy {
                    last: "it is paused".to_owned(),
                });
            }
            Some(ContainerState::Restarting) => {
                return Some(Reason::Unhealthy {
                    last: "it is restarting".to_owned(),
                });
            }
            _ => {}
        }
        let expired = self
            .begins
            .get(&replica.name)
            .is_some_and(|begin| *begin <= self.now);
        let lifetime = || {
            let deadline = self.world.deadline(replica)?;
            Some(deadline.since(replica.born_at()?))
        };
        expired.then(|| Reason::Expired {
            lifetime: lifetime().unwrap_or_default(),
        })
    }

    /// The one replica of the service that may leave the rotation now, if any.
    ///
    /// It may when, without it, as many are there as are wanted: available fresh ones, and stale ones that still hold
    /// their place; and when another one is in rotation. The unready go first, then those whose deadline is nearest.
    fn choose_retiring(
        &mut self,
        cast: &Cast<'_>,
        service: &Service,
    ) -> Option<(ReplicaName, Reason)> {
        let desired = cast.desired;
        let wanted = usize::try_from(desired.replicas).unwrap_or(usize::MAX);
        let fresh = cast.count(|role| *role == Role::Fresh);
        let mut candidates: Vec<(&Replica, Reason)> = cast
            .members
            .iter()
            .filter_map(|(replica, role)| match role {
                Role::Stale(reason) => Some((*replica, reason.clone())),
                Role::Fresh if fresh > wanted => Some((
                    *replica,
                    Reason::Excess {
                        wanted: desired.replicas,
                    },
                )),
                Role::Fresh | Role::Over(_) | Role::Leaving | Role::Doomed(_) => None,
            })
            .filter(|(replica, _)| replica.call.is_none() && replica.observed.is_some())
            .collect();
        candidates.sort_by_key(|(replica, reason)| {
            let is_excess = matches!(reason, Reason::Excess { .. });
            let in_rotation = replica.is_in_rotation(&desired.policy);
            (
                is_excess,
                in_rotation,
                self.world.deadline(replica),
                replica.name.serial,
            )
        });
        for (replica, reason) in candidates {
            if let Some(reason) = self.overdue(replica, desired, &reason) {
                return Some((replica.name.clone(), reason));
            }
            if self.may_retire(replica, cast, service) {
                return Some((replica.name.clone(), reason));
            }
        }
        None
    }

    fn may_retire(&self, replica: &Replica, cast: &Cast<'_>, service: &Service) -> bool {
        let desired = cast.desired;
        let wanted = usize::try_from(desired.replicas).unwrap_or(usize::MAX);
        let others = || {
            cast.members
                .iter()
                .filter(|(other, _)| other.name != replica.name)
        };
        let in_rotation = |replica: &Replica| replica.is_in_rotation(&desired.policy);
        let available = others()
            .filter(|(other, role)| *role == Role::Fresh && self.is_available(other, desired))
            .count();
        let stale = others()
            .filter(|(_, role)| matches!(role, Role::Stale(_)))
            .count();
        if desired.phoenix.surge == 0 {
            // Stop-first, one at a time: nobody is missing, leaving or being born.
            let whole = cast.members.len() == wanted && available + stale + 1 == wanted;
            let may_birth =
                !service.is_budget_spent() && service.retry_at().is_none_or(|at| at <= self.now);
            return (whole && may_birth) || available + stale >= wanted;
        }
        let kept = others().any(|(other, _)| in_rotation(other));
        available + stale >= wanted && (kept || wanted == 0 || !in_rotation(replica))
    }

    fn is_available(&self, replica: &Replica, desired: &Desired) -> bool {
        replica.is_in_rotation(&desired.policy)
            && replica
                .available_at(desired)
                .is_some_and(|at| at <= self.now)
    }

    /// Past its deadline, and the file says that it stops even so.
    fn overdue(&mut self, replica: &Replica, desired: &Desired, reason: &Reason) -> Option<Reason> {
        if desired.phoenix.overdue != Overdue::Stop || !matches!(reason, Reason::Expired { .. }) {
            return None;
        }
        let deadline = self.world.deadline(replica)?;
        self.wake_at(deadline);
        (deadline <= self.now).then_some(Reason::Overdue)
    }

    fn retire(&mut self, replica: &Replica, reason: Reason) {
        let Some(id) = replica.id().cloned() else {
            return;
        };
        let action = Action::Drain {
            replica: replica.name.clone(),
            id,
        };
        self.verdicts
            .insert(replica.name.clone(), Verdict::Act(action, reason));
    }

    /// The verdict on a replica that is not about to leave the rotation.
    fn decide(&mut self, replica: &Replica, role: &Role, service: Option<&Service>) {
        let verdict = self.verdict(replica, role, service);
        let verdict = match verdict {
            Verdict::Act(Action::Drain { .. }, _) | Verdict::Keep | Verdict::Wait(_) => verdict,
            Verdict::Act(..) if self.take_call() => verdict,
            Verdict::Act(..) => Verdict::Wait(WaitingOn::Parallel {
                limit: u32::try_from(self.world.limits.calls).unwrap_or(u32::MAX),
            }),
        };
        if let Verdict::Wait(on) = &verdict
            && let Some(until) = on.until()
        {
            self.wake_at(until);
        }
        self.verdicts.insert(replica.name.clone(), verdict);
    }

    fn verdict(&self, replica: &Replica, role: &Role, service: Option<&Service>) -> Verdict {
        if let Some(call) = replica.call {
            return Verdict::Wait(WaitingOn::Call(call));
        }
        let Some(id) = replica
            .id()
            .cloned()
            .filter(|_| replica.unknown_since.is_none())
        else {
            return Verdict::Wait(WaitingOn::Listing);
        };
        let name = replica.name.clone();
        let subject = Subject {
            id: id.clone(),
            replica: Some(name.clone()),
        };
        let look = Action::Look {
            replica: name.clone(),
            id: id.clone(),
        };
        let grace = service.map(|service| service.desired.stop_grace);
        let act = match role {
            Role::Over(_) if replica.is_removing() => {
                let at = replica.seen_at + PACE_REMOVING;
                return if at <= self.now {
                    Verdict::Act(look, Reason::Pace)
                } else {
                    Verdict::Wait(WaitingOn::Retry {
                        until: at,
                        last: "it is being removed".to_owned(),
                    })
                };
            }
            Role::Over(reason) => Verdict::Act(Action::Remove { subject }, reason.clone()),
            Role::Leaving => self.leave(replica, service, Action::Stop { subject, grace }),
            // The table comes first where it may still be in one (invariants I2 and I9).
            Role::Doomed(reason) if replica.routed == Routed::In => {
                Verdict::Act(Action::Drain { replica: name, id }, reason.clone())
            }
            Role::Doomed(reason) => Verdict::Act(Action::Stop { subject, grace }, reason.clone()),
            Role::Stale(_) | Role::Fresh => service.map_or(Verdict::Keep, |service| {
                self.live(replica, role, service, look)
            }),
        };
        match (&act, &replica.retry) {
            (Verdict::Act(action, _), Some(retry))
                if retry.until > self.now && !matches!(action, Action::Drain { .. }) =>
            {
                Verdict::Wait(WaitingOn::Retry {
                    until: retry.until,
                    last: retry.last.clone(),
                })
            }
            _ => act,
        }
    }

    /// A replica that has left the rotation: its stop, once the edge has confirmed and its connections had their time.
    fn leave(&self, replica: &Replica, service: Option<&Service>, stop: Action) -> Verdict {
        let Some((since, because)) = replica.draining.clone().filter(|_| !replica.stop_asked)
        else {
            let reason = replica.condemned.clone().unwrap_or(Reason::Orphan);
            return Verdict::Act(stop, reason);
        };
        match replica.routed {
            Routed::In => return Verdict::Wait(WaitingOn::Edge),
            Routed::Out { epoch } if self.world.edge.epoch < epoch => {
                return Verdict::Wait(WaitingOn::Edge);
            }
            Routed::Out { .. } | Routed::Never => {}
        }
        let open = replica
            .id()
            .and_then(|id| self.world.edge.open.get(id))
            .copied()
            .unwrap_or(0);
        let until = since + service.map_or(Duration::ZERO, |service| service.desired.phoenix.drain);
        if open > 0 && until > self.now {
            return Verdict::Wait(WaitingOn::Connections { open, until });
        }
        Verdict::Act(
            stop,
            Reason::Drained {
                open,
                because: Box::new(because),
            },
        )
    }

    /// A replica that lives on for now: the next step of its birth, or what it waits for.
    fn live(&self, replica: &Replica, role: &Role, service: &Service, look: Action) -> Verdict {
        let desired = &service.desired;
        let Some(observed) = &replica.observed else {
            return Verdict::Wait(WaitingOn::Listing);
        };
        if observed.state == ContainerState::Created {
            return self.next_step_of_birth(replica, desired);
        }
        let verified = replica.verified(&desired.policy);
        if let Some(pace) = look_pace(replica, desired, &verified, self.now)
            && replica.seen_at + pace <= self.now
        {
            return Verdict::Act(look, Reason::Pace);
        }
        if let Role::Stale(because) = role {
            return Verdict::Wait(WaitingOn::Replacement {
                because: because.clone(),
                on: None,
            });
        }
        if verified == Verified::Pending {
            return Verdict::Wait(WaitingOn::Kernel);
        }
        if !replica.is_ready() {
            let until = replica.probed_since().unwrap_or(self.now) + desired.phoenix.probe.deadline;
            return Verdict::Wait(WaitingOn::Probe {
                successes: replica.probe.successes,
                needed: desired.phoenix.probe.successes,
                last: replica.probe.last_failure.clone(),
                until,
            });
        }
        match replica.available_at(desired) {
            Some(until) if until > self.now => Verdict::Wait(WaitingOn::MinReady { until }),
            Some(_) | None => Verdict::Keep,
        }
    }

    fn next_step_of_birth(&self, replica: &Replica, desired: &Desired) -> Verdict {
        let Some(observed) = &replica.observed else {
            return Verdict::Wait(WaitingOn::Listing);
        };
        let (name, id) = (replica.name.clone(), observed.id.clone());
        let action = match desired
            .networks
            .iter()
            .find(|network| !observed.networks.contains_key(*network))
        {
            Some(network) => Action::Connect {
                replica: name,
                id,
                network: network.clone(),
            },
            None => Action::Start { replica: name, id },
        };
        Verdict::Act(action, Reason::Birth)
    }

    /// The service's next birth: begun, or what it waits for. Sets what the stale replicas wait for, too.
    fn plan_birth(&mut self, name: &ServiceName, service: &Service, cast: &Cast<'_>) {
        let wanted = usize::try_from(cast.desired.replicas).unwrap_or(usize::MAX);
        let fresh = cast.count(|role| *role == Role::Fresh);
        let verdict = if fresh < wanted {
            let verdict = self.birth(name, service, cast);
            if let Verdict::Wait(on) = &verdict
                && let Some(until) = on.until()
            {
                self.wake_at(until);
            }
            Some(verdict)
        } else {
            None
        };
        let newborn = cast
            .members
            .iter()
            .find(|(replica, role)| {
                *role == Role::Fresh && !self.is_available(replica, cast.desired)
            })
            .map(|(replica, _)| WaitingOn::Birth {
                replica: replica.name.clone(),
            });
        let on = match &verdict {
            Some(Verdict::Wait(on)) => Some(on.clone()),
            Some(Verdict::Act(action, _)) => Some(WaitingOn::Call(action.name())),
            Some(Verdict::Keep) | None => newborn,
        };
        for (replica, _) in &cast.members {
            if let Some(Verdict::Wait(WaitingOn::Replacement { on: waits, .. })) =
                self.verdicts.get_mut(&replica.name)
            {
                *waits = on.clone().map(Box::new);
            }
        }
        if let Some(verdict) = verdict {
            self.births.insert(name.clone(), verdict);
        }
    }

    fn birth(&mut self, name: &ServiceName, service: &Service, cast: &Cast<'_>) -> Verdict {
        let desired = cast.desired;
        let live = u32::try_from(
            cast.members
                .iter()
                .filter(|(replica, _)| replica.is_live())
                .count(),
        )
        .unwrap_or(u32::MAX);
        let wait = |on| Verdict::Wait(on);
        if live >= desired.live_limit() {
            return wait(WaitingOn::Surge {
                limit: desired.live_limit(),
            });
        }
        let missing = self.missing_resources(desired);
        if !missing.is_empty() {
            return wait(WaitingOn::Resources {
                names: missing.join(", "),
            });
        }
        if let Some((failures, _, last)) = service.failures() {
            if service.is_budget_spent() && live >= desired.replicas {
                let budget = desired.phoenix.backoff.budget;
                return wait(WaitingOn::Budget {
                    failures,
                    budget,
                    last: last.to_owned(),
                });
            }
            if let Some(until) = service.retry_at().filter(|until| *until > self.now) {
                return wait(WaitingOn::Backoff {
                    until,
                    failures,
                    last: last.to_owned(),
                });
            }
        }
        if self.births_left == 0 {
            return wait(WaitingOn::Parallel {
                limit: self.world.limits.births,
            });
        }
        let Some((spec_hash, generation)) = service.generation.clone() else {
            return wait(WaitingOn::Listing);
        };
        if !self.take_call() {
            let limit = u32::try_from(self.world.limits.calls).unwrap_or(u32::MAX);
            return wait(WaitingOn::Parallel { limit });
        }
        self.births_left -= 1;
        let stale = cast.members.iter().find_map(|(replica, role)| match role {
            Role::Stale(because) => Some((replica.name.clone(), because.clone())),
            Role::Over(_) | Role::Leaving | Role::Doomed(_) | Role::Fresh => None,
        });
        let reason = match stale {
            Some((replica, because)) if live >= desired.replicas => Reason::Replaces {
                replica,
                because: Box::new(because),
            },
            _ => Reason::Missing {
                live,
                wanted: desired.replicas,
            },
        };
        let replica = ReplicaName::new(name.clone(), service.last_serial.next());
        Verdict::Act(
            Action::Create {
                replica,
                generation,
                spec_hash,
            },
            reason,
        )
    }

    fn missing_resources(&self, desired: &Desired) -> Vec<String> {
        let networks = desired
            .makes_networks
            .iter()
            .filter(|name| !self.world.networks.contains_key(*name));
        let volumes = desired
            .makes_volumes
            .iter()
            .filter(|name| !self.world.volumes.contains_key(*name));
        let failed = |resource: Resource| {
            self.world
                .resources
                .get(&resource)
                .filter(|call| !call.last.is_empty())
                .map(|call| format!(" ({})", call.last))
        };
        networks
            .map(|name| {
                format!(
                    "network {name}{}",
                    failed(Resource::Network(name.clone())).unwrap_or_default()
                )
            })
            .chain(volumes.map(|name| {
                format!(
                    "volume {name}{}",
                    failed(Resource::Volume(name.clone())).unwrap_or_default()
                )
            }))
            .collect()
    }

    /// The instants at which something changes without an event: paces, the ends of lives and of proofs.
    fn wake_for_paces(&mut self) {
        let begins: Vec<Time> = self.begins.values().copied().collect();
        for begin in begins {
            self.wake_at(begin);
        }
        for replica in self.world.replicas.values() {
            let Some(service) = self.world.services.get(&replica.name.service) else {
                continue;
            };
            let desired = &service.desired;
            if !replica.is_running() || replica.stop_asked {
                continue;
            }
            if let Some(since) = replica.probed_since() {
                self.wake_at(since + desired.phoenix.probe.deadline);
            }
            if let (_, Some(until)) = rotation::pace(replica, desired, self.now) {
                self.wake_at(until);
            }
            let verified = replica.verified(&desired.policy);
            if replica.call.is_none()
                && let Some(pace) = look_pace(replica, desired, &verified, self.now)
            {
                self.wake_at(replica.seen_at + pace);
            }
            if let Some(at) = replica.available_at(desired) {
                self.wake_at(at);
            }
            if let Some(deadline) = self.world.deadline(replica) {
                self.wake_at(deadline);
            }
        }
    }
}

impl Cast<'_> {
    fn count(&self, is: impl Fn(&Role) -> bool) -> usize {
        self.members.iter().filter(|(_, role)| is(role)).count()
    }
}

impl World {
    /// Every living replica of the wanted generation, with its deadline and what replacing it takes.
    fn claims(&self) -> Vec<Claim> {
        if self.down.is_some() {
            return Vec::new();
        }
        self.replicas
            .values()
            .filter(|replica| {
                replica.is_running() && replica.draining.is_none() && !replica.stop_asked
            })
            .filter_map(|replica| {
                let service = self.services.get(&replica.name.service)?;
                Some(Claim {
                    replica: replica.name.clone(),
                    born_at: replica.born_at()?,
                    deadline: self.deadline(replica)?,
                    lead: service.lead(),
                    slots: usize::try_from(service.desired.phoenix.surge).unwrap_or(usize::MAX),
                })
            })
            .collect()
    }
}

/// It was never ready and is on its way there.
fn is_being_born(replica: &Replica) -> bool {
    replica.is_live()
        && !replica.probe.was_ready
        && !replica.stop_asked
        && replica.draining.is_none()
}

/// Why a container that does not live is to be removed.
fn over(replica: &Replica) -> Option<Reason> {
    let how = how_it_ended(&replica.observed.as_ref()?.state)?;
    Some(match &replica.condemned {
        Some(reason) if replica.stop_asked => reason.clone(),
        Some(_) | None => Reason::Ended { how },
    })
}

/// How often a replica is inspected, where inspection is the only way to know.
fn look_pace(
    replica: &Replica,
    desired: &Desired,
    verified: &Verified,
    now: Time,
) -> Option<Duration> {
    if *verified == Verified::Pending {
        return Some(PACE_KERNEL);
    }
    match desired.probe {
        Probe::Docker => Some(rotation::pace(replica, desired, now).0.max(PACE_INSPECT)),
        Probe::Running if !replica.is_ready() => Some(rotation::pace(replica, desired, now).0),
        Probe::Running | Probe::Http { .. } | Probe::Tcp { .. } => None,
    }
}
