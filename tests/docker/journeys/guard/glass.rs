//! Break glass with the guard: exec is let through for that one container, while its time lasts, and for nothing else.

use std::time::Duration;

use serde_json::json;

use super::super::glass::{await_gone, exec, open};
use super::super::support::{Journey, eventually, inside};
use super::Guarded;

/// Longer than the time for which it is open.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn exec_is_let_through_where_glass_is_broken_until_its_time_is_over_and_nowhere_else() {
    inside(
        "guard::glass::exec_is_let_through_where_glass_is_broken_until_its_time_is_over_and_nowhere_else",
        true,
        |engine| {
            let journey = Journey::of_web(2, "", "drain: 200ms");
            let guard = Guarded::begin(&journey, engine);
            let supervisor = journey.up_ready(2);
            let ids = journey.running_ids();
            for id in &ids {
                assert!(is_denied(&journey, id), "before");
            }
            let said = journey
                .run(&["break-glass", "web", "--for", "25s", "--reason", "a look"])
                .success();
            println!("{}", said.stdout);
            let row = open(&journey).expect("what is broken open");
            let id = row["container_id"].as_str().expect("an id").to_owned();
            let name = row["glass"]["container"]
                .as_str()
                .expect("a name")
                .to_owned();
            for reference in [name.as_str(), id.as_str(), id.split_at(12).0] {
                assert_eq!(exec(&journey, reference, &["/phoenixd", "--version"]), 0);
            }
            for other in journey.running_ids().iter().filter(|other| **other != id) {
                assert!(is_denied(&journey, other), "another one");
            }
            for (method, path) in [
                ("POST", format!("/containers/{id}/attach?logs=1&stdout=1")),
                (
                    "GET",
                    format!("/containers/{id}/archive?path=/etc/hostname"),
                ),
                ("GET", format!("/containers/{id}/export")),
                ("POST", format!("/containers/{id}/rename?name=mine")),
                ("POST", format!("/containers/{id}/pause")),
            ] {
                let answer = journey.engine.call(method, &path, None);
                let answer = answer.expect("an answer");
                assert!(
                    answer.text().contains("authorization denied"),
                    "{method} {path}"
                );
            }
            // Nobody has to live for the door to shut.
            supervisor.kill();
            eventually(
                "exec is denied again",
                PATIENCE,
                || is_denied(&journey, &id),
                |denied| *denied,
            );
            assert!(journey.engine.inspect(&id).is_some());
            let mut supervisor = journey.up();
            await_gone(&journey, &id);
            supervisor.await_ready(2);
            journey.run(&["journal", "verify"]).success();
            drop(supervisor);
            journey.run(&["down"]).success();
            guard.uninstall().success();
            drop(guard);
        },
    );
}

/// The guard refuses to make an exec; the engine, asked by somebody else, would have made it.
fn is_denied(journey: &Journey, container: &str) -> bool {
    let body = json!({ "Cmd": ["/phoenixd", "--version"] });
    let path = format!("/containers/{container}/exec");
    let answer = journey.engine.call("POST", &path, Some(&body));
    let answer = answer.expect("an answer");
    answer.text().contains("authorization denied by plugin")
}
