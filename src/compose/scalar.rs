//! How docker compose passes on a scalar that is written without quotes where text is wanted: resolved by YAML's types
//! first, then printed as Go prints them. `DEBUG: True` reaches a container as `true`, `1.50` as `1.5`, `010` as `8`.
//!
//! Sources: go-yaml v3.0.1 `resolve.go`; Go 1.24 `strconv.FormatFloat` with `'g', -1`, which `fmt.Sprint` uses. Compared
//! with docker compose 2.40.3 on 2026-11-23. Not here: dates as texts, which Go would print with a time of day; they stay
//! as they are written ([`resolved`]), and only [`typed`] tells them from text.

use super::tree::{Node, Value};

/// A node as YAML types it: what a schema speaks of, and what a number in JSON is made of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Typed<'n> {
    /// `~`, or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, up to what fits `u64`.
    Int(i128),
    /// A number with a fraction or an exponent, or one that is too large for an integer.
    Float(f64),
    /// `2001-12-14`: a point in time.
    Date(&'n str),
    /// Text.
    Text(&'n str),
    /// A list or a mapping.
    Tree,
}

/// What a node is to YAML: only a scalar without quotes can be anything but text.
pub(super) fn typed(node: &Node) -> Typed<'_> {
    let text = match &node.value {
        Value::Null => return Typed::Null,
        Value::List(_) | Value::Map(_) => return Typed::Tree,
        Value::Text(text) => text,
    };
    if !node.plain {
        return Typed::Text(text);
    }
    if is_date(text) {
        return Typed::Date(text);
    }
    match resolved(text).as_deref() {
        Some("true") => Typed::Bool(true),
        Some("false") => Typed::Bool(false),
        Some("+Inf") => Typed::Float(f64::INFINITY),
        Some("-Inf") => Typed::Float(f64::NEG_INFINITY),
        Some("NaN") => Typed::Float(f64::NAN),
        Some(number) => match number.parse() {
            Ok(whole) if integer(&text.replace('_', "")).is_some() => Typed::Int(whole),
            Ok(_) | Err(_) => number.parse().map_or(Typed::Text(text), Typed::Float),
        },
        None => Typed::Text(text),
    }
}

/// A day, or a day with a time, as go-yaml v3.0.1 takes them (`parseTimestamp`): four digits, `-`, and so on.
pub(super) fn is_date(text: &str) -> bool {
    let (day, time) = match text.find(['T', 't', ' ']) {
        Some(end) => text.split_at(end),
        None => (text, ""),
    };
    let parts: Vec<&str> = day.split('-').collect();
    let digits = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let [year, month, date] = parts.as_slice() else {
        return false;
    };
    let in_range = |part: &str, most: u8| part.parse().is_ok_and(|n: u8| (1..=most).contains(&n));
    let is_day = year.len() == 4
        && digits(year, 4)
        && digits(month, 2)
        && digits(date, 2)
        && in_range(month, 12)
        && in_range(date, 31);
    is_day && (time.is_empty() || time.matches(':').count() >= 2)
}

/// What compose makes of the text; `None` where it stays as it is written.
pub(super) fn resolved(text: &str) -> Option<String> {
    match text {
        "true" | "True" | "TRUE" => return Some("true".to_owned()),
        "false" | "False" | "FALSE" => return Some("false".to_owned()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some("+Inf".to_owned()),
        "-.inf" | "-.Inf" | "-.INF" => return Some("-Inf".to_owned()),
        ".nan" | ".NaN" | ".NAN" => return Some("NaN".to_owned()),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let plain = text.replace('_', "");
    integer(&plain).or_else(|| float(&plain))
}

/// An integer as Go reads it with base 0, in decimal digits: `0x`, `0o`, `0b`, and a leading zero for octal.
pub(super) fn integer(text: &str) -> Option<String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, lower.get(2..)?),
        Some("0o") => (8, lower.get(2..)?),
        Some("0b") => (2, lower.get(2..)?),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let number = u64::from_str_radix(digits, radix).ok()?;
    if negative && number > 0 {
        (number <= 1 << 63).then(|| format!("-{number}"))
    } else {
        Some(number.to_string())
    }
}

/// A float, printed with the fewest digits that read back the same.
fn float(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let is_float = digits(whole) && digits(fraction) && digits(exponent) && !exponent.is_empty();
    if !is_float || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    number.is_finite().then(|| as_go_prints(number))
}

/// `%v` of a Go float64: with an exponent below 1e-4 and from 1e6 on.
fn as_go_prints(number: f64) -> String {
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::resolved;

    #[test]
    fn a_plain_scalar_becomes_what_docker_compose_passes_on() {
        for (written, passed_on) in [
            ("False", "false"),
            ("True", "true"),
            ("TRUE", "true"),
            ("1.50", "1.5"),
            ("1.0", "1"),
            ("010", "8"),
            ("0x10", "16"),
            ("0o17", "15"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("1e3", "1000"),
            (".5", "0.5"),
            ("+5", "5"),
            ("-5", "-5"),
            ("-0", "0"),
            ("100000000.5", "1.000000005e+08"),
            ("1e21", "1e+21"),
            ("1e5", "100000"),
            ("1e6", "1e+06"),
            ("123456789.0", "1.23456789e+08"),
            ("1234567.5", "1.2345675e+06"),
            ("0.00001", "1e-05"),
            ("0.0001", "0.0001"),
            (".inf", "+Inf"),
            ("-.inf", "-Inf"),
            (".nan", "NaN"),
            ("1.", "1"),
            ("00", "0"),
            ("08", "8"),
            ("09.5", "9.5"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "1.8446744073709552e+19"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("-9223372036854775809", "-9.223372036854776e+18"),
            ("1__0", "10"),
            ("0_8", "8"),
            ("-0x10", "-16"),
            ("0777", "511"),
            ("1.5e-7", "1.5e-07"),
            ("+.5", "0.5"),
            ("-0.0", "-0"),
            ("12e03", "12000"),
            ("0X1F", "31"),
            ("1_0.5", "10.5"),
            ("5432", "5432"),
        ] {
            assert_eq!(resolved(written).as_deref(), Some(passed_on), "{written}");
        }
    }

    #[test]
    fn what_is_no_number_stays_as_it_is_written() {
        for text in [
            "yes",
            "on",
            "y",
            "0x",
            "1e",
            "1e400",
            "1:30",
            "0o8",
            "tRUE",
            "1.2.3.4",
            "-",
            "+",
            ".",
            "1 ",
            "2001-12-14",
            "",
        ] {
            assert_eq!(resolved(text), None, "{text}");
        }
    }
}
