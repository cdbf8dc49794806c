//! Installing and taking away: only what is the guard's changes, and only where the flags say.

use std::fs;
use std::path::Path;
use std::process::Command;

use phoenixd::guard::{DaemonJson, Installation};
use serde_json::{Value, json};

struct Place(tempfile::TempDir);

impl Place {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, command: &str, more: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_phoenixd"))
            .args(["guard", command])
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--daemon-json")
            .arg(self.path("daemon.json"))
            .arg("--units")
            .arg(self.path("units"))
            .arg("--socket")
            .arg(self.path("phoenixd.sock"))
            .args(more)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn settings(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path("daemon.json")).unwrap()).unwrap()
    }
}

#[test]
fn install_adds_to_what_is_there_and_uninstall_takes_only_that_away() {
    let place = Place(tempfile::tempdir().unwrap());
    let before =
        r#"{"live-restore": true, "authorization-plugins": ["other"], "log-driver": "local"}"#;
    fs::write(place.path("daemon.json"), before).unwrap();

    let told = place.run("install", &["--dry-run"]);
    assert!(
        told.contains("would write") && told.contains("reload docker"),
        "{told}"
    );
    assert_eq!(
        fs::read_to_string(place.path("daemon.json")).unwrap(),
        before
    );
    assert!(!place.path("state").exists() && !place.path("units").exists());

    let told = place.run("install", &["--allow", "build"]);
    assert!(told.contains("systemctl reload docker"), "{told}");
    assert_eq!(
        place.settings(),
        json!({"live-restore": true, "authorization-plugins": ["other", "phoenixd"], "log-driver": "local"})
    );
    assert_eq!(
        fs::read_to_string(place.path("daemon.json.before-phoenixd")).unwrap(),
        before
    );
    let service = fs::read_to_string(place.path("units/phoenixd-guard.service")).unwrap();
    assert!(
        service.contains("WatchdogSec=") && service.contains("Before=docker.service"),
        "{service}"
    );
    assert!(service.contains("--allow build"), "{service}");
    let socket = fs::read_to_string(place.path("units/phoenixd-guard.socket")).unwrap();
    let path = place.path("phoenixd.sock");
    assert!(
        socket.contains(&format!("ListenStream={}\n", path.display())),
        "{socket}"
    );
    let key = fs::read_to_string(place.path("state/guard/key")).unwrap();

    place.run("install", &[]);
    assert_eq!(
        fs::read_to_string(place.path("state/guard/key")).unwrap(),
        key,
        "once more changes nothing"
    );
    assert_eq!(
        place.settings()["authorization-plugins"],
        json!(["other", "phoenixd"])
    );

    place.run("uninstall", &["--dry-run"]);
    assert_eq!(
        place.settings()["authorization-plugins"],
        json!(["other", "phoenixd"])
    );
    place.run("uninstall", &[]);
    let mut rest: Value = serde_json::from_str(before).unwrap();
    assert_eq!(place.settings(), rest);
    assert_eq!(fs::read_dir(place.path("units")).unwrap().count(), 0);
    place.run("uninstall", &[]);
    rest["authorization-plugins"] = json!(["other"]);
    assert_eq!(place.settings(), rest);
}

#[test]
fn settings_that_are_not_understood_are_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("daemon.json");
    for text in [
        "[",
        "[]",
        r#"{"authorization-plugins":"x"}"#,
        r#"{"authorization-plugins":[1]}"#,
    ] {
        fs::write(&path, text).unwrap();
        assert!(DaemonJson::read(&path).is_err(), "{text}");
    }
    fs::write(&path, "\n").unwrap();
    assert!(DaemonJson::read(&path).unwrap().with_guard().is_some());
    let none = DaemonJson::read(Path::new("/nowhere/daemon.json")).unwrap();
    let change = none.with_guard().unwrap();
    assert_eq!(change.backup, None);
    assert!(none.without_guard().is_none());
}

#[test]
fn the_units_start_the_guard_before_dockerd_and_keep_its_socket() {
    let units = Installation {
        program: "/usr/bin/phoenixd".into(),
        state_dir: "/var/lib/phoenixd".into(),
        socket: "/run/docker/plugins/phoenixd.sock".into(),
        allow: Vec::new(),
    }
    .units();
    let start = "ExecStart=/usr/bin/phoenixd --state-dir /var/lib/phoenixd guard serve --socket /run/docker/plugins/phoenixd.sock\n";
    assert!(units.service.contains(start), "{}", units.service);
    for (unit, line) in [
        (&units.socket, "Before=docker.service"),
        (&units.socket, "SocketMode=0600"),
        (&units.service, "Type=notify"),
        (&units.service, "Restart=always"),
        (&units.service, "Requires=phoenixd-guard.socket"),
    ] {
        assert!(unit.lines().any(|one| one == line), "{line}\n{unit}");
    }
}
