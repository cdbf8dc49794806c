//! A supervisor that is killed at any moment, and the next one.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;

use super::support::{Journey, Random, now, pause};

/// Rounds of two kills each: one in the middle of a recycle, one at rest.
const ROUNDS: u32 = 5;

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
            now() - began
        );
        recycle.end();
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

    // A replica is started once in its whole life, and never a fourth one beside three.
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
    let actions = events.actions();
    assert!(events.most_running(0) <= 3, "{actions:#?}");
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
