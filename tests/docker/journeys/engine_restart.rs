//! The engine restarts below the supervisor: a private one, so that it disturbs nobody.
//!
//! Each test starts an engine of the version under test, and runs itself once more inside of that engine's network,
//! where the project and its clients are.

use std::time::Duration;

use super::support::{Journey, Load, Private, Random, Supervisor, eventually, inside, pause};

const SOON: Duration = Duration::from_mins(2);

#[test]
fn with_live_restore_an_engine_s_restart_loses_no_request_and_no_replica() {
    inside(
        "engine_restart::with_live_restore_an_engine_s_restart_loses_no_request_and_no_replica",
        true,
        |engine| {
            let journey = Journey::of_web(2, "", "drain: 200ms");
            let mut supervisor = journey.up_ready(2);
            let before = journey.running_ids();
            for signal in ["restart", "kill"] {
                let load = Load::begin(journey.port, 2, 2);
                engine.run(signal);
                supervisor.await_ready(2);
                load.end().assert_nothing_lost(200);
                assert_eq!(
                    journey.running_ids(),
                    before,
                    "the same replicas after {signal}"
                );
            }
            let load = Load::begin(journey.port, 2, 2);
            journey.run(&["recycle"]).success();
            load.end().assert_nothing_lost(200);
            let after = journey.running_ids();
            assert!(
                after.len() == 2 && after.iter().all(|id| !before.contains(id)),
                "{before:?} {after:?}"
            );
            in_the_middle(&journey, &mut supervisor, engine);
        },
    );
}

/// The engine is killed while a recycle is under way.
fn in_the_middle(journey: &Journey, supervisor: &mut Supervisor, engine: &Private) {
    let mut random = Random::seeded("the engine killed within a recycle");
    for _ in 0..3 {
        let load = Load::begin(journey.port, 2, 2);
        let recycle = journey.begin(&["recycle"]);
        let delay = Duration::from_millis(random.below(2000));
        pause(delay);
        engine.run("kill");
        println!("killed {delay:?} after the recycle began");
        // It may have failed by the engine's fault; but it ends.
        recycle.end();
        supervisor.await_ready(2);
        load.end().assert_nothing_lost(100);
    }
}

#[test]
fn without_live_restore_every_replica_is_born_again_by_itself() {
    inside(
        "engine_restart::without_live_restore_every_replica_is_born_again_by_itself",
        false,
        |engine| {
            let journey = Journey::of_web(2, "", "drain: 200ms");
            let mut supervisor = journey.up_ready(2);
            let before = journey.running_ids();
            engine.run("restart");
            eventually(
                "other replicas run",
                SOON,
                || (supervisor.is_running(), journey.containers()),
                |(is_running, containers)| {
                    assert!(is_running, "the supervisor ended:\n{}", journey.log());
                    containers.len() == 2
                        && containers.iter().all(|container| {
                            container.state == "running" && !before.contains(&container.id)
                        })
                },
            );
            supervisor.await_ready(2);
            assert_eq!(journey.get("/healthz").status, 200);
        },
    );
}
