//! What several benchmarks share: the engine's plain API, the rig, samples, and how a run opens and is judged.
//!
//! Not here: what is measured.

pub(crate) mod engine;
pub(crate) mod rig;
pub(crate) mod stats;

use std::process::ExitCode;

use self::rig::Rig;

/// Whatever goes wrong ends the run.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// 0 where every limit was kept, 1 where one was missed (unless that is `no_fail`ure), 2 where nothing could be measured.
pub(crate) fn exit(kept: Result<bool, Failure>, no_fail: bool) -> ExitCode {
    match kept {
        Ok(kept) if kept || no_fail => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Says when, on what and with what was measured.
pub(crate) fn heading(rig: &mut Rig) -> Result<(), Failure> {
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
