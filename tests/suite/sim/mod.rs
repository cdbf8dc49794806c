//! The simulator: the real core and the real executor against a simulated engine, edge, clients and faults, in
//! simulated time, with checkers for every invariant of the design. Deterministic from the seed.
//!
//! `cargo sim` runs as many seeds as fit into a minute (`PHOENIXD_SIM_SECONDS`); `PHOENIXD_SIM_SEED=7 cargo sim`
//! replays one with its whole transcript. A run is a story: trouble, recovery, calm, a restart, a `down` (`seeds`).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and say what they did"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a checker, a fault or a mutant is about the few variants that it names"
)]

mod adopted;
mod chaos;
mod compose;
mod conformance;
mod container;
mod decisions;
mod depends;
mod edge;
mod engine;
mod glass;
mod host;
mod invariants;
mod journal;
mod mutants;
mod outside;
mod pods;
mod promises;
mod proxies;
mod regressions;
mod replay;
mod rng;
mod run;
mod seeds;
mod setup;
mod shell;
mod taints;
mod transcript;

use std::time::Duration;

use seeds::Length;

/// Seeds that every run of the suite goes through, as short stories.
const QUICK: u64 = 80;
/// How long a soak takes when it was asked for, and when it runs with everything else.
const SOAK: (Duration, Duration) = (Duration::from_mins(1), Duration::from_secs(5));

#[test]
fn quick() {
    let figures = seeds::check(0..QUICK, Length::Short, None);
    println!("{figures}");
}

#[test]
fn soak() {
    let number = |name: &str| -> Option<u64> { std::env::var_os(name)?.to_str()?.parse().ok() };
    if let Some(seed) = number("PHOENIXD_SIM_SEED") {
        seeds::replay(seed);
        return;
    }
    let asked_for = std::env::args().any(|argument| argument.contains("sim::soak"));
    let (alone, with_others) = SOAK;
    let time = number("PHOENIXD_SIM_SECONDS").map_or(
        if asked_for { alone } else { with_others },
        Duration::from_secs,
    );
    // Other seeds each time would find more, and a failure that nobody can see again.
    let figures = seeds::check(1000..u64::MAX, Length::Long, Some(time));
    println!("{figures}");
}
