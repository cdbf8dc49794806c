//! Checkers of what is: requests, ages, what is left over. Part of the judge.

use std::time::Duration;

use phoenixd::reconcile::{Backend, ContainerState, Status, Time};

use super::decisions::live_limit;
use super::edge::{Edge, backends};
use super::host::{Container, Host, is_process};
use super::invariants::Judge;
use super::setup::Defect;

/// A probe, a hint or the next listing tells of it by then: the period of listings and what a probe may take.
pub(super) const NOTICED: Duration = Duration::from_secs(40);
/// After a disturbance everything is as wanted again by then: backoff, budget, a probe's deadline, one replacement
/// after the other.
pub(super) const RECOVERED: Duration = Duration::from_secs(400);
/// What the end of a life may be late by when nothing is wrong.
const LATE: Duration = Duration::from_secs(0);

impl Judge {
    /// I2: a request goes only to what is ready; what fell ill by itself is noticed in bounded time.
    pub(super) fn dialled(&mut self, now: Time, host: &Host, backend: &Backend) -> bool {
        let id = &backend.container_id;
        let container = host.containers.get(id);
        let right = host
            .owner(backend.address.ip())
            .is_some_and(|owner| owner.id == *id);
        self.dialled_tainted(now, container);
        self.dialled_glass(now, container);
        let serves = container.is_some_and(|container| container.serves(now));
        if self.stopped.contains(id) {
            self.fail(
                now,
                "I2",
                format!(
                    "a request went to {}, which phoenixd stops",
                    backend.replica
                ),
            );
        }
        if serves && right {
            return true;
        }
        let ever = container.is_none_or(|c| c.serves_at.is_some_and(|at| at <= now));
        // A freed address that went to a container which nobody told phoenixd of yet is answered by that one.
        let mistaken = host.owner(backend.address.ip()).is_some_and(|owner| {
            let told = self.known.get(&owner.id).copied();
            owner.id != *id && told.is_none_or(|told| owner.started.is_some_and(|at| told < at))
        });
        if !ever && !mistaken {
            self.fail(
                now,
                "I2",
                format!(
                    "a request went to {}, which was never ready",
                    backend.replica
                ),
            );
        }
        let flaps = container.is_some_and(|c| c.quality.fault == Some(Defect::Flaps));
        let since = match container {
            Some(container) if container.state == ContainerState::Running => container.bad_since,
            _ => self.ended_at.get(id).copied(),
        };
        let since = since.unwrap_or(Time::BOOT).max(self.disturbed_at);
        if !flaps && now.since(since) > NOTICED {
            let text = format!(
                "a request went to {}, which does not serve since {since:?}",
                backend.replica
            );
            self.fail(now, "I2", text);
        }
        false
    }

    /// What is true at every instant, looked at once a second.
    pub(super) fn tick(&mut self, now: Time, host: &Host, edge: &Edge, status: Option<&Status>) {
        let calm = now.since(self.disturbed_at);
        for container in host.containers.values().filter(|c| c.labelled) {
            let of = |other: &&Container| {
                other.id != container.id && other.service() == container.service()
            };
            let is_alone = !host.containers.values().any(|other| of(&other));
            self.check_container(now, calm, (container, is_alone), status);
        }
        self.watch_dependencies(now, host);
        if calm < RECOVERED || self.is_down {
            return;
        }
        self.check_updates(now, host);
        let wanted = self.wanted.clone();
        for (name, desired) in &wanted {
            let live = host.live_of(name).filter(|c| c.glass().is_none()).count();
            if u32::try_from(live).unwrap_or(u32::MAX) > live_limit(desired) {
                self.fail(now, "I3", format!("{live} of {name} live"));
            }
            let spared = host.live_of(name).any(|c| {
                c.serves(now)
                    && c.serves_at.is_some_and(|at| now.since(at) > NOTICED)
                    && !c.terminating
                    && c.glass().is_none()
                    && !self.drained_at.contains_key(&c.id)
            });
            let routed = backends(&edge.table).any(|backend| backend.replica.service == *name);
            let weak = host.live_of(name).any(|c| c.quality.fault.is_some());
            // Its ports are its own until it ends.
            let original = host.live_of(name).any(Container::is_original);
            let weak = weak || original;
            if spared && !routed && !weak && desired.replicas > 0 && !desired.published.is_empty() {
                self.fail(
                    now,
                    "I1",
                    format!("{name} has a replica that serves, and none in rotation"),
                );
            }
        }
    }

    fn check_container(
        &mut self,
        now: Time,
        calm: Duration,
        (container, is_alone): (&Container, bool),
        status: Option<&Status>,
    ) {
        let name = container.name.clone();
        let desired = container
            .service()
            .and_then(|service| self.wanted.get(service))
            .cloned();
        let runs = is_process(&container.state);
        let since = container
            .started
            .unwrap_or(container.made_at)
            .max(self.disturbed_at);
        let Some(desired) = desired.filter(|_| !self.is_down) else {
            if now.since(since.max(container.made_at)) > RECOVERED {
                self.fail(now, "I6", format!("{name} is nobody's and still there"));
            }
            return;
        };
        if container.quality.fault == Some(Defect::Weak)
            && runs
            && !self.remote
            && now.since(since) > NOTICED
        {
            self.fail(
                now,
                "I8",
                format!("{name} is weaker than the policy and still runs"),
            );
        }
        let ended = self
            .ended_at
            .get(&container.id)
            .copied()
            .unwrap_or(container.made_at);
        // The last one of a unit stays until another one is there.
        let is_kept = desired.adopted.is_some() && is_alone;
        self.check_tainted(now, container, is_kept);
        self.check_unheard(now, container);
        self.check_glass(now, container, is_kept);
        if !runs && !is_kept && calm > RECOVERED && now.since(ended) > NOTICED {
            self.fail(now, "I6", format!("{name} does not run and is still there"));
        }
        let failed = container
            .service()
            .zip(status)
            .and_then(|(service, status)| status.services.get(service))
            .is_none_or(|service| service.failures > 0);
        if let Some(born) = container.started
            && runs
            && !failed
            && calm > RECOVERED
        {
            let row = status.and_then(|status| {
                status
                    .replicas
                    .iter()
                    .find(|row| row.container_id.as_ref() == Some(&container.id))
            });
            // One that is older than its TTL when it is first seen has a deadline of its own, and one whose adoption was
            // stopped none.
            if container.is_original() || container.glass().is_some() {
                return;
            }
            let longest = born + desired.phoenix.ttl;
            let deadline = row
                .and_then(|row| row.deadline)
                .map_or(longest, |at| at.min(longest));
            if now > deadline + LATE {
                let late = now.since(deadline);
                self.fail(now, "I5", format!("{name} is {late:?} past its deadline"));
            }
        }
    }
}
