//! Waiting for the world: level-triggered, quick to see, slow to give up.

use std::fmt::Debug;
use std::time::Duration;

/// Between two looks.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// Time since boot; only differences count.
pub(crate) fn now() -> Duration {
    phoenixd::clock::boot_now()
}

/// How long that is ago.
pub(crate) fn since(began: Duration) -> Duration {
    now().saturating_sub(began)
}

/// Lets a moment pass: the pace of a client or of a look, never an assumption on how long something takes.
pub(crate) fn pause(span: Duration) {
    let end = now() + span;
    loop {
        let left = end.saturating_sub(now());
        if left.is_zero() {
            return;
        }
        // Returns early now and then; the loop does not care.
        std::thread::park_timeout(left);
    }
}

/// Looks until the condition gives something; panics with the last thing seen after the deadline.
pub(crate) fn until<T, S: Debug>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, S>,
) -> T {
    let end = now() + deadline;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if now() >= end => {
                panic!("not within {deadline:?}: {what}; last seen: {seen:#?}")
            }
            Err(_) => pause(LOOK),
        }
    }
}

/// The same for something that is looked at and judged.
pub(crate) fn eventually<T: Debug>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> T,
    mut holds: impl FnMut(&T) -> bool,
) -> T {
    until(what, deadline, || {
        let seen = look();
        if holds(&seen) { Ok(seen) } else { Err(seen) }
    })
}
