//! The verdict on one replica, from its role: the next step, or what it waits for.

use std::time::Duration;

use super::plan::Planner;
use super::replica::{Replica, Routed, Verified};
use super::roles::Role;
use super::service::Service;
use super::{Action, ContainerState, Desired, Reason, Subject, Time, Verdict, WaitingOn, rotation};
use crate::spec::Probe;

/// Between two looks at a process whose hardening the kernel does not confirm yet.
const PACE_KERNEL: Duration = Duration::from_millis(20);
/// Between two inspections of a replica that only Docker probes: an inspection costs 0.7 ms of the engine.
const PACE_INSPECT: Duration = Duration::from_millis(100);
/// Between two looks at a container that the engine is removing.
const PACE_REMOVING: Duration = Duration::from_secs(1);

impl Planner<'_> {
    /// The verdict on a replica that is not about to leave the rotation.
    pub(super) fn decide(&mut self, replica: &Replica, role: &Role, service: Option<&Service>) {
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
        if let Some(naming) = self.naming(replica, role, service, &id) {
            return self.unless_it_just_failed(replica, naming);
        }
        let look = Action::Look {
            replica: name.clone(),
            id: id.clone(),
        };
        let grace = service.map(|service| service.desired.stop_grace);
        let is_in_rotation =
            service.is_some_and(|service| replica.is_in_rotation(&service.desired));
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
            Role::Tainted(_) => self.seize(replica, service, subject),
            Role::Leaving => self.leave(replica, service, Action::Stop { subject, grace }),
            // The table comes first where the edge may still send to it, or has connections of it (invariants I2 and I9).
            Role::Doomed(reason) if replica.routed != Routed::Never || is_in_rotation => {
                Verdict::Act(Action::Drain { replica: name, id }, reason.clone())
            }
            Role::Doomed(reason) => Verdict::Act(Action::Stop { subject, grace }, reason.clone()),
            Role::Stale(_) | Role::Fresh => service.map_or(Verdict::Keep, |service| {
                self.live(replica, role, service, look)
            }),
        };
        self.unless_it_just_failed(replica, act)
    }

    /// A failed call about the replica is repeated a little later each time.
    fn unless_it_just_failed(&self, replica: &Replica, act: Verdict) -> Verdict {
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
            Routed::Out { epoch } if !self.world.edges_have(replica, epoch) => {
                return Verdict::Wait(WaitingOn::Edge);
            }
            Routed::Out { .. } | Routed::Never => {}
        }
        let open = self.world.open_through(replica);
        let until = since + service.map_or(Duration::ZERO, |service| service.desired.phoenix.drain);
        if open > 0 && until > self.now {
            return Verdict::Wait(WaitingOn::Connections { open, until });
        }
        if let Some(until) = self.named_beside_others(replica, service) {
            return Verdict::Wait(WaitingOn::Proxies { until });
        }
        if let Some(verdict) = self.breaks_open(replica, &because) {
            return verdict;
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
            return self.next_step_of_birth(replica, service);
        }
        let verified = replica.verified(desired);
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
        if let Some(why) = service
            .objection
            .as_ref()
            .filter(|_| replica.name.is_original())
        {
            return Verdict::Wait(WaitingOn::Adoption { why: why.clone() });
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
            Some(_) | None => match self.take_name(replica, service) {
                Some(verdict) => verdict,
                None => self.held_update(replica, service),
            },
        }
    }

    /// An update of a dependency asks for its replacement, and is not ready itself.
    fn held_update(&self, replica: &Replica, service: &Service) -> Verdict {
        match self.update_of(replica, service) {
            None => Verdict::Keep,
            Some(update) => Verdict::Wait(WaitingOn::Replacement {
                because: update.reason,
                on: update.held.map(Box::new),
            }),
        }
    }

    fn next_step_of_birth(&self, replica: &Replica, service: &Service) -> Verdict {
        let desired = &service.desired;
        let Some(observed) = &replica.observed else {
            return Verdict::Wait(WaitingOn::Listing);
        };
        let (name, id) = (replica.name.clone(), observed.id.clone());
        let missing =
            (desired.networks.iter()).find(|network| !observed.networks.contains_key(*network));
        if let Some(network) = missing {
            let action = Action::Connect {
                replica: name,
                id,
                network: network.clone(),
            };
            return Verdict::Act(action, Reason::Birth);
        }
        if let Some(verdict) = self.before_start(replica, service) {
            return verdict;
        }
        match self.needs.first_start(&name.service) {
            Some(on) => Verdict::Wait(on.clone()),
            None => Verdict::Act(Action::Start { replica: name, id }, Reason::Birth),
        }
    }
}

/// How often a replica is inspected, where inspection is the only way to know.
pub(super) fn look_pace(
    replica: &Replica,
    desired: &Desired,
    verified: &Verified,
    now: Time,
) -> Option<Duration> {
    if *verified == Verified::Pending {
        return Some(PACE_KERNEL);
    }
    match replica.probe_asked(desired) {
        Probe::Docker => Some(rotation::pace(replica, desired, now).0.max(PACE_INSPECT)),
        Probe::Running if !replica.is_ready() => Some(rotation::pace(replica, desired, now).0),
        Probe::Running | Probe::Edge | Probe::Http { .. } | Probe::Tcp { .. } => None,
    }
}
