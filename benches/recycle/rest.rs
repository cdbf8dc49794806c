//! The supervisor when nothing happens: memory and CPU.

use std::fs;
use std::time::{Duration, Instant};

use crate::common::rig::{Rig, go_on};
use crate::common::{Failure, judge};

const SERVICES: u32 = 4;
const REPLICAS: u32 = 5;
/// Megabytes.
const RSS_LIMIT: f64 = 20.0;
/// Of one core.
const CPU_LIMIT: f64 = 0.5;

/// Measures and prints; whether the limits were kept.
pub(crate) fn measure(rig: &mut Rig, settle: u64, seconds: u64) -> Result<bool, Failure> {
    let file = rig.compose(SERVICES, REPLICAS)?;
    let all = (SERVICES * REPLICAS) as usize;
    let pid = rig.up(&file, all)?;
    pause(settle)?;
    let before = Sample::take(pid)?;
    let began = Instant::now();
    pause(seconds)?;
    let after = Sample::take(pid)?;
    let elapsed = began.elapsed().as_secs_f64();
    let ticks = rustix::param::clock_ticks_per_second();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let (cpu, user, switches) = (
        (after.ticks - before.ticks) as f64 / ticks as f64,
        (after.user - before.user) as f64 / ticks as f64,
        (after.switches - before.switches) as f64,
    );
    println!("\nat rest: {all} replicas ready for {settle} s, then watched for {elapsed:.0} s");
    println!(
        "  RSS {:.1} MB (peak {:.1}), Pss {:.1}, anonymous {:.1}; {} threads, {} descriptors",
        after.rss, after.peak, after.pss, after.anonymous, after.threads, after.descriptors
    );
    println!(
        "  CPU {:.0} ms ({:.0} user), scheduler's count {:.0} ms; {:.0} context switches per second",
        cpu * 1e3,
        user * 1e3,
        (after.run - before.run) * 1e3,
        switches / elapsed
    );
    let rss = judge("RSS", after.rss.max(before.rss), RSS_LIMIT, " MB");
    let cpu = judge("CPU", cpu / elapsed * 100.0, CPU_LIMIT, " %");
    Ok(rss && cpu)
}

/// Waits, unless interrupted.
fn pause(seconds: u64) -> Result<(), Failure> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        go_on()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// What the kernel says of a process.
struct Sample {
    ticks: u64,
    user: u64,
    /// Seconds on a CPU, exactly, of the threads that are there.
    run: f64,
    switches: u64,
    rss: f64,
    peak: f64,
    pss: f64,
    anonymous: f64,
    threads: usize,
    descriptors: usize,
}

impl Sample {
    fn take(pid: u32) -> Result<Self, Failure> {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
        let stat = read("stat")?;
        // Behind the name, which may hold anything: state is the first, utime the 12th, stime the 13th.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .ok_or("no stat")?
            .1
            .split_whitespace()
            .collect();
        let user: u64 = fields[11].parse()?;
        let system: u64 = fields[12].parse()?;
        let status = read("status")?;
        let rollup = read("smaps_rollup")?;
        let mut run = 0.0;
        let mut switches = 0;
        let mut threads = 0;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = thread?.path();
            let schedstat = fs::read_to_string(path.join("schedstat"))?;
            let nanos: f64 = schedstat.split(' ').next().unwrap_or("0").parse()?;
            run += nanos / 1e9;
            let status = fs::read_to_string(path.join("status"))?;
            switches += field(&status, "voluntary_ctxt_switches:")?;
            threads += 1;
        }
        Ok(Self {
            ticks: user + system,
            user,
            run,
            switches,
            rss: megabytes(field(&status, "VmRSS:")?),
            peak: megabytes(field(&status, "VmHWM:")?),
            pss: megabytes(field(&rollup, "Pss:")?),
            anonymous: megabytes(field(&rollup, "Anonymous:")?),
            threads,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }
}

/// The number behind a name.
fn field(text: &str, name: &str) -> Result<u64, Failure> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or_else(|| format!("no {name}"))?.parse()?)
}

/// Of kibibytes, as the kernel counts.
#[expect(clippy::cast_precision_loss, reason = "a process's memory")]
fn megabytes(kibibytes: u64) -> f64 {
    kibibytes as f64 * 1024.0 / 1e6
}
