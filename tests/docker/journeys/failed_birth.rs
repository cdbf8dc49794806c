//! A replacement that never gets healthy.

use std::time::Duration;

use serde_json::Value;

use super::support::{EventLog, Journey, Load, eventually, short, until};

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
    load.end().assert_nothing_lost(30);
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

#[test]
fn a_replica_that_dies_at_its_birth_is_tried_again_with_patience_and_its_end_is_told() {
    let journey = Journey::of_web(
        1,
        "command: [--nonsense]",
        "backoff: { base: 1s, cap: 30s }",
    );
    let events = journey.engine.events(&journey.label());
    let _supervisor = journey.up();
    let waiting = eventually(
        "`ps` says why",
        Duration::from_mins(1),
        || {
            let row = journey
                .ps()
                .into_iter()
                .find(|row| row["stage"] == "missing");
            row.map(|row| row["waiting_on"].to_string())
                .unwrap_or_default()
        },
        |waiting| waiting.contains("after failure 3"),
    );
    println!("it waits on: {waiting}");
    assert!(waiting.contains("exit"), "{waiting}");
    let births = events
        .actions()
        .iter()
        .filter(|(action, _)| action == "create")
        .count();
    assert!((3..=4).contains(&births), "{births} births");
    assert_eq!(journey.containers(), [], "nothing is left of them");
    let answer = journey.try_get("/healthz");
    assert!(answer.is_err(), "nobody can have answered: {answer:?}");
}

#[test]
fn past_its_deadline_a_replica_without_a_healthy_replacement_stays_or_goes_as_the_file_says() {
    let phoenix = |overdue: &str| {
        format!(
            "ttl: 8s\njitter: 0%\ndrain: 0s\noverdue: {overdue}\nprobe: {{ http: /healthz, port: 8080, interval: 250ms, deadline: 1s }}"
        )
    };
    let journey = Journey::new();
    let write = |environment: &str| {
        let service = format!("{environment}\nstop_grace_period: 1s");
        let web = journey.web(1, &service, &phoenix("keep"));
        let other = journey.web(1, &service, &phoenix("stop"));
        let other: Vec<&str> = other
            .lines()
            .skip(1)
            .filter(|line| !line.contains("ports:"))
            .collect();
        let other = other.join("\n") + "\n";
        journey.write(&(web + &other.replace("  web:", "  goes:")));
    };
    write(GOOD);
    journey.up_ready(2).end();
    let old = journey.containers();
    let of = |service: &str| {
        let found = old
            .iter()
            .find(|container| container.name.contains(service));
        found.expect("a replica").id.clone()
    };
    let (stays, goes) = (of("-web-"), of("-goes-"));

    write(BAD);
    let _supervisor = journey.up();
    let row = eventually(
        "it is overdue",
        Duration::from_mins(1),
        || {
            let rows = journey.ps();
            rows.into_iter()
                .find(|row| row["container_id"] == stays.as_str())
        },
        |row| {
            let left = |row: &Value| row["ttl_remaining_seconds"].as_i64();
            row.as_ref().and_then(left).is_some_and(|left| left < 0)
        },
    );
    println!("{row:#?}");
    eventually(
        "the other one is gone",
        Duration::from_mins(1),
        || {
            journey
                .engine
                .inspect(&goes)
                .map(|inspect| inspect["State"].clone())
        },
        Option::is_none,
    );
    assert_eq!(journey.inspect(&stays)["State"]["Running"], true);
    assert_eq!(journey.get("/whoami").json()["id"], short(&stays));
    assert!(
        journey.log().contains("past its deadline"),
        "it is said loudly"
    );
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
