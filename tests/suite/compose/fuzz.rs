//! The functions of the fuzz targets over their seeds, over the files of these tests, and over simple mutations of
//! both: what scripts/fuzz runs for hours on a nightly compiler holds here in seconds.

use std::path::PathBuf;

#[path = "../../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "there it is a library")]
mod targets;

/// Every file below the folders.
fn files(folders: &[&str]) -> Vec<Vec<u8>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// A generator of numbers that are the same in every run (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// What a syntax breaks on.
const PIECES: [&str; 30] = [
    ":",
    "-",
    "{",
    "}",
    "[",
    "]",
    "'",
    "\"",
    "\n",
    "  ",
    "$",
    "${",
    "}",
    "!reset ",
    "!override ",
    "&a ",
    "*a",
    "<<: ",
    "null",
    "#",
    "\u{0}",
    "é",
    "%",
    "/",
    "shop-web-3",
    "container:",
    "%2F",
    "?name=",
    "&",
    "HostConfig",
];

fn mutated(seed: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(data.len());
        match numbers.below(4) {
            0 => {
                let to = (at + 1 + numbers.below(12)).min(data.len());
                data.drain(at.min(to)..to);
            }
            1 => {
                let piece = PIECES[numbers.below(PIECES.len())];
                data.splice(at..at, piece.bytes());
            }
            2 => {
                let from = numbers.below(other.len());
                let to = (from + numbers.below(40)).min(other.len());
                data.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = u8::try_from(numbers.below(256)).unwrap();
                }
            }
        }
    }
    data
}

fn run(folders: &[&str], rounds: usize, target: fn(&[u8])) {
    let seeds = files(folders);
    let mut numbers = Numbers(1);
    for seed in &seeds {
        target(seed);
    }
    for round in 0..rounds {
        let seed = &seeds[round % seeds.len()];
        let other = &seeds[numbers.below(seeds.len())];
        let data = mutated(seed, other, &mut numbers);
        let outcome = std::panic::catch_unwind(|| target(&data));
        assert!(
            outcome.is_ok(),
            "round {round}: {}",
            String::from_utf8_lossy(&data)
        );
    }
}

#[test]
fn no_project_makes_the_loader_panic_and_what_is_printed_is_read_as_the_same_again() {
    let folders = [
        "fuzz/seeds/load",
        "tests/suite/compose/valid",
        "tests/suite/compose/invalid",
    ];
    run(&folders, 1500, targets::load_project);
}

#[test]
fn no_value_makes_the_loader_panic() {
    run(&["fuzz/seeds/value"], 100, targets::value);
}

#[test]
fn no_journal_makes_its_reader_panic_and_no_changed_byte_passes_its_check() {
    run(&["fuzz/seeds/journal"], 3000, targets::journal);
}

#[test]
fn no_file_of_variables_makes_its_reader_panic_or_wins_over_the_environment() {
    run(&["fuzz/seeds/dotenv"], 2000, targets::dotenv);
}

#[test]
fn no_request_makes_the_guard_panic_or_leads_into_a_managed_container() {
    run(&["fuzz/seeds/guard"], 20_000, targets::guard);
}

#[test]
fn no_line_of_an_edge_s_control_makes_its_reader_panic_or_is_said_otherwise_than_heard() {
    run(&["fuzz/seeds/control"], 20_000, targets::control);
}
