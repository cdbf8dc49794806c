//! What goes wrong: each seed takes some kinds of faults and a pace, and strikes until it is told to stop.

use std::collections::BTreeSet;
use std::time::Duration;

use phoenixd::reconcile::{Command, ContainerState, Event, RequestId, Time};
use phoenixd::spec::{ContainerId, ImageId, ReplicaName, Serial, ServiceName, SpecHash};

use super::compose::Compose;
use super::engine::CallFaults;
use super::rng::Rng;
use super::run::{Ev, Sim};
use super::setup::{Defect, Quality, Setup};

/// A kind of fault, or of what people do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Fault {
    CallsFail,
    EngineGone,
    EngineRestarts,
    Crash,
    Dies,
    Hangs,
    OperatorRemoves,
    OperatorStops,
    OperatorPauses,
    Stray,
    Stranger,
    BadImage,
    NewGeneration,
    Scale,
    Recycle,
    Suspend,
    ServiceLeaves,
    HintsLost,
    EdgeSlow,
    AnswersLate,
    SlowStarts,
    SlowStops,
    ImageMoves,
    /// docker compose does something with what phoenixes depend on.
    Compose,
    /// `docker compose down` with everything of the project in it, then perhaps `docker compose up`.
    ComposeDown,
    /// Somebody gets into a container.
    Touch,
    /// The journal cannot be written for a while.
    JournalFails,
    /// Somebody breaks a replica open, or ends that.
    BreakGlass,
    /// A network that nothing runs on is removed, perhaps one that somebody else has to make again.
    NetworkRemoved,
}

/// Those that every seed may have.
const ALL: [Fault; 23] = [
    Fault::CallsFail,
    Fault::EngineGone,
    Fault::EngineRestarts,
    Fault::Crash,
    Fault::Dies,
    Fault::Hangs,
    Fault::OperatorRemoves,
    Fault::OperatorStops,
    Fault::OperatorPauses,
    Fault::Stray,
    Fault::Stranger,
    Fault::BadImage,
    Fault::NewGeneration,
    Fault::Scale,
    Fault::Recycle,
    Fault::Suspend,
    Fault::ServiceLeaves,
    Fault::HintsLost,
    Fault::EdgeSlow,
    Fault::AnswersLate,
    Fault::SlowStarts,
    Fault::SlowStops,
    Fault::ImageMoves,
];
/// Those that are drawn apart, so that the other seeds stay what they are.
const MEDDLING: [Fault; 2] = [Fault::ComposeDown, Fault::NetworkRemoved];

/// What goes wrong in one run.
#[derive(Debug)]
pub(super) struct Chaos {
    rng: Rng,
    kinds: Vec<Fault>,
    pace: Duration,
    pub(super) on: bool,
    pub(super) edge_slow_until: Time,
    pub(super) answers_late_until: Time,
    pub(super) hints_lost_until: Time,
    revision: u64,
    pub(super) requests: u64,
    /// Services that left the file for a while.
    away: Vec<(ServiceName, phoenixd::reconcile::Desired)>,
    strangers: Vec<ContainerId>,
    /// What only labels mode knows of, drawn by itself.
    adopted: Rng,
}

impl Chaos {
    /// What goes wrong in this seed.
    pub(super) fn of_seed(seed: u64, setup: &Setup) -> Self {
        let mut rng = Rng::stream(seed, "chaos");
        let calm = rng.chance(120);
        let share = rng.one([150, 300, 600]);
        let kinds: BTreeSet<Fault> = ALL
            .into_iter()
            .filter(|_| rng.chance(share) && !calm)
            .collect();
        let mut meddling = Rng::stream(seed, "meddling");
        let meddles = MEDDLING
            .into_iter()
            .filter(|_| meddling.chance(150) && !calm);
        // Drawn apart, as the dependencies are.
        let depends = !setup.of_compose().is_empty();
        let compose = (depends && !calm && Rng::stream(seed, "chaos of compose").chance(600))
            .then_some(Fault::Compose);
        let touches =
            (!calm && Rng::stream(seed, "who gets in").chance(300)).then_some(Fault::Touch);
        let disk =
            (!calm && Rng::stream(seed, "the disk").chance(250)).then_some(Fault::JournalFails);
        let glass = (!calm && Rng::stream(seed, "who breaks glass").chance(300))
            .then_some(Fault::BreakGlass);
        let pace = Duration::from_millis(rng.one([400, 4000, 15_000, 60_000, 200_000]));
        Self {
            rng,
            kinds: kinds
                .into_iter()
                .chain(meddles)
                .chain(compose)
                .chain(touches)
                .chain(disk)
                .chain(glass)
                .collect(),
            pace,
            on: true,
            edge_slow_until: Time::BOOT,
            answers_late_until: Time::BOOT,
            hints_lost_until: Time::BOOT,
            revision: 1,
            requests: 0,
            away: Vec::new(),
            strangers: Vec::new(),
            adopted: Rng::stream(seed, "adopted chaos"),
        }
    }

    pub(super) fn kinds(&self) -> &[Fault] {
        &self.kinds
    }
}

impl Sim {
    pub(super) fn chaos_strikes(&mut self) {
        if !self.chaos.on {
            return;
        }
        let pause = self
            .chaos
            .rng
            .span(Duration::from_millis(50), self.chaos.pace * 2);
        self.at(pause, Ev::Chaos);
        let kinds = self.chaos.kinds.clone();
        if let Some(fault) = self.chaos.rng.pick(&kinds) {
            self.figures.faults += 1;
            self.note(|| format!("chaos: {fault:?}"));
            self.judge.struck(self.now);
            self.strike(*fault);
        }
    }

    /// Calls fail in some ways from now on, or in none any more.
    fn fail_calls(&mut self) {
        let rng = &mut self.chaos.rng;
        let faults = CallFaults {
            refused: rng.one([0, 0, 50, 300]),
            before: rng.one([0, 30, 200]),
            after: rng.one([0, 30, 200]),
            late: rng.one([0, 10, 50]),
            slow: rng.one([0, 50, 200]),
        };
        let faults = if rng.chance(400) {
            CallFaults::default()
        } else {
            faults
        };
        self.engine.lock().faults = faults;
    }

    fn strike(&mut self, fault: Fault) {
        let now = self.now;
        let minute = |rng: &mut Rng| now + rng.ms(1000, 60_000);
        match fault {
            Fault::CallsFail => self.fail_calls(),
            Fault::EngineGone => {
                let until = minute(&mut self.chaos.rng);
                self.engine.lock().down_until = until;
                self.judge.disturbed(until);
            }
            Fault::EngineRestarts => {
                let until = now + self.chaos.rng.ms(500, 20_000);
                self.engine.lock().down_until = until;
                self.engine.lock().memory.forget();
                self.judge.disturbed(until);
                let dies = self.chaos.rng.chance(500);
                for id in self.containers(dies, |_| true) {
                    self.engine.lock().host.die(&id, 137);
                }
            }
            Fault::Crash => {
                let away = self.chaos.rng.ms(10, 30_000);
                self.crash(away);
                // The file may have changed when the next one starts.
                if self.chaos.rng.chance(300) {
                    let change = self.chaos.rng.one([
                        Fault::ServiceLeaves,
                        Fault::NewGeneration,
                        Fault::Scale,
                    ]);
                    self.change_file(change);
                }
            }
            Fault::Dies
            | Fault::Hangs
            | Fault::OperatorRemoves
            | Fault::OperatorStops
            | Fault::OperatorPauses => {
                self.strike_container(fault);
            }
            Fault::Stray | Fault::Stranger => self.appear(fault),
            Fault::BadImage | Fault::SlowStarts | Fault::SlowStops => self.change_image(fault),
            Fault::ImageMoves => {
                let image = self.chaos.rng.one(["sha256:0", "sha256:1", "sha256:2"]);
                self.engine.lock().host.image = ImageId::new(image);
            }
            Fault::NewGeneration | Fault::Scale | Fault::ServiceLeaves => self.change_file(fault),
            Fault::Recycle => self.ask_to_recycle(),
            Fault::Suspend => {
                let span = self.chaos.rng.ms(60_000, 8 * 3_600_000);
                self.suspend(span);
                self.judge.disturbed(self.now);
            }
            Fault::Touch => {
                self.others_are_busy();
                self.somebody_gets_in();
            }
            Fault::JournalFails => {
                let span = self.chaos.rng.ms(100, 120_000);
                self.journal_fails(span);
            }
            Fault::BreakGlass => self.break_glass(),
            Fault::ComposeDown | Fault::NetworkRemoved => self.meddle(fault),
            Fault::HintsLost => self.chaos.hints_lost_until = minute(&mut self.chaos.rng),
            Fault::EdgeSlow => self.chaos.edge_slow_until = minute(&mut self.chaos.rng),
            Fault::Compose => {
                let mut rng = self.chaos.rng.clone();
                self.strike_compose(&mut rng);
                self.chaos.rng = rng;
            }
            Fault::AnswersLate => self.chaos.answers_late_until = minute(&mut self.chaos.rng),
        }
    }

    fn containers(
        &mut self,
        any: bool,
        which: impl Fn(&super::host::Container) -> bool,
    ) -> Vec<ContainerId> {
        let shared = self.engine.lock();
        shared
            .host
            .containers
            .values()
            .filter(|container| any && container.labelled && which(container))
            .map(|container| container.id.clone())
            .collect()
    }

    fn strike_container(&mut self, fault: Fault) {
        let alive = self.containers(true, |container| container.state == ContainerState::Running);
        let Some(id) = self.chaos.rng.pick(&alive).cloned() else {
            return;
        };
        let (span, forever) = (self.chaos.rng.ms(500, 90_000), self.chaos.rng.chance(300));
        let grace = self.chaos.rng.ms(0, 2000);
        let now = self.now;
        self.note(|| format!("chaos: on {}", id.short()));
        let mut shared = self.engine.lock();
        let host = &mut shared.host;
        if let Some(container) = host.containers.get_mut(&id) {
            container.bad_since = Some(now);
        }
        match fault {
            Fault::Dies => host.die(&id, 1),
            Fault::Hangs => {
                if let Some(container) = host.containers.get_mut(&id) {
                    container.hung_until = now
                        + if forever {
                            Duration::from_hours(1000)
                        } else {
                            span
                        };
                }
            }
            Fault::OperatorRemoves => host.vanish(&id),
            Fault::OperatorStops => drop(host.stop(&id, grace)),
            _ => {
                if let Some(container) = host.containers.get_mut(&id) {
                    container.state = ContainerState::Paused;
                    container.hung_until = now + span;
                    host.hints.push((id.clone(), "pause"));
                }
                drop(shared);
                if !forever {
                    self.at(span, Ev::Thaw(id));
                }
            }
        }
    }

    fn meddle(&mut self, fault: Fault) {
        match fault {
            Fault::ComposeDown => self.compose_down(),
            _ => self.remove_a_network(),
        }
    }

    /// Everything that runs is stopped and removed, then what networks nothing runs on; compose may be back at once, and
    /// make the network its own.
    fn compose_down(&mut self) {
        let now = self.now;
        let comes_back = self.chaos.rng.chance(500);
        let mut shared = self.engine.lock();
        let host = &mut shared.host;
        let all: Vec<ContainerId> = host
            .containers
            .values()
            .filter(|container| container.labelled)
            .map(|container| container.id.clone())
            .collect();
        for id in all {
            if let Some(container) = host.containers.get_mut(&id) {
                container.bad_since = Some(now);
            }
            host.hints.push((id.clone(), "kill"));
            host.vanish(&id);
        }
        for network in self.setup.networks.values().filter(|net| !net.external) {
            drop(host.remove_network(&network.name));
            if comes_back {
                host.add_network(network.name.clone(), false);
            }
        }
        drop(shared);
        for service in self.setup.of_compose() {
            self.compose(&Compose::Remove(service.clone()));
            let back = self.chaos.rng.ms(500, 60_000);
            self.at(back, Ev::Compose(Compose::Up(service)));
        }
    }

    fn remove_a_network(&mut self) {
        let names: Vec<_> = self.setup.networks.keys().cloned().collect();
        if let Some(name) = self.chaos.rng.pick(&names) {
            // In use, and so refused, most of the time.
            drop(self.engine.lock().host.remove_network(name));
        }
    }

    /// A container appears that phoenixd did not make.
    fn appear(&mut self, fault: Fault) {
        let names: Vec<ServiceName> = self.setup.wanted.keys().cloned().collect();
        let Some(service) = self.chaos.rng.pick(&names).cloned() else {
            return;
        };
        let number = self.chaos.rng.below(1_000_000);
        let running = self.chaos.rng.chance(700);
        let mut shared = self.engine.lock();
        let highest = shared.host.containers.values().filter_map(|container| {
            let identity = container.identity.as_ref()?;
            (identity.replica.service == service).then_some(identity.replica.serial.0)
        });
        let next = highest.max().unwrap_or(0) + 1;
        let host = &mut shared.host;
        let name = match fault {
            Fault::Stray => format!("sim-stray-{number}"),
            // The very name that phoenixd will choose next.
            _ => {
                ReplicaName::new(service.clone(), Serial(next)).container_name(&self.setup.project)
            }
        };
        let mut draft = host.draft(name, None);
        draft.labelled = fault == Fault::Stray;
        draft.meddled = true;
        let id = draft.id.clone();
        if host.create(draft).is_ok() {
            if running {
                drop(host.start(&id));
            }
            if fault == Fault::Stranger {
                self.chaos.strangers.push(id);
            }
        }
    }

    fn change_image(&mut self, fault: Fault) {
        let names: Vec<ServiceName> = self.setup.wanted.keys().cloned().collect();
        let Some(service) = self.chaos.rng.pick(&names).cloned() else {
            return;
        };
        let Some(desired) = self.setup.wanted.get(&service) else {
            return;
        };
        let hash = desired.spec_hash.clone();
        let grace = desired.stop_grace;
        let mut quality = self
            .setup
            .qualities
            .get(&hash)
            .copied()
            .unwrap_or_else(Quality::good);
        let rng = &mut self.chaos.rng;
        match fault {
            Fault::SlowStarts => quality.warm_up.1 = rng.ms(300, 12_000),
            Fault::SlowStops => {
                quality.shut_down.1 = rng.span(Duration::from_millis(300), grace * 2);
            }
            _ if rng.chance(400) => quality = Quality::good(),
            _ => {
                quality.fault = Some(rng.one([
                    Defect::NeverReady,
                    Defect::CrashesAtStart,
                    Defect::CrashesLater,
                    Defect::Flaps,
                    Defect::Weak,
                    Defect::StartRefused,
                    Defect::ImageGone,
                ]));
            }
        }
        if self.setup.is_adopted(&service) && self.chaos.adopted.chance(300) {
            quality.fault = Some(Defect::Differs);
        }
        self.setup.qualities.insert(hash, quality);
        self.engine.lock().host.qualities = self.setup.qualities.clone();
    }

    fn change_file(&mut self, fault: Fault) {
        let names: Vec<ServiceName> = self.setup.wanted.keys().cloned().collect();
        let Some(service) = self.chaos.rng.pick(&names).cloned() else {
            return;
        };
        match fault {
            // A unit is one container, for as long as there is one.
            Fault::Scale | Fault::ServiceLeaves
                if self.setup.is_adopted(&service) || self.setup.has_pod(&service) => {}
            Fault::NewGeneration => {
                self.new_generation(&service);
                return;
            }
            Fault::Scale => {
                let replicas = u32::try_from(self.chaos.rng.one([0, 1, 1, 2, 3, 4])).unwrap_or(1);
                if let Some(desired) = self.setup.wanted.get_mut(&service) {
                    desired.replicas = replicas;
                }
            }
            _ => {
                if let Some((name, desired)) = self.chaos.away.pop() {
                    self.setup.wanted.insert(name, desired);
                } else if let Some(desired) = self.setup.wanted.remove(&service) {
                    self.chaos.away.push((service, desired));
                }
            }
        }
        self.rewant();
    }

    /// The definition of a service changes.
    pub(super) fn new_generation(&mut self, service: &ServiceName) {
        self.chaos.revision += 1;
        let hash = SpecHash::new(format!("{service}@{}", self.chaos.revision));
        self.setup.qualities.insert(hash.clone(), Quality::good());
        if let Some(desired) = self.setup.wanted.get_mut(service) {
            desired.spec_hash = hash;
        }
        self.rewant();
    }

    pub(super) fn ask_to_recycle(&mut self) {
        self.chaos.requests += 1;
        let number = self.incarnation * 1000 + self.chaos.requests;
        // Now and then by name: only so the edges are meant.
        let by_name = self.chaos.requests.is_multiple_of(2);
        let services = self.setup.wanted.keys().filter(|_| by_name);
        let command = Command::Recycle {
            request: RequestId(number),
            services: services.cloned().collect(),
        };
        self.deliver(Event::Command(command));
    }

    /// Everything that goes wrong is over; what hung or was bad is well again.
    pub(super) fn heal(&mut self) {
        self.note(|| "the faults are over".to_owned());
        self.chaos.on = false;
        let now = self.now;
        self.chaos.edge_slow_until = now;
        self.chaos.answers_late_until = now;
        self.chaos.hints_lost_until = now;
        for quality in self.setup.qualities.values_mut() {
            *quality = Quality::good();
        }
        let away = std::mem::take(&mut self.chaos.away);
        self.setup.wanted.extend(away);
        for desired in self.setup.wanted.values_mut() {
            desired.replicas = desired.replicas.max(1);
        }
        {
            let mut shared = self.engine.lock();
            shared.faults = CallFaults::default();
            for network in self.setup.networks.values().filter(|net| net.external) {
                shared.host.add_network(network.name.clone(), false);
            }
            shared.down_until = shared.down_until.min(now);
            for container in shared.host.containers.values_mut() {
                if container.quality.fault == Some(Defect::Flaps) {
                    container.quality.fault = None;
                }
            }
        }
        self.heal_compose();
        self.heal_journal();
        self.judge.disturbed(now);
        self.rewant();
    }
}
