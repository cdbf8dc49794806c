//! The plan: what the world, at a given time, asks to be done.
//!
//! Each replica has one [`Role`], and from it one [`Verdict`]; each service has at most one birth. A plan holds only
//! what is legal now: after every step the world is planned anew, so there is no graph of later actions.
//!
//! Not here: what a replica is (`roles`) and what is done about it (`verdicts`, `retiring`, `births`), when a life ends
//! (`schedule`), who is in rotation (`rotation`), what is remembered (`world`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::depends::Needs;
use super::replica::Replica;
use super::roles::Role;
use super::schedule::{self, Claim};
use super::service::Service;
use super::verdicts::look_pace;
use super::world::{EngineState, replicas_of};
use super::{Desired, Planned, Reason, Step, Time, Verdict, WaitingOn, World, rotation};
use crate::spec::{ReplicaName, ServiceName};

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
        let routes = if self.is_adopting(now) {
            None
        } else {
            Some(self.routes(now))
        };
        let wake_at = wake.filter(|at| *at > now);
        Step {
            actions,
            routes,
            edges: self.edge_orders(),
            targets: self.targets(now),
            files: self.files(),
            beside: Arc::clone(&self.beside),
            status,
            wake_at,
            finished,
            settled: self.is_settled(),
        }
    }
}

pub(super) struct Planner<'a> {
    pub(super) world: &'a World,
    pub(super) now: Time,
    /// What the services need of each other.
    pub(super) needs: Needs<'a>,
    /// When each living replica's replacement begins.
    pub(super) begins: BTreeMap<ReplicaName, Time>,
    pub(super) calls_left: usize,
    pub(super) births_left: u32,
    pub(super) verdicts: BTreeMap<ReplicaName, Verdict>,
    pub(super) births: BTreeMap<ServiceName, Verdict>,
    /// What is about no replica.
    pub(super) actions: Vec<Planned>,
    pub(super) wake: Option<Time>,
}

/// The replicas of one service with their roles.
pub(super) struct Cast<'a> {
    pub(super) desired: &'a Desired,
    pub(super) members: Vec<(&'a Replica, Role)>,
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
        let needs = world.what_is_needed();
        let births = world
            .replicas
            .values()
            .filter(|replica| is_being_born(replica))
            // One that waits for a dependency must not take that one's place.
            .filter(|replica| {
                replica.has_process() || needs.first_start(&replica.name.service).is_none()
            })
            .count();
        Self {
            world,
            now,
            needs,
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

    pub(super) fn wake_at(&mut self, at: Time) {
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

    pub(super) fn take_call(&mut self) -> bool {
        let free = self.calls_left > 0;
        self.calls_left = self.calls_left.saturating_sub(1);
        free
    }

    fn plan_services(&mut self) {
        let world = self.world;
        let needed = match world.down {
            Some(_) => world.needed_by(),
            None => BTreeMap::new(),
        };
        for replica in world
            .replicas
            .values()
            .filter(|replica| !world.services.contains_key(&replica.name.service))
        {
            let is_others = replica.is_adopted() || world.adopts();
            if world.down.is_none() && is_others {
                self.verdicts
                    .insert(replica.name.clone(), Verdict::Wait(WaitingOn::OtherMode));
                continue;
            }
            let reason = if world.down.is_some() {
                Reason::Down
            } else {
                Reason::Orphan
            };
            let role = Self::role_of_unwanted(replica, reason);
            if !self.leaves_later(replica, &role, &needed) {
                self.decide(replica, &role, None);
            }
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
                } else if let Some(on) =
                    Self::is_kept(replica, role, &cast).filter(|_| world.down.is_none())
                {
                    self.verdicts
                        .insert(replica.name.clone(), Verdict::Wait(on));
                } else if !self.leaves_later(replica, role, &needed) {
                    self.decide(replica, role, Some(service));
                }
            }
            if world.down.is_none() {
                self.plan_birth(name, service, &cast);
            }
        }
    }

    /// In a `down` it stays as long as there is somebody who depends on it.
    fn leaves_later(
        &mut self,
        replica: &Replica,
        role: &Role,
        needed: &BTreeMap<&ServiceName, BTreeSet<&ServiceName>>,
    ) -> bool {
        let Some(by) = needed.get(&replica.name.service) else {
            return false;
        };
        if !matches!(role, Role::Doomed(_)) {
            return false;
        }
        let names = by.iter().copied().cloned().collect();
        let verdict = Verdict::Wait(WaitingOn::Dependents { names });
        self.verdicts.insert(replica.name.clone(), verdict);
        true
    }

    fn cast(&mut self, name: &ServiceName, service: &'a Service) -> Cast<'a> {
        let desired = &service.desired;
        let members = replicas_of(&self.world.replicas, name)
            .map(|replica| {
                let role = if self.world.down.is_some() {
                    Self::role_of_unwanted(replica, Reason::Down)
                } else {
                    self.role(replica, service)
                };
                (replica, role)
            })
            .collect();
        Cast { desired, members }
    }

    /// The instants at which something changes without an event: paces, the ends of lives and of proofs.
    fn wake_for_paces(&mut self) {
        let begins: Vec<Time> = self.begins.values().copied().collect();
        for begin in begins {
            self.wake_at(begin);
        }
        for replica in self.world.replicas.values() {
            if let Some(until) = replica.checks.wait_until() {
                // It follows from an event alone, and the time may have come since the last one.
                self.wake_at(until.max(self.now + Duration::from_millis(1)));
            }
            let Some(service) = self.world.services.get(&replica.name.service) else {
                continue;
            };
            let desired = &service.desired;
            if !replica.is_running() || replica.stop_asked || replica.is_tainted() {
                continue;
            }
            if !replica.made_here {
                self.wake_at(replica.known_at + rotation::ADOPTING);
            }
            if let Some(since) = replica.probed_since() {
                self.wake_at(since + desired.phoenix.probe.deadline);
            }
            if let (_, Some(until)) = rotation::pace(replica, desired, self.now) {
                self.wake_at(until);
            }
            let verified = replica.verified(desired);
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
    pub(super) fn count(&self, is: impl Fn(&Role) -> bool) -> usize {
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
                replica.is_running()
                    && replica.draining.is_none()
                    && !replica.stop_asked
                    && !replica.is_tainted()
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
    replica.made_here
        && replica.is_live()
        && replica.condemned.is_none()
        && !replica.probe.was_ready
        && !replica.stop_asked
        && replica.draining.is_none()
}
