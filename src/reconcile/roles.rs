//! What each replica is to its service now: over, leaving, doomed, stale or fresh.

use super::plan::Planner;
use super::replica::{Replica, Verified};
use super::service::Service;
use super::{ContainerState, Desired, Reason};
use crate::spec::PodPart;

/// What one replica is to the service now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Its process ended, or never will begin: the container is to be removed.
    Over(Reason),
    /// It is draining or being stopped.
    Leaving,
    /// Something was done to it: it is frozen, recorded and removed, whether or not there is another one.
    Tainted(Reason),
    /// It must go at once, whether or not there is another one.
    Doomed(Reason),
    /// It is to be replaced.
    Stale(Reason),
    /// It is as wanted: starting or ready.
    Fresh,
}

impl Planner<'_> {
    pub(super) fn role_of_unwanted(replica: &Replica, reason: Reason) -> Role {
        if let Some(tainted) = replica.tainted_because() {
            return Role::Tainted(tainted);
        }
        if let Some(gone) = gone_or_leaving(replica) {
            return gone;
        }
        match replica.observed.as_ref().map(|observed| &observed.state) {
            Some(ContainerState::Created) => Role::Over(reason),
            _ => Role::Doomed(reason),
        }
    }

    pub(super) fn role(&self, replica: &Replica, service: &Service) -> Role {
        let desired = &service.desired;
        if let Some(tainted) = replica.tainted_because() {
            return Role::Tainted(tainted);
        }
        if replica.name.is_original() {
            return self.role_of_original(replica, service);
        }
        if self.world.is_given_up(replica, service) {
            return Self::role_of_unwanted(replica, Reason::Leaving);
        }
        if let Some(gone) = gone_or_leaving(replica) {
            return gone;
        }
        if let Some(reason) = self.without_pod(replica, desired) {
            return Self::role_of_unwanted(replica, reason);
        }
        let state = replica.observed.as_ref().map(|observed| &observed.state);
        let condemned = self.staleness(replica, service);
        if state == Some(&ContainerState::Created) {
            return match (condemned, replica.verified(desired)) {
                // It was never started: there is nothing to replace.
                (Some(reason), _) | (None, Verified::Weak(reason)) => Role::Over(reason),
                (None, Verified::Strong | Verified::Unavailable | Verified::Pending) => Role::Fresh,
            };
        }
        if state == Some(&ContainerState::Running) {
            if let Verified::Weak(reason) = replica.verified(desired) {
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

    pub(super) fn never_ready(&self, replica: &Replica, desired: &Desired) -> Option<Reason> {
        let deadline = desired.phoenix.probe.deadline;
        let since = replica
            .probed_since()
            .filter(|_| !replica.probe.was_ready)?;
        (self.now.since(since) >= deadline).then(|| Reason::NeverReady {
            deadline,
            last: replica.probe.last_failure.clone(),
        })
    }

    pub(super) fn staleness(&self, replica: &Replica, service: &Service) -> Option<Reason> {
        if let Some(reason) = &replica.condemned {
            return Some(reason.clone());
        }
        // An original is of no generation: only its age counts.
        let is_replica = !replica.name.is_original();
        if is_replica && replica.spec_hash != service.desired.spec_hash {
            if replica.name.service.is_pod(PodPart::Pause) {
                return Some(Reason::PodChanged);
            }
            let to = service
                .generation
                .as_ref()
                .map_or(replica.generation.next(), |(_, generation)| *generation);
            return Some(Reason::NewGeneration {
                from: replica.generation,
                to,
            });
        }
        if replica.observed.as_ref().is_some_and(|observed| {
            is_replica
                    && observed.image != service.desired.image
                    // What holds the address and only sleeps stays, whichever phoenixd it is of.
                    && !replica.name.service.is_pod(PodPart::Pause)
        }) {
            return Some(Reason::ImageMoved);
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
        if let Some(reason) = self.handed_over(replica) {
            return Some(reason);
        }
        let expired = self
            .begins
            .get(&replica.name)
            .is_some_and(|begin| *begin <= self.now);
        let lifetime = || {
            let born = replica.born_at()?;
            let deadline = self.world.deadline(replica)?;
            // Of an original that is older than its TTL the deadline says nothing about its life.
            let life = service.desired.phoenix.ttl;
            Some(deadline.since(born).min(life))
        };
        if expired {
            return Some(Reason::Expired {
                lifetime: lifetime().unwrap_or_default(),
            });
        }
        // After everything else: what has another reason to go does not wait for a dependency.
        let update = self.update_of(replica, service)?;
        update.held.is_none().then_some(update.reason)
    }
}

/// Whether it is past all choice: over, or on its way out. One that was never started has nothing to drain or stop.
fn gone_or_leaving(replica: &Replica) -> Option<Role> {
    if let Some(reason) = over(replica) {
        return Some(Role::Over(reason));
    }
    if replica.draining.is_none() && !replica.stop_asked {
        return None;
    }
    let never_started = replica
        .observed
        .as_ref()
        .is_some_and(|observed| observed.state == ContainerState::Created);
    let reason = || replica.condemned.clone().unwrap_or(Reason::Orphan);
    Some(if never_started {
        Role::Over(reason())
    } else {
        Role::Leaving
    })
}

/// Why a container that does not live is to be removed.
pub(super) fn over(replica: &Replica) -> Option<Reason> {
    let how = replica.how_it_ended()?;
    Some(match &replica.condemned {
        Some(reason) if replica.stop_asked => reason.clone(),
        Some(_) | None => Reason::Ended { how },
    })
}
