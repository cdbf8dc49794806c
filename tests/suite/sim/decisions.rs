//! Checkers of what phoenixd decides: tables, births, drains, stops. Part of the judge.

use std::collections::BTreeSet;

use phoenixd::reconcile::{Action, Desired, Reason, Routes, Time};
use phoenixd::spec::{ContainerId, ReplicaName};

use super::edge::{Edge, backends};
use super::host::{Container, Host, is_process};
use super::invariants::{Judge, about, remember};
use super::promises::NOTICED;
use super::setup::Defect;

impl Judge {
    /// I1, I8: a table does not lose its last backend by phoenixd's own doing, and holds nothing weak.
    pub(super) fn publishes(&mut self, now: Time, host: &Host, before: &Routes, after: &Routes) {
        self.publishes_tainted(now, host, after);
        self.publishes_glass(now, host, after);
        for backend in backends(after) {
            if self.gone.contains(&backend.container_id) {
                self.fail(
                    now,
                    "one-life",
                    format!("{} is in rotation and no more", backend.replica),
                );
            }
            let container = host.containers.get(&backend.container_id);
            if container.is_some_and(|c| c.quality.fault == Some(Defect::Weak)) && !self.remote {
                self.fail(
                    now,
                    "I8",
                    format!(
                        "{} is weaker than the policy and in rotation",
                        backend.replica
                    ),
                );
            }
            if container
                .is_some_and(|c| c.started.is_some() && c.serves_at.is_none_or(|at| at > now))
            {
                self.fail(
                    now,
                    "I2",
                    format!("{} is in rotation and was never ready", backend.replica),
                );
            }
        }
        for (port, listener) in &before.listeners {
            let old = &listener.backends;
            let now_empty = after.listeners.get(port);
            let emptied =
                !old.is_empty() && now_empty.is_none_or(|listener| listener.backends.is_empty());
            let owner = old
                .first()
                .and_then(|backend| self.wanted.get(&backend.replica.service));
            if !emptied || self.is_down || owner.is_none_or(|desired| desired.replicas == 0) {
                continue;
            }
            for backend in old {
                let id = &backend.container_id;
                if !self.excused.contains(id) && is_well(host, id, now) {
                    let text = format!(
                        "{} is well and was the last in rotation, and phoenixd took it out",
                        backend.replica
                    );
                    self.fail(now, "I1", text);
                }
            }
        }
    }

    /// What phoenixd begins to do.
    pub(super) fn begins(
        &mut self,
        now: Time,
        host: &Host,
        edge: &Edge,
        published: Option<&Routes>,
        action: &Action,
        reason: &Reason,
    ) {
        self.expiry |= super::seeds::is_expiry(reason);
        self.begins_with_dependencies(now, host, action, reason);
        self.begins_taking(now, host, action);
        self.begins_unrecorded(now, action, reason);
        self.begins_glass(now, host, edge, action, reason);
        self.begins_unnaming(now, host, action, reason);
        if action.container().is_some_and(|id| self.gone.contains(id)) {
            self.fail(
                now,
                "one-life",
                format!("{action}, which was told to be no more"),
            );
        }
        if let (Action::Drain { .. } | Action::Stop { .. } | Action::Remove { .. }, Some(replica)) =
            (action, action.replica())
        {
            self.births.remove(replica);
        }
        match action {
            Action::Create { replica, .. } => self.begins_birth(now, host, replica),
            Action::Drain { replica, id } => {
                if replica.is_original() {
                    self.begins_end_of_original(now, replica);
                }
                self.begins_drain(now, host, published, replica, id, reason);
            }
            Action::Stop { subject, .. } => {
                if let Some(original) = subject.replica.as_ref().filter(|r| r.is_original()) {
                    self.begins_end_of_original(now, original);
                }
                if subject.replica.is_some() {
                    self.begins_stop(now, host, edge, &subject.id);
                }
                self.stopped.insert(subject.id.clone());
            }
            Action::Remove { subject } => {
                if let Some(replica) = &subject.replica {
                    self.begins_removal(now, host, replica, &subject.id);
                }
            }
            Action::CreateNetwork(_)
            | Action::CreateVolume(_)
            | Action::Connect { .. }
            | Action::Disconnect { .. }
            | Action::Start { .. }
            | Action::Compare { .. }
            | Action::Rename { .. }
            | Action::Look { .. }
            | Action::Freeze { .. }
            | Action::Capture { .. }
            | Action::Destroy { .. }
            | Action::RemoveNetwork(_)
            | Action::RemoveVolume(_) => {}
        }
        if !matches!(action, Action::Drain { .. }) {
            self.calls.insert(about(action));
        }
        if self.calls.len() > self.calls_limit {
            self.fail(now, "I13", format!("{} calls at once", self.calls.len()));
        }
        self.counts(now, action, reason);
    }

    /// No tight loop.
    fn counts(&mut self, now: Time, action: &Action, reason: &Reason) {
        let strikes = self.strikes.len();
        let (times, bound) = match action {
            Action::Look { .. } => (&mut self.looks, 6000),
            _ => (
                &mut self.recent,
                400 + 100 * self.wanted.len() + 40 * strikes,
            ),
        };
        remember(times, now);
        if times.len() > bound {
            let text = format!(
                "{} calls within a minute, the last: {action}: {reason}",
                times.len()
            );
            self.fail(now, "tight-loop", text);
        }
    }

    /// I3: what this supervisor knows of, with what it makes, is within the surge. I13: births are bounded.
    fn begins_birth(&mut self, now: Time, host: &Host, replica: &ReplicaName) {
        self.creating.insert(replica.clone());
        self.births.insert(replica.clone());
        let Some(desired) = self.wanted.get(&replica.service) else {
            self.fail(
                now,
                "I6",
                format!("{replica} is made, and nobody wants its service"),
            );
            return;
        };
        let limit = live_limit(desired);
        let creating = self
            .creating
            .iter()
            .filter(|other| other.service == replica.service)
            .count();
        // The tainted aside, which hold no place where there is a surge; of them there are no more than that again.
        let gives_its_place = |c: &&Container| {
            desired.phoenix.surge > 0
                && !c.is_original()
                && (self.tainted.may_be(&c.id) || self.glass.may_be(&c.id))
        };
        let known = |c: &&Container| self.known.contains_key(&c.id) && !c.meddled;
        let all = host.live_of(&replica.service).filter(known).count();
        if u32::try_from(creating + all).unwrap_or(u32::MAX) > 2 * limit {
            let text = format!("{replica} is made, {all} live, the tainted among them");
            self.fail(now, "I3", text);
            return;
        }
        let live = host
            .live_of(&replica.service)
            .filter(known)
            .filter(|c| !gives_its_place(c))
            .filter(|c| {
                c.identity
                    .as_ref()
                    .is_none_or(|i| !self.creating.contains(&i.replica))
            })
            .count();
        if u32::try_from(creating + live).unwrap_or(u32::MAX) > limit {
            let text = format!(
                "{replica} is made, {live} live, {creating} are being made, the limit is {limit}"
            );
            self.fail(now, "I3", text);
        }
        if self.births.len() > self.births_limit {
            let text = format!("{} births at once: {:?}", self.births.len(), self.births);
            self.fail(now, "I13", text);
        }
    }

    /// I1, I9, I13: a ready replica leaves only when as many as are wanted remain without it.
    fn begins_drain(
        &mut self,
        now: Time,
        host: &Host,
        published: Option<&Routes>,
        replica: &ReplicaName,
        id: &ContainerId,
        reason: &Reason,
    ) {
        let own_will = is_own_will(reason);
        if own_will.is_none() {
            let text = format!("{replica} is drained because of {reason}");
            self.fail(now, "reasons", text);
        }
        let own_will = own_will == Some(true);
        let desired = self.wanted.get(&replica.service);
        let surge = desired.map_or(0, |desired| desired.phoenix.surge);
        let wanted = desired.map_or(0, |desired| desired.replicas);
        if !own_will || wanted == 0 || (surge == 0 && wanted == 1) {
            self.excused.insert(id.clone());
        }
        let drained_before = self.drained_at.clone();
        self.drained_at.entry(id.clone()).or_insert(now);
        let in_table = |id: &ContainerId| {
            published
                .is_some_and(|table| backends(table).any(|backend| backend.container_id == *id))
        };
        if !own_will || !in_table(id) {
            return;
        }
        let of_service = |c: &&Container| {
            c.service() == Some(&replica.service)
                && c.id != *id
                && !drained_before.contains_key(&c.id)
        };
        let others: Vec<&Container> = host.containers.values().filter(of_service).collect();
        // By the table and what was told: whom somebody else removed just now, nobody knows to be gone.
        let staying: BTreeSet<&ContainerId> = published
            .into_iter()
            .flat_map(backends)
            .filter(|backend| backend.replica.service == replica.service)
            .map(|backend| &backend.container_id)
            .filter(|other| *other != id && !drained_before.contains_key(*other))
            .filter(|other| !self.gone.contains(*other))
            .collect();
        let staying = staying.len();
        let unwell = others
            .iter()
            .filter(|c| {
                !in_table(&c.id) && self.known.contains_key(&c.id) && !self.stopped.contains(&c.id)
            })
            .filter(|c| {
                c.identity
                    .as_ref()
                    .is_some_and(|i| !self.births.contains(&i.replica))
            })
            .count();
        let spare = usize::from(surge == 0);
        if staying + unwell + spare < usize::try_from(wanted).unwrap_or(0) {
            let text = format!(
                "{replica} leaves ({reason}), {staying} stay in rotation, {wanted} are wanted"
            );
            self.fail(now, if staying == 0 { "I1" } else { "I13" }, text);
        }
    }

    /// I9 of labels mode: an original is touched only after a replica was found equal to it.
    fn begins_end_of_original(&mut self, now: Time, original: &ReplicaName) {
        if !self.compared.contains(&original.service) {
            let text = format!("{original} is ended, and nothing was found equal to it");
            self.fail(now, "adopted", text);
        }
    }

    /// I6 of labels mode: what is known of a unit stands in the labels of its containers, so one stays.
    fn begins_removal(&mut self, now: Time, host: &Host, replica: &ReplicaName, id: &ContainerId) {
        let is_unit = self
            .wanted
            .get(&replica.service)
            .is_some_and(|desired| desired.adopted.is_some());
        let mut others = host.containers.values().filter(|container| {
            container.service() == Some(&replica.service) && container.id != *id
        });
        if is_unit
            && !self.is_down
            && others.next().is_none()
            && now.since(self.disturbed_at) > NOTICED
        {
            let text = format!("{replica} is removed, and was the last of its unit");
            self.fail(now, "adopted", text);
        }
    }

    /// I9: the edge sends nothing to what is stopped, and its connections had their time.
    fn begins_stop(&mut self, now: Time, host: &Host, edge: &Edge, id: &ContainerId) {
        let Some(container) = host.containers.get(id) else {
            return;
        };
        if !is_process(&container.state) {
            return;
        }
        if edge.has(id) {
            let text = format!(
                "{} is stopped while the edge still sends to it",
                container.name
            );
            self.fail(now, "I9", text);
        }
        let drain = container
            .service()
            .and_then(|service| self.wanted.get(service))
            .map(|d| d.phoenix.drain);
        let open = edge.open(id);
        let had = self.drained_at.get(id).map(|since| now.since(*since));
        if let (Some(drain), true) = (drain, open > 0)
            && had.is_none_or(|had| had < drain)
            && !self.stopped.contains(id)
        {
            let text = format!(
                "{} is stopped with {open} connections after {had:?} of {drain:?}",
                container.name
            );
            self.fail(now, "I9", text);
        }
    }
}

/// How many may live. Of what only one can hold at a time, the next one is made before the last one ends.
pub(super) fn live_limit(desired: &Desired) -> u32 {
    let ahead = desired.adopted.is_some() && desired.phoenix.surge == 0;
    desired.replicas + desired.phoenix.surge + u32::from(ahead)
}

/// Whether phoenixd does it by its own will; `None` for what is no reason to drain anything.
fn is_own_will(reason: &Reason) -> Option<bool> {
    match reason {
        Reason::Expired { .. }
        | Reason::NewGeneration { .. }
        | Reason::ImageMoved
        | Reason::DependencyUpdated { .. }
        | Reason::Commanded(_)
        | Reason::PodChanged
        | Reason::HandedOver
        | Reason::BreakGlass { .. }
        | Reason::Unhealthy { .. }
        | Reason::NeverReady { .. }
        | Reason::Excess { .. } => Some(true),
        Reason::Ended { .. }
        | Reason::Weaker { .. }
        | Reason::Tainted { .. }
        | Reason::GlassOver { .. }
        | Reason::Overdue
        | Reason::PodGone
        | Reason::Orphan
        | Reason::Leaving
        | Reason::Down => Some(false),
        Reason::Needed
        | Reason::RemovedFromOutside
        | Reason::Missing { .. }
        | Reason::Replaces { .. }
        | Reason::WithoutOptional { .. }
        | Reason::Birth
        | Reason::Ready
        | Reason::Pace
        | Reason::HandedOn
        | Reason::Differs { .. }
        | Reason::Stray
        | Reason::MadeTwice
        | Reason::Drained { .. }
        | Reason::Cut { .. } => None,
    }
}

/// It serves, and has for long enough that nobody can have thought otherwise.
pub(super) fn is_well(host: &Host, id: &ContainerId, now: Time) -> bool {
    host.containers.get(id).is_some_and(|container| {
        let ill = container
            .bad_since
            .is_some_and(|_| now.since(container.hung_until) < NOTICED);
        container.serves(now)
            && !ill
            && container.bad_since.is_none()
            && !container.terminating
            && container.quality.fault.is_none()
    })
}
