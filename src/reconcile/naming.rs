//! The network on which a replica is only while it is ready (`x-phoenix.edge: external`): when it is attached and taken off.
//!
//! There it has the service's names, so that a proxy of the operator's own, which nobody can tell anything, finds ready
//! replicas by them and no others. Docker takes a name away only with the whole endpoint, and with that every connection
//! through it: these do not end, they stand still. So a replica that is to leave and is well keeps its names until its
//! process ends, which closes its connections one by one; what must not be reached is taken off at once.
//!
//! Which networks a replica is on is Docker's to say, so that whoever supervises next goes on from there.

use std::time::Duration;

use super::plan::Planner;
use super::replica::{Replica, Verified};
use super::roles::Role;
use super::service::Service;
use super::world::{Resource, replicas_of};
use super::{Action, ContainerState, Desired, Reason, Time, Verdict, WaitingOn, World};
use crate::spec::{ContainerId, NetworkName};

/// How often it is tried to take off its network what is to be stopped or frozen: then that goes on without.
const ATTEMPTS: u32 = 3;
/// How long a call of the supervisor before this one may still take effect. An engine is given half of it for such a call.
const PREDECESSOR: Duration = Duration::from_mins(1);

/// Whether a replica may have the service's names.
enum Standing {
    May,
    MayNot(Reason),
    /// It is not known yet: then it stays as it is.
    Unknown,
}

impl Replica {
    /// It has the service's names, or its service has no network for them.
    pub(super) fn has_names(&self, desired: &Desired) -> bool {
        let network = desired.on_ready.as_ref();
        network.is_none_or(|network| self.is_on(network))
    }

    fn is_on(&self, network: &NetworkName) -> bool {
        let observed = self.observed.as_ref();
        observed.is_some_and(|observed| observed.networks.contains_key(network))
    }
}

impl World {
    /// A running replica is about to be attached, or taken off.
    pub(super) fn naming_began(&mut self, action: &Action) {
        if let Some((network, is_on)) = named_by(action)
            && let Some(replica) = action
                .replica()
                .and_then(|name| self.replicas.get_mut(name))
            && replica.has_process()
        {
            replica.named = Some((network.clone(), is_on));
        }
    }

    /// What is then, is not done again by a call that is over; one whose outcome is unknown may still come.
    pub(super) fn naming_ended(&mut self, action: &Action, is_known: bool) {
        if let Some((network, _)) = named_by(action).filter(|_| is_known)
            && let Some(replica) = action
                .replica()
                .and_then(|name| self.replicas.get_mut(name))
            && replica.has_process()
        {
            replica.named = Some((network.clone(), replica.is_on(network)));
        }
    }

    /// Somebody else changed the networks of a replica that runs.
    pub(super) fn is_moved(&self, now: Time, replica: &Replica, before: &[NetworkName]) -> bool {
        let Some(observed) = &replica.observed else {
            return false;
        };
        let service = self.services.get(&replica.name.service);
        let on_ready = service.and_then(|service| service.desired.on_ready.as_ref());
        let by_us = |network: &NetworkName| {
            let is_on = observed.networks.contains_key(network);
            let told = |(told, to): &(NetworkName, bool)| told == network && *to == is_on;
            let by_predecessor = !replica.made_here && now.since(replica.known_at) < PREDECESSOR;
            replica.named.as_ref().is_some_and(told)
                || (by_predecessor && on_ready == Some(network))
        };
        let gone = before
            .iter()
            .filter(|it| !observed.networks.contains_key(*it));
        let new = observed.networks.keys().filter(|it| !before.contains(*it));
        gone.chain(new).any(|network| !by_us(network))
    }
}

impl Planner<'_> {
    /// The next step to have a running replica's names where they belong.
    pub(super) fn naming(
        &self,
        replica: &Replica,
        role: &Role,
        service: Option<&Service>,
        id: &ContainerId,
    ) -> Option<Verdict> {
        let service = service?;
        let network = service.desired.on_ready.as_ref()?;
        let state = &replica.observed.as_ref()?.state;
        if !matches!(state, ContainerState::Running | ContainerState::Paused) {
            return None;
        }
        let stays = matches!(role, Role::Fresh | Role::Stale(_));
        let (name, id, of) = (replica.name.clone(), id.clone(), network.clone());
        match (self.standing(replica, service), replica.is_on(network)) {
            (Standing::May, false) if stays => {
                let resource = Resource::Network(network.clone());
                if !self.world.existing.contains_key(&resource) {
                    let names = format!("network {network}");
                    return Some(Verdict::Wait(WaitingOn::Resources { names }));
                }
                let action = Action::Connect {
                    replica: name,
                    id,
                    network: of,
                };
                Some(Verdict::Act(action, Reason::Ready))
            }
            (Standing::MayNot(reason), true) => {
                let tried = replica.retry.as_ref().map_or(0, |retry| retry.attempts);
                let action = Action::Disconnect {
                    replica: name,
                    id,
                    network: of,
                };
                (stays || tried < ATTEMPTS).then_some(Verdict::Act(action, reason))
            }
            (Standing::May | Standing::MayNot(_) | Standing::Unknown, _) => None,
        }
    }

    fn standing(&self, replica: &Replica, service: &Service) -> Standing {
        if let Some(reason) = replica.tainted_because() {
            return Standing::MayNot(reason);
        }
        match replica.verified(&service.desired) {
            Verified::Weak(reason) => return Standing::MayNot(reason),
            Verified::Pending => return Standing::Unknown,
            Verified::Strong | Verified::Unavailable => {}
        }
        if self.world.is_unproven(self.now, replica) {
            return Standing::Unknown;
        }
        if !replica.is_ready() {
            let last = replica.probe.last_failure.clone();
            let last = last.unwrap_or_else(|| "its probe has not succeeded".to_owned());
            return Standing::MayNot(Reason::Unhealthy { last });
        }
        match self.opens(replica) {
            Some(because) if self.named_beside_others(replica, Some(service)).is_none() => {
                Standing::MayNot(because)
            }
            Some(_) | None => Standing::May,
        }
    }

    /// Why it leaves to be broken open, if it does: nobody is let in beside a proxy.
    fn opens(&self, replica: &Replica) -> Option<Reason> {
        let (_, because) = replica.draining.as_ref()?;
        let Reason::BreakGlass { request, .. } = because else {
            return None;
        };
        let asked = self.world.requests.get(request)?;
        asked.ended.is_none().then(|| because.clone())
    }

    /// Until when a replica that is to leave keeps its names beside those that stay; `None` where there is nobody else, or
    /// it has had its time.
    pub(super) fn named_beside_others(
        &self,
        replica: &Replica,
        service: Option<&Service>,
    ) -> Option<Time> {
        let desired = &service?.desired;
        let (since, _) = replica.draining.as_ref()?;
        let network = desired.on_ready.as_ref()?;
        let mut others = replicas_of(&self.world.replicas, &replica.name.service);
        let is_other =
            |other: &Replica| other.name != replica.name && other.is_in_rotation(desired);
        let until = *since + desired.phoenix.drain;
        (replica.is_on(network) && until > self.now && others.any(is_other)).then_some(until)
    }

    /// It is still to be found by the service's names.
    pub(super) fn is_named(&self, replica: &Replica) -> bool {
        let service = self.world.services.get(&replica.name.service);
        let network = service.and_then(|service| service.desired.on_ready.as_ref());
        network.is_some_and(|network| replica.is_on(network))
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a new action names nothing unless it is said here"
)]
fn named_by(action: &Action) -> Option<(&NetworkName, bool)> {
    match action {
        Action::Connect { network, .. } => Some((network, true)),
        Action::Disconnect { network, .. } => Some((network, false)),
        _ => None,
    }
}
