//! phoenixd beside docker compose, on one file: each has its services, both have the networks and volumes.
//!
//! Every replica here carries compose's labels, and every container of compose carries them too: what is whose is told
//! by phoenixd's own labels alone.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::support::{Journey, Made, eventually};
use crate::compose::{Said, compose};

const SOON: Duration = Duration::from_mins(1);

/// A project of `web`, which is phoenixd's, and `db`, which is compose's; what compose makes is removed at the end.
struct Shared {
    journey: Journey,
}

impl Shared {
    fn new() -> Self {
        Self::of(Journey::new())
    }

    fn of(journey: Journey) -> Self {
        let web = journey.web(
            2,
            "profiles: [phoenix]\nnetworks: [front]\nvolumes: [\"data:/data\"]",
            "drain: 200ms",
        );
        let rest = format!(
            "  db:\n    image: {}\n    init: true\n    networks: [front]\n    volumes: [\"data:/data\"]\n\
             networks: {{ front: {{}} }}\nvolumes: {{ data: {{}} }}\n",
            journey.image()
        );
        journey.write(&(web + &rest));
        Self { journey }
    }

    fn compose(&self, arguments: &[&str]) -> Said {
        let folder = self.journey.path("");
        compose(&folder, &self.journey.project, arguments)
    }

    /// What compose takes for the project's, by its filter: its own containers and phoenixd's alike.
    fn seen_by_compose(&self) -> Vec<Made> {
        self.journey.engine.containers(&self.compose_label())
    }

    fn compose_label(&self) -> String {
        format!("com.docker.compose.project={}", self.journey.project)
    }

    /// Compose's container.
    #[track_caller]
    fn db(&self) -> Made {
        let name = format!("{}-db-1", self.journey.project);
        let mut all = self.seen_by_compose();
        all.retain(|container| container.name == name);
        match all.pop() {
            Some(db) => db,
            None => panic!("no {name}: {:#?}", self.seen_by_compose()),
        }
    }

    /// The network and the volume, with everything that would change if they were made anew.
    fn common(&self) -> (Value, Value) {
        let (engine, project) = (&self.journey.engine, &self.journey.project);
        let network = engine.must("GET", &format!("/networks/{project}_front"), None);
        let volume = engine.must("GET", &format!("/volumes/{project}_data"), None);
        let mut network = network.json();
        // Who is attached changes.
        network["Containers"].take();
        (network, volume.json())
    }

    /// Whatever compose and the replicas are, and in a pod the pause, which has the name.
    #[track_caller]
    fn has_attached(&self, many: usize) {
        let pauses = usize::from(self.journey.is_in_pods());
        let attached = self.attached();
        assert_eq!(attached.len(), many + pauses, "{attached:?}");
    }

    /// Who is attached to the network.
    fn attached(&self) -> Vec<String> {
        let path = format!("/networks/{}_front", self.journey.project);
        let network = self.journey.engine.must("GET", &path, None).json();
        let mut names: Vec<String> = network["Containers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(_, endpoint)| endpoint["Name"].as_str().unwrap_or_default().to_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let left = self.journey.engine.remove_all(&self.compose_label());
        if !left.is_empty() {
            println!("left of compose: {left:#?}");
        }
    }
}

#[test]
fn compose_finds_the_network_and_the_volume_that_phoenixd_made() {
    let shared = Shared::new();
    let journey = &shared.journey;
    let supervisor = journey.up_ready(2);
    let (replicas, common) = (journey.running_ids(), shared.common());
    let events = journey.engine.events(&journey.label());

    for _ in 0..2 {
        shared.compose(&["up", "--detach"]).without_complaint();
        assert_eq!(shared.common(), common, "made by phoenixd, and kept");
        assert_eq!(journey.running_ids(), replicas);
        shared.has_attached(3);
    }
    assert_eq!(events.actions(), [], "the replicas are left alone");
    drop(supervisor);

    // The other way round: phoenixd leaves what compose runs, and what that needs.
    let db = shared.db();
    journey.run(&["down", "--volumes"]).success();
    assert_eq!(shared.seen_by_compose(), [db], "compose's own is untouched");
    assert_eq!(shared.common(), common);
    shared.compose(&["down", "--volumes"]).without_complaint();
    assert_eq!(journey.engine.networks(&shared.compose_label()), [""; 0]);
    assert_eq!(journey.engine.volumes(&shared.compose_label()), [""; 0]);
}

#[test]
fn phoenixd_joins_the_network_and_the_volume_that_compose_made() {
    let shared = Shared::new();
    let journey = &shared.journey;
    shared.compose(&["up", "--detach"]).without_complaint();
    let (common, db) = (shared.common(), shared.db());

    let supervisor = journey.up_ready(2);
    assert_eq!(shared.common(), common, "compose's, not made anew");
    shared.has_attached(3);
    assert_eq!(journey.engine.networks(&journey.label()), [""; 0]);
    journey.run(&["recycle"]).success();
    journey.run(&["down", "--volumes"]).success();
    drop(supervisor);
    assert_eq!(journey.containers(), []);
    assert_eq!(shared.common(), common, "compose's, and left to it");
    assert_eq!(shared.seen_by_compose(), [db], "never touched");
}

#[test]
fn compose_shows_the_replicas_and_leaves_them_alone() {
    let shared = Shared::new();
    let journey = &shared.journey;
    let _supervisor = journey.up_ready(2);
    shared.compose(&["up", "--detach"]).without_complaint();
    let replicas = journey.running_ids();
    let names: Vec<String> = journey.containers().into_iter().map(|c| c.name).collect();

    let shows = |arguments: &[&str]| {
        let said = shared.compose(arguments).without_complaint();
        assert!(said.stdout.contains("db"), "{said:#?}");
        said.stdout
    };
    let rows = shows(&["ps", "--format", "{{.Name}} {{.Service}} {{.State}}"]);
    for name in &names {
        assert!(rows.contains(&format!("{name} web running")), "{rows}");
    }
    assert!(shows(&["top"]).contains("web"));
    // `logs` is about what the profiles choose, and about what it is asked for.
    let logs = shared.compose(&["logs", "web"]).without_complaint().stdout;
    for serial in ["web-1", "web-2"] {
        let line = |line: &str| line.starts_with(serial) && line.contains("demo application");
        assert!(logs.lines().any(line), "{logs}");
    }
    let all = shared.compose(&["ls", "--format", "json"]).stdout;
    assert!(all.contains(&journey.project), "{all}");

    let events = journey.engine.events(&journey.label());
    for arguments in [
        &["up", "--detach"][..],
        &["up", "--detach", "--remove-orphans"],
        &["stop"],
        &["start"],
        &["restart"],
        &["rm", "--stop", "--force"],
        &["up", "--detach", "--force-recreate"],
        &["down", "--remove-orphans", "--volumes"],
    ] {
        let said = shared.compose(arguments);
        assert_eq!(said.code, Some(0), "{said:#?}");
        let running: Vec<String> = journey.containers().into_iter().map(|c| c.id).collect();
        assert_eq!(running, replicas, "after {arguments:?}: {said:#?}");
    }
    assert_eq!(events.actions(), [], "none was as much as looked into");
    shared.compose(&["up", "--detach"]).without_complaint();
    shared.has_attached(3);
}

#[test]
fn a_compose_up_that_includes_the_phoenixes_finds_them_up_to_date() {
    let shared = Shared::new();
    let journey = &shared.journey;
    let _supervisor = journey.up_ready(2);
    let replicas = journey.running_ids();
    let events = journey.engine.events(&journey.label());
    for _ in 0..2 {
        let up = ["--profile", "phoenix", "up", "--detach"];
        let said = shared.compose(&up).without_complaint();
        for serial in ["web-1", "web-2"] {
            assert!(
                said.stderr.contains(&format!("{serial}  Running")),
                "{said:#?}"
            );
        }
        assert_eq!(journey.running_ids(), replicas);
    }
    assert_eq!(shared.seen_by_compose().len(), 3, "and `db`");
    assert_eq!(events.actions(), []);
}

/// Two others serve, and nothing else of phoenixd's is there.
#[track_caller]
fn healed(journey: &Journey, gone: &[String]) {
    eventually(
        "two others serve",
        SOON,
        || (journey.containers(), journey.ps()),
        |(containers, rows)| {
            let is_new = |made: &Made| made.state == "running" && !gone.contains(&made.id);
            containers.len() == 2
                && containers.iter().all(is_new)
                && rows.len() == 2
                && rows.iter().all(|row| row["ready"] == true)
        },
    );
}

#[test]
fn a_compose_down_that_takes_the_replicas_is_told_and_mended() {
    // Pods are none of docker compose's, and would keep the network.
    let shared = Shared::of(Journey::new().inside());
    let journey = &shared.journey;
    let supervisor = journey.up_ready(2);
    shared.compose(&["up", "--detach"]).without_complaint();
    let before = journey.running_ids();

    // While phoenixd looks: it may be quicker than compose's removal of the network.
    let down = shared.compose(&["--profile", "phoenix", "down"]);
    assert_eq!(down.code, Some(0), "{down:#?}");
    healed(journey, &before);
    let said = journey.run(&["ps"]).success().stderr;
    assert!(said.contains("was stopped from outside"), "{said}");
    let recorded = journey.run(&["events"]).success().stdout;
    for replica in ["web-1", "web-2"] {
        let tells = |line: &str| line.contains("from outside") && line.contains(replica);
        assert!(recorded.lines().any(tells), "{recorded}");
    }
    shared.compose(&["up", "--detach"]).without_complaint();
    shared.has_attached(3);

    // While it does not: containers and network are gone when it looks again.
    let (before, common) = (journey.running_ids(), shared.common());
    supervisor.signal(Signal::STOP);
    shared
        .compose(&["--profile", "phoenix", "down"])
        .without_complaint();
    assert_eq!(shared.seen_by_compose(), []);
    assert_eq!(journey.engine.networks(&shared.compose_label()), [""; 0]);
    supervisor.signal(Signal::CONT);
    healed(journey, &before);
    assert_ne!(shared.common().0["Id"], common.0["Id"]);
    assert_eq!(shared.common().1, common.1, "the volume stayed");
    let log = journey.log();
    let network = format!("network {}_front was removed from outside", journey.project);
    assert!(log.contains(&network), "{log}");
    assert!(
        log.contains("a service needs it, and it was removed from outside"),
        "{log}"
    );

    let common = shared.common();
    shared.compose(&["up", "--detach"]).without_complaint();
    assert_eq!(shared.common(), common, "the network that phoenixd made");
    shared.has_attached(3);
}
