//! Sizes and durations as Compose writes them.
//!
//! Durations of `x-phoenix` are humantime's and are read where they stand; these are Go's, as in
//! `stop_grace_period` and `healthcheck`.

use std::time::Duration;

/// Why a size could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{text}` is not a size; write a number with one of b, k, m, g, t (powers of 1024): `512m`"
)]
pub struct ByteSizeError {
    text: String,
}

/// Reads `64m`, `1.5gb`, `1024`, `64MiB` as bytes, in powers of 1024, as Docker does
/// (docker/go-units v0.5.0, `RAMInBytes`).
///
/// # Errors
/// Anything else, a negative number, or one beyond `i64`.
pub fn byte_size(text: &str) -> Result<i64, ByteSizeError> {
    let error = || ByteSizeError {
        text: text.to_owned(),
    };
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = lower.get(digits.len()..).unwrap_or_default();
    let factor: u64 = match suffix {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        "p" | "pb" | "pib" => 1 << 50,
        _ => return Err(error()),
    };
    let digits = digits.trim_end();
    if let Ok(whole) = digits.parse::<u64>() {
        let bytes = whole.checked_mul(factor).ok_or_else(error)?;
        return i64::try_from(bytes).map_err(|_| error());
    }
    let number: f64 = digits.parse().map_err(|_| error())?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a fraction of a size is approximate to begin with"
    )]
    let bytes = number * factor as f64;
    #[expect(clippy::cast_precision_loss, reason = "the bound need not be exact")]
    if !bytes.is_finite() || bytes < 0.0 || bytes > i64::MAX as f64 {
        return Err(error());
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked against the bounds above"
    )]
    Ok(bytes as i64)
}

/// Why a duration could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not a duration; write numbers with units h, m, s, ms, us: `1m30s`")]
pub struct GoDurationError {
    text: String,
}

/// Reads `1m30s`, `1.5h`, `500ms`, `0` as Go's `time.ParseDuration` does, without negative ones.
///
/// # Errors
/// Anything else, units of a day and more included (Go has none), or more than 292 years.
pub fn go_duration(text: &str) -> Result<Duration, GoDurationError> {
    let error = || GoDurationError {
        text: text.to_owned(),
    };
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(error());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(error)?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit_ns: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3600 * 1_000_000_000,
            _ => return Err(error()),
        };
        total = total
            .checked_add(scale(number, unit_ns).ok_or_else(error)?)
            .ok_or_else(error)?;
        rest = tail;
    }
    // Go counts nanoseconds in an i64.
    if i64::try_from(total.as_nanos()).is_err() {
        return Err(error());
    }
    Ok(total)
}

/// `number` (digits with at most one point) times a unit, exact to the nanosecond.
fn scale(number: &str, unit_ns: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = u128::from(whole).checked_mul(u128::from(unit_ns))?;
    let mut place = u128::from(unit_ns);
    for digit in fraction.chars() {
        place /= 10;
        nanos += place * u128::from(digit.to_digit(10)?);
    }
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_counts_in_powers_of_1024() {
        for (text, bytes) in [
            ("64m", 64 << 20),
            ("1.5g", 3 << 29),
            ("1024", 1024),
            ("2kb", 2048),
            ("64MiB", 64 << 20),
            ("1 g", 1 << 30),
        ] {
            assert_eq!(byte_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1e300g", "99999999999999g", "1..5m"] {
            assert!(byte_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_reads_as_go_reads_it() {
        for (text, ms) in [
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            ("0", 0),
            (".5s", 500),
            ("0s", 0),
        ] {
            assert_eq!(go_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "1d", "-1s", "s", "1.s.", "99999999999h", "1 s"] {
            assert!(go_duration(text).is_err(), "{text}");
        }
    }
}
