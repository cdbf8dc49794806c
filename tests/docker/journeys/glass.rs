//! Break glass: one replica is let go of under load, programs run in it, the supervisor dies and another one goes on, and at the
//! end of the time the container is recorded and destroyed.

use std::fs;
use std::io::BufReader;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Journey, Load, Output, eventually, http};

const PATIENCE: Duration = Duration::from_mins(1);
/// Far more than the journeys need while it is open.
const LONG: &str = "30m";

/// Executes a program in a container, as `docker exec` does, and tells its exit code.
pub(super) fn exec(journey: &Journey, container: &str, arguments: &[&str]) -> Value {
    let body = json!({ "Cmd": arguments, "AttachStdout": true, "Tty": true });
    let made = journey.engine.must(
        "POST",
        &format!("/containers/{container}/exec"),
        Some(&body),
    );
    let exec = made.json()["Id"].as_str().expect("an id").to_owned();
    let start = json!({ "Detach": true });
    journey
        .engine
        .must("POST", &format!("/exec/{exec}/start"), Some(&start));
    let path = format!("/exec/{exec}/json");
    let ended = eventually(
        "the program has ended",
        PATIENCE,
        || journey.engine.must("GET", &path, None).json(),
        |answer| answer["Running"] == false,
    );
    ended["ExitCode"].clone()
}

fn records(journey: &Journey) -> Vec<Value> {
    let path = journey.path("state").join(&journey.project);
    let text = fs::read_to_string(path.join("journal.jsonl")).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// What is broken open, as `ps` tells it.
pub(super) fn open(journey: &Journey) -> Option<Value> {
    let rows = journey.ps();
    rows.into_iter().find(|row| !row["glass"].is_null())
}

pub(super) fn await_gone(journey: &Journey, id: &str) {
    eventually(
        "what was broken open is gone",
        PATIENCE,
        || journey.engine.inspect(id).is_none(),
        |gone| *gone,
    );
}

/// The new supervisor has found what is broken open, and so many others that get traffic.
fn await_found(journey: &Journey, ready: usize) -> Value {
    eventually(
        "what is broken open is found",
        PATIENCE,
        || journey.ps(),
        |rows| {
            let is_ready = |row: &&Value| row["ready"] == true;
            let is_open = |row: &Value| row["glass"]["open"] == true;
            rows.iter().any(is_open) && rows.iter().filter(is_ready).count() == ready
        },
    );
    open(journey).expect("what is broken open")
}

fn break_glass(journey: &Journey, length: &str, reason: &str) -> Output {
    journey.run(&["break-glass", "web", "--for", length, "--reason", reason])
}

#[test]
fn break_glass_under_load_loses_no_request_and_leaves_evidence_and_a_journal_that_verifies() {
    // In HTTP mode clients that keep their connections lose nothing, either.
    let journey = Journey::of_web(2, "", "drain: 200ms\nedge: { protocol: http }");
    let _supervisor = journey.up_ready(2);
    let load = Load::begin(journey.port, 3, 3);
    let before = journey.running_ids();
    let said = break_glass(&journey, LONG, "why is it \u{1b}[31mslow").success();
    println!("{}", said.stdout);
    let row = open(&journey).expect("what is broken open");
    let id = row["container_id"].as_str().expect("an id").to_owned();
    let name = row["glass"]["container"]
        .as_str()
        .expect("a name")
        .to_owned();
    assert!(before.contains(&id));
    assert!(
        said.stdout.contains(&format!("docker exec -it {name} sh")),
        "{said:#?}"
    );
    assert_eq!(
        (&row["ready"], &row["stage"]),
        (&json!(false), &json!("broken-glass"))
    );
    let waits = row["waiting_on"].as_str().expect("what it waits on");
    assert!(waits.contains("why is it \\u{1b}[31mslow"), "{waits}");
    let ready = journey.ps().into_iter().filter(|row| row["ready"] == true);
    assert_eq!(ready.count(), 2);

    assert_eq!(exec(&journey, &name, &["/phoenixd", "--version"]), 0);
    let again = break_glass(&journey, LONG, "me too");
    again.unmet(&["broken open already", "for 29m"]);
    journey.run(&["recycle"]).success();
    assert!(journey.engine.inspect(&id).is_some(), "a recycle leaves it");
    journey.run(&["break-glass", "web", "--end"]).success();
    assert!(journey.engine.inspect(&id).is_none());
    journey
        .run(&["break-glass", "web", "--end"])
        .unmet(&["no break-glass is open"]);
    load.end().assert_nothing_lost(50);

    journey.run(&["journal", "verify"]).success();
    let all = records(&journey);
    let find = |what: &dyn Fn(&&Value) -> bool| all.iter().position(|record| what(&record));
    let of_it = |record: &&Value| record["container_id"] == id.as_str();
    let asked = find(&|it| it["kind"] == "asked" && it["action"] == "break-glass");
    let marked = find(&|it| of_it(it) && it["kind"] == "began" && it["action"] == "rename");
    let ran = find(&|it| of_it(it) && it["reason"] == "exec of `/phoenixd --version`");
    let facts = find(&|it| of_it(it) && it["detail"]["tty"] == true);
    let ended = find(&|it| of_it(it) && it["detail"]["exit_code"] == 0 && it["kind"] == "seen");
    let captured = find(&|it| of_it(it) && it["kind"] == "ended" && it["action"] == "capture");
    let order = [asked, marked, ran, facts, captured];
    assert!(
        order.iter().all(Option::is_some) && ended.is_some(),
        "{order:?} {ended:?} {all:#?}"
    );
    assert!(order.is_sorted(), "{order:?}");
    // Its end is what the next supervisor would have to know; nothing else of it is a taint.
    let tainted = all.iter().filter(|it| it["kind"] == "tainted");
    let tainted: Vec<&Value> = tainted.map(|it| &it["reason"]).collect();
    assert_eq!(tainted, ["break-glass was ended before its time"]);
    let evidence = &all[captured.expect("a capture")]["detail"]["evidence"];
    let evidence = evidence.as_str().expect("a directory");
    assert!(fs::read_dir(evidence).expect("evidence").count() > 3);
}

#[test]
fn a_kept_connection_is_cut_before_anybody_gets_in() {
    let journey = Journey::of_web(1, "", "drain: 1s");
    let _supervisor = journey.up_ready(1);
    let address = ([127, 0, 0, 1], journey.port).into();
    let mut kept = BufReader::new(http::dial(address, PATIENCE).expect("a connection"));
    let ask = |kept: &mut _| http::request(kept, "GET", "/whoami", false);
    assert_eq!(ask(&mut kept).expect("an answer").status, 200);
    let said = break_glass(&journey, LONG, "a look").success();
    let row = open(&journey).expect("what is broken open");
    assert_eq!(row["glass"]["open"], true, "{said:#?}");
    // It is reset already, before a byte of this request could get there.
    let error = ask(&mut kept).expect_err("the connection is cut");
    println!("{error}");
    let all = records(&journey);
    let marked = all
        .iter()
        .find(|it| it["kind"] == "began" && it["action"] == "rename");
    let marked = marked.expect("the mark");
    assert_eq!(marked["detail"]["connections_cut"], 1, "{marked:#?}");
    journey.run(&["break-glass", "web", "--end"]).success();
    journey.run(&["journal", "verify"]).success();
}

#[test]
fn a_supervisor_killed_while_glass_is_broken_leaves_its_end_to_the_next_one() {
    let journey = Journey::of_web(1, "", "drain: 200ms");
    let supervisor = journey.up_ready(1);
    // In its way out, too: the next one gives it back or takes it down, and nothing is half done.
    break_glass(&journey, "20s", "a look").success();
    let row = open(&journey).expect("what is broken open");
    let id = row["container_id"].as_str().expect("an id").to_owned();
    supervisor.kill();
    assert_eq!(exec(&journey, &id, &["/phoenixd", "--version"]), 0);
    let mut supervisor = journey.up();
    let row = await_found(&journey, 1);
    assert_eq!(row["container_id"], id.as_str());
    assert_eq!(
        (&row["ready"], &row["stage"]),
        (&json!(false), &json!("broken-glass"))
    );
    await_gone(&journey, &id);
    supervisor.await_ready(1);
    assert!(!journey.running_ids().contains(&id));
    journey.run(&["journal", "verify"]).success();
    let captured = records(&journey).into_iter().any(|record| {
        record["container_id"] == id.as_str()
            && record["action"] == "capture"
            && record["outcome"] == "done"
    });
    assert!(captured, "{:#?}", records(&journey));
}

#[test]
fn what_cannot_be_broken_open_is_said() {
    let journey = Journey::of_web(1, "", "");
    let asks = |arguments: &[&str]| {
        let all = [
            &["break-glass"],
            arguments,
            &["--for", "1m", "--reason", "x"],
        ]
        .concat();
        journey.run(&all)
    };
    asks(&["web"]).unmet(&["no supervisor is running"]);
    journey
        .run(&["break-glass", "web"])
        .unmet(&["--for", "--reason"]);
    let _supervisor = journey.up_ready(1);
    asks(&["db"]).unmet(&["no such service: `db`"]);
    asks(&["web", "--replica", "web-9"]).unmet(&["has no replica `web-9`"]);
    let long = journey.run(&["break-glass", "web", "--for", "5h", "--reason", "x"]);
    long.unmet(&["1s to 4h"]);
    let silent = journey.run(&["break-glass", "web", "--for", "5m", "--reason", " "]);
    silent.unmet(&["it is empty"]);
}
