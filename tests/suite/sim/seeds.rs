//! Seeds: what one is, and how many are run.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use phoenixd::clock::boot_now;
use phoenixd::reconcile::{Command, Event, Reason};
use phoenixd::spec::{ContainerId, PodPart, RunBy, ServiceName};

use super::chaos::Chaos;
use super::compose::Compose;
use super::host::is_process;
use super::invariants::Violation;
use super::mutants::Mutant;
use super::promises::RECOVERED;
use super::rng::Rng;
use super::run::{Ev, Figures, Sim};
use super::setup::{Setup, file_of};

/// How many lines of a transcript a failure shows.
const TAIL: usize = 120;

/// How long a story is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Length {
    Short,
    Long,
}

/// What became of a seed.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) result: Result<(), Violation>,
    pub(super) figures: Figures,
    pub(super) transcript: String,
}

/// One seed from its beginning to its end.
pub(super) fn run_seed(seed: u64, length: Length, mutant: Option<Mutant>, keep: bool) -> Ran {
    run_setup(seed, Setup::of_seed(seed), length, mutant, keep)
}

/// The same with a setup that was chosen.
pub(super) fn run_setup(
    seed: u64,
    setup: Setup,
    length: Length,
    mutant: Option<Mutant>,
    keep: bool,
) -> Ran {
    let chaos = Chaos::of_seed(seed, &setup);
    let mut sim = Sim::new(seed, setup, chaos, mutant, keep);
    let kinds = format!("{:?}", sim.chaos.kinds());
    sim.note(|| format!("seed {seed}: {kinds}"));
    let result = sim.live(seed, length);
    let mut figures = sim.figures.clone();
    figures.seeds = 1;
    figures.cut = sim.edge.cut;
    Ran {
        result,
        figures,
        transcript: sim.transcript.text(),
    }
}

/// Shows a seed's whole transcript and what became of it.
pub(super) fn replay(seed: u64) {
    let ran = run_seed(seed, Length::Long, None, true);
    println!("{}", ran.transcript);
    if let Err(violation) = ran.result {
        panic!("seed {seed} {violation}");
    }
    println!("{}", ran.figures);
}

/// Runs seeds on every CPU, for so long at most, and panics with everything that is needed to understand a failure.
pub(super) fn check(seeds: Range<u64>, length: Length, time: Option<Duration>) -> Figures {
    let began = boot_now();
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let work = || {
        let mut figures = Figures::default();
        while !failed.load(Ordering::Relaxed)
            && time.is_none_or(|time| boot_now().saturating_sub(began) < time)
        {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let ran = run_seed(seed, length, None, false);
            figures.add(&ran.figures);
            if ran.result.is_err() {
                failed.store(true, Ordering::Relaxed);
                return Err((seed, length));
            }
        }
        Ok(figures)
    };
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    let done: Vec<Result<Figures, (u64, Length)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cpus).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut all = Figures::default();
    for figures in done {
        match figures {
            Ok(figures) => all.add(&figures),
            Err((seed, length)) => explain(seed, length),
        }
    }
    all.took = boot_now().saturating_sub(began);
    all
}

/// Runs a failed seed again and panics with the end of its transcript.
fn explain(seed: u64, length: Length) {
    let ran = run_seed(seed, length, None, true);
    let lines: Vec<&str> = ran.transcript.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    let violation = ran
        .result
        .err()
        .map(|violation| violation.to_string())
        .unwrap_or_default();
    let replay = match length {
        Length::Long => format!("PHOENIXD_SIM_SEED={seed} cargo sim"),
        Length::Short => format!("a regression test with seed {seed} and Length::Short"),
    };
    panic!("{tail}\nseed {seed} {violation}\nthe whole transcript: {replay}");
}

impl Sim {
    /// Trouble, recovery, calm, a restart, and the end.
    fn live(&mut self, seed: u64, length: Length) -> Result<(), Violation> {
        let mut rng = super::rng::Rng::stream(seed, "story");
        self.at(Duration::from_secs(5), Ev::Chaos);
        let (troubles, calms) = match length {
            Length::Short => ((1, 6), (1, 3)),
            Length::Long => ((3, 25), (3, 30)),
        };
        let trouble = rng.span(
            Duration::from_mins(troubles.0),
            Duration::from_mins(troubles.1),
        );
        self.run_until(self.now + trouble)?;
        self.heal();
        self.run_until(self.now + Duration::from_secs(30))?;
        self.end_all_glass();
        self.ask_to_recycle();
        self.until("liveness", RECOVERED, Self::is_steady)?;
        let calm = rng.span(Duration::from_mins(calms.0), Duration::from_mins(calms.1));
        self.run_until(self.now + calm)?;
        self.until("liveness", RECOVERED, Self::is_steady)?;
        self.an_update_replaces_each_dependent_once()?;
        self.restart_changes_nothing()?;
        if rng.chance(400) {
            self.crash(Duration::from_millis(200));
            self.run_until(self.now + rng.ms(200, 4000))?;
        }
        self.goes_down(rng.chance(500))
    }

    /// Lets time pass until it holds, for so long at most.
    fn until(
        &mut self,
        promise: &'static str,
        bound: Duration,
        holds: fn(&Self) -> Result<(), String>,
    ) -> Result<(), Violation> {
        let end = self.now + bound;
        loop {
            let Err(lacks) = holds(self) else {
                return Ok(());
            };
            if self.now >= end {
                let text = format!("after {bound:?}: {lacks}");
                return Err(Violation {
                    invariant: promise,
                    at: self.now,
                    text,
                });
            }
            self.run_until(self.now + Duration::from_millis(500))?;
        }
    }

    /// Every service has what it wants in rotation, and nothing else of ours is there.
    fn is_steady(&self) -> Result<(), String> {
        let whole = self.whole_edge();
        let is_routed = |id: &ContainerId| whole.has(id);
        let shared = self.engine.lock();
        let host = &shared.host;
        for container in host
            .containers
            .values()
            .filter(|container| container.labelled)
        {
            let wanted = container
                .service()
                .is_some_and(|service| self.setup.wanted.contains_key(service));
            if !wanted {
                return Err(format!("{} is nobody's", container.name));
            }
        }
        let Some(shell) = &self.shell else {
            return Err("no supervisor".to_owned());
        };
        let wanted = self.setup.wanted.values();
        let wanted: BTreeSet<_> = wanted
            .filter_map(|desired| file_of(&desired.spec_hash).digest())
            .collect();
        if let Some(file) = host.files.difference(&wanted).next() {
            return Err(format!("the copy {file} is left"));
        }
        for (name, desired) in &self.setup.wanted {
            let of: Vec<_> = host
                .containers
                .values()
                .filter(|c| c.service() == Some(name))
                .filter(|c| c.glass().is_none_or(|until| until <= self.now))
                .collect();
            let right = of
                .iter()
                // One that only sleeps does so also when it hangs.
                .filter(|c| {
                    c.serves(self.now) || (name.is_pod(PodPart::Pause) && is_process(&c.state))
                })
                .filter(|c| desired.published.is_empty() || is_routed(&c.id))
                .filter(|c| {
                    c.identity
                        .as_ref()
                        .is_some_and(|i| i.spec_hash == desired.spec_hash)
                })
                .count();
            let misnamed = desired
                .adopted
                .as_ref()
                .and_then(|adopted| of.iter().find(|container| container.name != adopted.name));
            if let Some(container) = misnamed {
                return Err(format!("{} has not taken over its name", container.name));
            }
            if of.len() != right || right != usize::try_from(desired.replicas).unwrap_or(0) {
                let waits = shell
                    .status
                    .services
                    .get(name)
                    .and_then(|status| status.waiting_on.clone());
                return Err(format!(
                    "{name} has {} containers, {right} of {} are as wanted; it waits on {waits:?}",
                    of.len(),
                    desired.replicas
                ));
            }
        }
        Ok(())
    }

    /// In quiet times one dependency is updated: each replica that has to follow does, once, and no other one.
    fn an_update_replaces_each_dependent_once(&mut self) -> Result<(), Violation> {
        let mut rng = Rng::stream(self.tokens, "update");
        let restarting: Vec<(ServiceName, RunBy)> = (self.setup.wanted.values())
            .flat_map(|desired| &desired.depends_on)
            .filter(|(_, dependency)| dependency.restart)
            .map(|(name, dependency)| (name.clone(), dependency.run_by))
            .collect();
        let Some((name, run_by)) = rng.pick(&restarting).cloned() else {
            return Ok(());
        };
        self.judge.count_updates();
        match run_by {
            RunBy::Compose => self.compose(&Compose::Recreate(name.clone())),
            RunBy::Phoenixd => self.new_generation(&name),
        }
        // Sometimes the supervisor is away just then.
        if rng.chance(300) {
            let (later, away) = (rng.ms(0, 2000), rng.ms(10, 5000));
            self.run_until(self.now + later)?;
            self.crash(away);
        }
        self.run_until(self.now + Duration::from_secs(10))?;
        self.until("updates", RECOVERED, |sim| {
            let shared = sim.engine.lock();
            sim.judge.outdated(&shared.host).map_or(Ok(()), Err)
        })?;
        self.until("liveness", RECOVERED, Self::is_steady)?;
        self.judge.check_count_of_updates(self.now, &name);
        Ok(())
    }

    /// A supervisor that is killed and starts again in a steady world changes nothing, but for lives that end.
    fn restart_changes_nothing(&mut self) -> Result<(), Violation> {
        let before = self.engine.lock().host.mutations;
        let table = self.routed();
        self.crash(Duration::from_millis(200));
        let end = self.now + Duration::from_secs(8);
        let mut expires = self.is_any_glass();
        while self.now < end {
            self.run_until(self.now + Duration::from_millis(100))?;
            let missing: Vec<ContainerId> = table.difference(&self.routed()).cloned().collect();
            expires |= self.judge.saw_expiry();
            if !expires && let Some(id) = missing.first() {
                let text = format!("a restart took {} out of rotation", id.short());
                return Err(Violation {
                    invariant: "I1",
                    at: self.now,
                    text,
                });
            }
        }
        let after = self.engine.lock().host.mutations;
        if after > before && !expires {
            let text = format!("{} calls changed something after a restart", after - before);
            return Err(Violation {
                invariant: "restart",
                at: self.now,
                text,
            });
        }
        Ok(())
    }

    /// After a `down` nothing of ours is left.
    fn goes_down(&mut self, volumes: bool) -> Result<(), Violation> {
        self.judge.goes_down();
        self.deliver(Event::Command(Command::Down { volumes }));
        self.until("down", Duration::from_mins(2), |sim| {
            let finished = sim.shell.as_ref().is_some_and(|shell| shell.finished);
            if finished {
                Ok(())
            } else {
                Err("not finished".to_owned())
            }
        })?;
        let shared = self.engine.lock();
        let left = shared
            .host
            .containers
            .values()
            .filter(|c| c.labelled)
            .count();
        let (networks, volumes_left) = shared.host.ours_left();
        let files = shared.host.files.len();
        if left > 0 || files > 0 || !networks.is_empty() || (volumes && !volumes_left.is_empty()) {
            let text = format!(
                "{left} containers, {files} copies, {networks:?}, {volumes_left:?} are left"
            );
            return Err(Violation {
                invariant: "down",
                at: self.now,
                text,
            });
        }
        Ok(())
    }

    pub(super) fn tick(&mut self) {
        self.at(Duration::from_secs(1), Ev::Tick);
        self.miss_edges();
        self.scan();
        let whole = self.whole_edge();
        let shared = self.engine.lock();
        let status = self.shell.as_ref().map(|shell| &shell.status);
        self.judge.tick(self.now, &shared.host, &whole, status);
    }
}

/// Whether a reason is the end of a life.
pub(super) fn is_expiry(reason: &Reason) -> bool {
    match reason {
        Reason::Expired { .. } => true,
        Reason::Replaces { because, .. } | Reason::Drained { because, .. } => is_expiry(because),
        _ => false,
    }
}
