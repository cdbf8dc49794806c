//! Deliberate mistakes at the core's inputs and outputs, each of which a checker must catch: who checks the checkers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use phoenixd::reconcile::{
    Action, Desired, Event, GlassStatus, Kernel, NetworkSeen, Observed, Outcome, Planned, Reason,
    ReplicaStatus, Routes, Sight, Stage, Step, Subject, Time, Touch, WaitingOn,
};
use phoenixd::spec::{BornAfter, ContainerId, Incarnation, ServiceName};

use super::edge::backends;
use super::run::Sim;
use super::seeds::Length;
use super::setup::file_of;

/// One mistake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Mutant {
    /// Stops a replica where it should drain it.
    SkipTheDrain,
    /// Stops the old one when its replacement is about to be made.
    StopOldFirst,
    /// Routes to whatever is probed.
    RouteToUnready,
    /// Takes the word of the wrong container.
    BelieveEveryProbe,
    /// Adopts whatever has the name.
    AdoptWhateverHasTheName,
    /// No delay after failures, and no budget.
    NeverBackOff,
    /// Three more at once than the file allows.
    ForgetTheSurge,
    /// Lives are twenty times as long.
    ForgetTheDeadline,
    /// As many births at once as there is work.
    ForgetTheLimitOfBirths,
    /// One outcome in ten is lost.
    DropOutcomes,
    /// An old answer counts as a new one.
    BelieveOldAnswers,
    /// Retires a second one with each.
    RetireTwo,
    /// Takes every switch as confirmed.
    IgnoreTheEdge,
    /// Takes every connection as ended.
    IgnoreConnections,
    /// Does not ask the kernel.
    IgnoreTheKernel,
    /// Takes whatever is there for its own.
    IgnoreTheLabel,
    /// Numbers its tables from 1 after a restart.
    ForgetTheEpoch,
    /// Publishes what it knows at once after a restart: nothing.
    PublishWhileAdopting,
    /// Acts twice on one container.
    ActTwice,
    /// Replaces everything after a restart.
    RecycleAtStart,
    /// Never removes a container.
    LeaveTheDead,
    /// A `down` leaves its networks.
    LeaveTheNetworks,
    /// Starts what should be compared with the original first.
    SkipTheComparison,
    /// Leaves a replica its serial's name.
    KeepTheName,
    /// Takes a network that it has seen once for one that is there for ever.
    TrustTheNetworks,
    /// Removes the copies of secrets that no service wants any more, whoever mounts them.
    ForgetWhoMounts,
    /// Never removes the copy of a secret.
    LeaveTheFiles,
    /// Waits for no dependency.
    StartAtOnce,
    /// An update of a dependency changes nothing.
    IgnoreUpdates,
    /// Takes every replica for born before its dependencies.
    ForgetWhatCameBefore,
    /// Hears of no touch.
    IgnoreTouches,
    /// Leaves what is tainted in the table.
    RouteToTainted,
    /// Destroys what should be captured first.
    SkipTheCapture,
    /// Never freezes, and waits for it.
    ForgetTheFreeze,
    /// Has one witness.
    IgnoreTheScan,
    /// Forgets at a restart what is broken open.
    ForgetTheGlass,
    /// Lets people in before the name tells of it.
    LetInTooEarly,
    /// Takes for cut what is not.
    ForgetTheCut,
    /// Never takes down what was broken open.
    LeaveItOpen,
    /// A `down` in any order.
    LeaveInAnyOrder,
    /// Reads no record of those before it.
    ForgetTheRecords,
    /// Goes on as if everything could be recorded.
    IgnoreTheFullDisk,
    /// Takes the renames of those before it for somebody else's.
    ForgetWhoRenamed,
    /// Asks for nothing of what happened while nobody listened.
    SinceNow,
    /// Gives the service's names to whatever is probed.
    NameTheUnready,
    /// Takes the names of what drains, and with them its connections.
    CutTheLeaving,
    /// Takes no name away from what is tainted.
    LeaveTheNames,
    /// Stops the last one that has the names.
    StopTheLastNamed,
}

/// Every mutant, which checker catches it, and the seed from which on one is looked for that does.
const ALL: [(Mutant, &str, u64); 48] = [
    (Mutant::SkipTheDrain, "I9", 0),
    (Mutant::StopOldFirst, "I1", 0),
    (Mutant::RouteToUnready, "I2", 1),
    (Mutant::BelieveEveryProbe, "I2", 1),
    (Mutant::AdoptWhateverHasTheName, "I7", 7),
    (Mutant::NeverBackOff, "tight-loop", 60),
    (Mutant::ForgetTheSurge, "I3", 0),
    (Mutant::ForgetTheDeadline, "I5", 0),
    (Mutant::ForgetTheLimitOfBirths, "I13", 0),
    (Mutant::DropOutcomes, "I5", 0),
    (Mutant::BelieveOldAnswers, "one-life", 60),
    (Mutant::RetireTwo, "I1", 0),
    (Mutant::IgnoreTheEdge, "I9", 1),
    (Mutant::IgnoreConnections, "I9", 0),
    (Mutant::IgnoreTheKernel, "I8", 1),
    (Mutant::IgnoreTheLabel, "I6", 7),
    (Mutant::ForgetTheEpoch, "I9", 56),
    (Mutant::PublishWhileAdopting, "I1", 0),
    (Mutant::ActTwice, "one-verdict", 0),
    (Mutant::RecycleAtStart, "I1", 2),
    (Mutant::LeaveTheDead, "I6", 0),
    (Mutant::LeaveTheNetworks, "down", 0),
    (Mutant::SkipTheComparison, "adopted", 3),
    (Mutant::KeepTheName, "liveness", 3),
    (Mutant::TrustTheNetworks, "liveness", 0),
    (Mutant::ForgetWhoMounts, "files", 0),
    (Mutant::LeaveTheFiles, "down", 0),
    (Mutant::StartAtOnce, "depends", 9),
    (Mutant::IgnoreUpdates, "updates", 9),
    (Mutant::ForgetWhatCameBefore, "updates", 9),
    (Mutant::LeaveInAnyOrder, "order", 9),
    (Mutant::IgnoreTouches, "I2", 6),
    (Mutant::RouteToTainted, "I2", 6),
    (Mutant::SkipTheCapture, "I4", 6),
    (Mutant::ForgetTheFreeze, "liveness", 14),
    (Mutant::IgnoreTheScan, "I2", 63),
    (Mutant::ForgetTheRecords, "I4", 17),
    (Mutant::IgnoreTheFullDisk, "recorded", 8),
    (Mutant::ForgetWhoRenamed, "I1", 8),
    (Mutant::SinceNow, "I4", 21),
    (Mutant::ForgetTheGlass, "glass", 122),
    (Mutant::LetInTooEarly, "glass", 12),
    (Mutant::LeaveItOpen, "liveness", 14),
    (Mutant::ForgetTheCut, "glass", 0),
    (Mutant::NameTheUnready, "names", 0),
    (Mutant::CutTheLeaving, "names", 0),
    (Mutant::LeaveTheNames, "names", 15),
    (Mutant::StopTheLastNamed, "I1", 0),
];

impl Sim {
    /// What the core is told, with the mistake; `None` where it is told nothing.
    pub(super) fn mutate_event(&mut self, mut event: Event) -> Option<Event> {
        let Some(mutant) = self.mutant else {
            return Some(event);
        };
        match (mutant, &mut event) {
            (Mutant::DropOutcomes, Event::Ended { action, .. })
                if !matches!(action, Action::Drain { .. }) && self.rng.chance(100) =>
            {
                return None;
            }
            (
                Mutant::BelieveOldAnswers,
                Event::Seen { asked_at, .. } | Event::Listed { asked_at, .. },
            ) => {
                *asked_at = self.now;
            }
            // Nor does anybody hear again that it was marked.
            (
                Mutant::ForgetTheGlass,
                Event::Touched {
                    touch: Touch::Renamed(_),
                    ..
                },
            )
            | (Mutant::ForgetTheRecords, Event::Remembered(_))
            | (Mutant::IgnoreTheFullDisk, Event::Journal { .. })
            | (Mutant::IgnoreTouches, Event::Touched { .. })
            | (
                Mutant::IgnoreTheScan,
                Event::Touched {
                    touch: Touch::Intruder(_),
                    ..
                },
            ) => return None,
            (Mutant::IgnoreTheKernel | Mutant::ForgetTheGlass | Mutant::LeaveTheNames, event) => {
                for observed in seen_by(event) {
                    self.mutate_observed(mutant, observed);
                }
            }
            // Now and then, or the sheer number of calls would be caught first.
            (Mutant::ForgetWhatCameBefore, event @ Event::Listed { .. })
                if self.rng.chance(300) =>
            {
                for after in seen_by(event).into_iter().filter_map(born_after) {
                    for incarnation in after.0.values_mut() {
                        *incarnation = Incarnation::Compose(BTreeSet::new());
                    }
                }
            }
            (Mutant::IgnoreTheLabel, Event::Listed { listing, .. }) => {
                let shared = self.engine.lock();
                let strangers = shared
                    .host
                    .containers
                    .values()
                    .filter(|container| !container.labelled);
                listing
                    .containers
                    .extend(strangers.filter_map(|c| shared.host.observe(&c.id)));
            }
            (Mutant::TrustTheNetworks, Event::Listed { listing, .. })
                if self.now.since_boot() > Duration::from_mins(1) =>
            {
                listing.networks.extend(self.all_networks());
            }
            (Mutant::AdoptWhateverHasTheName, Event::Ended { action, outcome }) => {
                self.adopt_by_name(action, outcome);
            }
            _ => {}
        }
        Some(event)
    }

    fn mutate_observed(&self, mutant: Mutant, observed: &mut Observed) {
        match mutant {
            Mutant::IgnoreTheKernel => observed.kernel = Kernel::Unavailable,
            Mutant::LeaveTheNames => self.hide_names(observed),
            _ => {
                if let Some((own, _)) = observed.name.rsplit_once(".break-glass-") {
                    observed.name = own.to_owned();
                }
            }
        }
    }

    fn all_networks(&self) -> impl Iterator<Item = NetworkSeen> {
        let names = self.setup.networks.keys().cloned();
        names.map(|name| NetworkSeen { name, ours: true })
    }

    fn adopt_by_name(&mut self, action: &Action, outcome: &mut Outcome) {
        let Action::Create { replica, .. } = action else {
            return;
        };
        let shared = self.engine.lock();
        let name = replica.container_name(&shared.project);
        let found = shared
            .host
            .by_name(&name)
            .and_then(|found| shared.host.observe(&found.id));
        let failed = matches!(outcome, Outcome::Failed { .. });
        if let (true, Some(observed)) = (failed, found) {
            *outcome = Outcome::Done(Sight::Container {
                asked_at: self.now,
                observed: Box::new(observed),
            });
        }
        drop(shared);
        self.judge.ended(self.now, action, outcome);
    }

    /// What the core decided, with the mistake.
    pub(super) fn mutate_step(&mut self, mut step: Step) -> Step {
        self.misname(&mut step);
        match self.mutant {
            Some(Mutant::SkipTheDrain) => {
                for planned in &mut step.actions {
                    if let Action::Drain { replica, id } = &planned.action {
                        planned.action = stop(id.clone(), Some(replica.clone()));
                    }
                }
            }
            Some(Mutant::StopOldFirst) => stop_old_first(&mut step),
            Some(Mutant::RouteToUnready) => route_to_unready(&self.setup.wanted, &mut step),
            Some(Mutant::RetireTwo) => retire_two(&mut step),
            Some(Mutant::PublishWhileAdopting) => {
                step.routes.get_or_insert_default();
            }
            Some(Mutant::LeaveInAnyOrder) => leave_at_once(&mut step),
            Some(Mutant::RouteToTainted) => {
                let before = self.shell.as_ref().and_then(|shell| shell.routes.clone());
                route_to_tainted(before.as_deref(), &mut step);
            }
            Some(Mutant::LetInTooEarly) => let_in_too_early(self.now, &mut step),
            Some(Mutant::LeaveItOpen) => leave_it_open(&mut step),
            Some(Mutant::SkipTheCapture) => skip_the_capture(&mut step),
            Some(Mutant::ForgetTheFreeze) => {
                step.actions
                    .retain(|planned| !matches!(planned.action, Action::Freeze { .. }));
            }
            Some(Mutant::ActTwice) => {
                let again = step
                    .actions
                    .iter()
                    .find(|planned| matches!(planned.action, Action::Remove { .. }))
                    .cloned();
                step.actions.extend(again);
            }
            Some(Mutant::LeaveTheDead) => {
                step.actions
                    .retain(|planned| !matches!(planned.action, Action::Remove { .. }));
            }
            Some(Mutant::SkipTheComparison) => {
                for planned in &mut step.actions {
                    if let Action::Compare { replica, id, .. } = &planned.action {
                        planned.action = Action::Start {
                            replica: replica.clone(),
                            id: id.clone(),
                        };
                    }
                }
            }
            Some(Mutant::KeepTheName) => {
                step.actions
                    .retain(|planned| !matches!(planned.action, Action::Rename { .. }));
            }
            Some(Mutant::ForgetWhoMounts) => {
                let wanted = self.setup.wanted.values().filter(|_| !self.judge.is_down);
                let wanted = wanted.filter_map(|desired| file_of(&desired.spec_hash).digest());
                step.files = step.files.map(|_| wanted.collect());
            }
            Some(Mutant::LeaveTheFiles) => step.files = None,
            Some(Mutant::LeaveTheNetworks) => {
                let before = step.actions.len();
                step.actions
                    .retain(|planned| !matches!(planned.action, Action::RemoveNetwork(_)));
                step.finished |= step.actions.len() < before;
            }
            _ => {}
        }
        step
    }
}

/// The containers that an event tells of.
fn seen_by(event: &mut Event) -> Vec<&mut Observed> {
    match event {
        Event::Listed { listing, .. } => listing.containers.iter_mut().collect(),
        Event::Seen {
            observed: Some(observed),
            ..
        }
        | Event::Ended {
            outcome:
                Outcome::Done(Sight::Container { observed, .. })
                | Outcome::Failed {
                    sight: Sight::Container { observed, .. },
                    ..
                },
            ..
        } => vec![&mut **observed],
        _ => Vec::new(),
    }
}

fn born_after(observed: &mut Observed) -> Option<&mut BornAfter> {
    observed
        .identity
        .as_mut()
        .map(|identity| &mut identity.born_after)
}

fn stop_old_first(step: &mut Step) {
    let old = step
        .actions
        .iter()
        .find_map(|planned| match &planned.reason {
            Reason::Replaces { replica, because } => Some((replica.clone(), because.clone())),
            _ => None,
        });
    if let Some((old, because)) = old
        && let Some(id) = step
            .status
            .replicas
            .iter()
            .find(|row| row.replica == old)
            .and_then(|row| row.container_id.clone())
    {
        step.actions.push(Planned {
            action: Action::Drain { replica: old, id },
            reason: *because,
        });
    }
}

fn leave_at_once(step: &mut Step) {
    let waits = |row: &&ReplicaStatus| matches!(row.waiting_on, Some(WaitingOn::Dependents { .. }));
    for row in step.status.replicas.iter().filter(waits) {
        if let Some(id) = row.container_id.clone() {
            let replica = row.replica.clone();
            step.actions.push(Planned {
                action: Action::Drain { replica, id },
                reason: Reason::Down,
            });
        }
    }
}

fn route_to_unready(wanted: &BTreeMap<ServiceName, Desired>, step: &mut Step) {
    let starts = |id: &ContainerId| {
        let mut rows = step.status.replicas.iter();
        rows.any(|row| row.container_id.as_ref() == Some(id) && row.stage == Stage::Starting)
    };
    let targets: Vec<_> = step
        .targets
        .iter()
        .filter(|(id, _)| starts(id))
        .map(|(id, target)| (id.clone(), target.clone()))
        .collect();
    for (id, target) in targets {
        let service = &target.replica.service;
        let ports = wanted.get(service).map(|desired| desired.published.clone());
        for published in ports.unwrap_or_default() {
            let Some(routes) = &mut step.routes else {
                continue;
            };
            let listed = &mut routes.listeners.entry(published).or_default().backends;
            if listed.iter().all(|backend| backend.container_id != id) {
                listed.push(phoenixd::reconcile::Backend {
                    replica: target.replica.clone(),
                    container_id: id.clone(),
                    address: target.address,
                });
            }
        }
    }
}

fn let_in_too_early(now: Time, step: &mut Step) {
    for planned in &step.actions {
        if let (Action::Rename { replica, .. }, Reason::BreakGlass { length, .. }) =
            (&planned.action, because(&planned.reason))
        {
            let row = (step.status.replicas.iter_mut()).find(|row| row.replica == *replica);
            if let Some(row) = row {
                row.glass = Some(GlassStatus {
                    until: now + *length,
                    open: true,
                    reason: None,
                });
            }
        }
    }
}

/// Without what is said of its connections.
fn because(reason: &Reason) -> &Reason {
    match reason {
        Reason::Drained { because, .. } | Reason::Cut { because, .. } => because,
        other => other,
    }
}

fn leave_it_open(step: &mut Step) {
    let is_end = |reason: &Reason| matches!(reason, Reason::GlassOver { .. });
    step.actions.retain(|planned| !is_end(&planned.reason));
}

fn skip_the_capture(step: &mut Step) {
    for planned in &mut step.actions {
        if let Action::Capture { replica, id } = &planned.action {
            let (id, replica) = (id.clone(), Some(replica.clone()));
            planned.action = Action::Destroy {
                subject: Subject { id, replica },
            };
        }
    }
}

fn route_to_tainted(before: Option<&Routes>, step: &mut Step) {
    let tainted = |id: &ContainerId| {
        let mut rows = step.status.replicas.iter();
        rows.any(|row| row.container_id.as_ref() == Some(id) && row.tainted.is_some())
    };
    for (published, listener) in before.into_iter().flat_map(|table| &table.listeners) {
        let kept = listener
            .backends
            .iter()
            .filter(|backend| tainted(&backend.container_id));
        let kept: Vec<_> = kept.cloned().collect();
        if let Some(routes) = &mut step.routes {
            let listener = routes.listeners.entry(*published).or_default();
            listener.backends.extend(kept);
        }
    }
}

fn retire_two(step: &mut Step) {
    let drained = step
        .actions
        .iter()
        .find_map(|planned| match &planned.action {
            Action::Drain { replica, .. } => Some((replica.clone(), planned.reason.clone())),
            _ => None,
        });
    if let Some((replica, reason)) = drained {
        let next = step
            .routes
            .iter()
            .flat_map(backends)
            .find(|other| other.replica.service == replica.service && other.replica != replica)
            .map(|other| Action::Drain {
                replica: other.replica.clone(),
                id: other.container_id.clone(),
            });
        step.actions
            .extend(next.map(|action| Planned { action, reason }));
    }
}

fn stop(id: phoenixd::spec::ContainerId, replica: Option<phoenixd::spec::ReplicaName>) -> Action {
    Action::Stop {
        subject: Subject { id, replica },
        grace: None,
    }
}

/// How many seeds may pass before a mutant is caught.
const WITHIN: u64 = 40;

#[test]
fn every_mutant_is_caught() {
    let caught = |(mutant, _, from): (Mutant, &str, u64)| {
        (from..from + WITHIN).find_map(|seed| {
            let ran = super::seeds::run_seed(seed, Length::Long, Some(mutant), false);
            ran.result.err().map(|violation| (seed, violation))
        })
    };
    let one = std::env::var_os("PHOENIXD_SIM_MUTANT").map(|it| it.to_string_lossy().into_owned());
    let asked = |mutant: Mutant| one.as_ref().is_none_or(|one| format!("{mutant:?}") == *one);
    let all: Vec<_> = ALL.into_iter().filter(|(it, _, _)| asked(*it)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = BTreeMap::new();
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.insert(one.0, caught(*one));
        }
        found
    };
    let mut found = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut found = work();
        found.extend(other.join().unwrap());
        found
    });
    let mut wrong = Vec::new();
    for (mutant, invariant, from) in all.iter().copied() {
        match found.remove(&mutant).unwrap() {
            Some((seed, violation)) if violation.invariant == invariant => {
                println!("{mutant:?}: seed {seed} {violation}");
            }
            Some((seed, violation)) => {
                wrong.push(format!(
                    "{mutant:?}, not by {invariant}: seed {seed} {violation}"
                ));
            }
            None => wrong.push(format!(
                "{mutant:?} by nobody within {WITHIN} seeds from {from}"
            )),
        }
    }
    assert!(
        wrong.is_empty(),
        "caught by another checker, or by none: {wrong:#?}"
    );
}
