//! From an exec to the last request that its replica was given, as clients see it.
//!
//! Clients ask for a connection each, one after the other; whoever answers says which replica it is. What counts is the
//! begin of the last connection that the touched replica answered, from the moment before the exec is asked for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::rig::{Rig, wait_for};
use crate::common::stats::Samples;
use crate::common::{Failure, judge};

const REPLICAS: usize = 2;
const CLIENTS: usize = 2;
/// Of each client, between two requests: the resolution of what is measured.
const PACE: Duration = Duration::from_millis(1);
/// The figure of the issue: 99 of 100 within a quarter of a second.
const LIMIT_MS: f64 = 250.0;
/// How long a touched replica could still be in rotation without being missed here.
const WATCHED: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_mins(2);

/// Which replica answered a connection that was begun then.
struct Answer {
    begun: Instant,
    by: String,
}

pub(crate) fn measure(rig: &mut Rig, execs: usize) -> Result<bool, Failure> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let over = json!({
        "ports": [format!("127.0.0.1:{port}:8080")],
        "deploy": { "replicas": REPLICAS },
    });
    // A replica is touched as soon as it is ready: the backoff for those that are touched before they have proven
    // themselves would be most of the run.
    let phoenix = json!({
        "ttl": "24h",
        "on_taint": "replace",
        "backoff": { "base": "10ms", "cap": "10ms", "budget": 1_000_000 },
    });
    let file = rig.compose_of(&over, &phoenix)?;
    rig.up(&file, REPLICAS)?;
    let stop = AtomicBool::new(false);
    let samples = thread::scope(|scope| {
        let (sender, answers) = channel();
        for _ in 0..CLIENTS {
            let (sender, stop) = (sender.clone(), &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    // One that is cut belongs to a replica that was just taken away.
                    if let Ok(by) = ask(([127, 0, 0, 1], port).into())
                        && sender.send(Answer { begun, by }).is_err()
                    {
                        return;
                    }
                    // What is measured needs a processor, too.
                    thread::sleep(PACE);
                }
            });
        }
        let samples = rounds(rig, &file, &answers, execs);
        stop.store(true, Ordering::Relaxed);
        samples
    })?;
    println!();
    println!("from an exec to the last connection that its replica was given, {execs} execs, ms:");
    println!("            median          quartiles           extremes");
    println!("  {samples:.1}");
    println!("  (each replica was seen to answer just before its exec)");
    Ok(judge(
        "99th percentile",
        samples.quantile(0.99),
        LIMIT_MS,
        " ms",
    ))
}

fn rounds(
    rig: &mut Rig,
    file: &Path,
    answers: &Receiver<Answer>,
    execs: usize,
) -> Result<Samples, Failure> {
    let mut samples = Samples::default();
    for _ in 0..execs {
        let victim = ready(rig, file)?;
        // One that is given nothing before would prove nothing after.
        while answers.try_recv().is_ok() {}
        while !victim.starts_with(&answers.recv_timeout(SOON)?.by) {}
        let began = Instant::now();
        let made = rig.engine.call(
            "POST",
            &format!("/containers/{victim}/exec"),
            Some(&json!({ "Cmd": ["/phoenixd", "--version"] })),
        )?;
        let exec = made["Id"].as_str().unwrap_or_default();
        let detached = json!({ "Detach": true });
        // The replica may be frozen by now: then the start fails, and nothing was run.
        drop(
            rig.engine
                .call("POST", &format!("/exec/{exec}/start"), Some(&detached)),
        );
        thread::sleep(WATCHED.saturating_sub(began.elapsed()));
        let mut last = Duration::ZERO;
        let mut seen = 0;
        while let Ok(answer) = answers.try_recv() {
            seen += 1;
            if victim.starts_with(&answer.by) {
                last = last.max(answer.begun.saturating_duration_since(began));
            }
        }
        if seen == 0 {
            return Err("no client was answered".into());
        }
        samples.push(last.as_secs_f64() * 1e3);
    }
    Ok(samples)
}

/// Waits until all replicas are ready; the container of the first.
fn ready(rig: &Rig, file: &Path) -> Result<String, Failure> {
    let mut shown = String::new();
    let found = wait_for("the replicas to be ready", SOON, || {
        let rows = rig.output(file, &["ps", "--format", "json"])?;
        let rows: Vec<Value> = serde_json::from_slice(&rows)?;
        shown = format!("{rows:#?}");
        let is_ready = |row: &&Value| row["ready"] == true;
        if rows.len() != REPLICAS || rows.iter().filter(is_ready).count() != REPLICAS {
            return Ok(None);
        }
        let id = rows.first().and_then(|row| row["container_id"].as_str());
        Ok(id.map(str::to_owned))
    });
    found.map_err(|error| format!("{error}; ps: {shown}").into())
}

/// One connection, one request: who answers.
fn ask(address: SocketAddr) -> Result<String, Failure> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET /whoami HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body: Value = serde_json::from_str(body)?;
    Ok(body["id"].as_str().ok_or("no id")?.to_owned())
}
