//! What the commands print.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::support::{Journey, eventually};

const KEYS: [&str; 11] = [
    "service",
    "replica",
    "container_id",
    "stage",
    "ready",
    "age_seconds",
    "ttl_remaining_seconds",
    "generation",
    "waiting_on",
    "tainted",
    "glass",
];

#[test]
fn ps_tells_exactly_what_scripts_rely_on() {
    let journey = Journey::of_web(2, "", "");
    // Before anything runs, too.
    let rows = journey.ps();
    assert_eq!(rows.len(), 2, "{rows:#?}");
    for row in &rows {
        assert_keys(row);
        assert_eq!(
            (&row["stage"], &row["ready"]),
            (&Value::from("missing"), &Value::from(false))
        );
    }

    let supervisor = journey.up_ready(2);
    let rows = journey.ps();
    let ids: BTreeSet<String> = journey.running_ids().into_iter().collect();
    let mut told = BTreeSet::new();
    for row in &rows {
        assert_keys(row);
        assert_eq!(row["service"], "web");
        assert_eq!(row["generation"], 1);
        assert_eq!(row["ready"], true);
        assert_eq!(row["stage"], "ready");
        assert_eq!(row["waiting_on"], Value::Null);
        let (age, left) = (&row["age_seconds"], &row["ttl_remaining_seconds"]);
        let whole = age.as_i64().expect("an age") + left.as_i64().expect("time left");
        // An hour, less at most a tenth of jitter.
        assert!((3230..=3600).contains(&whole), "{row:#}");
        told.insert(row["container_id"].as_str().expect("an id").to_owned());
    }
    assert_eq!(told, ids, "whole ids");
    let table = journey.run(&["ps"]).success().stdout;
    assert!(
        table.contains("web-1") && table.contains("ready"),
        "{table}"
    );
    supervisor.end();

    let rows = journey.ps();
    assert_eq!(rows.len(), 2, "also without a supervisor: {rows:#?}");
    for row in &rows {
        assert_keys(row);
    }
}

#[track_caller]
fn assert_keys(row: &Value) {
    let keys: BTreeSet<&str> = row
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(keys, BTreeSet::from(KEYS), "{row:#}");
}

#[test]
fn events_prints_the_journal_and_its_chain_verifies() {
    let journey = Journey::of_web(1, "", "drain: 200ms");
    let before = journey.run(&["events"]).unmet(&["journal", "hint"]);
    assert_eq!(before.stdout, "");
    let supervisor = journey.up_ready(1);
    journey.run(&["recycle"]).success();
    supervisor.end();
    journey.up_ready(1).end();
    let printed = journey.run(&["events"]).success();
    // Each line has the hash of the one before it; the first, that of a fixed text.
    let mut last = hex::encode(Sha256::digest("phoenixd journal 1"));
    let mut kinds = BTreeSet::new();
    let mut actions = BTreeSet::new();
    for (index, line) in printed.stdout.lines().enumerate() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(record["seq"], index + 1, "{line}");
        assert_eq!(record["prev"], last.as_str(), "line {}: {line}", index + 1);
        last = hex::encode(Sha256::digest(line));
        kinds.insert(record["kind"].as_str().unwrap_or_default().to_owned());
        actions.extend(record["action"].as_str().map(str::to_owned));
        let has_reason = record["kind"] != "began" || record["reason"].is_string();
        assert!(has_reason, "an action without a reason: {line}");
    }
    println!("{kinds:?} {actions:?}");
    for kind in ["started", "stopped", "began", "ended", "asked"] {
        assert!(kinds.contains(kind), "{kind} is not in {kinds:?}");
    }
    for action in ["create", "start", "stop", "remove"] {
        assert!(
            actions.iter().any(|known| known.contains(action)),
            "{action} is not in {actions:?}"
        );
    }
}

#[test]
fn events_follows_the_journal_as_it_grows() {
    let journey = Journey::of_web(1, "", "drain: 200ms");
    let supervisor = journey.up_ready(1);
    let (_running, stdout) = journey.follow_events();
    let mut lines = BufReader::new(stdout).lines();
    let mut next = |wanted: &str| {
        loop {
            let line = lines.next().expect("it goes on").expect("text");
            if line.contains(wanted) {
                return;
            }
        }
    };
    next("\"started\"");
    journey.run(&["recycle"]).success();
    next("\"asked\"");
    next("\"web-2\"");
    supervisor.end();
    next("\"stopped\"");
}

#[test]
fn plan_and_check_tell_and_change_nothing() {
    let journey = Journey::of_web(2, "", "");
    let everything = || {
        let engine = &journey.engine;
        (
            journey.containers(),
            engine.networks(&journey.label()),
            engine.volumes(&journey.label()),
            journey.path("state").exists(),
        )
    };
    let before = everything();
    let text = journey.run(&["plan"]).success().stdout;
    assert!(text.contains("create"), "{text}");
    let plan: Value =
        serde_json::from_str(&journey.run(&["plan", "--format", "json"]).success().stdout)
            .expect("JSON");
    assert_eq!(plan["project"], journey.project.as_str());
    let body = &plan["create"]["web"];
    assert_eq!(
        body["Image"]
            .as_str()
            .map(|image| image.starts_with("phoenixd-journey") || image.starts_with("sha256:")),
        Some(true),
        "{body:#}"
    );
    assert_eq!(body["HostConfig"]["ReadonlyRootfs"], true);
    assert_eq!(body["HostConfig"]["CapDrop"], serde_json::json!(["ALL"]));
    assert_eq!(body["Labels"]["phoenixd.service"], "web");
    let check = journey.run(&["check"]).success();
    assert!(check.stdout.contains("web"), "{check:?}");
    assert_eq!(everything(), before);

    // What is planned is what is made.
    let _supervisor = journey.up_ready(2);
    let inspect = journey.inspect(&journey.running_ids()[0]);
    for key in [
        "ReadonlyRootfs",
        "CapDrop",
        "PidsLimit",
        "Memory",
        "NanoCpus",
        "SecurityOpt",
        "Tmpfs",
        "Init",
    ] {
        assert_eq!(inspect["HostConfig"][key], body["HostConfig"][key], "{key}");
    }
    let before = journey.running_ids();
    let text = journey.run(&["plan"]).success().stdout;
    assert_eq!(text, "nothing to do\n");
    assert_eq!(journey.running_ids(), before);
}

#[test]
fn a_supervisor_whose_log_nobody_reads_goes_on() {
    let journey = Journey::of_web(1, "", "drain: 200ms");
    let supervisor = journey.begin_unheard(&["up"]);
    let ready = |rows: &Vec<Value>| rows.len() == 1 && rows[0]["ready"] == true;
    let patience = Duration::from_mins(1);
    eventually("a replica is ready", patience, || journey.ps(), ready);
    journey.run(&["recycle"]).success();
    journey.run(&["down"]).success();
    let ended = supervisor.end();
    assert!(ended.success(), "{ended}");
}
