//! The engine restarts below the supervisor: a private one, so that it disturbs nobody.
//!
//! Each test starts an engine of the version under test, and runs itself once more inside of that engine's network,
//! where the project and its clients are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::support::{Engine, Journey, Load, Random, Supervisor, eventually, pause, variable};

/// Says that this is the inner run, and which engine it is about.
const INSIDE: &str = "PHOENIXD_JOURNEY_ENGINE";
const FOLDER: &str = "PHOENIXD_ENGINE_DIR";
const SOON: Duration = Duration::from_mins(2);

#[test]
fn with_live_restore_an_engine_s_restart_loses_no_request_and_no_replica() {
    inside(
        "with_live_restore_an_engine_s_restart_loses_no_request_and_no_replica",
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
        "without_live_restore_every_replica_is_born_again_by_itself",
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

/// The engine as the inner run knows it.
struct Private {
    major: u32,
}

impl Private {
    fn run(&self, command: &str) {
        script(command, self.major, None, &[]);
    }
}

/// Runs the journey inside of an engine of its own.
fn inside(test: &str, live_restore: bool, journey: impl FnOnce(&Private)) {
    if let Some(major) = variable(INSIDE) {
        let major = major.parse().expect("a version");
        return journey(&Private { major });
    }
    let engine = Own::start(Engine::of_environment().major, live_restore);
    let program = std::env::current_exe().expect("this program");
    let test = format!("journeys::engine_restart::{test}");
    let status = Command::new(script_path())
        .args(["exec", &engine.major.to_string(), "--"])
        .arg(program)
        .args(["--exact", &test, "--nocapture"])
        .env(FOLDER, &engine.folder)
        .env(INSIDE, engine.major.to_string())
        .output()
        .expect("scripts/engine");
    let said = [status.stdout, status.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    println!("{said}");
    assert!(
        status.status.success() && said.contains("1 passed"),
        "the inner run failed: {}",
        status.status
    );
}

/// An engine of this test alone; taken down when dropped.
struct Own {
    major: u32,
    folder: PathBuf,
    _keep: tempfile::TempDir,
}

impl Own {
    fn start(major: u32, live_restore: bool) -> Self {
        let keep = tempfile::Builder::new()
            .prefix("phx")
            .tempdir_in("/var/tmp")
            .expect("a folder");
        let folder = keep.path().to_owned();
        let own = folder.join(major.to_string());
        std::fs::create_dir_all(own.join("etc")).expect("a folder");
        // Packages that were fetched before are good enough: a private network has no way to an archive.
        let base = variable(FOLDER).unwrap_or_else(|| "/var/tmp/phoenixd-engine".to_owned());
        let cache = Path::new(&base).join(major.to_string()).join("cache");
        if cache.join("root").is_dir() {
            std::os::unix::fs::symlink(&cache, own.join("cache")).expect("a link");
        }
        let settings = json!({ "live-restore": live_restore });
        std::fs::write(own.join("etc/daemon.json"), settings.to_string()).expect("settings");
        let engine = Self {
            major,
            folder,
            _keep: keep,
        };
        script(
            "up",
            major,
            Some(&engine.folder),
            &[("PHOENIXD_ENGINE_WAIT", "90")],
        );
        engine
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let down = Command::new(script_path())
            .args(["down", &self.major.to_string(), "--purge"])
            .env(FOLDER, &self.folder)
            .output()
            .expect("scripts/engine");
        let is_down = down.status.success();
        if !is_down {
            println!("{}", String::from_utf8_lossy(&down.stderr));
        }
        assert!(
            is_down || std::thread::panicking(),
            "the private engine is still up"
        );
    }
}

fn script_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/engine")
}

fn script(command: &str, major: u32, folder: Option<&Path>, more: &[(&str, &str)]) {
    let mut run = Command::new(script_path());
    run.args([command, &major.to_string()])
        .envs(more.iter().copied());
    if let Some(folder) = folder {
        run.env(FOLDER, folder);
    }
    let output = run.output().expect("scripts/engine");
    let said = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(
        output.status.success(),
        "scripts/engine {command} {major}: {said}"
    );
}
