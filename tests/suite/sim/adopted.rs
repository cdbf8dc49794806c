//! Labels mode in every seed: what docker compose made is replaced under all faults, crashes between any two calls
//! included, and the checkers hold.

use super::rng::Rng;
use super::seeds::{Length, Ran, run_setup};
use super::setup::Setup;

/// Seeds of their own; a quarter of all others are of labels mode too.
const SEEDS: std::ops::Range<u64> = 7000..7030;

fn run(seed: u64, keep: bool) -> Ran {
    let mut setup = Setup::of_seed(seed);
    setup.adopt(&mut Rng::stream(seed, "always adopted"));
    run_setup(seed, setup, Length::Short, None, keep)
}

#[test]
fn originals_give_way_and_hand_their_names_on_whatever_goes_wrong() {
    for seed in SEEDS {
        if run(seed, false).result.is_ok() {
            continue;
        }
        let ran = run(seed, true);
        let lines: Vec<&str> = ran.transcript.lines().collect();
        let tail = lines[lines.len().saturating_sub(150)..].join("\n");
        let violation = ran.result.err().map(|violation| violation.to_string());
        panic!("{tail}\nseed {seed} {}", violation.unwrap_or_default());
    }
}
