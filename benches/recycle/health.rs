//! Recycles of replicas with a health check of Docker's: each check is an exec, and none may be taken for an intruder's.

use serde_json::{Value, json};

use crate::common::rig::Rig;
use crate::common::{Failure, judge};

const REPLICAS: usize = 8;

pub(crate) fn measure(rig: &mut Rig, recycles: usize) -> Result<bool, Failure> {
    let over = json!({
        "deploy": { "replicas": REPLICAS },
        "healthcheck": {
            "test": ["CMD", "/phoenixd", "--version"],
            "interval": "1s",
            "timeout": "10s",
        },
    });
    let phoenix = json!({ "ttl": "24h", "surge": 8, "probe": "docker", "on_taint": "replace" });
    let file = rig.compose_of(&over, &phoenix)?;
    let events = rig.events();
    rig.up(&file, REPLICAS)?;
    let (mut gone, mut checks) = (0, 0);
    while gone < recycles {
        rig.output(&file, &["recycle"])?;
        for _ in 0..REPLICAS {
            let seen = events.until("destroy")?;
            gone += 1;
            let is_check = |action: &str| action.starts_with("exec_start");
            checks += seen.iter().filter(|event| is_check(&event.action)).count();
        }
    }
    let journal = rig.output(&file, &["events"])?;
    let journal = String::from_utf8(journal)?;
    let is_taint = |line: &&str| {
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        record["kind"] == "tainted"
    };
    let tainted: Vec<&str> = journal.lines().filter(is_taint).collect();
    println!();
    println!("{gone} recycles, {checks} health checks by exec:");
    for line in tainted.iter().take(5) {
        println!("  {line}");
    }
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let count = tainted.len() as f64;
    Ok(judge("taken for an intruder's", count, 0.0, ""))
}
