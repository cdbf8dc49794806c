//! A printed model as YAML text, as docker compose prints it: the styles and quotes of go-yaml v3.0.4 with an indent of 2.
//!
//! Not here: reading YAML (`compose::yaml`).

use std::fmt::Write;

use super::printed::Printed;
use super::scalar::float_as_go_prints;
use crate::compose::scalar::{is_date, resolved};

impl Printed {
    /// As YAML, with a line break at the end.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Map(pairs) if !pairs.is_empty() => map(pairs, 0, &mut text),
            Self::List(items) if !items.is_empty() => list(items, 0, &mut text),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::List(_)
            | Self::Map(_) => {
                inline(self, 0, &mut text);
                text.push('\n');
            }
        }
        text
    }
}

/// The pairs of a mapping, the first of them where the text ends.
fn map(pairs: &[(String, Printed)], depth: usize, text: &mut String) {
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            indent(depth, text);
        }
        if is_simple(key) {
            scalar(key, None, text);
            text.push(':');
            below(value, depth, text);
        } else {
            text.push_str("? ");
            scalar(key, Some(depth + 1), text);
            text.push('\n');
            indent(depth, text);
            text.push(':');
            beside(value, depth, text);
        }
    }
}

/// Whether a key may stand before a `:` on its line.
fn is_simple(key: &str) -> bool {
    key.len() <= 128 && !key.contains(is_break)
}

/// The items of a list, the first of them where the text ends.
fn list(items: &[Printed], depth: usize, text: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            indent(depth, text);
        }
        text.push('-');
        beside(item, depth, text);
    }
}

/// What stands behind `-`, on the same line.
fn beside(value: &Printed, depth: usize, text: &mut String) {
    text.push(' ');
    match value {
        Printed::Map(pairs) if !pairs.is_empty() => map(pairs, depth + 1, text),
        Printed::List(items) if !items.is_empty() => list(items, depth + 1, text),
        Printed::Null
        | Printed::Bool(_)
        | Printed::Int(_)
        | Printed::Float(_)
        | Printed::Text(_)
        | Printed::List(_)
        | Printed::Map(_) => {
            inline(value, depth, text);
            text.push('\n');
        }
    }
}

/// What stands behind `key:`.
fn below(value: &Printed, depth: usize, text: &mut String) {
    match value {
        Printed::Map(pairs) if !pairs.is_empty() => {
            text.push('\n');
            indent(depth + 1, text);
            map(pairs, depth + 1, text);
        }
        Printed::List(items) if !items.is_empty() => {
            text.push('\n');
            indent(depth + 1, text);
            list(items, depth + 1, text);
        }
        Printed::Null
        | Printed::Bool(_)
        | Printed::Int(_)
        | Printed::Float(_)
        | Printed::Text(_)
        | Printed::List(_)
        | Printed::Map(_) => {
            text.push(' ');
            inline(value, depth, text);
            text.push('\n');
        }
    }
}

fn indent(depth: usize, text: &mut String) {
    text.push_str(&"  ".repeat(depth));
}

/// What needs no lines of its own.
fn inline(value: &Printed, depth: usize, text: &mut String) {
    // Writing to a string cannot fail.
    match value {
        Printed::Null => text.push_str("null"),
        Printed::Bool(value) => _ = write!(text, "{value}"),
        Printed::Int(number) => _ = write!(text, "{number}"),
        Printed::Float(number) => text.push_str(&float_as_go_prints(*number)),
        Printed::Text(value) => scalar(value, Some(depth + 1), text),
        Printed::List(_) => text.push_str("[]"),
        Printed::Map(_) => text.push_str("{}"),
    }
}

/// A text in the style that go-yaml chooses; a key, which has no depth, never as a block.
fn scalar(value: &str, depth: Option<usize>, text: &mut String) {
    let found = Analysis::of(value);
    if value.contains('\n') {
        match depth.filter(|_| found.block_allowed) {
            Some(depth) => literal(value, depth, text),
            None => double_quoted(value, text),
        }
    } else if !is_text(value) {
        double_quoted(value, text);
    } else if found.plain_allowed {
        text.push_str(value);
    } else if found.single_allowed {
        text.push('\'');
        text.push_str(&value.replace('\'', "''"));
        text.push('\'');
    } else {
        double_quoted(value, text);
    }
}

/// Whether YAML reads it as text when it stands without quotes, and YAML 1.1 as well.
fn is_text(value: &str) -> bool {
    const OTHERS: [&str; 22] = [
        "", "~", "null", "Null", "NULL", "<<", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON",
        "n", "N", "no", "No", "NO", "off", "Off", "OFF",
    ];
    !OTHERS.contains(&value)
        && resolved(value).is_none()
        && !is_date(value)
        && !is_sexagesimal(value)
}

/// `1:30`, which YAML 1.1 takes for 90.
fn is_sexagesimal(value: &str) -> bool {
    let unsigned = value.strip_prefix(['+', '-']).unwrap_or(value);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut parts = whole.split(':');
    let is_number = |part: &str| part.chars().all(|c| c.is_ascii_digit() || c == '_');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    first.starts_with(|c: char| c.is_ascii_digit())
        && is_number(first)
        && !rest.is_empty()
        && is_number(fraction)
        && rest.iter().all(|part| {
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            digits
                && (part.len() == 1
                    || part.len() == 2 && part.starts_with(|c: char| ('0'..'6').contains(&c)))
        })
}

/// Which styles can hold a text (go-yaml's `yaml_emitter_analyze_scalar`).
struct Analysis {
    plain_allowed: bool,
    single_allowed: bool,
    block_allowed: bool,
}

impl Analysis {
    fn of(value: &str) -> Self {
        let mut indicators = value.starts_with("---") || value.starts_with("...");
        let (mut special, mut tab, mut breaks) = (false, false, false);
        let (mut break_space, mut space_break) = (false, false);
        let mut before: Option<char> = None;
        let mut letters = value.chars().peekable();
        while let Some(letter) = letters.next() {
            let ends_word = letters.peek().is_none_or(|next| is_blank(*next));
            indicators |= match (before, letter) {
                (
                    None,
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"'
                    | '%' | '@' | '`',
                ) => true,
                (None, '?' | '-') | (_, ':') => ends_word,
                (Some(before), '#') => is_blank(before),
                (_, _) => false,
            };
            if letter == '\t' {
                tab = true;
            } else if letter != '\n' && !is_printable(letter) {
                special = true;
            }
            breaks |= is_break(letter);
            break_space |= letter == ' ' && before.is_some_and(is_break);
            space_break |= is_break(letter) && before == Some(' ');
            before = Some(letter);
        }
        let first = value.chars().next();
        let edge = |letter: Option<char>| letter.is_some_and(|c| c == ' ' || is_break(c));
        let cannot_quote = break_space || space_break || tab || special;
        Self {
            plain_allowed: !indicators && !breaks && !cannot_quote && !edge(first) && !edge(before),
            single_allowed: !cannot_quote,
            block_allowed: before != Some(' ') && !space_break && !special,
        }
    }
}

fn is_blank(letter: char) -> bool {
    letter == ' ' || letter == '\t' || is_break(letter)
}

fn is_break(letter: char) -> bool {
    matches!(letter, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(letter: char) -> bool {
    matches!(letter, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && letter != '\u{feff}'
}

fn literal(value: &str, depth: usize, text: &mut String) {
    text.push('|');
    if value.starts_with([' ', '\n']) {
        text.push('2');
    }
    match value.strip_suffix('\n') {
        None => text.push('-'),
        Some(rest) if rest.is_empty() || rest.ends_with('\n') => text.push('+'),
        Some(_) => {}
    }
    let body = value.strip_suffix('\n').unwrap_or(value);
    for line in body.split('\n') {
        text.push('\n');
        if !line.is_empty() {
            indent(depth, text);
            text.push_str(line);
        }
    }
}

fn double_quoted(value: &str, text: &mut String) {
    text.push('"');
    for letter in value.chars() {
        let escape = match letter {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\0' => "\\0",
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\u{b}' => "\\v",
            '\u{c}' => "\\f",
            '\r' => "\\r",
            '\u{1b}' => "\\e",
            '\u{85}' => "\\N",
            '\u{2028}' => "\\L",
            '\u{2029}' => "\\P",
            other if is_printable(other) => {
                text.push(other);
                continue;
            }
            other => {
                let code = u32::from(other);
                // Writing to a string cannot fail.
                match code {
                    0..=0xff => _ = write!(text, "\\x{code:02X}"),
                    0x100..=0xffff => _ = write!(text, "\\u{code:04X}"),
                    _ => _ = write!(text, "\\U{code:08X}"),
                }
                continue;
            }
        };
        text.push_str(escape);
    }
    text.push('"');
}
