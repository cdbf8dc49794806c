//! What forwarding costs: the edge beside haproxy and docker-proxy (TCP), nginx (HTTP) and no proxy at all, on the same cores,
//! in one run; and what it has in memory. It fails when that is beyond its limits.
//!
//! `cargo bench --bench edge`, with `-- speed` or `-- memory` for one of both, `-- speed "8 x 1 KiB"` for the loads
//! that are called so. The others are left out where they are not; `PHOENIXD_BENCH_ROOT` names a folder in which their
//! Debian packages were unpacked (`dpkg -x`). Needs no Docker Engine. The edge runs in a process of its own,
//! whose CPU time the kernel tells.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock, the environment, and prints"
)]

mod edge;
mod load;
mod memory;
mod others;
mod table;
mod train;

use std::net::SocketAddr;
use std::process::ExitCode;

use self::load::Shape;
use self::table::Row;

/// Whatever goes wrong ends the run.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, ports, target, mode] = arguments.as_slice()
        && role == "edge"
    {
        edge::run(ports, target.parse()?, mode)?;
        return Ok(ExitCode::SUCCESS);
    }
    // For `scripts/trained`.
    if arguments.iter().any(|argument| argument == "train") {
        train::run()?;
        return Ok(ExitCode::SUCCESS);
    }
    let is_asked = |part: &str| arguments.iter().any(|argument| argument == part);
    let is_all = !is_asked("speed") && !is_asked("memory");
    if is_all || is_asked("speed") {
        let after = arguments.iter().skip_while(|argument| *argument != "speed");
        let is_part = |argument: &&String| !argument.starts_with('-') && *argument != "memory";
        let part = after.skip(1).find(is_part);
        measure_speed(part.map_or("", |part| part))?;
    }
    if is_all || is_asked("memory") {
        println!("\nResident memory");
        if !memory::measure()? {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Of the loads whose name has this in it.
fn measure_speed(part: &str) -> Result<(), Failure> {
    let replica = load::replica()?;
    println!("{:<22} {:<28} figures: medians", "proxy", "load");
    let mut rows = Vec::new();
    let is_asked = |shape: &Shape| shape.name().contains(part);
    for shape in Shape::ALL.into_iter().filter(is_asked) {
        let row = Row::measure(shape, replica)?;
        row.print();
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(format!("no load is called `{part}`").into());
    }
    println!(
        "\nThe edge's rate by theirs, and what the edge and they add to the latency, in microseconds"
    );
    println!(
        "{:<28} {:<20} {:>6} {:>17} {:>17}",
        "load", "other", "rate", "p50 edge, theirs", "p99 edge, theirs"
    );
    for row in &rows {
        row.print_comparison();
    }
    Ok(())
}

/// An address of this host.
pub(crate) fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}
