//! A service's next birth: begun, or what it waits for.

use super::plan::{Cast, Planner};
use super::roles::Role;
use super::service::Service;
use super::world::Resource;
use super::{Action, Desired, Reason, Verdict, WaitingOn};
use crate::spec::{ReplicaName, ServiceName};

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
                image: service.image_moved.then(|| cast.desired.image.clone()),
                replica,
                generation,
                spec_hash,
            },
            reason,
        )
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
}
