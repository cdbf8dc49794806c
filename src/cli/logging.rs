//! Log lines go to stderr, as text or JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::args::LogFormat;
use crate::config::Environment;

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
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
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
