//! What somebody else does to what phoenixd runs: `docker stop`, `docker compose down`, a network that is removed. It is
//! told, and mended like every other loss.
//!
//! Not here: the mending. A replica that is missing is born (`births`), a network that is missing is made
//! (`resources`).

use std::fmt;
use std::time::Duration;

use super::replica::Replica;
use super::world::Resource;
use super::{NetworkSeen, Time, VolumeSeen, World};
use crate::spec::{ContainerId, NetworkName, ReplicaName, VolumeName};

/// How long it is told in the status.
const TOLD: Duration = Duration::from_mins(10);
/// How much of it is remembered at most.
const REMEMBERED: usize = 64;
/// How long after a signal that phoenixd did not send an end counts as that signal's doing: longer than the grace that
/// people give (Compose's default is 10 s), shorter than the time in which somebody forgets a SIGHUP.
const SIGNAL_COUNTS: Duration = Duration::from_mins(2);

/// Something that phoenixd needs was stopped or removed, and not by phoenixd.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Meddling {
    /// When that was noticed.
    pub at: Time,
    /// What happened.
    pub what: Meddled,
}

/// What somebody else did.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Meddled {
    /// Sent a signal to a replica, which then ended.
    Stopped(ReplicaName),
    /// Removed a replica's container.
    Removed(ReplicaName),
    /// Removed a network that a service needs.
    NetworkRemoved(NetworkName),
    /// Removed a volume that a service needs.
    VolumeRemoved(VolumeName),
}

impl Meddled {
    /// What it was done to.
    fn replica(&self) -> Option<&ReplicaName> {
        match self {
            Self::Stopped(replica) | Self::Removed(replica) => Some(replica),
            Self::NetworkRemoved(_) | Self::VolumeRemoved(_) => None,
        }
    }
}

impl fmt::Display for Meddled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(replica) => write!(f, "{replica} was stopped from outside"),
            Self::Removed(replica) => write!(f, "{replica} was removed from outside"),
            Self::NetworkRemoved(name) => write!(f, "network {name} was removed from outside"),
            Self::VolumeRemoved(name) => write!(f, "volume {name} was removed from outside"),
        }
    }
}

impl Replica {
    /// Whether somebody else ended it: it got a signal shortly before that phoenixd did not ask for.
    pub(super) fn is_stopped_by_others(&self) -> bool {
        self.signalled.is_some() && !self.stop_asked
    }

    /// Its end was seen; a signal of long ago has nothing to do with it.
    pub(super) fn forget_old_signal(&mut self, now: Time) {
        self.signalled = self
            .signalled
            .filter(|at| now.since(*at) <= SIGNAL_COUNTS && !self.stop_asked);
    }
}

impl World {
    /// The engine sent a signal to a container, for whomever.
    pub(super) fn signalled(&mut self, now: Time, id: &ContainerId) {
        if let Some(replica) = self.replica_of(id).filter(|replica| !replica.stop_asked) {
            replica.signalled = Some(now);
        }
    }

    /// Remembers what somebody else did; of one replica only the first.
    pub(super) fn meddled(&mut self, now: Time, what: Meddled) {
        self.meddling.retain(|earlier| now.since(earlier.at) < TOLD);
        let is_known = what
            .replica()
            .is_some_and(|replica| self.is_told_of(replica));
        if is_known || self.down.is_some() {
            return;
        }
        if self.meddling.len() == REMEMBERED {
            self.meddling.pop_front();
        }
        self.meddling.push_back(Meddling { at: now, what });
    }

    fn is_told_of(&self, replica: &ReplicaName) -> bool {
        self.meddling
            .iter()
            .any(|earlier| earlier.what.replica() == Some(replica))
    }

    /// What is worth telling now.
    pub(super) fn recent_meddling(&self, now: Time) -> Vec<Meddling> {
        self.meddling
            .iter()
            .filter(|meddling| now.since(meddling.at) < TOLD)
            .cloned()
            .collect()
    }

    /// The networks and volumes that exist. One that was made after the listing was asked for exists, too; one that
    /// existed and does not any more was removed by somebody else.
    pub(super) fn list_resources(
        &mut self,
        now: Time,
        asked_at: Time,
        networks: impl IntoIterator<Item = NetworkSeen>,
        volumes: impl IntoIterator<Item = VolumeSeen>,
    ) {
        let before = std::mem::take(&mut self.existing);
        let networks = networks
            .into_iter()
            .map(|network| (Resource::Network(network.name), network.ours));
        let volumes = volumes
            .into_iter()
            .map(|volume| (Resource::Volume(volume.name), volume.ours));
        for (resource, ours) in networks.chain(volumes) {
            self.removed.remove(&resource);
            let new = || Existing {
                ours,
                twice: false,
                asked_at,
            };
            // A listing has a name twice only when phoenixd and somebody else made it.
            self.existing
                .entry(resource)
                .and_modify(|first| (first.ours, first.twice) = (true, true))
                .or_insert_with(new);
        }
        for (resource, existing) in before {
            if self.existing.contains_key(&resource) {
                continue;
            }
            if existing.asked_at >= asked_at {
                self.existing.insert(resource, existing);
            } else if self.is_needed(&resource) {
                self.meddled(now, resource.is_removed());
                self.removed.insert(resource);
            }
        }
    }

    fn is_needed(&self, resource: &Resource) -> bool {
        self.services.values().any(|service| match resource {
            Resource::Network(name) => service.desired.all_networks().any(|it| it == name),
            Resource::Volume(name) => service.desired.makes_volumes.contains(name),
        })
    }
}

/// A network or volume that exists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Existing {
    /// phoenixd made it.
    pub(super) ours: bool,
    /// Somebody else made one of the same name as well: an engine that is asked by two at once makes two (20.10.24).
    pub(super) twice: bool,
    /// When the look began that saw it, or when it was made.
    pub(super) asked_at: Time,
}

impl Resource {
    fn is_removed(&self) -> Meddled {
        match self {
            Self::Network(name) => Meddled::NetworkRemoved(name.clone()),
            Self::Volume(name) => Meddled::VolumeRemoved(name.clone()),
        }
    }
}
