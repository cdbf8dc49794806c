//! Replicas that die, turn unhealthy, or are removed by somebody.

use std::time::Duration;

use serde_json::json;

use super::support::{Journey, Load, eventually};

const SOON: Duration = Duration::from_mins(1);

fn journey() -> Journey {
    Journey::of_web(2, "", "drain: 200ms")
}

/// Waits until two replicas serve and these are not among them.
#[track_caller]
fn healed_without(journey: &Journey, gone: &[&str]) {
    eventually(
        "two others serve",
        SOON,
        || (journey.containers(), journey.ps()),
        |(containers, rows)| {
            containers.len() == 2
                && containers.iter().all(|container| {
                    container.state == "running" && !gone.contains(&container.id.as_str())
                })
                && rows.len() == 2
                && rows.iter().all(|row| row["ready"] == true)
        },
    );
}

#[test]
fn a_replica_that_dies_is_replaced() {
    let journey = journey();
    let _supervisor = journey.up_ready(2);
    let before = journey.running_ids();

    // By itself. Who answers is not known before: one of the two is gone afterwards.
    let crashed = journey.try_post("/crash");
    assert!(crashed.is_err(), "a crash does not answer: {crashed:?}");
    eventually(
        "the crashed one is removed and another one runs",
        SOON,
        || journey.containers(),
        |containers| {
            containers.len() == 2
                && containers
                    .iter()
                    .all(|container| container.state == "running")
                && containers
                    .iter()
                    .filter(|container| before.contains(&container.id))
                    .count()
                    == 1
        },
    );
    healed_without(&journey, &[]);

    // By somebody's hand.
    let victims = journey.running_ids();
    for victim in &victims {
        journey
            .engine
            .must("POST", &format!("/containers/{victim}/kill"), None);
    }
    healed_without(&journey, &[&victims[0], &victims[1]]);
    assert_eq!(journey.get("/healthz").status, 200);
}

#[test]
fn a_replica_that_turns_unhealthy_is_replaced_start_first() {
    let journey = journey();
    let _supervisor = journey.up_ready(2);
    let before = journey.running_ids();
    let events = journey.engine.events(&journey.label());
    let load = Load::begin(journey.port, 1, 1);
    assert_eq!(journey.post("/unhealthy").status, 200);
    eventually(
        "one of the two is another one",
        SOON,
        || journey.containers(),
        |containers| {
            containers.len() == 2
                && containers
                    .iter()
                    .filter(|container| before.contains(&container.id))
                    .count()
                    == 1
        },
    );
    healed_without(&journey, &[]);
    load.end().assert_nothing_lost(50);
    let order: Vec<String> = events
        .actions()
        .into_iter()
        .map(|(action, _)| action)
        .filter(|action| action == "start" || action == "die")
        .collect();
    assert_eq!(order, ["start", "die"], "the new one first");
}

#[test]
fn what_an_operator_removes_or_stops_is_healed() {
    let journey = journey();
    let _supervisor = journey.up_ready(2);
    let ids = journey.running_ids();
    journey
        .engine
        .must("DELETE", &format!("/containers/{}?force=1", ids[0]), None);
    healed_without(&journey, &[&ids[0]]);
    journey
        .engine
        .must("POST", &format!("/containers/{}/stop", ids[1]), None);
    healed_without(&journey, &[&ids[0], &ids[1]]);
    assert_eq!(journey.get("/healthz").status, 200);
}

#[test]
fn a_stranger_with_the_next_replica_s_name_is_not_touched_and_blocks_nothing() {
    let journey = journey();
    let _supervisor = journey.up_ready(2);
    let before = journey.running_ids();
    let name = format!("{}-web-3", journey.project);
    let stranger = journey
        .engine
        .stranger(&journey.project, &name, journey.image(), &json!({}));
    let started = journey.inspect(&stranger)["State"]["StartedAt"].clone();

    journey.run(&["recycle"]).success();
    healed_without(&journey, &[&before[0], &before[1]]);
    let inspect = journey.inspect(&stranger);
    assert_eq!(inspect["State"]["Running"], true);
    assert_eq!(inspect["State"]["StartedAt"], started);
    assert_eq!(inspect["Name"], format!("/{name}"));
}
