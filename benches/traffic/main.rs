//! What clients lose while replicas, edges and the supervisor are replaced under them.
//!
//! `cargo bench --bench traffic -- --help`; `scripts/bench traffic` does the rest. Needs a Docker Engine on this host, and
//! leaves nothing behind on it. The load is constant and open: requests are sent by a schedule, whether earlier ones
//! were answered or not, and the time of each counts from when it was due.
//!
//! Not here: what forwarding costs (`benches/edge`), and what a recycle costs (`benches/recycle`).

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
mod http;
mod load;
mod parts;
mod tally;
mod websocket;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use self::common::rig::{self, Rig};
use self::common::{Failure, exit, heading};

/// Counts what constant load loses while replicas, edges and the supervisor are replaced.
#[derive(Debug, Parser)]
struct Options {
    /// What is replaced under the load
    #[arg(long, value_enum, default_value_t = Part::Recycles)]
    part: Part,
    /// Replicas to be replaced, for `--part recycles`
    #[arg(long, default_value_t = 1000)]
    recycles: usize,
    /// Edges to be replaced, for `--part edge-recycles`
    #[arg(long, default_value_t = 50)]
    count: usize,
    /// For how long there is no supervisor, for `--part kill`
    #[arg(long, default_value_t = 60)]
    away_seconds: u64,
    /// Where the edge runs
    #[arg(long, value_enum, default_value_t = Place::Pod)]
    edge: Place,
    /// What the edge forwards
    #[arg(long, value_enum, default_value_t = Protocol::Http)]
    protocol: Protocol,
    /// Of the one service
    #[arg(long, default_value_t = 2)]
    replicas: usize,
    /// The service's `drain`
    #[arg(long, default_value = "300ms")]
    drain: String,
    /// The service's `stop_grace_period`
    #[arg(long, default_value = "10s")]
    grace: String,
    /// A missed limit is told, but is no failure
    #[arg(long)]
    no_fail: bool,
    /// The binary to be measured, instead of the one built with the benchmark
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_phoenixd"))]
    phoenixd: PathBuf,
    /// Where the supervisor's state is kept meanwhile
    #[arg(long, value_name = "PATH", default_value = "/var/tmp")]
    state_in: PathBuf,
    /// What cargo says to a benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Part {
    /// All replicas, again and again
    Recycles,
    /// The supervisor, by SIGKILL, and later a new one
    Kill,
    /// The service's edge, again and again
    EdgeRecycles,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Place {
    /// In containers of its own
    Pod,
    /// In the supervisor
    Inside,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Protocol {
    Http,
    Tcp,
}

fn main() -> ExitCode {
    let options = Options::parse();
    exit(run(&options), options.no_fail)
}

/// Whether every limit was kept.
fn run(options: &Options) -> Result<bool, Failure> {
    if options.edge == Place::Inside && options.part != Part::Recycles {
        return Err("inside the supervisor the edge ends with it: --edge pod".into());
    }
    rig::catch_signals()?;
    let mut rig = Rig::new(options.phoenixd.clone(), &options.state_in)?;
    heading(&mut rig)?;
    let place = match options.edge {
        Place::Pod => "pod",
        Place::Inside => "inside",
    };
    rig.environment.push(("PHOENIXD_EDGE", place.to_owned()));
    println!(
        "service   {} replicas, {:?} mode, drain {}, grace {}; the edge: {place}",
        options.replicas, options.protocol, options.drain, options.grace
    );
    let kept = parts::measure(&mut rig, options)?;
    rig.down()?;
    Ok(kept)
}
