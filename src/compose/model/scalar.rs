//! A single value: which types it may have, what Go's decoder makes of it, and how that is printed.
//!
//! The way is docker compose's: YAML types the scalar, a text is cast where `loader/interpolate.go` of compose-go 2.9.1 says
//! so, the schema looks at the type, and the decoder (mapstructure with the hooks of `loader/mapstructure.go`) makes Go's
//! value of it. Not here: anything that is no single value.

use super::printed::Printed;
use super::shape::{Accepts, Scalar, To};
use crate::compose::scalar::{Typed, resolved, typed};
use crate::compose::suggest;
use crate::compose::tree::Node;
use crate::spec::byte_size;

/// Why a value cannot be what it should be.
#[derive(Debug)]
pub(super) enum Wrong {
    /// Not a single value; what is wanted.
    Kind(&'static str),
    /// A single value of another type.
    Type(String, String),
    /// A value that is none of those allowed.
    Value(String, String),
}

/// What is printed for a value.
pub(super) fn read(scalar: &Scalar, node: &Node) -> Result<Printed, Wrong> {
    let written = typed(node);
    let mut value = written;
    if let Typed::Text(text) = written
        && scalar.cast
    {
        value = cast(scalar.to, text)?;
    }
    accept(scalar, value)?;
    let shown = || written_as(written);
    if let Some((min, max)) = scalar.range {
        let is_within = match value {
            Typed::Int(number) => (min..=max).contains(&number),
            Typed::Float(number) => whole(number).is_some_and(|n| (min..=max).contains(&n)),
            Typed::Null | Typed::Bool(_) | Typed::Date(_) | Typed::Text(_) | Typed::Tree => true,
        };
        if !is_within {
            let hint = format!("write a number from {min} to {max}");
            return Err(Wrong::Value(format!("{} is out of range", shown()), hint));
        }
    }
    if let Typed::Text(text) = value {
        if !scalar.words.is_empty() && !scalar.words.contains(&text) {
            let hint = suggest::hint(text, scalar.words);
            return Err(Wrong::Value(format!("`{text}` is not known here"), hint));
        }
        if let Some(rule) = scalar.rule.filter(|rule| !(rule.holds)(text)) {
            let message = format!("`{text}` is not allowed here");
            return Err(Wrong::Value(message, rule.hint.to_owned()));
        }
    }
    decode(scalar.to, value)
}

/// Whether the schema allows the type.
fn accept(scalar: &Scalar, value: Typed<'_>) -> Result<(), Wrong> {
    let accepts = scalar.accepts;
    let is_allowed = match value {
        Typed::Null => accepts.has(Accepts::NULL),
        Typed::Bool(_) => accepts.has(Accepts::BOOL),
        Typed::Int(_) => accepts.has(Accepts::WHOLE),
        Typed::Float(number) if whole(number).is_some() => accepts.has(Accepts::WHOLE),
        Typed::Float(number) => accepts.has(Accepts::NUMBER) && number.is_finite(),
        Typed::Text(_) => accepts.has(Accepts::TEXT),
        Typed::Date(_) | Typed::Tree => false,
    };
    if is_allowed {
        return Ok(());
    }
    let wanted = wanted(accepts);
    match value {
        Typed::Float(number) if !number.is_finite() => Err(Wrong::Value(
            format!("`{number}` is no number that anything could be made of"),
            format!("write {wanted}"),
        )),
        Typed::Tree | Typed::Null => Err(Wrong::Kind("a single value")),
        Typed::Date(text) => Err(Wrong::Type(
            format!("`{text}` is a date to YAML, and {wanted} is expected"),
            format!("quote it: `\"{text}\"`"),
        )),
        Typed::Text(text) => Err(Wrong::Type(
            format!("`{text}` is text, and {wanted} is expected"),
            "write it without quotes".to_owned(),
        )),
        Typed::Bool(_) | Typed::Int(_) | Typed::Float(_) => {
            let text = written_as(value);
            let is = match value {
                Typed::Bool(_) => "a truth value",
                Typed::Null
                | Typed::Int(_)
                | Typed::Float(_)
                | Typed::Date(_)
                | Typed::Text(_)
                | Typed::Tree => "a number",
            };
            let hint = if accepts.has(Accepts::TEXT) && !accepts.has(Accepts::WHOLE) {
                format!("quote it: `\"{text}\"`")
            } else {
                format!("write {wanted}")
            };
            let message = format!("{text} is {is} to YAML, and {wanted} is expected");
            Err(Wrong::Type(message, hint))
        }
    }
}

/// In words.
fn wanted(accepts: Accepts) -> &'static str {
    if accepts.has(Accepts::NUMBER) {
        "a number"
    } else if accepts.has(Accepts::WHOLE) {
        "a whole number"
    } else if accepts.has(Accepts::BOOL) {
        "`true` or `false`"
    } else {
        "text"
    }
}

/// As it would be written.
fn written_as(value: Typed<'_>) -> String {
    match value {
        Typed::Null => "nothing".to_owned(),
        Typed::Bool(value) => format!("`{value}`"),
        Typed::Int(number) => number.to_string(),
        Typed::Float(number) => number.to_string(),
        Typed::Date(text) | Typed::Text(text) => format!("`{text}`"),
        Typed::Tree => "a tree".to_owned(),
    }
}

/// The whole number that a float is.
#[expect(
    clippy::cast_possible_truncation,
    reason = "numbers beyond i128 are cut to its bounds, which are out of every range"
)]
fn whole(number: f64) -> Option<i128> {
    (number.is_finite() && number.fract() == 0.0).then_some(number as i128)
}

/// A text as the type of its place.
fn cast(to: To, text: &str) -> Result<Typed<'_>, Wrong> {
    match to {
        To::Bool => boolean(text).map(Typed::Bool),
        To::Int | To::Whole | To::Natural => integer(text).map(|number| Typed::Int(number.into())),
        To::Float => float(text).map(Typed::Float),
        To::Text | To::Printed | To::Bytes | To::Duration | To::Cpus | To::Count | To::Mode => {
            Ok(Typed::Text(text))
        }
    }
}

/// What Go keeps, as it is printed.
fn decode(to: To, value: Typed<'_>) -> Result<Printed, Wrong> {
    match to {
        To::Text => text(value),
        To::Printed => Ok(Printed::Text(as_go_prints(value))),
        To::Bool => match value {
            Typed::Bool(value) => Ok(Printed::Bool(value)),
            Typed::Text(text) => boolean(text).map(Printed::Bool),
            Typed::Null | Typed::Int(_) | Typed::Float(_) | Typed::Date(_) | Typed::Tree => {
                Err(unfit(value, "`true` or `false`"))
            }
        },
        To::Int => number(value, i128::from(i64::MIN), true),
        To::Whole => match value {
            Typed::Float(_) => Err(unfit(value, "a whole number")),
            Typed::Null
            | Typed::Bool(_)
            | Typed::Int(_)
            | Typed::Date(_)
            | Typed::Text(_)
            | Typed::Tree => number(value, i128::from(i64::MIN), true),
        },
        To::Natural => number(value, 0, false),
        To::Float | To::Cpus => match value {
            Typed::Float(number) => Ok(single(number)),
            #[expect(clippy::cast_precision_loss, reason = "as Go does it")]
            Typed::Int(number) => Ok(single(number as f64)),
            Typed::Text(text) => float(text).map(single),
            Typed::Null | Typed::Bool(_) | Typed::Date(_) | Typed::Tree => {
                Err(unfit(value, "a number"))
            }
        },
        To::Bytes => match value {
            Typed::Int(number) => Ok(Printed::Text(number.to_string())),
            Typed::Text(text) => byte_size(text)
                .map(|bytes| Printed::Text(bytes.to_string()))
                .map_err(|_| {
                    let hint =
                        "write a number with one of b, k, m, g, t (powers of 1024), such as `512m`";
                    Wrong::Value(format!("`{text}` is not a size"), hint.to_owned())
                }),
            // Go's decoder passes over it without a word.
            Typed::Float(_) => Ok(Printed::Text("0".to_owned())),
            Typed::Null | Typed::Bool(_) | Typed::Date(_) | Typed::Tree => {
                Err(unfit(value, "a size"))
            }
        },
        To::Duration => {
            let text = as_go_prints(value);
            match nanoseconds(&text) {
                Some(time) => Ok(Printed::Text(duration(time))),
                None => Err(Wrong::Value(
                    format!("`{text}` is not a duration"),
                    "write numbers with units w, d, h, m, s, ms, us, such as `1m30s`".to_owned(),
                )),
            }
        }
        To::Count => match value {
            Typed::Text(text) if text.eq_ignore_ascii_case("all") => Ok(Printed::Int(-1)),
            Typed::Text(text) => integer(text).map(|number| Printed::Int(number.into())),
            Typed::Float(_) => Err(unfit(value, "a whole number, or `all`")),
            Typed::Null | Typed::Bool(_) | Typed::Int(_) | Typed::Date(_) | Typed::Tree => {
                number(value, i128::from(i64::MIN), false)
            }
        },
        To::Mode => mode(value),
    }
}

/// A file's mode: octal digits.
fn mode(value: Typed<'_>) -> Result<Printed, Wrong> {
    let number = match value {
        Typed::Int(number) => i64::try_from(number).ok(),
        Typed::Text(text) => i64::from_str_radix(text, 8).ok(),
        Typed::Null | Typed::Bool(_) | Typed::Float(_) | Typed::Date(_) | Typed::Tree => None,
    };
    match number {
        Some(number) if number < 0 => Ok(Printed::Text(format!("0-{:o}", number.unsigned_abs()))),
        Some(number) => Ok(Printed::Text(format!("0{number:o}"))),
        None => Err(Wrong::Value(
            format!("{} is not a file's mode", written_as(value)),
            "write octal digits, such as `0440`".to_owned(),
        )),
    }
}

fn text(value: Typed<'_>) -> Result<Printed, Wrong> {
    match value {
        Typed::Text(text) => Ok(Printed::Text(text.to_owned())),
        Typed::Int(number) => Ok(Printed::Text(number.to_string())),
        Typed::Null => Ok(Printed::Text(String::new())),
        Typed::Bool(_) | Typed::Float(_) | Typed::Date(_) | Typed::Tree => {
            Err(unfit(value, "text"))
        }
    }
}

/// An integer of Go's, from a number that may have a fraction.
fn number(value: Typed<'_>, min: i128, texts: bool) -> Result<Printed, Wrong> {
    let number = match value {
        Typed::Int(number) => Some(number),
        #[expect(clippy::cast_possible_truncation, reason = "Go cuts the fraction, too")]
        Typed::Float(number) => Some(number.trunc() as i128),
        Typed::Text(text) if texts => Some(integer(text)?.into()),
        Typed::Null | Typed::Bool(_) | Typed::Date(_) | Typed::Text(_) | Typed::Tree => None,
    };
    match number {
        Some(number) if (min..=i128::from(i64::MAX)).contains(&number) => Ok(Printed::Int(number)),
        Some(number) => Err(Wrong::Value(
            format!("{number} is out of range"),
            format!("write a number of {min} or more"),
        )),
        None => Err(unfit(value, "a whole number without quotes")),
    }
}

fn unfit(value: Typed<'_>, wanted: &str) -> Wrong {
    Wrong::Type(
        format!("{} cannot be used: {wanted} is expected", written_as(value)),
        format!("write {wanted}"),
    )
}

/// A `float32`, with the digits that Go prints for it.
fn single(number: f64) -> Printed {
    #[expect(clippy::cast_possible_truncation, reason = "Go keeps a float32")]
    let number = number as f32;
    Printed::Float(number.to_string().parse().unwrap_or_default())
}

/// `true` or `false` in the spellings of YAML 1.1 (`loader/interpolate.go`).
pub(super) fn boolean(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "y" | "yes" | "on" => Ok(true),
        "false" | "n" | "no" | "off" => Ok(false),
        _ => Err(Wrong::Value(
            format!("`{text}` is neither true nor false"),
            "write `true` or `false`".to_owned(),
        )),
    }
}

/// Decimal digits with a sign or none, as Go's `ParseInt` takes them.
fn integer(text: &str) -> Result<i64, Wrong> {
    text.parse().map_err(|_| {
        Wrong::Value(
            format!("`{text}` is not a whole number"),
            "write decimal digits only".to_owned(),
        )
    })
}

/// A finite number.
fn float(text: &str) -> Result<f64, Wrong> {
    (text.parse().ok())
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| {
            let hint = "write digits, with a point if need be".to_owned();
            Wrong::Value(format!("`{text}` is not a number"), hint)
        })
}

/// `fmt.Sprint` of a scalar.
pub(super) fn as_go_prints(value: Typed<'_>) -> String {
    match value {
        Typed::Null => "<nil>".to_owned(),
        Typed::Bool(value) => value.to_string(),
        Typed::Int(number) => number.to_string(),
        Typed::Float(number) => float_as_go_prints(number),
        Typed::Date(text) | Typed::Text(text) => text.to_owned(),
        Typed::Tree => String::new(),
    }
}

/// `fmt.Sprint` of a float.
pub(super) fn float_as_go_prints(number: f64) -> String {
    let text = format!("{number:e}");
    resolved(&text).unwrap_or(text)
}

/// Reads a duration as go-str2duration v2 does: Go's own form with days and weeks.
fn nanoseconds(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        total = total.checked_add(times(number, unit_of(unit)?)?)?;
        rest = tail;
        if rest.is_empty() {
            break;
        }
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

fn unit_of(unit: &str) -> Option<i128> {
    const SECOND: i128 = 1_000_000_000;
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        "d" => 24 * 3600 * SECOND,
        "w" => 7 * 24 * 3600 * SECOND,
        _ => return None,
    })
}

/// Digits with at most one point, times a unit; exact to the nanosecond.
fn times(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let digits: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut total = digits.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.chars() {
        place /= 10;
        total += place * i128::from(digit.to_digit(10)?);
    }
    Some(total)
}

/// Go's `Duration.String`: `1h0m0s`, `1m30s`, `1.5s`, `100ms`.
fn duration(time: i64) -> String {
    let sign = if time < 0 { "-" } else { "" };
    let total = time.unsigned_abs();
    let decimal = |number: u64, unit: u64| {
        let fraction = format!("{:0width$}", number % unit, width = digits(unit));
        let fraction = fraction.trim_end_matches('0');
        let whole = number / unit;
        if fraction.is_empty() {
            whole.to_string()
        } else {
            format!("{whole}.{fraction}")
        }
    };
    match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{total}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(total, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(total, 1_000_000)),
        _ => {
            let minutes = total / 60_000_000_000;
            let seconds = decimal(total % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// How many digits the part below a unit has.
fn digits(unit: u64) -> usize {
    match unit {
        1_000 => 3,
        1_000_000 => 6,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, nanoseconds};

    #[test]
    fn a_duration_is_printed_as_go_prints_it() {
        for (written, printed) in [
            ("90s", "1m30s"),
            ("1d12h", "36h0m0s"),
            ("1w", "168h0m0s"),
            ("1.5s", "1.5s"),
            ("100ms", "100ms"),
            ("1500us", "1.5ms"),
            ("0", "0s"),
            ("0s", "0s"),
            ("-30s", "-30s"),
            ("1h", "1h0m0s"),
            ("1ns", "1ns"),
            ("2m0.25s", "2m0.25s"),
        ] {
            let time = nanoseconds(written).unwrap();
            assert_eq!(duration(time), printed, "{written}");
        }
        for text in ["", "5", "s", "1 s", "1y", "1..5s", "-"] {
            assert_eq!(nanoseconds(text), None, "{text}");
        }
    }
}
