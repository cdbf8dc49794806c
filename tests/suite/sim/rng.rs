//! The simulator's own random numbers: small, fixed for ever, one stream per purpose, so that one more draw in one
//! place does not shift all the others and old seeds stay what they were.

use std::time::Duration;

/// `splitmix64`.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// The stream of a seed for one purpose.
    pub(super) fn stream(seed: u64, purpose: &str) -> Self {
        let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
        for byte in purpose.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let mut rng = Self(state);
        rng.next();
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`; 0 where that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// True in `permille` of 1000 cases.
    pub(super) fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    /// Between the two, `longest` included.
    pub(super) fn span(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let width = micros(longest.saturating_sub(shortest)).saturating_add(1);
        shortest + Duration::from_micros(self.below(width))
    }

    /// Milliseconds between the two.
    pub(super) fn ms(&mut self, shortest: u64, longest: u64) -> Duration {
        self.span(
            Duration::from_millis(shortest),
            Duration::from_millis(longest),
        )
    }

    /// One of them.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let index = self.below(u64::try_from(items.len()).unwrap_or(0));
        items.get(usize::try_from(index).unwrap_or(0))
    }

    /// One of them; there is at least one.
    pub(super) fn one<T: Copy, const N: usize>(&mut self, items: [T; N]) -> T {
        *self.pick(&items).unwrap()
    }
}
