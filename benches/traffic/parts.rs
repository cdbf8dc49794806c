//! What is replaced while the load goes on.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::Failure;
use crate::common::rig::{Rig, go_on, wait_for};
use crate::load::Load;
use crate::{Options, Part, Protocol};

/// With nothing happening, before and after.
const CALM: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(30);
/// Replacements between two lines of progress.
const TOLD_EVERY: usize = 50;
/// Between two looks whether somebody has ended the run.
const LOOK: Duration = Duration::from_millis(200);

/// Starts the service and the load, does the part, and judges.
pub(crate) fn measure(rig: &mut Rig, options: &Options) -> Result<bool, Failure> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let file = compose(rig, options, port)?;
    let events = rig.events();
    rig.up(&file, options.replicas)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_for("the port to answer", SOON, || {
        Ok(std::net::TcpStream::connect(address).ok())
    })?;
    let began = Instant::now();
    let load = Load::begin(address, options.protocol)?;
    pause(CALM)?;
    let what = match options.part {
        Part::Recycles => {
            let mut gone = 0;
            let mut told = Told::new(&load, options.recycles);
            while gone < options.recycles {
                go_on()?;
                rig.output(&file, &["recycle"])?;
                gone += events.count("destroy");
                told.tell(gone);
            }
            format!("{gone} replicas replaced")
        }
        Part::Kill => kill(rig, &file, options)?,
        Part::EdgeRecycles => {
            let mut told = Told::new(&load, options.count);
            for number in 1..=options.count {
                go_on()?;
                let before = edges(rig)?;
                rig.output(&file, &["recycle", "web/edge"])?;
                let after = edges(rig)?;
                if after.iter().any(|id| before.contains(id)) {
                    return Err("an edge was not replaced".into());
                }
                told.tell(number);
            }
            format!("{} edges replaced, one after the other", options.count)
        }
    };
    pause(CALM)?;
    let seconds = began.elapsed().as_secs();
    println!();
    println!("{what}, under load for {seconds} s:");
    load.end()
}

fn kill(rig: &mut Rig, file: &Path, options: &Options) -> Result<String, Failure> {
    let mut before = rig.containers(&[])?;
    rig.kill_supervisor()?;
    pause(Duration::from_secs(options.away_seconds))?;
    rig.up(file, options.replicas)?;
    pause(CALM)?;
    let mut after = rig.containers(&[])?;
    before.sort_unstable();
    after.sort_unstable();
    if before != after {
        return Err(format!("what was well was replaced: {before:?}, then {after:?}").into());
    }
    // The new one is obeyed.
    rig.output(file, &["recycle"])?;
    Ok(format!(
        "no supervisor for {} s after SIGKILL, then a new one, then all replicas replaced",
        options.away_seconds
    ))
}

fn edges(rig: &Rig) -> Result<Vec<String>, Failure> {
    rig.containers(&["phoenixd.role=edge"])
}

fn compose(rig: &Rig, options: &Options, port: u16) -> Result<PathBuf, Failure> {
    let over = json!({
        "ports": [format!("127.0.0.1:{port}:8080")],
        "deploy": { "replicas": options.replicas },
        "stop_grace_period": options.grace,
    });
    let protocol = match options.protocol {
        Protocol::Http => "http",
        Protocol::Tcp => "tcp",
    };
    let phoenix = json!({
        "ttl": "24h",
        "drain": options.drain,
        "surge": options.replicas,
        "probe": {
            "http": "/healthz",
            "port": 8080,
            "interval": "500ms",
            "successes": 1,
            "min_ready": "0s",
        },
        "edge": { "protocol": protocol },
    });
    rig.compose_of(&over, &phoenix)
}

/// What a person who waits sees.
struct Told<'l> {
    load: &'l Load,
    all: usize,
    last: usize,
    began: Instant,
}

impl<'l> Told<'l> {
    fn new(load: &'l Load, all: usize) -> Self {
        Self {
            load,
            all,
            last: 0,
            began: Instant::now(),
        }
    }

    fn tell(&mut self, count: usize) {
        if count / TOLD_EVERY > self.last / TOLD_EVERY {
            let seconds = self.began.elapsed().as_secs();
            let failed = self.load.failed();
            eprintln!("{count} of {} after {seconds} s, {failed} failed", self.all);
        }
        self.last = count;
    }
}

fn pause(length: Duration) -> Result<(), Failure> {
    let until = Instant::now() + length;
    while Instant::now() < until {
        go_on()?;
        std::thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
    }
    Ok(())
}
