//! Log lines go to stderr, as text or JSON.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::args::LogFormat;
use crate::config::Environment;
use crate::report::{brief, escape, escape_json};

/// The longest line, in characters.
const LINE: usize = 16 * 1024;

/// Sets the log up, once. `RUST_LOG` overrides the number of `-v`.
///
/// bollard's debug lines hold request bodies, and with them the environment of containers: they are never shown.
pub(super) fn init(format: LogFormat, verbose: u8, is_daemon: bool, environment: &Environment) {
    let level = match (verbose, is_daemon) {
        (0, false) => LevelFilter::WARN,
        (0, true) | (1, false) => LevelFilter::INFO,
        (1, true) | (2, false) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder().with_default_directive(level.into());
    let mut filter = filter.parse_lossy(environment.log_filter().unwrap_or_default());
    for quiet in [
        "bollard=info",
        "hyper=info",
        "hyper_util=info",
        "rustls=info",
        "h2=info",
    ] {
        if let Ok(directive) = quiet.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let color = io::stderr().is_terminal() && environment.wants_color();
    let is_json = format == LogFormat::Json;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || Harmless { is_json, color })
        // Nobody reads stderr any more: then nobody reads of that, either, and supervision goes on.
        .log_internal_errors(false)
        .with_ansi(color)
        .with_target(false);
    // A second call, as tests make, keeps the first.
    match format {
        LogFormat::Text => drop(builder.try_init()),
        LogFormat::Json => drop(builder.json().flatten_event(true).try_init()),
    }
}

/// Stderr, with every line made harmless: what is logged comes from engines, containers and files, and must neither
/// control the terminal that it is read on nor look like a line of ours. One write is one line.
struct Harmless {
    is_json: bool,
    color: bool,
}

impl Write for Harmless {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = harmless(&text, self.is_json, self.color);
        io::stderr().lock().write_all(line.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn harmless(text: &str, is_json: bool, color: bool) -> String {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let is_long = line.len() > LINE;
    let mut line = match (is_json, is_long) {
        (true, false) => escape_json(line).into_owned(),
        // Cut JSON is none.
        (true, true) => {
            serde_json::json!({ "message": "a line that is too long", "begins": brief(line, LINE) })
                .to_string()
        }
        // Colours are ours: tracing-subscriber escapes those of others since 0.3.20.
        (false, false) if color => {
            let parts = line.split('\u{1b}').map(escape);
            parts.collect::<Vec<_>>().join("\u{1b}")
        }
        (false, _) => brief(line, LINE),
    };
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logged_text_is_one_harmless_line_of_bounded_length() {
        let hostile = "web\u{202e}\u{9b}2J\nINFO forged\r\n";
        assert_eq!(
            harmless(hostile, false, false),
            "web\\u{202e}\\u{9b}2J\\nINFO forged\\r\n"
        );
        assert_eq!(
            harmless("\u{1b}[32mINFO\u{1b}[0m a\nb\n", false, true),
            "\u{1b}[32mINFO\u{1b}[0m a\\nb\n"
        );
        let json = serde_json::json!({ "error": hostile, "more": "x" }).to_string();
        let line = harmless(&json, true, false);
        assert!(!line.contains(['\u{202e}', '\u{9b}']));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&line).unwrap()["error"],
            hostile
        );
        for is_json in [false, true] {
            let long = harmless(&"\u{1b}é".repeat(1 << 20), is_json, false);
            assert!(long.len() < 8 * LINE && long.lines().count() == 1);
            assert!(!long.contains('\u{1b}'));
        }
    }
}
