//! How observations change the world: listings, inspections, probes.
//!
//! An observation carries the time at which it was asked for; an older one than the last applied is dropped.

use std::collections::BTreeSet;
use std::time::Duration;

use super::replica::Replica;
use super::requests::pardon;
use super::world::{EngineState, World};
use super::{ContainerState, Health, Identity, Kernel, Listing, Meddled, Observed, Reason, Time};
use crate::spec::{ContainerId, Probe, ReplicaName, ServiceName};

/// How long a late look is expected. Longer than any call may take.
const TOMBSTONE: Duration = Duration::from_mins(10);

impl World {
    pub(super) fn list(&mut self, now: Time, asked_at: Time, listing: Listing) {
        if asked_at >= self.depends_since {
            self.engine = EngineState::Reachable;
        }
        self.listed = true;
        self.list_resources(now, asked_at, listing.networks, listing.volumes);
        self.depend(asked_at, listing.dependencies);
        self.beside = listing.beside;
        let listed: BTreeSet<ContainerId> = listing
            .containers
            .iter()
            .map(|observed| observed.id.clone())
            .chain(listing.silent.iter().cloned())
            .collect();
        // A create that was under way when its supervisor was killed may be done again after the first one's name was handed
        // on: of two with one serial the one that runs is the replica, the other a stray.
        let mut containers = listing.containers;
        containers.sort_by_key(|observed| observed.started.is_none());
        for observed in containers {
            self.see(now, asked_at, observed);
        }
        for id in &listing.silent {
            self.fell_silent(now, id);
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
        // What is not there will not be seen any more.
        (self.remembered).retain(|id, _| listing.silent.contains(id));
        self.settle_generations();
        self.settle_early_requests();
    }

    /// It is there, and nobody knows how it is: it stays as it was, and untouched, until the engine answers again.
    fn fell_silent(&mut self, now: Time, id: &ContainerId) {
        if let Some(replica) = self.replica_of(id) {
            replica.unknown_since.get_or_insert(now);
        }
    }

    pub(super) fn see(&mut self, now: Time, asked_at: Time, observed: Observed) {
        if self
            .tombstones
            .get(&observed.id)
            .is_some_and(|gone_at| *gone_at >= asked_at)
        {
            return;
        }
        if !self.heeds(&observed) {
            return;
        }
        self.take_addresses(asked_at, &observed);
        let Some(identity) = self.identity_of(&observed) else {
            self.see_stray(now, asked_at, observed);
            return;
        };
        let Identity {
            replica: name,
            generation,
            spec_hash,
            reach: _,
            adopted: _,
            born_after: _,
        } = identity;
        if let Some(service) = self.services.get_mut(&name.service) {
            service.saw(name.serial, generation);
        }
        let published = self.published;
        let is_new = !self.replicas.contains_key(&name);
        let replica = self.replicas.entry(name.clone()).or_insert_with(|| {
            Replica::adopted(name.clone(), generation, spec_hash, now, published)
        });
        if replica.seen_at > asked_at {
            return;
        }
        replica.seen_at = asked_at;
        if replica.unknown_since.is_some_and(|since| asked_at >= since) {
            replica.unknown_since = None;
        }
        if let Some(service) = self.services.get_mut(&name.service)
            && replica.spec_hash == service.desired.spec_hash
            && observed.image != service.desired.image
        {
            service.image_moved = true;
        }
        if is_new {
            self.find_glass(now, &name, &observed);
        }
        self.look_at(now, asked_at, &name, observed);
    }

    /// What a look at a replica shows, and what follows from it.
    fn look_at(&mut self, now: Time, asked_at: Time, name: &ReplicaName, observed: Observed) {
        let Some(replica) = self.replicas.get_mut(name) else {
            return;
        };
        // Only what was seen to live can die: one that is found dead at start is cleared away, not held against it.
        let was_alive = replica
            .observed
            .as_ref()
            .is_some_and(|before| before.state.is_live());
        let is_missing =
            observed.state == ContainerState::Running && observed.kernel == Kernel::NotRunning;
        replica.missing_since = replica
            .missing_since
            .filter(|_| is_missing)
            .or(is_missing.then_some(asked_at));
        let health = observed.health;
        let ran_on = (replica.observed.as_ref())
            .filter(|_| replica.is_running())
            .map(|before| before.networks.keys().cloned().collect());
        let id = observed.id.clone();
        replica.observed = Some(observed);
        if replica.has_process()
            && let Some(service) = self.services.get_mut(&name.service)
        {
            service.begun = true;
        }
        match replica.how_it_ended() {
            Some(_) if was_alive => self.ended_by_itself(now, name),
            Some(_) => {}
            None => self.probed_by_docker(now, asked_at, name, health),
        }
        self.tainted_before(now, &id);
        self.touched_early(now, &id);
        self.touches_seen(now, name, ran_on);
    }

    /// A replica's process is seen to have ended: by itself, or because somebody else sent it a signal.
    fn ended_by_itself(&mut self, now: Time, name: &ReplicaName) {
        let Some(replica) = self.replicas.get_mut(name) else {
            return;
        };
        replica.forget_old_signal(now);
        let by_others = replica.is_stopped_by_others();
        let how = replica.how_it_ended().unwrap_or_default();
        self.died(now, name, &how);
        if by_others {
            self.meddled(now, Meddled::Stopped(name.clone()));
        }
    }

    fn see_stray(&mut self, now: Time, asked_at: Time, observed: Observed) {
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
    }

    /// A freed address goes to the very next container: who was seen with it before has lost it, and with it what its
    /// probes said, which somebody else answered.
    fn take_addresses(&mut self, asked_at: Time, newer: &Observed) {
        for replica in self.replicas.values_mut() {
            if replica.seen_at >= asked_at {
                continue;
            }
            let Some(older) = replica
                .observed
                .as_mut()
                .filter(|older| older.id != newer.id)
            else {
                continue;
            };
            for (network, address) in &mut older.networks {
                if address.is_some() && newer.networks.get(network) == Some(address) {
                    *address = None;
                    replica.probe.ready_since = None;
                    replica.probe.successes = 0;
                }
            }
        }
    }

    /// The labels of a replica; `None` for a stray: malformed ones, or those of a replica that is another container.
    pub(super) fn identity_of(&self, observed: &Observed) -> Option<Identity> {
        let identity = observed.identity.clone()?;
        match self.replicas.get(&identity.replica).and_then(Replica::id) {
            Some(known) if *known != observed.id => None,
            _ if self.strays.contains_key(&observed.id) => None,
            Some(_) | None => Some(identity),
        }
    }

    /// There is no such container any more.
    pub(super) fn gone(&mut self, now: Time, asked_at: Time, id: &ContainerId) {
        self.strays
            .retain(|stray, replica| stray != id || replica.seen_at > asked_at);
        self.edges.remove(id);
        self.mute.remove(id);
        self.tombstones
            .retain(|_, gone_at| now.since(*gone_at) < TOMBSTONE);
        // Answers may come in another order than they were asked for.
        let newest = self.tombstones.entry(id.clone()).or_insert(asked_at);
        *newest = asked_at.max(*newest);
        let Some(replica) = self.replica_of(id) else {
            return;
        };
        // When an answer was asked for is not when the engine looked: of two that overlap with a create either may be the
        // older one. How the create ends tells.
        if replica.seen_at > asked_at || replica.is_being_made() {
            return;
        }
        let name = replica.name.clone();
        // Ours, or one whose answer was lost, may have removed it.
        let by_others = !replica.removal_asked;
        if replica.is_running() {
            let how = if by_others {
                "it was removed from outside"
            } else {
                "its container vanished"
            };
            self.died(now, &name, how);
        }
        self.replicas.remove(&name);
        if by_others {
            self.meddled(now, Meddled::Removed(name));
        }
    }

    pub(super) fn replica_of(&mut self, id: &ContainerId) -> Option<&mut Replica> {
        self.replicas
            .values_mut()
            .find(|replica| replica.id() == Some(id))
    }

    /// A replica's process ended by itself. One that had proven itself is simply replaced; another one is a failure.
    pub(super) fn died(&mut self, now: Time, name: &ReplicaName, how: &str) {
        let Some(replica) = self.replicas.get_mut(name) else {
            return;
        };
        let Some(service) = self.services.get(&name.service) else {
            return;
        };
        let proven = replica.is_stable(&service.desired, now);
        let expected = replica.stop_asked || replica.glass.is_some();
        replica.probe.ready_since = None;
        if !expected && !proven {
            self.failed(now, name, how);
        }
    }

    /// A failure of the service: its backoff begins, and a recycle that somebody asked for has come to nothing.
    pub(super) fn failed(&mut self, now: Time, name: &ReplicaName, why: &str) {
        let replica = self.replicas.get(name);
        let id = replica.and_then(Replica::id).cloned();
        let known_at = replica.map_or(now, |replica| replica.known_at);
        if let Some(service) = self.services.get_mut(&name.service) {
            service.fail(now, known_at, format!("{name}: {why}"));
        }
        self.fail_requests(name, id.as_ref(), why);
    }

    /// What somebody asked for has come to nothing, unless it was about this very container.
    pub(super) fn fail_requests(
        &mut self,
        name: &ReplicaName,
        id: Option<&ContainerId>,
        why: &str,
    ) {
        for (number, request) in &mut self.requests {
            let is_target = id.is_some_and(|id| request.targets.contains(id));
            if is_target || request.ended.is_some() || !request.services.contains(&name.service) {
                continue;
            }
            request.ended = Some(Err(format!("{name}: {why}")));
            pardon(self.replicas.values_mut(), *number);
        }
    }

    pub(super) fn probed(
        &mut self,
        now: Time,
        asked_at: Time,
        id: &ContainerId,
        result: Result<(), String>,
    ) -> bool {
        let Some(replica) = self.replica_of(id) else {
            return false;
        };
        // A probe that began before the process did asked somebody else.
        if !replica.is_running() || replica.born_at().is_none_or(|born| asked_at < born) {
            return false;
        }
        let name = replica.name.clone();
        self.judge(now, &name, result)
    }

    /// Docker's own status, or plain running, where that is the probe.
    pub(super) fn probed_by_docker(
        &mut self,
        now: Time,
        asked_at: Time,
        name: &ReplicaName,
        health: Health,
    ) {
        let Some(service) = self.services.get(&name.service) else {
            return;
        };
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
        let result = match (replica.probe_asked(&service.desired), health) {
            (Probe::Running, _) | (Probe::Docker, Health::Healthy) => Ok(()),
            (Probe::Docker, Health::Unhealthy) => Err("Docker says unhealthy".to_owned()),
            (Probe::Docker, Health::None | Health::Starting)
            | (Probe::Http { .. } | Probe::Tcp { .. } | Probe::Edge, _) => return,
        };
        // Docker has counted already; one word of it is enough.
        match &result {
            Ok(()) => replica.probe.successes = replica.probe.successes.max(successes - 1),
            Err(_) => replica.probe.failures = replica.probe.failures.max(failures - 1),
        }
        self.judge(now, name, result);
    }

    /// Counts one result of a probe; `false` when that changes nothing.
    pub(super) fn judge(
        &mut self,
        now: Time,
        name: &ReplicaName,
        result: Result<(), String>,
    ) -> bool {
        let Some(service) = self.services.get_mut(&name.service) else {
            return false;
        };
        let Some(replica) = self.replicas.get_mut(name) else {
            return false;
        };
        let setting = &service.desired.phoenix.probe;
        match result {
            Ok(()) => {
                let steady = replica.probe.ready_since.is_some() && replica.probe.failures == 0;
                replica.probe.failures = 0;
                // Beyond what is asked for there is nothing to count.
                replica.probe.successes = replica
                    .probe
                    .successes
                    .saturating_add(1)
                    .min(setting.successes);
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
                    return true;
                }
                !steady
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
                true
            }
        }
    }
}
