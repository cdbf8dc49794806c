//! Seeds: what one is, and how many are run.

use std::time::Duration;

use phoenixd::reconcile::{Command, Event, Reason, Time};
use phoenixd::spec::ContainerId;

use super::chaos::Chaos;
use super::invariants::{RECOVERED, Violation};
use super::mutants::Mutant;
use super::run::{Ev, Figures, Sim};
use super::setup::Setup;

/// How many lines of a transcript a failure shows.
const TAIL: usize = 120;

/// What became of a seed.
pub(super) struct Ran {
    pub(super) result: Result<(), Violation>,
    pub(super) figures: Figures,
    pub(super) transcript: String,
}

/// One seed from its beginning to its end.
pub(super) fn run_seed(seed: u64, mutant: Option<Mutant>, keep: bool) -> Ran {
    let mut sim = Sim::new(
        seed,
        Setup::of_seed(seed),
        Chaos::of_seed(seed),
        mutant,
        keep,
    );
    let kinds = format!("{:?}", sim.chaos.kinds());
    sim.note(|| format!("seed {seed}: {kinds}"));
    let result = sim.live(seed);
    let mut figures = sim.figures.clone();
    figures.cut = sim.edge.cut;
    let tail = if keep { usize::MAX } else { TAIL };
    Ran {
        result,
        figures,
        transcript: sim.transcript.tail(tail),
    }
}

/// Runs a seed and panics with everything that is needed to understand its failure.
pub(super) fn check_seed(seed: u64) -> Figures {
    let ran = run_seed(seed, None, false);
    if let Err(violation) = ran.result {
        let again = run_seed(seed, None, true);
        let lines: Vec<&str> = again.transcript.lines().collect();
        let from = lines.len().saturating_sub(TAIL);
        panic!(
            "seed {seed} breaks {}: {}\n(at {:?}; the whole transcript: PHOENIXD_SIM_SEED={seed} cargo sim)\n{}",
            violation.invariant,
            violation.text,
            violation.at.since_boot(),
            lines[from..].join("\n"),
        );
    }
    ran.figures
}

impl Sim {
    /// Trouble, recovery, calm, a restart, and the end.
    fn live(&mut self, seed: u64) -> Result<(), Violation> {
        let mut rng = super::rng::Rng::stream(seed, "story");
        self.at(Duration::from_secs(5), Ev::Chaos);
        let trouble = rng.span(Duration::from_mins(3), Duration::from_mins(25));
        self.run_until(self.now + trouble)?;
        self.heal();
        self.run_until(self.now + Duration::from_secs(30))?;
        self.ask_to_recycle();
        self.until("liveness", RECOVERED, Self::is_steady)?;
        let calm = rng.span(Duration::from_mins(3), Duration::from_mins(30));
        self.run_until(self.now + calm)?;
        self.until("liveness", RECOVERED, Self::is_steady)?;
        self.restart_changes_nothing()?;
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
        for (name, desired) in &self.setup.wanted {
            let of: Vec<_> = host
                .containers
                .values()
                .filter(|c| c.service() == Some(name))
                .collect();
            let right = of
                .iter()
                .filter(|c| c.serves(self.now))
                .filter(|c| desired.published.is_empty() || self.edge.has(&c.id))
                .filter(|c| {
                    c.identity
                        .as_ref()
                        .is_some_and(|i| i.spec_hash == desired.spec_hash)
                })
                .count();
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

    /// A supervisor that is killed and starts again in a steady world changes nothing, but for lives that end.
    fn restart_changes_nothing(&mut self) -> Result<(), Violation> {
        let before = self.engine.lock().host.mutations;
        let table = self.routed();
        self.crash(Duration::from_millis(200));
        let end = self.now + Duration::from_secs(8);
        let mut expires = false;
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
        self.until("down", Duration::from_secs(120), |sim| {
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
        if left > 0 || !networks.is_empty() || (volumes && !volumes_left.is_empty()) {
            let text = format!("{left} containers, {networks:?}, {volumes_left:?} are left");
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
        let shared = self.engine.lock();
        self.judge.tick(self.now, &shared.host, &self.edge);
    }
}

#[test]
fn quick() {
    for seed in 0..100 {
        check_seed(seed);
    }
}

/// Kept for messages about an instant.
pub(super) fn seconds(time: Time) -> f64 {
    time.since_boot().as_secs_f64()
}

/// Whether a reason is the end of a life.
pub(super) fn is_expiry(reason: &Reason) -> bool {
    match reason {
        Reason::Expired { .. } => true,
        Reason::Replaces { because, .. } | Reason::Drained { because, .. } => is_expiry(because),
        _ => false,
    }
}

#[test]
fn survey() {
    let from: u64 = std::env::var("FROM")
        .ok()
        .and_then(|t| t.parse().ok())
        .unwrap_or(0);
    let to: u64 = std::env::var("TO")
        .ok()
        .and_then(|t| t.parse().ok())
        .unwrap_or(100);
    let keep: Option<u64> = std::env::var("PHOENIXD_SIM_SEED")
        .ok()
        .and_then(|t| t.parse().ok());
    if let Some(seed) = keep {
        let ran = run_seed(seed, None, true);
        println!("{}", ran.transcript);
        println!("{:?}", ran.result);
        return;
    }
    let mut found: std::collections::BTreeMap<&str, Vec<(u64, String)>> = Default::default();
    let mut total = Figures::default();
    for seed in from..to {
        let ran = std::panic::catch_unwind(|| run_seed(seed, None, false));
        match ran {
            Ok(ran) => {
                if let Err(v) = ran.result {
                    found
                        .entry(v.invariant)
                        .or_default()
                        .push((seed, format!("{:?} {}", v.at.since_boot(), v.text)));
                }
                total.simulated += ran.figures.simulated;
                total.plans += ran.figures.plans;
                total.events += ran.figures.events;
                total.births += ran.figures.births;
            }
            Err(_) => found
                .entry("panic")
                .or_default()
                .push((seed, String::new())),
        }
    }
    for (invariant, seeds) in &found {
        println!("{invariant}: {}", seeds.len());
        for (seed, text) in seeds.iter().take(8) {
            println!("   {seed}: {}", &text[..text.len().min(230)]);
        }
    }
    println!("{total:?}");
}
