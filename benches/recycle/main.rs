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

#[expect(
    dead_code,
    reason = "shared with other benchmarks, which need more of it"
)]
#[path = "../common/mod.rs"]
mod common;
mod exec;
mod health;
mod overhead;
mod rest;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use self::common::rig::{self, Rig};
use self::common::{Failure, exit, heading};

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
    exit(run(&options), options.no_fail)
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
