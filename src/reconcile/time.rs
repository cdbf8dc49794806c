//! The one clock of the core: time since the host booted, suspended time included.
//!
//! A step of the wall clock cannot be seen here, so it cannot recycle anything.

use std::ops::Add;
use std::time::Duration;

/// An instant, counted from the boot of the host (`CLOCK_BOOTTIME`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(Duration);

impl Time {
    /// The boot of the host.
    pub const BOOT: Self = Self(Duration::ZERO);

    /// So long after the boot.
    pub fn from_boot(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long after the boot.
    pub fn since_boot(self) -> Duration {
        self.0
    }

    /// How long after `earlier`; zero when it was not after.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// So long before; the boot at the earliest.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}
