//! The engine restarts below the supervisor: a private one, so that it disturbs nobody.
//!
//! Each test starts an engine of the version under test, and runs itself once more inside of that engine's network,
//! where the project and its clients are.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::support::{
    Journey, Load, Private, Random, Supervisor, eventually, inside, pause, until,
};

const SOON: Duration = Duration::from_mins(2);

#[test]
fn with_live_restore_an_engine_s_restart_loses_no_request_and_no_replica() {
    inside(
        "engine_restart::with_live_restore_an_engine_s_restart_loses_no_request_and_no_replica",
        true,
        |engine| {
            // A pod's ports are the engine's.
            let journey = Journey::of_web(2, "", "drain: 200ms").inside();
            let mut supervisor = journey.up_ready(2);
            let before = journey.running_ids();
            for signal in ["restart", "kill"] {
                let load = Load::begin(journey.port, 2, 2);
                engine.run(signal);
                supervisor.await_ready(2);
                load.end().assert_nothing_lost(50);
                assert_eq!(
                    journey.running_ids(),
                    before,
                    "the same replicas after {signal}"
                );
            }
            let load = Load::begin(journey.port, 2, 2);
            journey.run(&["recycle"]).success();
            load.end().assert_nothing_lost(50);
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
        end_forgotten(journey, engine);
        // It may have failed by the engine's fault; but it ends.
        recycle.end();
        supervisor.await_ready(2);
        load.end().assert_nothing_lost(30);
    }
}

/// Ends the processes that the engine has forgotten. One that is killed while it starts a container leaves a process that runs
/// and is none of its own any more: a further start says `id already in use`, the container can be removed, and the next one
/// is given the address that the process still has, so that both answer there (20.10.24, seen). Nobody can tell by the API.
fn end_forgotten(journey: &Journey, engine: &Private) {
    let began = |pid: &str| -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        // `starttime`, field 22 of proc_pid_stat(5); the first of these is field 3.
        fields.split_whitespace().nth(19)?.parse().ok()
    };
    let file = fs::read_to_string(engine.path("run/dockerd.pid")).expect("the engine's process");
    let pid = file.split_whitespace().next().unwrap_or_default();
    let engine_began = began(pid).expect("the engine runs");
    let made = journey.all_containers().into_iter();
    let idle: Vec<String> = made
        .filter(|one| one.state != "running")
        .map(|one| one.id)
        .collect();
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        let cgroup = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let is_idle = idle.iter().any(|id| cgroup.contains(id.as_str()));
        if is_idle && began(&pid).is_some_and(|at| at < engine_began) {
            println!("the engine has forgotten process {pid}");
            let pid = pid.parse().ok().and_then(Pid::from_raw).expect("a pid");
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

#[test]
fn with_live_restore_a_pod_is_reached_again_after_an_engine_s_restart_and_nothing_is_made_anew() {
    inside(
        "engine_restart::with_live_restore_a_pod_is_reached_again_after_an_engine_s_restart_and_nothing_is_made_anew",
        true,
        |engine| {
            let journey = Journey::of_web(2, "", "drain: 200ms");
            let mut supervisor = journey.up_ready(2);
            let all = || {
                let mut all = journey.all_containers();
                all.sort();
                all
            };
            let before = all();
            for signal in ["restart", "kill"] {
                engine.run(signal);
                supervisor.await_ready(2);
                // The engine's own forwarder has the port, and ended with the engine.
                until("it is reached again", SOON, || {
                    let answer = journey.try_get("/healthz");
                    answer.map(|answer| assert_eq!(answer.status, 200))
                });
                assert_eq!(all(), before, "after {signal}");
            }
            let load = Load::begin(journey.port, 2, 2);
            journey.run(&["recycle"]).success();
            load.end().assert_nothing_lost(50);
        },
    );
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
