//! A replacement that never gets healthy.

use std::time::Duration;

use super::support::{EventLog, Journey, Load, eventually, until};

const GOOD: &str = "environment: { FIRST: \"yes\" }";
/// It listens where nobody asks.
const BAD: &str = "environment: { PORT: \"9999\" }";
/// Better, and not what ran before.
const BETTER: &str = "environment: { BETTER: \"yes\" }";
const PHOENIX: &str = "drain: 200ms
backoff: { base: 1s, cap: 30s }
probe: { http: /healthz, interval: 250ms, deadline: 2s }";

#[test]
fn a_replacement_that_never_gets_healthy_is_removed_and_the_old_one_serves_on() {
    let journey = Journey::of_web(1, GOOD, PHOENIX);
    journey.up_ready(1).end();
    let old = journey.running_ids();
    journey.write(&journey.web(1, BAD, PHOENIX));
    let events = journey.engine.events(&journey.label());

    let supervisor = journey.up();
    // The port is bound and the old replica serves, from the first moment on.
    until(
        "the old replica serves",
        Duration::from_secs(30),
        || match journey.try_get("/healthz") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(other),
        },
    );
    let load = Load::begin(journey.port, 1, 1);
    eventually(
        "three replacements failed",
        Duration::from_mins(1),
        || {
            events
                .actions()
                .iter()
                .filter(|(action, _)| action == "destroy")
                .count()
        },
        |removed| *removed >= 3,
    );
    let waiting = eventually(
        "`ps` says why",
        Duration::from_secs(30),
        || {
            let rows = journey.ps();
            let row = rows
                .iter()
                .find(|row| row["container_id"] == old[0].as_str());
            row.map(|row| row["waiting_on"].as_str().unwrap_or_default().to_owned())
                .unwrap_or_default()
        },
        |waiting| waiting.contains("backoff"),
    );
    println!("it waits on: {waiting}");
    assert!(
        waiting.contains("replacement") && waiting.contains("failure"),
        "{waiting}"
    );

    // The wish cannot be met, and is told so, with the reason.
    let recycle = journey.run(&["recycle"]);
    println!("recycle said: {}", recycle.stderr);
    recycle.unmet(&["not recycled", "ready", "hint"]);

    let inspect = journey.inspect(&old[0]);
    assert_eq!(inspect["State"]["Running"], true, "the old one stays");
    load.end().assert_nothing_lost(100);
    supervisor.end();
    assert_backoff(&events);
    assert!(events.most_running(1) <= 2, "{:#?}", events.actions());

    // A file that is good again goes on at once.
    journey.write(&journey.web(1, BETTER, PHOENIX));
    let _supervisor = journey.up_ready_when(1, |inspect| {
        inspect["Config"]["Env"].to_string().contains("BETTER=yes")
    });
    assert!(!journey.running_ids().contains(&old[0]));
    journey.run(&["recycle"]).success();
}

/// Each try came later than the one before it: the deadline of 2 s, and 1 s, 2 s, 4 s.
fn assert_backoff(events: &EventLog) {
    let births: Vec<u64> = events
        .seen()
        .iter()
        .filter(|event| event["Action"] == "create" && event["Type"] == "container")
        .map(|event| event["timeNano"].as_u64().expect("a time"))
        .collect();
    let gaps: Vec<f64> = births
        .windows(2)
        .take(2)
        .map(|pair| Duration::from_nanos(pair[1] - pair[0]).as_secs_f64())
        .collect();
    println!("between the births: {gaps:?} s");
    assert!(
        gaps[0] > 2.9 && gaps[1] > gaps[0] + 0.5,
        "the backoff does not grow: {gaps:?}"
    );
}
