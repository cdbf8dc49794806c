//! What phoenixd costs: a recycle against the raw API, and the supervisor at rest. And how well what is touched is
//! noticed: from an exec to the last request that its replica got, and health checks of Docker's that must not count.
//!
//! `cargo bench --bench recycle -- --help`; `scripts/bench` does the rest. Needs a Docker Engine whose containers can be
//! reached by address, and leaves nothing behind on it.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a benchmark reads the clock, waits and prints; an index that is not there is a bug, and ends it"
)]

mod engine;
mod exec;
mod health;
mod overhead;
mod rest;
mod rig;
mod stats;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use self::rig::Rig;

/// Whatever goes wrong ends the run.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures what a recycle costs beyond the raw API's calls, and what the supervisor costs at rest.
#[derive(Debug, Parser)]
struct Options {
    /// Recycles, and as many raw ones in between
    #[arg(long, default_value_t = 20)]
    pairs: usize,
    /// For how long the supervisor at rest is watched
    #[arg(long, default_value_t = 60)]
    rest_seconds: u64,
    /// For how long it may settle before
    #[arg(long, default_value_t = 15)]
    settle_seconds: u64,
    /// Execs, for `--only exec`
    #[arg(long, default_value_t = 100)]
    execs: usize,
    /// Recycles with a health check each second, for `--only health`
    #[arg(long, default_value_t = 1000)]
    recycles: usize,
    /// One alone; else the first two, which take minutes
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// A missed limit is told, but is no failure
    #[arg(long)]
    no_fail: bool,
    /// The binary to be measured, instead of the one built with the benchmark
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_phoenixd"))]
    phoenixd: PathBuf,
    /// Where the supervisor's state is kept meanwhile: on the disk that is to be measured
    #[arg(long, value_name = "PATH", default_value = "/var/tmp")]
    state_in: PathBuf,
    /// What cargo says to a benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Part {
    Recycle,
    Rest,
    Exec,
    Health,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) if options.no_fail => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether every limit was kept.
fn run(options: &Options) -> Result<bool, Failure> {
    rig::catch_signals()?;
    let mut rig = Rig::new(options.phoenixd.clone(), &options.state_in)?;
    heading(&mut rig)?;
    let parts = match options.only {
        Some(part) => vec![part],
        None => vec![Part::Recycle, Part::Rest],
    };
    let mut kept = true;
    for part in parts {
        kept &= match part {
            Part::Recycle => overhead::measure(&mut rig, options.pairs)?,
            Part::Rest => rest::measure(&mut rig, options.settle_seconds, options.rest_seconds)?,
            Part::Exec => exec::measure(&mut rig, options.execs)?,
            Part::Health => health::measure(&mut rig, options.recycles)?,
        };
        rig.down()?;
    }
    Ok(kept)
}

fn heading(rig: &mut Rig) -> Result<(), Failure> {
    let version = rig.engine.call("GET", "/version", None)?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
    let size = std::fs::metadata(&rig.phoenixd)?.len();
    let cpus = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    println!(
        "date      {}",
        jiff::Timestamp::now().round(jiff::Unit::Second)?
    );
    println!(
        "engine    {} (API {})",
        text(&version["Version"]),
        text(&version["ApiVersion"])
    );
    println!(
        "machine   {cpus} CPUs, Linux {}, load {}",
        text(&version["KernelVersion"]),
        load.split(' ').next().unwrap_or("?")
    );
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let megabytes = size as f64 / 1e6;
    println!("phoenixd  {} ({megabytes:.1} MB)", rig.phoenixd.display());
    Ok(())
}

/// One limit, said and judged.
pub(crate) fn judge(what: &str, value: f64, limit: f64, unit: &str) -> bool {
    let kept = value <= limit;
    let verdict = if kept { "ok" } else { "MISSED" };
    println!("  {what:<44} {value:>8.2}{unit}   limit {limit}{unit}   {verdict}");
    kept
}
