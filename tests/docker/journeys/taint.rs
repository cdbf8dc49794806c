//! What is touched leaves the rotation, is frozen, recorded and replaced; what only checks its health is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Journey, eventually, now, pause, since, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Executes a program in a container, as `docker exec` does; the engine's id of it.
pub(super) fn exec(journey: &Journey, id: &str) -> String {
    let body = json!({ "Cmd": ["/phoenixd", "--version"] });
    let made = journey
        .engine
        .must("POST", &format!("/containers/{id}/exec"), Some(&body));
    let exec = made.json()["Id"].as_str().unwrap_or_default().to_owned();
    let start = json!({ "Detach": true });
    journey
        .engine
        .must("POST", &format!("/exec/{exec}/start"), Some(&start));
    exec
}

pub(super) fn await_gone(journey: &Journey, id: &str) {
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
pub(super) fn journal(journey: &Journey, kind: &str) -> Vec<Value> {
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
fn replicas_that_are_touched_at_the_same_time_all_leave_evidence() {
    let journey = Journey::of_web(3, "", "");
    let mut supervisor = journey.up_ready(3);
    let victims = journey.running_ids();
    std::thread::scope(|scope| {
        for victim in &victims {
            scope.spawn(|| exec(&journey, victim));
        }
    });
    for victim in &victims {
        await_gone(&journey, victim);
    }
    supervisor.await_ready(3);
    let ended = journal(&journey, "ended").into_iter();
    let captured: Vec<Value> = ended
        .filter(|record| record["action"] == "capture")
        .collect();
    assert!(
        captured.iter().all(|record| record["outcome"] == "done"),
        "{captured:#?}"
    );
    let directories = evidence(&journey);
    assert_eq!(directories.len(), 3, "{directories:?}");
    let whole = |directory: &PathBuf| directory.join("manifest.json").exists();
    assert!(directories.iter().all(whole), "{directories:?}");
}

#[test]
fn every_door_taints() {
    let journey = Journey::of_web(1, "", "backoff: { base: 100ms, cap: 1s }");
    let mut supervisor = journey.up_ready(1);
    let image = format!("{}-committed", journey.project);
    for door in [
        "attach", "archive", "export", "commit", "update", "rename", "pause", "restart",
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
            "restart" => ("POST", format!("/containers/{id}/restart?t=0"), None),
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
        let why = tainted_by(&journey, &id);
        println!("{door}: {why:?}");
        if ["commit", "restart"].contains(&door) {
            assert!(why.iter().any(|why| why.contains(door)), "{why:?}");
        }
    }
    drop(
        journey
            .engine
            .call("DELETE", &format!("/images/{image}?force=1"), None),
    );
}

/// Why a container was tainted, by the journal.
fn tainted_by(journey: &Journey, id: &str) -> Vec<String> {
    let all = journal(journey, "tainted").into_iter();
    all.filter(|record| record["container_id"] == id)
        .filter_map(|record| Some(record["reason"].as_str()?.to_owned()))
        .collect()
}

#[test]
fn files_that_are_copied_in_or_out_taint_and_what_the_engine_refuses_does_not() {
    let journey = Journey::new();
    let service = "volumes: [\"data:/data\"]\ntmpfs: [/scratch]";
    let phoenix = "backoff: { base: 100ms, cap: 1s }";
    let file = journey.web(1, service, phoenix);
    journey.write(&format!("{file}volumes: {{ data: {{}} }}\n"));
    let mut supervisor = journey.up_ready(1);
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(5);
    archive
        .append_data(&mut header, "left-behind", &b"hello"[..])
        .expect("append");
    let archive = archive.into_inner().expect("archive");
    for path in ["/data", "/scratch", "/"] {
        let id = journey.running_ids().remove(0);
        let (status, said) = journey.engine.copy_in(&id, path, &archive);
        println!("{path}: {status} {said}");
        if status >= 400 {
            assert_ne!(path, "/data");
            pause(Duration::from_secs(2));
            let why = tainted_by(&journey, &id);
            // 28.5.2 has changed the layer before it refuses (it mounts the container's view there); 20.10.24 has not.
            let by_layer = |why: &String| why.ends_with(" changed");
            assert!(why.iter().all(by_layer), "{path}: {why:?}");
            if why.is_empty() {
                assert_eq!(journey.running_ids(), [id]);
            } else {
                await_gone(&journey, &id);
                supervisor.await_ready(1);
            }
            continue;
        }
        await_gone(&journey, &id);
        supervisor.await_ready(1);
        let why = tainted_by(&journey, &id);
        let copied = "copy of files into it".to_owned();
        assert!(why.contains(&copied), "{path}: {why:?}");
    }
    let id = journey.running_ids().remove(0);
    let path = format!("/containers/{id}/archive?path=/data/left-behind");
    let copied = journey.engine.must("GET", &path, None);
    assert!(copied.text().contains("hello"));
    await_gone(&journey, &id);
    supervisor.await_ready(1);
    let why = tainted_by(&journey, &id);
    assert!(
        why.contains(&"copy of files out of it".to_owned()),
        "{why:?}"
    );
}

#[test]
fn another_network_taints_and_who_lost_its_own_is_replaced() {
    let journey = Journey::of_web(1, "", "backoff: { base: 100ms, cap: 1s }");
    let mut supervisor = journey.up_ready(1);
    let elsewhere = format!("{}-elsewhere", journey.project);
    journey.engine.must(
        "POST",
        "/networks/create",
        Some(&json!({ "Name": elsewhere })),
    );
    let mut gone = Vec::new();
    for (network, verb) in [
        (elsewhere.clone(), "connect"),
        (format!("{}_default", journey.project), "disconnect"),
    ] {
        let id = journey.running_ids().remove(0);
        let body = json!({ "Container": id, "Force": true });
        let began = now();
        let path = format!("/networks/{network}/{verb}");
        journey.engine.must("POST", &path, Some(&body));
        await_gone(&journey, &id);
        println!("{verb}: gone after {:?}", since(began));
        supervisor.await_ready(1);
        gone.push((verb, tainted_by(&journey, &id)));
    }
    // Before the test may fail: nobody else removes it.
    journey
        .engine
        .must("DELETE", &format!("/networks/{elsewhere}"), None);
    for (verb, why) in gone {
        assert_eq!(why, ["change of its networks"], "{verb}");
    }
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

#[test]
fn a_supervisor_killed_between_the_taint_and_the_freeze_lets_nobody_back_in() {
    let journey = Journey::of_web(1, "", "");
    let supervisor = journey.up_ready(1);
    let victim = journey.running_ids().remove(0);
    let exec = exec(&journey, &victim);
    // It ends at once: no event and no scan of the next supervisor tells of it. The freeze waits a second after it.
    until("the end of the exec", PATIENCE, || {
        let path = format!("/exec/{exec}/json");
        let exec = journey.engine.must("GET", &path, None).json();
        if exec["Running"] == false && exec["ExitCode"].is_i64() {
            Ok(())
        } else {
            Err(exec)
        }
    });
    eventually(
        "the taint is in the journal",
        PATIENCE,
        || journal(&journey, "tainted"),
        |tainted| !tainted.is_empty(),
    );
    supervisor.kill();
    let state = journey.engine.inspect(&victim);
    println!(
        "killed with the replica {state:?}",
        state = state.map(|it| it["State"]["Status"].clone())
    );
    // The engine tells a new subscriber of the second before, too.
    pause(Duration::from_secs(3));
    let mut supervisor = journey.up();
    await_gone(&journey, &victim);
    supervisor.await_ready(1);
    assert_eq!(evidence(&journey).len(), 1);
    let again = journal(&journey, "tainted");
    let again = again.iter().find(|it| it["detail"]["before"] == true);
    let again = again.expect("the next supervisor says so again");
    assert_eq!(again["container_id"], victim.as_str());
    assert_eq!(again["reason"], "exec of `/phoenixd --version`");
    journey.run(&["journal", "verify"]).success();
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
