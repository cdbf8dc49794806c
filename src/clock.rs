//! The system's clocks, and nothing else reads them.
//!
//! Two clocks matter. *Boot time* counts from the host's boot, never steps, and goes on while the host sleeps
//! (`CLOCK_BOOTTIME`): ages and deadlines are measured on it. *Wall time* is for people and for Docker's timestamps.
//!
//! Not here: timers and waiting (tokio's, in `daemon`), and how times look to people (`report`).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How long ago the host was booted, the time it was suspended included. Never goes backwards.
pub fn boot_now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

/// How long this thread has had a processor (`CLOCK_THREAD_CPUTIME_ID`): what its work costs others, however long it
/// had to wait for its turn.
pub fn thread_busy() -> Duration {
    let busy = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(busy.tv_sec).unwrap_or_default(),
        u32::try_from(busy.tv_nsec).unwrap_or_default(),
    )
}

/// The wall clock, which may step in both directions.
pub fn wall_now() -> Timestamp {
    Timestamp::now()
}

/// The instant of tokio's timers that lies `span` ahead. They do not count suspended time: bound what you wait.
pub fn timer_in(span: Duration) -> tokio::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    let now = tokio::time::Instant::now();
    now + span
}

/// Which boot of the host this is, as the kernel names it; boot times of different boots cannot be compared. `None`
/// where `/proc` is not at hand.
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = text.trim();
    (!id.is_empty()).then(|| id.to_owned())
}

/// A timestamp that is not RFC 3339.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not an RFC 3339 timestamp")]
pub struct TimestampError {
    text: String,
}

/// Reads one of Docker's timestamps. `None` means never: Go's zero time (`0001-01-01T00:00:00Z`), or no text at all.
///
/// # Errors
/// Anything that is not RFC 3339 with an offset.
pub fn docker_timestamp(text: &str) -> Result<Option<Timestamp>, TimestampError> {
    if text.is_empty() || text == "0001-01-01T00:00:00Z" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| TimestampError {
        text: text.to_owned(),
    })
}

/// One of Docker's timestamps as boot time, by what both clocks say now: see [`boot_time`].
///
/// # Errors
/// As [`docker_timestamp`].
pub fn docker_boot_time(text: &str) -> Result<Option<Duration>, TimestampError> {
    Ok(docker_timestamp(text)?.map(|then| boot_time(then, wall_now(), boot_now())))
}

/// What the boot clock showed at the wall time `then`, if the wall clock has not stepped since.
///
/// What is before the boot becomes zero, and what is in the future (the wall clock was set back) becomes `boot_now`,
/// so that an age derived from it is never negative.
pub fn boot_time(then: Timestamp, wall_now: Timestamp, boot_now: Duration) -> Duration {
    let age = wall_now.duration_since(then).max(SignedDuration::ZERO);
    boot_now.saturating_sub(age.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_does_not_go_backwards() {
        let first = boot_now();
        assert!(first > Duration::ZERO);
        assert!(boot_now() >= first);
    }

    #[test]
    fn go_s_zero_time_means_never() {
        assert_eq!(docker_timestamp("0001-01-01T00:00:00Z"), Ok(None));
        assert_eq!(docker_boot_time(""), Ok(None));
    }

    #[test]
    fn docker_s_nanoseconds_and_offsets_are_read() {
        let expected = Timestamp::new(1_767_268_800, 123_456_789).unwrap();
        for text in [
            "2026-01-01T12:00:00.123456789Z",
            "2026-01-01T14:00:00.123456789+02:00",
        ] {
            assert_eq!(docker_timestamp(text), Ok(Some(expected)), "{text}");
        }
        for text in [
            "yesterday",
            "2026-01-01",
            "2026-01-01T12:00:00",
            "1767268800",
        ] {
            assert!(docker_timestamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_timestamp_becomes_boot_time_and_stays_between_boot_and_now() {
        let wall = Timestamp::from_second(1_000_000).unwrap();
        let boot = Duration::from_secs(500);
        for (second, expected) in [
            (999_900, 400),
            (1_000_000, 500),
            (1_000_060, 500),
            (999_000, 0),
            (-62_135_596_800, 0),
        ] {
            let then = Timestamp::from_second(second).unwrap();
            assert_eq!(
                boot_time(then, wall, boot),
                Duration::from_secs(expected),
                "{second}"
            );
        }
    }

    #[test]
    fn the_boot_has_a_name() {
        assert_eq!(boot_id().map(|id| id.len()), Some(36));
    }
}
