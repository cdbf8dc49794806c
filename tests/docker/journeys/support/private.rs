//! An engine of one test alone: started from the packages of the version under test, restarted, reloaded, taken down.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{Engine, variable};

/// Says that this is the inner run, and which engine it is about.
const INSIDE: &str = "PHOENIXD_JOURNEY_ENGINE";
const FOLDER: &str = "PHOENIXD_ENGINE_DIR";

/// The engine as the inner run knows it.
pub(crate) struct Private {
    major: u32,
}

impl Private {
    /// `restart`, `kill`: see `scripts/engine`.
    pub(crate) fn run(&self, command: &str) {
        script(command, self.major, None, &[]);
    }

    /// A file of the engine's folder; `etc` is what it sees as `/etc/docker`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let folder = variable(FOLDER).expect("the engine's folder");
        Path::new(&folder).join(self.major.to_string()).join(name)
    }

    /// Makes it read its settings again, as `systemctl reload docker` does.
    pub(crate) fn reload(&self) {
        let file = std::fs::read_to_string(self.path("run/dockerd.pid")).expect("its process");
        let pid = file.split(' ').next().and_then(|pid| pid.parse().ok());
        let pid = pid.and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::HUP).expect("reload the engine");
    }
}

/// Runs the journey inside of an engine of its own. `test` is its path below `journeys`.
pub(crate) fn inside(test: &str, live_restore: bool, journey: impl FnOnce(&Private)) {
    if let Some(major) = variable(INSIDE) {
        let major = major.parse().expect("a version");
        return journey(&Private { major });
    }
    let engine = Own::start(Engine::of_environment().major, live_restore);
    let program = std::env::current_exe().expect("this program");
    let test = format!("journeys::{test}");
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
