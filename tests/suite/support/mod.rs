//! What several tests share.
#![expect(clippy::panic, reason = "tests fail by panicking")]

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{interval, timeout};

/// How long a condition may take before the test fails: far beyond any slow machine, so that only a condition that
/// will never hold reaches it.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks.
const POLL: Duration = Duration::from_millis(5);

/// Looks until the condition holds, and returns the value with which it held.
///
/// # Panics
/// With the last value, when the condition does not hold within half a minute.
pub(crate) async fn eventually<T: Debug>(
    what: &str,
    mut look: impl AsyncFnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    let mut last = None;
    let poll = async {
        let mut pace = interval(POLL);
        loop {
            pace.tick().await;
            let value = look().await;
            if holds(&value) {
                return value;
            }
            last = Some(value);
        }
    };
    let Ok(value) = timeout(DEADLINE, poll).await else {
        panic!("not within {DEADLINE:?}: {what}; last seen: {last:?}");
    };
    value
}
