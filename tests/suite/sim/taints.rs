//! Somebody gets into replicas: the fault, its two witnesses (the engine's events and a scan of `/proc`), and the checkers of
//! what phoenixd does about it (I2, I4).
//!
//! What a supervisor has judged is in the journal a moment later, and the next one reads it there; what was judged in that
//! very moment is lost with a supervisor that is killed, unless the second witness finds it again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phoenixd::reconcile::{
    Action, ContainerState, Door, Entry, Event, Exec, Failure, FailureKind, Intruder, Observed,
    Outcome, Routes, Sight, Time, Touch,
};
use phoenixd::spec::{ContainerId, ReplicaName, Serial, ServiceName};

use super::edge::backends;
use super::host::{Container, Host};
use super::invariants::Judge;
use super::promises::{NOTICED, RECOVERED};
use super::replay::{What, is_phoenixd_s};
use super::run::{Ev, Sim};

/// What the way of a table to the edge may take at most, and what phoenixd may think before.
const SWITCHED: Duration = Duration::from_secs(5);
/// A capture is tried so often.
const CAPTURES: u32 = 3;
/// As in `daemon::evidence`.
const CAPTURE_LIMIT: Duration = Duration::from_secs(30);

/// What this supervisor was told, and did about it.
#[derive(Debug, Default)]
pub(super) struct Tainted {
    /// Told to be touched, since when.
    told: BTreeMap<ContainerId, Time>,
    /// The same before it was seen.
    early: BTreeMap<ContainerId, Time>,
    /// Seen to be frozen by somebody else, at some time.
    paused: BTreeSet<ContainerId>,
    captures: BTreeMap<ContainerId, u32>,
    captured: BTreeSet<ContainerId>,
    /// Durably recorded as tainted, by any supervisor.
    pub(super) recorded: BTreeSet<ContainerId>,
}

impl Tainted {
    /// It may be taken for tainted.
    pub(super) fn may_be(&self, id: &ContainerId) -> bool {
        self.told.contains_key(id) || self.paused.contains(id) || self.recorded.contains(id)
    }

    /// For the next supervisor.
    pub(super) fn next(&self) -> Self {
        Self {
            recorded: self.recorded.clone(),
            ..Self::default()
        }
    }
}

impl Sim {
    /// Now and then so much happens on the host that the engine remembers nothing of what was before.
    pub(super) fn others_are_busy(&mut self) {
        if self.records.rng.chance(100) {
            self.engine.lock().others_are_busy(300);
        }
    }

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
            Door::Checkpoint,
            Door::Restart,
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
                if door == Door::Restart && runs {
                    container.second_life = container.second_life.or(container.started);
                    container.started = Some(now);
                }
                Touch::Door(door)
            }
        };
        self.engine.lock().remember(&id, What::Touch(touch.clone()));
        if self.records.rng.chance(150) {
            let (soon, away) = (
                self.records.rng.ms(0, 1500),
                self.records.rng.ms(10, 30_000),
            );
            self.at(soon, Ev::Kill(self.incarnation, away));
        }
        let lost = self.chaos.hints_lost_until > now && self.touches.chance(600);
        let connected = self.shell.as_ref().is_some_and(|shell| shell.connected);
        if !connected {
            self.judge.unheard.missed(&id);
        }
        if lost || !connected {
            self.judge.disturbed(now);
            return;
        }
        self.heard_now();
        let late = self.chaos.answers_late_until > now;
        let way = self.touches.ms(0, if late { 2500 } else { 20 });
        let event = Event::Touched { id, touch };
        self.at(way, Ev::Deliver(self.incarnation, Box::new(event)));
    }

    /// A supervisor is told of something that was done to a replica: from now on it is tainted, unless phoenixd did it.
    pub(super) fn hear_of_touch(&mut self, event: &Event) {
        let Event::Touched { id, touch } = event else {
            return;
        };
        // What is done to an original is only recorded; of what is gone nobody can tell any more who did it.
        let counts = (self.engine.lock().host.containers.get(id))
            .is_some_and(|container| !container.is_original() && !is_phoenixd_s(container, touch));
        if counts {
            self.judge.told_of_touch(self.now, id);
        }
    }

    /// How long a capture takes, and whether it comes to nothing: the disk is full, or something hangs and is given up.
    pub(super) fn fate_of_capture(&mut self) -> (Duration, Option<Failure>) {
        let refused = |message: &str| Failure {
            kind: FailureKind::Refused,
            message: message.to_owned(),
        };
        if !self.chaos.on {
            return (Duration::ZERO, None);
        }
        match self.records.rng.below(10) {
            0 => (Duration::ZERO, Some(refused("the disk is full"))),
            1 => (CAPTURE_LIMIT, Some(refused("it hangs"))),
            _ => (Duration::ZERO, None),
        }
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
    fn told_of_touch(&mut self, now: Time, id: &ContainerId) {
        // The core keeps what comes early.
        if !self.known.contains_key(id) {
            self.tainted.early.insert(id.clone(), now);
        }
        if self.known.contains_key(id) && !self.gone.contains(id) {
            self.unheard.heard(id);
            self.tainted.told.entry(id.clone()).or_insert(now);
        }
    }

    pub(super) fn told_of_early(&mut self, id: &ContainerId) {
        if let Some(at) = self.tainted.early.remove(id) {
            self.unheard.heard(id);
            self.tainted.told.entry(id.clone()).or_insert(at);
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
            if self.tainted.recorded.contains(id) {
                let text = format!("{} was tainted and is in rotation again", backend.replica);
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
        let is_open = self.glass.may_be(id);
        let is_told =
            self.tainted.told.contains_key(id) || self.tainted.recorded.contains(id) || is_open;
        let is_told = is_told && subject.replica.is_some();
        if is_told && !self.tainted.captured.contains(id) && !is_lost {
            let text = format!("{action}, and nothing was captured of it");
            self.fail(now, "I4", text);
        }
        if matches!(action, Action::Destroy { .. }) && !self.tainted.may_be(id) && !is_open {
            self.fail(now, "I4", format!("{action}, which nobody touched"));
        }
    }

    /// I4: it is gone in bounded time, unless it is the last one of its unit.
    pub(super) fn check_tainted(&mut self, now: Time, container: &Container, is_kept: bool) {
        let recorded = self.tainted.recorded.contains(&container.id);
        let told = self.tainted.told.get(&container.id).copied();
        let told = told.or(recorded.then_some(Time::BOOT));
        let since = told.map(|at| at.max(self.disturbed_at));
        let is_kept = is_kept || container.glass().is_some_and(|until| until > now);
        if since.is_some_and(|at| now.since(at) > RECOVERED) && !is_kept {
            let text = format!("{} is tainted and still there", container.name);
            self.fail(now, "I4", text);
        }
    }
}

/// A capture of a container that runs: what came of it, and how long it took.
async fn capture(hangs: bool, directory: &std::path::Path) -> (Outcome, bool, Duration) {
    let setup = super::setup::Setup::of_seed(0);
    let engine = super::engine::SimEngine::new(0, setup.project.clone());
    let id = {
        let mut shared = engine.lock();
        shared.make_instant();
        shared.evidence_hangs = hangs;
        let draft = shared.host.draft("sim-web-1".to_owned(), None);
        let id = shared.host.create(draft).unwrap();
        shared.host.start(&id).unwrap();
        id
    };
    let replica = ReplicaName::new(ServiceName::new("web"), Serial(1));
    let action = Action::Capture { replica, id };
    let clock = || phoenixd::clock::timer_in(Duration::ZERO);
    let began = clock();
    let catalog = setup.catalog();
    let (outcome, captured) =
        phoenixd::daemon::capture(&engine, &catalog, directory, &action).await;
    (outcome, captured.is_some(), clock().duration_since(began))
}

#[tokio::test(start_paused = true)]
async fn a_capture_that_hangs_is_given_up_after_half_a_minute_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (outcome, captured, took) = capture(true, directory.path()).await;
    let Outcome::Failed { failure, sight } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        failure.message,
        "the evidence could not be captured within 30s"
    );
    // Not again: a frozen replica is to be gone soon.
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(matches!(sight, Sight::Container { .. }), "{sight:?}");
    assert!(!captured);
    assert_eq!(took.as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_capture_that_cannot_be_written_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (outcome, captured, _) = capture(false, &file).await;
    let Outcome::Failed { failure, .. } = outcome else {
        panic!("{outcome:?}")
    };
    let wanted = format!("cannot write {}: ", file.display());
    assert!(failure.message.starts_with(&wanted), "{failure:?}");
    assert!(!captured);
}
