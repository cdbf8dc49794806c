//! Chance that can be repeated.

use super::{now, variable};

/// `SplitMix64`: tiny, and the same for ever.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by `PHOENIXD_JOURNEY_SEED`, else by the clock; the seed is printed, and shown when the test fails.
    pub(crate) fn seeded(what: &str) -> Self {
        const NAME: &str = "PHOENIXD_JOURNEY_SEED";
        let seed = variable(NAME).map_or_else(
            || now().subsec_nanos().into(),
            |seed| seed.parse().expect("a seed is a number"),
        );
        println!("{what}: {NAME}={seed} repeats this run");
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
