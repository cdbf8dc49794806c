//! One container as it really is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use phoenixd::reconcile::{Asked, ContainerState, Health, Identity, Kernel, Observed, Time};
use phoenixd::spec::{
    ContainerId, FileDigest, ImageId, KernelFacts, NetworkName, ServiceName, VolumeName,
};

use super::compose::OfCompose;
use super::setup::{Defect, Quality};

/// While the runtime becomes the program, the kernel tells of the runtime.
const EXEC_TAKES: Duration = Duration::from_millis(3);

/// One container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) name: String,
    /// It carries the project's label.
    pub(super) labelled: bool,
    pub(super) identity: Option<Identity>,
    pub(super) image: ImageId,
    pub(super) state: ContainerState,
    pub(super) made_at: Time,
    pub(super) started: Option<Time>,
    /// Somebody started it again: when its first life began.
    pub(super) second_life: Option<Time>,
    /// It serves from then on.
    pub(super) serves_at: Option<Time>,
    /// Its stop signal was sent.
    pub(super) terminating: bool,
    /// It answers nothing until then.
    pub(super) hung_until: Time,
    /// Since when it does not serve, after it did.
    pub(super) bad_since: Option<Time>,
    pub(super) quality: Quality,
    /// Somebody got in, and since when.
    pub(super) touched_at: Option<Time>,
    /// A process that somebody started in it is there until then.
    pub(super) intruder_until: Option<Time>,
    /// phoenixd froze it, then.
    pub(super) frozen_at: Option<Time>,
    /// It was given the name of what is broken open, then.
    pub(super) opened_at: Option<Time>,
    /// A human or a fault of the engine had a hand in it.
    pub(super) meddled: bool,
    /// The name that it is to take over, as its marks say.
    pub(super) marked: Option<String>,
    /// It is docker compose's.
    pub(super) compose: Option<OfCompose>,
    pub(super) volumes: BTreeSet<VolumeName>,
    pub(super) files: BTreeSet<FileDigest>,
    pub(super) networks: BTreeMap<NetworkName, Option<IpAddr>>,
    /// The container whose network it joined.
    pub(super) joined: Option<ContainerId>,
}

impl Container {
    /// What an inspection says.
    pub(super) fn observe(&self, now: Time, remote: bool) -> Observed {
        let weak = self.quality.fault == Some(Defect::Weak);
        let kernel = match self.started {
            _ if remote => Kernel::Unavailable,
            None => Kernel::NotRunning,
            Some(started) => {
                let runtime = now.since(started) < EXEC_TAKES;
                let facts = KernelFacts {
                    cap_effective: if runtime { 0x1ff_ffff_ffff } else { 0 },
                    cap_bounding: u64::from(weak) << 10,
                    no_new_privs: !runtime,
                    seccomp: 2,
                    uid: if runtime { 0 } else { 65_534 },
                    files_read_only: true,
                };
                Kernel::Read { facts, at: now }
            }
        };
        Observed {
            id: self.id.clone(),
            name: self.name.clone(),
            identity: self.identity.clone(),
            state: self.state.clone(),
            image: self.image.clone(),
            health: self.health(now),
            health_exec: None,
            started: self.started,
            second_life: self.second_life,
            kernel,
            asked: Asked {
                privileged: false,
                read_only: true,
                cap_drop_all: true,
                no_new_privs: true,
                foreign_namespace: false,
                never_restarts: true,
                pids_limited: true,
                memory_limited: true,
                files_read_only: true,
            },
            files: self.files.clone(),
            networks: self.networks.clone(),
            joined: self.joined.clone(),
        }
    }

    /// docker compose made it.
    pub(super) fn is_original(&self) -> bool {
        self.identity
            .as_ref()
            .is_some_and(|identity| identity.replica.is_original())
    }

    pub(super) fn service(&self) -> Option<&ServiceName> {
        self.identity
            .as_ref()
            .map(|identity| &identity.replica.service)
    }

    /// It answers a request now.
    pub(super) fn serves(&self, now: Time) -> bool {
        let flaps =
            self.quality.fault == Some(Defect::Flaps) && (now.since_boot().as_secs() / 7) % 2 == 1;
        self.state == ContainerState::Running
            && self.serves_at.is_some_and(|at| at <= now)
            && self.hung_until <= now
            && !flaps
    }

    fn health(&self, now: Time) -> Health {
        if self.state != ContainerState::Running {
            Health::None
        } else if self.serves(now) {
            Health::Healthy
        } else if self.serves_at.is_none_or(|at| now < at) {
            Health::Starting
        } else {
            Health::Unhealthy
        }
    }
}

/// A process exists.
pub(super) fn is_process(state: &ContainerState) -> bool {
    match state {
        ContainerState::Running | ContainerState::Paused | ContainerState::Restarting => true,
        ContainerState::Created
        | ContainerState::Exited { .. }
        | ContainerState::Removing
        | ContainerState::Dead => false,
    }
}
