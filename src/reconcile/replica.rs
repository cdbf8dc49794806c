//! One replica as the world remembers it, and what follows from that.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::checks::Checks;
use super::cut::Cut;
use super::glass::Glass;
use super::taint::Taint;
use super::{Action, ContainerState, Desired, Kernel, Observed, Reason, Stage, Time, Touch};
use crate::spec::{
    BornAfter, ContainerId, Generation, NetworkName, PodPart, Policy, Probe, Published, Reach,
    ReplicaName, SpecHash,
};

/// Right after a start, process 1 may still be the container runtime; what the kernel says then is not its last word.
const KERNEL_SETTLES: Duration = Duration::from_secs(1);
/// A container that the engine calls running, and whose process the kernel does not know for so long, is not what it
/// should be. In between an inspection may just have met its end.
const PROCESS_MISSING: Duration = Duration::from_secs(5);
/// First delay after a failed call about one container, doubled each time.
const CALL_RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest.
const CALL_RETRY_CAP: Duration = Duration::from_secs(30);

/// One replica as the world remembers it.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something of its own that was done or found"
)]
pub(super) struct Replica {
    pub(super) name: ReplicaName,
    pub(super) generation: Generation,
    pub(super) spec_hash: SpecHash,
    /// What was last seen; `None` while it is being made.
    pub(super) observed: Option<Observed>,
    /// When that look began.
    pub(super) seen_at: Time,
    /// When this world first knew of it: the begin of its create, or the first look.
    pub(super) known_at: Time,
    /// It was made by this supervisor, so that the time of its start is known.
    pub(super) made_here: bool,
    /// Since when the engine calls it running and the kernel knows no process of it.
    pub(super) missing_since: Option<Time>,
    /// The call that is under way.
    pub(super) call: Option<&'static str>,
    /// The outcome of a call is unknown since then.
    pub(super) unknown_since: Option<Time>,
    /// A failed call is repeated.
    pub(super) retry: Option<Retry>,
    pub(super) probe: ProbeState,
    /// It is to be replaced, whatever its age.
    pub(super) condemned: Option<Reason>,
    /// It left the rotation for good, then and why.
    pub(super) draining: Option<(Time, Reason)>,
    /// Its stop was asked for, so that its end is no failure.
    pub(super) stop_asked: bool,
    /// It was compared with the original, and every difference explained.
    pub(super) compared: bool,
    /// Its removal was begun here.
    pub(super) removal_asked: bool,
    /// It got a signal then that phoenixd did not ask for.
    pub(super) signalled: Option<Time>,
    pub(super) routed: Routed,
    /// When a process was last started in it through the engine, for whomever.
    pub(super) exec_at: Option<Time>,
    /// Docker's health checks in it, and who may be one.
    pub(super) checks: Checks,
    /// What was done to it.
    pub(super) touches: Vec<Touch>,
    /// It is not what was started any more, and never comes back.
    pub(super) taint: Option<Taint>,
    /// It was broken open, which is a taint as well.
    pub(super) glass: Option<Glass>,
    /// The edge was told to end its connections.
    pub(super) cut: Option<Cut>,
    /// A network that it was last attached to (or taken off) by this supervisor while it ran.
    pub(super) named: Option<(NetworkName, bool)>,
}

/// A failed call about one container.
#[derive(Clone, Debug)]
pub(super) struct Retry {
    pub(super) until: Time,
    pub(super) attempts: u32,
    pub(super) last: String,
}

/// What the probes said since the replica runs.
#[derive(Clone, Debug, Default)]
pub(super) struct ProbeState {
    pub(super) successes: u32,
    pub(super) failures: u32,
    pub(super) ready_since: Option<Time>,
    pub(super) was_ready: bool,
    pub(super) last_failure: Option<String>,
}

/// Whether the edge was told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Routed {
    /// Never.
    Never,
    /// It is in the table.
    In,
    /// It left the table with this epoch.
    Out { epoch: u64 },
}

/// Whether the hardening is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verified {
    /// The kernel says so.
    Strong,
    /// The kernel cannot be asked; the engine's word is all there is.
    Unavailable,
    /// Not known yet.
    Pending,
    /// It is weaker than the policy.
    Weak(Reason),
}

impl Replica {
    pub(super) fn new(
        name: ReplicaName,
        generation: Generation,
        spec_hash: SpecHash,
        now: Time,
    ) -> Self {
        Self {
            name,
            generation,
            spec_hash,
            observed: None,
            seen_at: Time::BOOT,
            known_at: now,
            made_here: false,
            missing_since: None,
            call: None,
            unknown_since: None,
            retry: None,
            probe: ProbeState::default(),
            condemned: None,
            draining: None,
            stop_asked: false,
            compared: false,
            removal_asked: false,
            signalled: None,
            routed: Routed::Never,
            exec_at: None,
            checks: Checks::default(),
            touches: Vec::new(),
            taint: None,
            glass: None,
            cut: None,
            named: None,
        }
    }

    /// One that was there before this supervisor saw it. The edge may still send to it by a table from before: it has
    /// left the table that was published last, or else the first one.
    pub(super) fn adopted(
        name: ReplicaName,
        generation: Generation,
        spec_hash: SpecHash,
        now: Time,
        published: Option<u64>,
    ) -> Self {
        let routed = published.map_or(Routed::In, |epoch| Routed::Out { epoch });
        Self {
            routed,
            ..Self::new(name, generation, spec_hash, now)
        }
    }

    pub(super) fn id(&self) -> Option<&ContainerId> {
        self.observed.as_ref().map(|observed| &observed.id)
    }

    /// It took the place of a container of docker compose.
    pub(super) fn is_adopted(&self) -> bool {
        self.takes_name().is_some()
    }

    /// The name of docker compose's container whose place it took; empty where its label does not say.
    pub(super) fn takes_name(&self) -> Option<&str> {
        let identity = self.observed.as_ref()?.identity.as_ref()?;
        identity.adopted.as_deref()
    }

    /// It exists or is about to: it counts against the surge limit.
    pub(super) fn is_live(&self) -> bool {
        self.observed
            .as_ref()
            .is_none_or(|observed| observed.state.is_live())
    }

    /// Its create is under way, whether or not a look has shown it already.
    pub(super) fn is_being_made(&self) -> bool {
        self.call == Some(Action::CREATE)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(
            self.observed.as_ref().map(|o| &o.state),
            Some(ContainerState::Running)
        )
    }

    /// How its container ended, for people; `None` while it lives.
    pub(super) fn how_it_ended(&self) -> Option<String> {
        let how = how_it_ended(&self.observed.as_ref()?.state)?;
        Some(if self.is_stopped_by_others() {
            format!("it was stopped from outside: {how}")
        } else {
            how
        })
    }

    pub(super) fn is_removing(&self) -> bool {
        matches!(
            self.observed.as_ref().map(|o| &o.state),
            Some(ContainerState::Removing)
        )
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_running() && self.probe.ready_since.is_some()
    }

    /// When its process began. That somebody started it again makes it no younger: then it counts when it was made. What
    /// docker compose made may be started as often as one likes.
    pub(super) fn born_at(&self) -> Option<Time> {
        let observed = self.observed.as_ref()?;
        let made = observed.second_life.filter(|_| !self.name.is_original());
        let started = observed.started?;
        Some(made.map_or(started, |made| made.min(started)))
    }

    /// Since when this supervisor could have probed it: its start, or its adoption.
    pub(super) fn probed_since(&self) -> Option<Time> {
        self.born_at().map(|born| born.max(self.known_at))
    }

    /// Ready for long enough that the one it replaces may go.
    pub(super) fn available_at(&self, desired: &Desired) -> Option<Time> {
        let ready_since = self.probe.ready_since.filter(|_| self.is_running())?;
        Some(ready_since + desired.phoenix.probe.min_ready)
    }

    /// Ready for so long that its end is no failed birth.
    pub(super) fn is_stable(&self, desired: &Desired, now: Time) -> bool {
        self.probe
            .ready_since
            .is_some_and(|since| now.since(since) >= desired.stable())
    }

    /// What its probe asks: as it was born for.
    pub(super) fn probe_asked<'a>(&'a self, desired: &'a Desired) -> &'a Probe {
        self.reach().map_or(&desired.probe, |reach| &reach.probe)
    }

    /// The port by which it takes what comes in by a published one; `None` when it was not made for that.
    pub(super) fn target_of(&self, published: &Published) -> Option<u16> {
        let Some(reach) = self.reach() else {
            return Some(published.target);
        };
        let exact = |own: &&Published| {
            own.transport == published.transport
                && (own.host_ip, own.host_port) == (published.host_ip, published.host_port)
        };
        // The same port on another address of the host still means it.
        let port = |own: &&Published| {
            (own.transport, own.host_port) == (published.transport, published.host_port)
        };
        let own = reach
            .published
            .iter()
            .find(exact)
            .or_else(|| reach.published.iter().find(port));
        own.map(|own| own.target)
    }

    /// Which one of each dependency it was born after; `None` while it is being made.
    pub(super) fn born_after(&self) -> Option<&BornAfter> {
        Some(&self.observed.as_ref()?.identity.as_ref()?.born_after)
    }

    /// It has left the rotation for good.
    pub(super) fn is_leaving(&self) -> bool {
        self.draining.is_some() || self.stop_asked
    }

    /// It was started, and its process is there.
    pub(super) fn has_process(&self) -> bool {
        match self.observed.as_ref().map(|observed| &observed.state) {
            Some(ContainerState::Running | ContainerState::Paused | ContainerState::Restarting) => {
                true
            }
            Some(
                ContainerState::Created
                | ContainerState::Exited { .. }
                | ContainerState::Removing
                | ContainerState::Dead,
            )
            | None => false,
        }
    }

    fn reach(&self) -> Option<&Reach> {
        self.observed.as_ref()?.identity.as_ref()?.reach.as_ref()
    }

    /// Where it is reached: its address on the first of the service's networks that it has one on.
    pub(super) fn address(&self, desired: &Desired, port: u16) -> Option<SocketAddr> {
        let observed = self.observed.as_ref()?;
        let on = |name| observed.networks.get(name).copied().flatten();
        // One of an earlier generation may be on none of them.
        let any = || observed.networks.values().copied().flatten().next();
        let ip: IpAddr = desired.networks.iter().find_map(on).or_else(any)?;
        Some(SocketAddr::new(ip, port))
    }

    /// Whether the hardening is in force, by the engine's word and the kernel's.
    pub(super) fn verified(&self, desired: &Desired) -> Verified {
        // Nobody asked anything of an original.
        if self.name.is_original() {
            return Verified::Strong;
        }
        // One of another generation is held to what it was born with, which may be an exception that is gone from the file.
        let policy = self.reach().map_or(&desired.policy, |reach| &reach.policy);
        let Some(observed) = &self.observed else {
            return Verified::Pending;
        };
        // Whose network that is, is judged with its role.
        let may_join = self.name.service.is_pod(PodPart::Edge);
        let asked = weaknesses_asked(policy, observed, may_join);
        if !asked.is_empty() {
            return Verified::Weak(Reason::Weaker { weaknesses: asked });
        }
        match observed.kernel {
            Kernel::Unavailable => Verified::Unavailable,
            Kernel::NotRunning
                if self
                    .missing_since
                    .is_some_and(|since| self.seen_at.since(since) >= PROCESS_MISSING) =>
            {
                Verified::Weak(Reason::Weaker {
                    weaknesses: vec!["its process cannot be found".to_owned()],
                })
            }
            Kernel::NotRunning => Verified::Pending,
            Kernel::Read { facts, at } => {
                let weaknesses = policy.weaknesses(&facts);
                let settled = at.since(observed.started.unwrap_or(self.known_at)) >= KERNEL_SETTLES;
                match (weaknesses.is_empty(), settled) {
                    (true, _) => Verified::Strong,
                    (false, false) => Verified::Pending,
                    (false, true) => Verified::Weak(Reason::weaker(&weaknesses)),
                }
            }
        }
    }

    /// Traffic may go to it (invariant I2).
    pub(super) fn is_in_rotation(&self, desired: &Desired) -> bool {
        self.is_ready()
            && self.has_names(desired)
            && self.taint.is_none()
            && self.draining.is_none()
            && !self.stop_asked
            && match self.verified(desired) {
                Verified::Strong | Verified::Unavailable => true,
                Verified::Pending | Verified::Weak(_) => false,
            }
    }

    /// Its call failed; try again a little later each time.
    pub(super) fn call_failed(&mut self, now: Time, last: String) {
        let attempts = self.retry.as_ref().map_or(0, |retry| retry.attempts);
        self.retry = Some(Retry {
            until: now + call_delay(attempts),
            attempts: attempts.saturating_add(1),
            last,
        });
    }

    pub(super) fn stage(&self) -> Stage {
        if self.call == Some("remove") {
            return Stage::Removing;
        }
        if self.is_tainted() && !self.is_removing() {
            let is_open = self.is_behind_glass() && self.has_process() && !self.is_seized();
            return if is_open {
                Stage::BrokenGlass
            } else {
                Stage::Tainted
            };
        }
        match self.observed.as_ref().map(|observed| &observed.state) {
            None => Stage::Creating,
            Some(ContainerState::Created) => Stage::Created,
            Some(ContainerState::Exited { .. } | ContainerState::Dead) => Stage::Exited,
            Some(ContainerState::Removing) => Stage::Removing,
            Some(ContainerState::Running | ContainerState::Paused | ContainerState::Restarting) => {
                if self.stop_asked {
                    Stage::Stopping
                } else if self.draining.is_some() {
                    Stage::Draining
                } else if self.is_ready() {
                    Stage::Ready
                } else if self.probe.was_ready {
                    Stage::Unready
                } else {
                    Stage::Starting
                }
            }
        }
    }
}

/// The delay before a failed call is repeated.
pub(super) fn call_delay(attempts: u32) -> Duration {
    CALL_RETRY_FIRST
        .saturating_mul(1 << attempts.min(16))
        .min(CALL_RETRY_CAP)
}

/// How what the engine says is weaker than the policy.
/// `may_join`: it may be in another container's network.
fn weaknesses_asked(policy: &Policy, observed: &Observed, may_join: bool) -> Vec<String> {
    let asked = &observed.asked;
    [
        (asked.privileged, "it is privileged"),
        (policy.read_only && !asked.read_only, "its root is writable"),
        (!asked.cap_drop_all, "it keeps capabilities"),
        (
            policy.no_new_privs && !asked.no_new_privs,
            "it may gain privileges",
        ),
        (
            asked.foreign_namespace || (observed.joined.is_some() && !may_join),
            "it shares a namespace",
        ),
        (!asked.never_restarts, "the engine restarts it"),
        (
            policy.limited && !asked.pids_limited,
            "it has no limit of processes",
        ),
        (
            policy.limited && !asked.memory_limited,
            "it has no limit of memory",
        ),
        (!asked.files_read_only, "it can write a secret or config"),
    ]
    .into_iter()
    .filter(|(weak, _)| *weak)
    .map(|(_, text)| text.to_owned())
    .collect()
}

/// How a container ended, for people.
pub(super) fn how_it_ended(state: &ContainerState) -> Option<String> {
    match state {
        ContainerState::Exited { error, .. } if !error.is_empty() => {
            Some(format!("it could not start: {error}"))
        }
        ContainerState::Exited {
            oom: true, code, ..
        } => Some(format!("it ran out of memory (exit code {code})")),
        ContainerState::Exited {
            code: code @ 129..=192,
            ..
        } => Some(format!(
            "it was ended by signal {} (exit code {code})",
            code - 128
        )),
        ContainerState::Exited { code, .. } => Some(format!("it exited with code {code}")),
        ContainerState::Dead => Some("its removal failed half-way".to_owned()),
        ContainerState::Removing => Some("it is being removed".to_owned()),
        ContainerState::Created
        | ContainerState::Running
        | ContainerState::Paused
        | ContainerState::Restarting => None,
    }
}
