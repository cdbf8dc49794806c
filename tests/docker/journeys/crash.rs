//! A supervisor that is killed at any moment, and the next one.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;

use super::support::{EventLog, Journey, Random, Supervisor, now, pause, since};

/// Rounds of two kills each: one at rest, one in the middle of a recycle.
const ROUNDS: u32 = 8;

#[test]
fn a_supervisor_killed_at_any_moment_leaves_a_world_that_the_next_one_takes_over() {
    let mut random = Random::seeded("kill -9");
    let journey = Journey::of_web(2, "", "drain: 200ms");
    let events = journey.engine.events(&journey.label());
    for round in 0..ROUNDS {
        let mut supervisor = journey.up_ready(2);
        let before = births(&journey);
        supervisor.kill();
        assert_eq!(births(&journey), before, "a kill at rest touches nothing");

        supervisor = journey.up_ready(2);
        assert_eq!(
            births(&journey),
            before,
            "round {round}: healthy replicas were not left alone"
        );

        let delay = Duration::from_millis(random.below(4500));
        let recycle = journey.begin(&["recycle"]);
        let began = now();
        pause(delay);
        supervisor.kill();
        println!(
            "round {round}: killed {:?} after the recycle began",
            since(began)
        );
        let code = recycle.end().code();
        assert!(
            matches!(code, Some(0 | 1)),
            "a recycle whose supervisor is gone ends with {code:?}"
        );
    }
    let supervisor = journey.up_ready(2);
    let containers = journey.containers();
    assert_eq!(containers.len(), 2, "{containers:#?}");
    assert!(
        containers
            .iter()
            .all(|container| container.state == "running"),
        "{containers:#?}"
    );
    supervisor.end();

    assert_sane(&events, 3);
    assert_eq!(journey.engine.networks(&journey.label()).len(), 1);
    // What it wrote before it was killed still verifies.
    journey.run(&["events"]).success();
}

#[test]
fn a_supervisor_that_is_ended_leaves_replicas_that_the_next_one_adopts() {
    let journey = Journey::of_web(2, "", "");
    let supervisor = journey.up_ready(2);
    let before = births(&journey);
    let events = journey.engine.events(&journey.label());
    supervisor.end();
    assert_eq!(births(&journey), before, "the replicas are left running");

    let supervisor = journey.up_ready(2);
    assert_eq!(births(&journey), before, "the replicas are adopted");
    assert_eq!(journey.get("/healthz").status, 200);
    supervisor.signal(Signal::INT);
    drop(supervisor);
    assert_eq!(events.actions(), [], "nothing was done to a container");
}

#[test]
fn a_supervisor_killed_while_it_begins_changes_or_removes_a_project_leaves_nothing_behind() {
    let mut random = Random::seeded("kill -9 of up, of a change and of down");
    let journey = Journey::of_web(2, "", "drain: 0s");
    let events = journey.engine.events(&journey.label());
    let mut kill_after = |supervisor: Supervisor, what: &str, most: u64| {
        let delay = Duration::from_millis(random.below(most));
        pause(delay);
        supervisor.kill();
        println!("killed {what} after {delay:?}");
    };
    for round in 0..4 {
        // While it makes networks and containers.
        kill_after(journey.up(), "up", 1200);
        kill_after(journey.up(), "up again", 1200);
        journey.up_ready(2).end();

        // While one generation gives way to the next.
        let service = format!("environment: {{ ROUND: \"{round}\" }}");
        journey.write(&journey.web(2, &service, "drain: 0s"));
        kill_after(journey.up(), "a change", 2500);
        let supervisor = journey.up_ready_when(2, |inspect| {
            let env = inspect["Config"]["Env"].to_string();
            env.contains(&format!("ROUND={round}\""))
        });

        // While it removes everything.
        let down = journey.begin(&["down"]);
        kill_after(supervisor, "down", 800);
        down.end();
        journey.run(&["down"]).success();
        assert_eq!(journey.containers(), []);
        let networks = journey.engine.networks(&journey.label());
        assert!(networks.is_empty(), "{networks:?}");
    }
    assert_sane(&events, 3);
    journey.run(&["events"]).success();
}

#[test]
fn a_supervisor_ended_within_a_recycle_ends_at_once_and_the_next_one_finishes() {
    let mut random = Random::seeded("SIGTERM within a recycle");
    let journey = Journey::of_web(2, "", "drain: 200ms");
    let events = journey.engine.events(&journey.label());
    for _ in 0..4 {
        let supervisor = journey.up_ready(2);
        let recycle = journey.begin(&["recycle"]);
        let delay = Duration::from_millis(random.below(3000));
        pause(delay);
        let began = now();
        supervisor.end();
        println!(
            "ended {delay:?} after the recycle began, in {:?}",
            since(began)
        );
        assert!(since(began) < Duration::from_secs(15));
        let code = recycle.end().code();
        assert!(matches!(code, Some(0 | 1)), "{code:?}");
    }
    journey.up_ready(2).end();
    assert_sane(&events, 3);
}

/// A replica is started once in its whole life, and never more than so many run at once.
#[track_caller]
fn assert_sane(events: &EventLog, most: usize) {
    let mut starts: BTreeMap<String, u32> = BTreeMap::new();
    for event in events.seen() {
        assert_ne!(event["Action"], "restart", "{event:#}");
        if event["Action"] == "start" {
            *starts.entry(event["Actor"]["ID"].to_string()).or_default() += 1;
        }
    }
    assert!(
        starts.values().all(|count| *count == 1),
        "started twice: {starts:?}"
    );
    assert!(events.most_running(0) <= most, "{:#?}", events.actions());
}

/// The containers and when their processes began.
fn births(journey: &Journey) -> Vec<(String, String)> {
    journey
        .running_ids()
        .into_iter()
        .map(|id| {
            let started = journey.inspect(&id)["State"]["StartedAt"].to_string();
            (id, started)
        })
        .collect()
}
