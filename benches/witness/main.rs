//! What the scan of `/proc` sees without the engine's events, how soon, and what it costs.
//!
//! `cargo bench --bench witness`, as root, with a Docker Engine on this host; leaves nothing behind on it. With `-- told`
//! only what the kernel tells of programs as they start. The image is made of this very program, which is static: inside,
//! it sleeps for as long as it is told.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark reads the clock, waits and prints; an index that is not there is a bug, and ends it"
)]

#[expect(
    dead_code,
    reason = "shared with other benchmarks, which need more of it"
)]
#[path = "../common/engine.rs"]
mod engine;
mod look;
#[expect(
    dead_code,
    reason = "shared with other benchmarks, which need more of it"
)]
#[path = "../common/stats.rs"]
mod stats;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use phoenixd::spec::ContainerId;
use phoenixd::witness::{Execs, Watched};
use serde_json::{Value, json};

use self::engine::{Address, Engine};
use self::look::{Costs, Looker};
use self::stats::Samples;

/// Whatever goes wrong ends the run.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

const IMAGE: &str = "phoenixd-bench-witness:1";
/// How long each exec runs, in milliseconds, and how many of each are made.
const EXECS: [(u64, usize); 4] = [(1, 100), (10, 100), (100, 50), (1000, 20)];
/// After the end of a process that was not seen it is not waited for any longer.
const AFTER: Duration = Duration::from_secs(1);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok());
    match (arguments.get(1).map(String::as_str), number(2)) {
        (Some("sleep"), Some(ms)) => {
            std::thread::sleep(Duration::from_millis(ms));
            return Ok(());
        }
        (Some("children"), Some(count)) => return with_children(count),
        _ => {}
    }
    let address = Address::from_environment()?;
    let mut engine = Engine::connect(&address)?;
    make_image(&mut engine)?;
    let measured = if arguments.iter().any(|argument| argument == "told") {
        measure_told(&address, &mut engine)
    } else {
        measure(&address, &mut engine)
    };
    engine.call("DELETE", &format!("/images/{IMAGE}?force=1"), None)?;
    measured
}

/// Inside: so many processes that sleep.
fn with_children(count: u64) -> Result<(), Failure> {
    let own = std::env::current_exe()?;
    let children: Result<Vec<_>, _> = (0..count)
        .map(|_| Command::new(&own).args(["sleep", "3600000"]).spawn())
        .collect();
    drop(children?);
    std::thread::sleep(Duration::from_hours(1));
    Ok(())
}

fn measure(address: &Address, engine: &mut Engine) -> Result<(), Failure> {
    let version = engine.call("GET", "/version", None)?;
    println!("engine {}", version["Version"].as_str().unwrap_or_default());
    for processes in [1, 20, 200] {
        let container = Container::start(engine, processes)?;
        let mut looker = Looker::new(&container.watched, None);
        let costs = looker.costs()?;
        print_costs(processes, &costs);
        container.remove(engine)?;
    }
    let container = Container::start(engine, 1)?;
    let done = ways_in(address, &container);
    container.remove(engine)?;
    done
}

fn measure_told(address: &Address, engine: &mut Engine) -> Result<(), Failure> {
    let container = Container::start(engine, 1)?;
    let done = told_by_the_kernel(address, &container);
    container.remove(engine)?;
    done
}

fn ways_in(address: &Address, container: &Container) -> Result<(), Failure> {
    // Where nobody enters, nothing may be seen.
    let (none, _) = seen(container, None, (1, 10), |_| Ok(()))?;
    if none.count() > 0 {
        return Err(format!("{} findings where nobody entered", none.count()).into());
    }
    for (ms, count) in EXECS {
        let by_engine = |id: &str| exec(address, id, ms);
        told(
            "docker exec, scan alone",
            ms,
            &seen(container, None, (ms, count), by_engine)?,
        );
    }
    let pid = container.watched.pid;
    for (ms, count) in EXECS {
        let around = |_: &str| nsenter(pid, ms);
        told(
            "nsenter, scan alone",
            ms,
            &seen(container, None, (ms, count), around)?,
        );
    }
    told_by_the_kernel(address, container)
}

fn told_by_the_kernel(address: &Address, container: &Container) -> Result<(), Failure> {
    let pid = container.watched.pid;
    for (ms, count) in EXECS {
        let (Ok(first), Ok(second)) = (Execs::listen(), Execs::listen()) else {
            println!("the kernel does not tell of programs that are started");
            return Ok(());
        };
        let by_engine = |id: &str| exec(address, id, ms);
        let found = seen(container, Some(first), (ms, count), by_engine)?;
        told("docker exec, told by kernel", ms, &found);
        let around = |_: &str| nsenter(pid, ms);
        let found = seen(container, Some(second), (ms, count), around)?;
        told("nsenter, told by kernel", ms, &found);
    }
    Ok(())
}

fn told(way: &str, ms: u64, seen: &(Samples, usize)) {
    let (latency, missed) = seen;
    let all = latency.count() + missed;
    let share = 100.0 * f64::from(u32::try_from(*missed).unwrap_or(u32::MAX))
        / f64::from(u32::try_from(all.max(1)).unwrap_or(u32::MAX));
    println!(
        "{way:27} {ms:5} ms: missed {missed:3} of {all:3} ({share:.0} %); from the call to the finding p50 {:.1} ms, p99 {:.1} ms",
        latency.quantile(0.5),
        latency.quantile(0.99)
    );
}

fn print_costs(processes: u64, costs: &Costs) {
    let there = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let there = there.filter(|entry| entry.file_name().to_str().is_some_and(is_process));
    println!(
        "container of {processes:3} processes, host of {}: full pass p50 {:.2} ms, p99 {:.2} ms; quick pass, nothing new, \
         p50 {:.3} ms; sockets p50 {:.2} ms; at the supervisor's pace {:.2} % of a \
         processor, {:.2} % where the kernel tells",
        there.count(),
        costs.full.quantile(0.5),
        costs.full.quantile(0.99),
        costs.quick.quantile(0.5),
        costs.sockets.quantile(0.5),
        costs.share * 100.0,
        costs.share_when_told * 100.0,
    );
}

/// How long after the call each of so many was seen, in ms, and how many were not.
fn seen(
    container: &Container,
    execs: Option<Execs>,
    (ms, count): (u64, usize),
    enter: impl Fn(&str) -> Result<(), Failure> + Sync,
) -> Result<(Samples, usize), Failure> {
    let mut looker = Looker::new(&container.watched, execs);
    let (mut latency, mut missed) = (Samples::default(), 0);
    for _ in 0..count {
        looker.settle();
        let found = std::thread::scope(|scope| {
            let limit = Duration::from_millis(ms) + AFTER;
            let entering =
                scope.spawn(|| enter(container.watched.id.as_str()).map_err(|e| e.to_string()));
            let found = looker.first_intruder(limit);
            entering.join().map(|entered| (found, entered))
        });
        let (found, entered) = found.map_err(|_| "a thread panicked")?;
        entered?;
        match found {
            Some(after) => latency.push(after.as_secs_f64() * 1000.0),
            None => missed += 1,
        }
    }
    Ok((latency, missed))
}

fn exec(address: &Address, id: &str, ms: u64) -> Result<(), Failure> {
    let mut engine = Engine::connect(address)?;
    let body = json!({ "Cmd": ["/program", "sleep", ms.to_string()] });
    let made = engine.call("POST", &format!("/containers/{id}/exec"), Some(&body))?;
    let exec = made["Id"].as_str().unwrap_or_default();
    engine.call(
        "POST",
        &format!("/exec/{exec}/start"),
        Some(&json!({ "Detach": true })),
    )?;
    Ok(())
}

/// Around the engine and its runtime.
fn nsenter(pid: u32, ms: u64) -> Result<(), Failure> {
    let pid = pid.to_string();
    let ms = ms.to_string();
    let arguments = ["-t", &pid, "-m", "-p", "/program", "sleep", &ms];
    let status = Command::new("nsenter")
        .args(arguments)
        .stdin(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("nsenter: {status}").into())
    }
}

struct Container {
    watched: Watched,
}

impl Container {
    fn start(engine: &mut Engine, processes: u64) -> Result<Self, Failure> {
        let command = if processes == 1 {
            json!(["/program", "sleep", "3600000"])
        } else {
            json!(["/program", "children", (processes - 1).to_string()])
        };
        let body = json!({
            "Image": IMAGE, "Cmd": command,
            "HostConfig": { "ReadonlyRootfs": true, "Init": true, "CapDrop": ["ALL"], "NetworkMode": "bridge" },
        });
        let made = engine.call("POST", "/containers/create", Some(&body))?;
        let id = made["Id"].as_str().unwrap_or_default().to_owned();
        engine.call("POST", &format!("/containers/{id}/start"), None)?;
        let inspect: Value = engine.call("GET", &format!("/containers/{id}/json"), None)?;
        let pid = inspect["State"]["Pid"].as_u64().ok_or("no pid")?;
        Ok(Self {
            watched: Watched {
                in_pod: false,
                id: ContainerId::new(id),
                pid: u32::try_from(pid)?,
                upper: None,
            },
        })
    }

    fn remove(self, engine: &mut Engine) -> Result<(), Failure> {
        let path = format!("/containers/{}?force=1", self.watched.id);
        engine.call("DELETE", &path, None).map(drop)
    }
}

fn make_image(engine: &mut Engine) -> Result<(), Failure> {
    let own = std::env::current_exe()?;
    let mut archive = tar::Builder::new(Vec::new());
    archive.sparse(false);
    archive.append_path_with_name(Path::new(&own), "program")?;
    let archive = archive.into_inner()?;
    let (name, tag) = IMAGE.split_once(':').unwrap_or((IMAGE, "1"));
    let path = format!("/images/create?fromSrc=-&repo={name}&tag={tag}");
    engine.call_raw("POST", &path, "application/x-tar", &archive)?;
    Ok(())
}
