//! A recycle by phoenixd, and the raw calls for the same container, one after the other.
//!
//! The same things happen on both sides, seen by the same engine's clock: from the `create` event of the new container
//! to the `destroy` event of the one that goes. Only the order differs: phoenixd ends the old one, the raw side the one
//! that it has just made. The create call itself ends with its event, so it is in neither figure; it is in the wall
//! times, which also have the start of a process, `phoenixd recycle`, on the one side only.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::common::engine::ContainerEvent;
use crate::common::rig::{Events, Rig, go_on};
use crate::common::stats::Samples;
use crate::common::{Failure, judge};

/// What a recycle may cost, as a multiple of the raw calls.
const LIMIT: f64 = 1.10;
/// Not counted: the first ones meet cold caches.
const WARM_UP: usize = 2;
/// Between two requests to a container that does not answer yet.
const RAW_PAUSE: Duration = Duration::from_millis(1);
/// For the first answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// From one to the next, in the order in which they happen.
const STEPS: [&str; 6] = [
    "asked -> create",
    "create -> start",
    "start -> kill",
    "kill -> die and stop",
    "die and stop -> destroy",
    "destroy -> returned",
];
/// What is compared.
const EVENTS: &str = "events: create -> destroy";
const WALL: &str = "wall: asked -> returned";

/// One side's figures, in milliseconds, by name.
type Figures = BTreeMap<&'static str, Samples>;

/// Measures and prints; whether the limit was kept.
pub(crate) fn measure(rig: &mut Rig, pairs: usize) -> Result<bool, Failure> {
    let file = rig.compose(1, 1)?;
    let body = raw_body(rig, &file)?;
    let events = rig.events();
    rig.up(&file, 1)?;
    let mut raw = Figures::new();
    let mut calls = Figures::new();
    let mut ours = Figures::new();
    for pair in 0..WARM_UP + pairs {
        let (mut a, mut b, mut c) = (Figures::new(), Figures::new(), Figures::new());
        recycle(rig, &file, &events, &mut a)?;
        let name = format!("phoenixd-bench-{}-raw-{pair}", rig.run);
        raw_recycle(rig, &name, &body, &events, &mut b, &mut c)?;
        if pair >= WARM_UP {
            for (all, one) in [(&mut ours, a), (&mut raw, b), (&mut calls, c)] {
                for (name, samples) in one {
                    all.entry(name).or_default().push(samples.median());
                }
            }
        }
    }
    let journal = journal_steps(rig, &file)?;
    Ok(report(&ours, &raw, &calls, &journal))
}

/// What phoenixd would send for this service, but not as a replica of its project.
fn raw_body(rig: &Rig, file: &Path) -> Result<Value, Failure> {
    let plan = rig.output(file, &["plan", "--format", "json"])?;
    let plan: Value = serde_json::from_slice(&plan)?;
    let mut body = plan["create"]["web1"].clone();
    body["Labels"]["phoenixd.project"] = Value::from(format!("{}-raw", rig.project()));
    Ok(body)
}

/// One recycle by the command line.
fn recycle(rig: &Rig, file: &Path, events: &Events, into: &mut Figures) -> Result<(), Failure> {
    go_on()?;
    events.skip();
    let asked = wall_nanos();
    let began = Instant::now();
    rig.output(file, &["recycle", "web1"])?;
    let wall = began.elapsed();
    let returned = wall_nanos();
    note_events(&events.until("destroy")?, asked, returned, into);
    note(into, WALL, milliseconds(wall));
    Ok(())
}

/// Create, start, first answer, stop, remove.
fn raw_recycle(
    rig: &mut Rig,
    name: &str,
    body: &Value,
    events: &Events,
    into: &mut Figures,
    calls: &mut Figures,
) -> Result<(), Failure> {
    go_on()?;
    events.skip();
    let engine = &mut rig.engine;
    let asked = wall_nanos();
    let began = Instant::now();
    let mut last = began;
    let mut step = |name: &'static str| {
        let now = Instant::now();
        note(calls, name, milliseconds(now - last));
        last = now;
    };
    let made = engine.call(
        "POST",
        &format!("/containers/create?name={name}"),
        Some(body),
    )?;
    let id = made["Id"].as_str().ok_or("a create without an id")?;
    step("create");
    engine.call("POST", &format!("/containers/{id}/start"), None)?;
    step("start");
    let seen = engine.call("GET", &format!("/containers/{id}/json"), None)?;
    let address = seen["NetworkSettings"]["Networks"]
        .as_object()
        .and_then(|networks| networks.values().next())
        .and_then(|network| network["IPAddress"].as_str())
        .ok_or("a container without an address")?;
    let address: SocketAddr = format!("{address}:8080").parse()?;
    step("inspect");
    while !answers(address) {
        go_on()?;
        if began.elapsed() > ANSWER_LIMIT {
            return Err(format!("{name} does not answer at {address}").into());
        }
        std::thread::sleep(RAW_PAUSE);
    }
    step("first answer");
    engine.call("POST", &format!("/containers/{id}/stop"), None)?;
    step("stop");
    engine.call("DELETE", &format!("/containers/{id}?v=true"), None)?;
    step("remove");
    let wall = began.elapsed();
    let returned = wall_nanos();
    note_events(&events.until("destroy")?, asked, returned, into);
    note(into, WALL, milliseconds(wall));
    Ok(())
}

/// One request of a new connection, as the probe does it.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let limit = Duration::from_secs(1);
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.starts_with(b"HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

fn note(into: &mut Figures, name: &'static str, value: f64) {
    into.entry(name).or_default().push(value);
}

/// The time between events; the one that starts is the one that was created, the one that ends is the one destroyed.
fn note_events(seen: &[ContainerEvent], asked: i64, returned: i64, into: &mut Figures) {
    let new = seen.iter().find(|event| event.action == "create");
    let old = seen.iter().find(|event| event.action == "destroy");
    let at = |action: &str, of: Option<&ContainerEvent>| {
        seen.iter()
            .find(|event| event.action == action && Some(&event.id) == of.map(|of| &of.id))
            .map(|event| event.at)
    };
    let times = [
        Some(asked),
        at("create", new),
        at("start", new),
        at("kill", old),
        // One engine tells the one first, another the other.
        at("die", old).max(at("stop", old)),
        at("destroy", old),
        Some(returned),
    ];
    for (name, pair) in STEPS.into_iter().zip(times.windows(2)) {
        if let [Some(from), Some(to)] = pair {
            note(into, name, nanoseconds(to - from));
        }
    }
    if let (Some(created), Some(destroyed)) = (times[1], times[5]) {
        note(into, EVENTS, nanoseconds(destroyed - created));
    }
}

/// The time between the journal's records of each recycle: the same thing seen from inside.
fn journal_steps(rig: &Rig, file: &Path) -> Result<Vec<(String, Samples)>, Failure> {
    let lines = rig.output(file, &["--project", &rig.project(), "events"])?;
    let mut steps: Vec<(String, Samples)> = Vec::new();
    let mut last: Option<(String, f64)> = None;
    let mut recycles = 0;
    for line in String::from_utf8(lines)?.lines() {
        let record: Value = serde_json::from_str(line)?;
        let kind = record["kind"].as_str().unwrap_or_default();
        if !matches!(kind, "asked" | "began" | "ended") {
            continue;
        }
        let action = record["action"].as_str().unwrap_or_default();
        let name = format!("{kind} {action}").trim().to_owned();
        let at = record["boot_ms"].as_f64().unwrap_or_default();
        recycles += usize::from(kind == "asked");
        if let Some((before, since)) = last.take().filter(|_| kind != "asked") {
            let name = format!("{before} -> {name}");
            let known = steps.iter().position(|(known, _)| *known == name);
            let known = known.unwrap_or_else(|| {
                steps.push((name, Samples::default()));
                steps.len() - 1
            });
            steps[known].1.push(at - since);
        }
        last = Some((name, at));
    }
    // What happens rarely is the begin, or records that have changed places.
    steps.retain(|(_, samples)| samples.count() * 3 > recycles);
    Ok(steps)
}

fn report(ours: &Figures, raw: &Figures, calls: &Figures, journal: &[(String, Samples)]) -> bool {
    println!(
        "\nrecycle: {} alternating pairs, ms            median          quartiles          min .. max",
        ours[EVENTS].count()
    );
    for name in STEPS.into_iter().chain([EVENTS, WALL]) {
        for (side, figures) in [("phoenixd", ours), ("raw", raw)] {
            if let Some(samples) = figures.get(name) {
                println!("  {name:<27} {side:<9} {samples:.1}");
            }
        }
    }
    println!("  raw, by call:");
    for name in [
        "create",
        "start",
        "inspect",
        "first answer",
        "stop",
        "remove",
    ] {
        println!("    {name:<35} {:.1}", calls[name]);
    }
    println!("  phoenixd, by its journal (whole ms):");
    for (name, samples) in journal {
        println!("    {name:<35} {samples:.0}");
    }
    for (what, name) in [("events", EVENTS), ("wall", WALL)] {
        let ratios = ours[name].ratios(&raw[name]);
        println!(
            "  ratio pair by pair, {what:<16} {ratios:.3}   +- {:.3}",
            ratios.uncertainty()
        );
    }
    let by_wall = ours[WALL].median() / raw[WALL].median();
    println!(
        "  {:<44} {by_wall:>8.2}x   no limit: has the start of a process on one side",
        "recycle / raw calls, medians, by wall time"
    );
    let by_events = ours[EVENTS].median() / raw[EVENTS].median();
    judge(
        "recycle / raw calls, medians, by events",
        by_events,
        LIMIT,
        "x",
    )
}

fn wall_nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .ok()
        .and_then(|since| i64::try_from(since.as_nanos()).ok())
        .unwrap_or_default()
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "seconds at most")]
fn nanoseconds(span: i64) -> f64 {
    span as f64 / 1e6
}
