//! A printed model as JSON text, indented as `docker compose config --format json` indents it.
//!
//! The values are equal to docker compose's; the spelling differs where Go escapes `<`, `>` and `&`.

use std::fmt::Write;

use super::printed::Printed;

impl Printed {
    /// As JSON, with a line break at the end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = String::new();
        write(self, 0, &mut text);
        text.push('\n');
        text
    }
}

impl Printed {
    /// As Go's `encoding/json` writes it: on one line, with what HTML takes for its own escaped.
    pub(super) fn to_compact_json(&self) -> String {
        let mut text = String::new();
        compact(self, &mut text);
        text
    }
}

fn compact(value: &Printed, text: &mut String) {
    let separate = |index: usize, text: &mut String| {
        if index > 0 {
            text.push(',');
        }
    };
    match value {
        Printed::Null | Printed::Bool(_) | Printed::Int(_) | Printed::Float(_) => {
            write(value, 0, text);
        }
        Printed::Text(value) => quote_for_html(value, text),
        Printed::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(index, text);
                compact(item, text);
            }
            text.push(']');
        }
        Printed::Map(pairs) => {
            text.push('{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                separate(index, text);
                quote_for_html(key, text);
                text.push(':');
                compact(value, text);
            }
            text.push('}');
        }
    }
}

/// `<`, `>`, `&` and the two line separators of JavaScript become escapes.
fn quote_for_html(value: &str, text: &mut String) {
    let mut quoted = String::new();
    quote(value, &mut quoted);
    for letter in quoted.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
            _ => text.push(letter),
        }
    }
}

fn write(value: &Printed, depth: usize, text: &mut String) {
    // Writing to a string cannot fail.
    match value {
        Printed::Null => text.push_str("null"),
        Printed::Bool(value) => _ = write!(text, "{value}"),
        Printed::Int(number) => _ = write!(text, "{number}"),
        Printed::Float(number) => text.push_str(&as_go_prints(*number)),
        Printed::Text(value) => quote(value, text),
        Printed::List(items) if items.is_empty() => text.push_str("[]"),
        Printed::Map(pairs) if pairs.is_empty() => text.push_str("{}"),
        Printed::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                line(index, depth + 1, text);
                write(item, depth + 1, text);
            }
            close(depth, ']', text);
        }
        Printed::Map(pairs) => {
            text.push('{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                line(index, depth + 1, text);
                quote(key, text);
                text.push_str(": ");
                write(value, depth + 1, text);
            }
            close(depth, '}', text);
        }
    }
}

fn line(index: usize, depth: usize, text: &mut String) {
    text.push_str(if index == 0 { "\n" } else { ",\n" });
    text.push_str(&"  ".repeat(depth));
}

fn close(depth: usize, bracket: char, text: &mut String) {
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
    text.push(bracket);
}

fn quote(value: &str, text: &mut String) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            control if u32::from(control) < 0x20 => {
                _ = write!(text, "\\u{:04x}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

/// Go's `encoding/json`: an exponent below 1e-6 and from 1e21 on.
fn as_go_prints(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        return match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            Some(_) | None => text,
        };
    }
    number.to_string()
}
