//! Somebody gets into replicas: the fault, its two witnesses (the engine's events and a scan of `/proc`), and the checkers of
//! what phoenixd does about it (I2, I4).
//!
//! What was told to a supervisor that is killed before its freeze is lost with it, unless the second witness finds it again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phoenixd::reconcile::{
    Action, ContainerState, Door, Entry, Event, Exec, Intruder, Observed, Outcome, Routes, Time,
    Touch,
};
use phoenixd::spec::ContainerId;

use super::edge::backends;
use super::host::{Container, Host};
use super::invariants::Judge;
use super::promises::{NOTICED, RECOVERED};
use super::run::{Ev, Sim};

/// What the way of a table to the edge may take at most, and what phoenixd may think before.
const SWITCHED: Duration = Duration::from_secs(5);
/// A capture is tried so often.
const CAPTURES: u32 = 3;

/// What this supervisor was told, and did about it.
#[derive(Debug, Default)]
pub(super) struct Tainted {
    /// Told to be touched, since when.
    told: BTreeMap<ContainerId, Time>,
    /// Seen to be frozen by somebody else, at some time.
    paused: BTreeSet<ContainerId>,
    captures: BTreeMap<ContainerId, u32>,
    captured: BTreeSet<ContainerId>,
}

impl Tainted {
    /// It may be taken for tainted.
    pub(super) fn may_be(&self, id: &ContainerId) -> bool {
        self.told.contains_key(id) || self.paused.contains(id)
    }
}

impl Sim {
    /// Somebody gets into a container, in whatever state it is.
    pub(super) fn somebody_gets_in(&mut self) {
        let mut all: Vec<ContainerId> = Vec::new();
        for container in self.engine.lock().host.containers.values() {
            let is_ours = container.labelled && container.identity.is_some();
            if is_ours && !container.is_original() {
                all.push(container.id.clone());
            }
        }
        let Some(id) = self.touches.pick(&all).cloned() else {
            return;
        };
        let stays = self.touches.ms(1, 120_000);
        let number = self.touches.below(1_000_000_000);
        let door = self.touches.one([
            Door::Attach,
            Door::CopyIn,
            Door::CopyOut,
            Door::Export,
            Door::Commit,
            Door::Update,
        ]);
        let (is_exec, now) = (self.touches.chance(600), self.now);
        self.note(|| format!("somebody gets into {}", id.short()));
        let touch = {
            let mut shared = self.engine.lock();
            let Some(container) = shared.host.containers.get_mut(&id) else {
                return;
            };
            container.touched_at.get_or_insert(now);
            // It is taken out whether or not there is another one.
            container.bad_since.get_or_insert(now);
            let runs = container.state == ContainerState::Running;
            if is_exec && runs {
                container.intruder_until = Some(now + stays);
                Touch::Exec(Exec {
                    id: number.to_string(),
                    command: "sh".to_owned(),
                    facts: None,
                })
            } else {
                Touch::Door(door)
            }
        };
        let lost = self.chaos.hints_lost_until > now && self.touches.chance(600);
        let connected = self.shell.as_ref().is_some_and(|shell| shell.connected);
        if lost || !connected {
            self.judge.disturbed(now);
            return;
        }
        let late = self.chaos.answers_late_until > now;
        let way = self.touches.ms(0, if late { 2500 } else { 20 });
        let event = Event::Touched { id, touch };
        self.at(way, Ev::Deliver(self.incarnation, Box::new(event)));
    }

    /// The second witness: what runs in a container that its process 1 did not start.
    pub(super) fn scan(&mut self) {
        let now = self.now;
        let found: Vec<ContainerId> = {
            let shared = self.engine.lock();
            if shared.host.remote {
                return;
            }
            let is_there = |container: &&Container| {
                container.started.is_some() && container.intruder_until.is_some_and(|at| at > now)
            };
            let found = shared.host.containers.values().filter(is_there);
            found.map(|container| container.id.clone()).collect()
        };
        for id in found {
            let touch = Touch::Intruder(Intruder {
                pid: 4711,
                how: Entry::Shim,
                command: "sh".to_owned(),
                arguments: vec!["sh".to_owned()],
                uid: None,
                cap_bounding: None,
                terminal: None,
            });
            self.deliver(Event::Touched { id, touch });
        }
    }
}

impl Judge {
    /// A witness has told this supervisor. What it does not know of it learns of later.
    pub(super) fn told_of_touch(&mut self, now: Time, event: &Event) {
        if let Event::Touched { id, .. } = event
            && self.known.contains_key(id)
            && !self.gone.contains(id)
        {
            self.tainted.told.entry(id.clone()).or_insert(now);
        }
    }

    pub(super) fn told_of_freeze(&mut self, observed: &Observed) {
        if observed.state == ContainerState::Paused {
            self.tainted.paused.insert(observed.id.clone());
        }
    }

    pub(super) fn told_of_capture(&mut self, action: &Action, outcome: &Outcome) {
        let Action::Capture { id, .. } = action else {
            return;
        };
        let tries = self.tainted.captures.entry(id.clone()).or_insert(0);
        *tries += 1;
        if *tries >= CAPTURES || !matches!(outcome, Outcome::Unknown { .. }) {
            self.tainted.captured.insert(id.clone());
        }
    }

    /// I2: the next table is without it. I4: what was frozen never comes back, whoever supervises.
    pub(super) fn publishes_tainted(&mut self, now: Time, host: &Host, after: &Routes) {
        for backend in backends(after) {
            let id = &backend.container_id;
            if self.tainted.told.contains_key(id) {
                let text = format!("{} is tainted and in rotation", backend.replica);
                self.fail(now, "I2", text);
            }
            if host
                .containers
                .get(id)
                .is_some_and(|it| it.frozen_at.is_some())
            {
                let text = format!("{} was frozen and is in rotation again", backend.replica);
                self.fail(now, "I4", text);
            }
        }
    }

    /// I2: a request that goes to it although its edge must have heard of it, or although a process of somebody's is in it for
    /// so long that the scan must have found it.
    pub(super) fn dialled_tainted(&mut self, now: Time, container: Option<&Container>) {
        let Some(container) = container.filter(|it| !it.is_original()) else {
            return;
        };
        let told = self.tainted.told.get(&container.id);
        let told = told.map(|at| (*at).max(self.disturbed_at));
        if told.is_some_and(|at| now.since(at) > SWITCHED) {
            let text = format!("a request went to {}, which is tainted", container.name);
            self.fail(now, "I2", text);
        }
        let entered = container
            .touched_at
            .map(|at| at.max(self.disturbed_at))
            .filter(|_| container.intruder_until.is_some_and(|until| until > now));
        if entered.is_some_and(|at| now.since(at) > NOTICED) && !self.remote {
            let text = format!("a request went to {}: somebody is in it", container.name);
            self.fail(now, "I2", text);
        }
    }

    /// I4: the evidence first, or the word that there is none; and force for the tainted alone.
    pub(super) fn begins_taking(&mut self, now: Time, host: &Host, action: &Action) {
        let (Action::Destroy { subject } | Action::Remove { subject }) = action else {
            return;
        };
        let id = &subject.id;
        let is_lost = !host.containers.contains_key(id);
        let is_told = self.tainted.told.contains_key(id) && subject.replica.is_some();
        if is_told && !self.tainted.captured.contains(id) && !is_lost {
            let text = format!("{action}, and nothing was captured of it");
            self.fail(now, "I4", text);
        }
        if matches!(action, Action::Destroy { .. }) && !self.tainted.may_be(id) {
            self.fail(now, "I4", format!("{action}, which nobody touched"));
        }
    }

    /// I4: it is gone in bounded time, unless it is the last one of its unit.
    pub(super) fn check_tainted(&mut self, now: Time, container: &Container, is_kept: bool) {
        let told = self.tainted.told.get(&container.id);
        let since = told.map(|at| (*at).max(self.disturbed_at));
        if since.is_some_and(|at| now.since(at) > RECOVERED) && !is_kept {
            let text = format!("{} is tainted and still there", container.name);
            self.fail(now, "I4", text);
        }
    }
}
