//! A service's next birth: begun, or what it waits for.

use super::plan::{Cast, Planner};
use super::replica::Replica;
use super::roles::Role;
use super::service::Service;
use super::world::Resource;
use super::{Action, Desired, Reason, Verdict, WaitingOn};
use crate::spec::{NetworkName, PodPart, ReplicaName, ServiceName};

impl Planner<'_> {
    /// The service's next birth: begun, or what it waits for. Sets what the stale replicas wait for, too.
    pub(super) fn plan_birth(&mut self, name: &ServiceName, service: &Service, cast: &Cast<'_>) {
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
        let stale = |role: &Role| matches!(role, Role::Stale(_));
        for (replica, _) in cast.members.iter().filter(|(_, role)| stale(role)) {
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
                .filter(|(replica, _)| replica.is_live() && !gives_its_place(replica, desired))
                .count(),
        )
        .unwrap_or(u32::MAX);
        let aside = |(replica, _): &&(&Replica, Role)| gives_its_place(replica, desired);
        let aside = cast.members.iter().filter(aside).count();
        let wait = |on| Verdict::Wait(on);
        if let Some(on) = self.may_not_begin(name, service) {
            return wait(on);
        }
        // Each has its replacement at once, and no more than that: whoever taints every newborn fills no host.
        let is_full = u32::try_from(aside).unwrap_or(u32::MAX) >= desired.live_limit().max(1);
        if is_full || live >= desired.live_limit() + desired.ahead() {
            return wait(WaitingOn::Surge {
                limit: desired.live_limit(),
            });
        }
        if let Some(on) = self.lacks(desired) {
            return wait(on);
        }
        // What nobody could read of later is not begun; what is missing is brought back all the same.
        if live >= desired.replicas
            && let Some(error) = &self.world.journal_error
        {
            let error = error.clone();
            return wait(WaitingOn::Journal { error });
        }
        // Its stop, in this same plan, is what begins the delay.
        let failing = cast
            .members
            .iter()
            .find(|(_, role)| matches!(role, Role::Doomed(reason) if reason.is_failed_birth()));
        if let Some((replica, _)) = failing {
            return wait(WaitingOn::Birth {
                replica: replica.name.clone(),
            });
        }
        if let Some(on) = self.failures_hold(service, live) {
            return wait(on);
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
        let reason = self.born_because(name, cast, live);
        let replica = ReplicaName::new(name.clone(), service.last_serial.next());
        Verdict::Act(
            Action::Create {
                image: service.image_moved.then(|| cast.desired.image.clone()),
                replica,
                generation,
                spec_hash,
                born_after: self.born_after(service),
                joins: self.world.pause_of(name).cloned(),
            },
            reason,
        )
    }

    /// What keeps the service from any birth, however many it lacks.
    fn may_not_begin(&self, name: &ServiceName, service: &Service) -> Option<WaitingOn> {
        if self.world.leaving {
            return Some(WaitingOn::Supervisor);
        }
        if let Some(why) = &service.objection {
            return Some(WaitingOn::Adoption { why: why.clone() });
        }
        if let Some(on) = self.needs.first_start(name) {
            return Some(on.clone());
        }
        let is_edge = name.is_pod(PodPart::Edge);
        (is_edge && self.world.pause_of(name).is_none()).then_some(WaitingOn::Pod)
    }

    /// Why there is to be one more.
    fn born_because(&self, name: &ServiceName, cast: &Cast<'_>, live: u32) -> Reason {
        let wanted = cast.desired.replicas;
        let stale = cast.members.iter().find_map(|(replica, role)| match role {
            Role::Stale(because) => Some((replica.name.clone(), because.clone())),
            Role::Tainted(_) | Role::Over(_) | Role::Leaving | Role::Doomed(_) | Role::Fresh => {
                None
            }
        });
        let tainted = cast.members.iter().find_map(|(replica, role)| match role {
            Role::Tainted(_) if replica.glass.is_some() => None,
            Role::Tainted(because) => Some((replica.name.clone(), because.clone())),
            Role::Stale(_) | Role::Over(_) | Role::Leaving | Role::Doomed(_) | Role::Fresh => None,
        });
        let reason = match stale.filter(|_| live >= wanted).or(tainted) {
            Some((replica, because)) => Reason::Replaces {
                replica,
                because: Box::new(because),
            },
            None => Reason::Missing { live, wanted },
        };
        let missing = self.needs.missing(name);
        if missing.is_empty() {
            return reason;
        }
        Reason::WithoutOptional {
            because: Box::new(reason),
            missing: missing.to_vec(),
        }
    }

    /// Failures that hold the next birth back: the budget a replacement, the backoff every one.
    fn failures_hold(&self, service: &Service, live: u32) -> Option<WaitingOn> {
        let (failures, _, last) = service.failures()?;
        let last = last.to_owned();
        if service.is_budget_spent() && live >= service.desired.replicas {
            let budget = service.desired.phoenix.backoff.budget;
            return Some(WaitingOn::Budget {
                failures,
                budget,
                last,
            });
        }
        let until = service.retry_at().filter(|until| *until > self.now)?;
        Some(WaitingOn::Backoff {
            until,
            failures,
            last,
        })
    }

    /// Networks and volumes that a replica needs and that are not there.
    fn lacks(&self, desired: &Desired) -> Option<WaitingOn> {
        let missing = self.missing_resources(desired);
        if !missing.is_empty() {
            let names = missing.join(", ");
            return Some(WaitingOn::Resources { names });
        }
        let externals = self.missing_externals(desired);
        (!externals.is_empty()).then(|| WaitingOn::Externals {
            names: externals.join(", "),
        })
    }

    /// Networks that somebody else makes, and that are not there any more.
    fn missing_externals(&self, desired: &Desired) -> Vec<String> {
        desired
            .all_networks()
            .filter(|name| !desired.makes_networks.contains(*name))
            .filter(|name| {
                let resource = Resource::Network(NetworkName::clone(name));
                !self.world.existing.contains_key(&resource)
            })
            .map(|name| format!("network {name}"))
            .collect()
    }

    fn missing_resources(&self, desired: &Desired) -> Vec<String> {
        let exists = |resource: Resource| self.world.existing.contains_key(&resource);
        let networks = desired
            .makes_networks
            .iter()
            .filter(|name| !exists(Resource::Network((*name).clone())));
        let volumes = desired
            .makes_volumes
            .iter()
            .filter(|name| !exists(Resource::Volume((*name).clone())));
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
}

/// A tainted replica holds nobody's place: its replacement starts at once. Where only one can be there at a time it has to be
/// gone first.
fn gives_its_place(replica: &Replica, desired: &Desired) -> bool {
    replica.is_tainted() && desired.phoenix.surge > 0
}
