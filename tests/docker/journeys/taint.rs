//! What is touched leaves the rotation, is frozen, recorded and replaced; what only checks its health is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Journey, eventually, now, pause, since};

const PATIENCE: Duration = Duration::from_secs(30);

/// Executes a program in a container, as `docker exec` does.
fn exec(journey: &Journey, id: &str) {
    let body = json!({ "Cmd": ["/phoenixd", "--version"] });
    let made = journey
        .engine
        .must("POST", &format!("/containers/{id}/exec"), Some(&body));
    let exec = made.json()["Id"].as_str().unwrap_or_default().to_owned();
    let start = json!({ "Detach": true });
    journey
        .engine
        .must("POST", &format!("/exec/{exec}/start"), Some(&start));
}

fn await_gone(journey: &Journey, id: &str) {
    eventually(
        "the touched replica is gone",
        PATIENCE,
        || journey.engine.inspect(id).is_none(),
        |gone| *gone,
    );
}

fn await_frozen(journey: &Journey, id: &str) {
    eventually(
        "the touched replica is frozen or gone",
        PATIENCE,
        || {
            let inspect = journey.engine.inspect(id);
            inspect.is_none_or(|inspect| inspect["State"]["Status"] == "paused")
        },
        |over| *over,
    );
}

/// The journal's records of a kind.
fn journal(journey: &Journey, kind: &str) -> Vec<Value> {
    let path = journey.path("state").join(&journey.project);
    let text = fs::read_to_string(path.join("journal.jsonl")).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|record| record["kind"] == kind)
        .collect()
}

/// The directories of evidence.
fn evidence(journey: &Journey) -> Vec<PathBuf> {
    let root = journey
        .path("state")
        .join(&journey.project)
        .join("evidence");
    let entries = fs::read_dir(root).map(Iterator::flatten);
    let mut all: Vec<PathBuf> = entries
        .map(|entries| entries.map(|entry| entry.path()).collect())
        .unwrap_or_default();
    all.sort();
    all
}

#[test]
fn an_exec_takes_a_replica_out_of_rotation_and_leaves_evidence() {
    let journey = Journey::of_web(2, "", "");
    let mut supervisor = journey.up_ready(2);
    let victim = journey.running_ids().remove(0);
    let began = now();
    exec(&journey, &victim);
    await_frozen(&journey, &victim);
    println!("frozen after {:?}", since(began));
    await_gone(&journey, &victim);
    supervisor.await_ready(2);
    assert!(!journey.running_ids().contains(&victim));

    let directories = evidence(&journey);
    let [directory] = directories.as_slice() else {
        panic!("{directories:?}")
    };
    let mode = |path: &PathBuf| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
    assert_eq!(mode(directory), 0o700);
    let mut names = Vec::new();
    for file in fs::read_dir(directory).expect("read").flatten() {
        assert_eq!(mode(&file.path()), 0o600, "{file:?}");
        names.push(file.file_name().to_string_lossy().into_owned());
    }
    for expected in [
        "changes.json",
        "inspect.json",
        "log",
        "manifest.json",
        "processes.json",
        "sockets-tcp.txt",
        "top.json",
    ] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
    let inspect = fs::read(directory.join("inspect.json")).expect("read");
    let inspect: Value = serde_json::from_slice(&inspect).expect("JSON");
    assert_eq!(inspect["State"]["Paused"], true);

    // Two witnesses tell of it, in either order.
    let tainted = journal(&journey, "tainted");
    let reasons: Vec<&str> = tainted
        .iter()
        .filter_map(|record| record["reason"].as_str())
        .collect();
    assert!(
        reasons.contains(&"exec of `/phoenixd --version`"),
        "{reasons:?}"
    );
    let is_entry = |reason: &&str| reason.contains("(`/phoenixd --version`) was started in it");
    assert!(reasons.iter().filter(|reason| is_entry(reason)).count() <= 1);
    assert!(reasons.len() <= 2, "{reasons:?}");
    for record in &tainted {
        assert_eq!(record["container_id"], victim.as_str());
    }
    let ended = journal(&journey, "ended");
    let captured = ended.iter().find(|record| record["action"] == "capture");
    let captured = captured.expect("a record of the capture");
    assert_eq!(
        captured["detail"]["evidence"],
        directory.to_string_lossy().as_ref()
    );
    assert_eq!(
        captured["detail"]["sha256"].as_str().map(str::len),
        Some(64)
    );
    journey.run(&["events"]).success();
    let said = journey.run(&["ps"]).success();
    assert!(
        said.stderr.contains("exec of `/phoenixd --version`"),
        "{said:#?}"
    );
}

#[test]
fn every_door_taints() {
    let journey = Journey::of_web(1, "", "backoff: { base: 100ms, cap: 1s }");
    let mut supervisor = journey.up_ready(1);
    let image = format!("{}-committed", journey.project);
    for door in [
        "attach", "archive", "export", "commit", "update", "rename", "pause",
    ] {
        let id = journey.running_ids().remove(0);
        let (method, path, body) = match door {
            "attach" => (
                "POST",
                format!("/containers/{id}/attach?logs=1&stdout=1"),
                None,
            ),
            "archive" => (
                "GET",
                format!("/containers/{id}/archive?path=/etc/hostname"),
                None,
            ),
            "export" => ("GET", format!("/containers/{id}/export"), None),
            "commit" => (
                "POST",
                format!("/commit?container={id}&repo={image}"),
                Some(json!({})),
            ),
            "update" => {
                let body = json!({ "PidsLimit": 77 });
                ("POST", format!("/containers/{id}/update"), Some(body))
            }
            "rename" => {
                let name = format!("{}-mine", journey.project);
                ("POST", format!("/containers/{id}/rename?name={name}"), None)
            }
            other => ("POST", format!("/containers/{id}/{other}"), None),
        };
        // What becomes of the call is not the question: it may be cut off by the end of its container.
        drop(journey.engine.call(method, &path, body.as_ref()));
        await_gone(&journey, &id);
        supervisor.await_ready(1);
        let tainted = journal(&journey, "tainted");
        assert!(
            tainted
                .iter()
                .any(|record| record["container_id"] == id.as_str()),
            "{door}: {tainted:#?}"
        );
        println!(
            "{door}: {}",
            tainted
                .last()
                .map_or("", |it| it["reason"].as_str().unwrap_or(""))
        );
    }
    drop(
        journey
            .engine
            .call("DELETE", &format!("/images/{image}?force=1"), None),
    );
}

#[test]
fn a_health_check_each_second_never_taints() {
    let journey = Journey::new();
    journey.write(&format!(
        "services:
  worker:
    image: {}
    stop_grace_period: 3s
    deploy: {{ replicas: 2 }}
    healthcheck:
      test: [\"CMD\", \"/phoenixd\", \"--version\"]
      interval: 1s
      timeout: 5s
      retries: 3
    x-phoenix:
      ttl: 1h
      drain: 0s
      probe: docker
",
        journey.image()
    ));
    let mut supervisor = journey.up_ready(2);
    let began = now();
    while since(began) < Duration::from_mins(1) {
        journey.run(&["recycle"]).success();
        supervisor.await_ready(2);
        pause(Duration::from_secs(4));
    }
    assert_eq!(journal(&journey, "tainted"), Vec::<Value>::new());
    assert_eq!(evidence(&journey), Vec::<PathBuf>::new());
    // The same program by somebody's hand.
    let victim = journey.running_ids().remove(0);
    let body = json!({ "Cmd": ["/phoenixd", "--version"], "Tty": true });
    let made = journey
        .engine
        .must("POST", &format!("/containers/{victim}/exec"), Some(&body));
    let exec = made.json()["Id"].as_str().unwrap_or_default().to_owned();
    let start = json!({ "Detach": true });
    journey
        .engine
        .must("POST", &format!("/exec/{exec}/start"), Some(&start));
    await_gone(&journey, &victim);
    let tainted = journal(&journey, "tainted");
    assert!((1..=2).contains(&tainted.len()), "{tainted:#?}");
}

#[test]
fn report_only_records() {
    let journey = Journey::of_web(1, "", "on_taint: report");
    let _supervisor = journey.up_ready(1);
    let id = journey.running_ids().remove(0);
    exec(&journey, &id);
    eventually(
        "the exec is in the journal",
        PATIENCE,
        || journal(&journey, "seen"),
        |seen| seen.iter().any(|record| record["outcome"] == "reported"),
    );
    assert_eq!(journey.running_ids(), [id]);
    assert_eq!(evidence(&journey), Vec::<PathBuf>::new());
    assert_eq!(journey.get("/healthz").status, 200);
}

#[test]
fn a_supervisor_killed_after_the_freeze_leaves_the_rest_to_the_next_one() {
    let journey = Journey::of_web(1, "", "");
    let supervisor = journey.up_ready(1);
    let victim = journey.running_ids().remove(0);
    exec(&journey, &victim);
    await_frozen(&journey, &victim);
    supervisor.kill();
    let state = journey.engine.inspect(&victim);
    println!("killed with the replica there: {}", state.is_some());
    let mut supervisor = journey.up();
    await_gone(&journey, &victim);
    supervisor.await_ready(1);
    assert_eq!(evidence(&journey).len(), 1);
    journey.run(&["events"]).success();
}

/// From the begin of the first call of an exec until the table without the replica is published, by the supervisor's log.
#[test]
fn an_exec_is_noticed_within_a_quarter_of_a_second() {
    let journey = Journey::of_web(1, "", "backoff: { base: 100ms, cap: 1s }");
    let mut supervisor = journey.up_ready(1);
    let mut took = Vec::new();
    for round in 1..=20 {
        let id = journey.running_ids().remove(0);
        let began = phoenixd::clock::wall_now();
        exec(&journey, &id);
        await_gone(&journey, &id);
        supervisor.await_ready(1);
        let log = journey.log();
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| {
                line.contains("tainted: exec")
                    && line.contains("WARN")
                    && !line.contains("a replica failed")
            })
            .collect();
        assert_eq!(lines.len(), round, "{log}");
        let at = lines[round - 1].split(' ').next().unwrap_or_default();
        let at: jiff::Timestamp = at.parse().expect("a time");
        took.push(Duration::try_from(at.duration_since(began)).expect("after it"));
    }
    took.sort();
    println!("noticed after {took:?}");
    assert!(took[10] < Duration::from_millis(250), "{took:?}");
}
