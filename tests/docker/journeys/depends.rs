//! A phoenix that depends on others: on what docker compose runs on the same file, and on another phoenix.
//!
//! The database is the journeys' own image; whether it is well is a file's matter.

use std::time::Duration;

use serde_json::Value;

use super::support::{Journey, Load, Made, eventually, pause, until};
use crate::compose::{Said, compose};

const SOON: Duration = Duration::from_mins(1);

/// A project with services of docker compose, which are removed at the end.
struct Project {
    journey: Journey,
}

impl Project {
    /// `web` with this `depends_on`, and these services of docker compose.
    fn of(depends_on: &str, rest: &str) -> Self {
        let journey = Journey::new();
        let service = format!("depends_on: {depends_on}");
        let web = journey.web(1, &service, "drain: 200ms");
        journey.write(&format!("{web}{rest}"));
        Self { journey }
    }

    /// The same with a `db` that is healthy as long as [`Project::is_well`] says so.
    fn with_db(depends_on: &str) -> Self {
        let project = Self::of(depends_on, "");
        let journey = &project.journey;
        let text = std::fs::read_to_string(journey.file()).expect("the file");
        let db = format!(
            "  db:
    image: {image}
    init: true
    user: \"0\"
    volumes: [\"{folder}:/health:ro\"]
    healthcheck:
      test: [\"CMD\", \"/phoenixd\", \"config\", \"--file\", \"/health/well.yaml\"]
      interval: 500ms
      timeout: 10s
      retries: 2
",
            image = journey.image(),
            folder = journey.path("").display(),
        );
        journey.write(&(text + &db));
        project
    }

    fn compose(&self, arguments: &[&str]) -> Said {
        let said = compose(&self.journey.path(""), &self.journey.project, arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:#?}");
        said
    }

    /// From now on the health check passes, or fails.
    fn is_well(&self, is_well: bool) {
        let path = self.journey.path("well.yaml");
        if is_well {
            std::fs::write(path, "services: { a: { image: b } }\n").expect("write");
        } else {
            // It may not have been there.
            drop(std::fs::remove_file(path));
        }
    }

    /// Waits until phoenixd has made the network: engines that two ask for one of the same name at once may make two.
    #[track_caller]
    fn await_network(&self) {
        eventually(
            "the network of phoenixd",
            SOON,
            || self.journey.engine.networks(&self.journey.label()),
            |networks| networks.len() == 1,
        );
    }

    /// Everything of docker compose's that is no replica.
    fn of_compose(&self) -> Vec<Made> {
        let label = format!("com.docker.compose.project={}", self.journey.project);
        let ours = self.journey.containers();
        let mut all = self.journey.engine.containers(&label);
        all.retain(|container| !ours.contains(container));
        all
    }

    /// Waits until the row of `web` says so.
    #[track_caller]
    fn await_waiting(&self, text: &str) {
        eventually(
            &format!("web waits on `{text}`"),
            SOON,
            || self.journey.ps(),
            |rows| {
                let says = |row: &Value| {
                    row["service"] == "web"
                        && row["waiting_on"]
                            .as_str()
                            .is_some_and(|waits| waits.contains(text))
                };
                rows.iter().any(says)
            },
        );
    }

    /// The one replica of `web`, ready.
    #[track_caller]
    fn await_web(&self, is: impl Fn(&str) -> bool) -> String {
        let rows = eventually(
            "one replica of web, ready",
            SOON,
            || self.journey.ps(),
            |rows| {
                let id = |row: &Value| is(row["container_id"].as_str().unwrap_or_default());
                rows.len() == 1 && rows[0]["ready"] == true && id(&rows[0])
            },
        );
        rows[0]["container_id"].as_str().expect("an id").to_owned()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let label = format!("com.docker.compose.project={}", self.journey.project);
        let left = self.journey.engine.remove_all(&label);
        if !left.is_empty() {
            println!("left of compose: {left:#?}");
        }
    }
}

const HEALTHY: &str = "{ db: { condition: service_healthy, restart: true } }";

#[test]
fn a_first_start_waits_for_docker_compose_s_database_and_nothing_later_does() {
    let project = Project::with_db(HEALTHY);
    let journey = &project.journey;
    let nothing = "web waits for `db` (docker compose's) to be healthy: there is no container of it \
                   (`docker compose up -d db` makes one)";
    let plan = journey.run(&["plan"]).success().stdout;
    assert!(plan.contains(nothing), "{plan}");
    let mut supervisor = journey.up();
    project.await_waiting("to be healthy: there is no container of it");

    project.is_well(false);
    project.compose(&["up", "--detach", "db"]);
    project.await_waiting("to be healthy: it is unhealthy");
    assert_eq!(journey.containers(), [], "nothing was born meanwhile");
    assert!(supervisor.is_running());
    project.is_well(true);
    let first = project.await_web(|_| true);
    let said = journey.run(&["events"]).success().stdout;
    assert!(said.contains("waits for `db`"), "{said}");

    // A life that ends, and a replica that dies, wait for nothing.
    let db = project.of_compose();
    project.compose(&["stop", "--timeout", "1", "db"]);
    journey.run(&["recycle"]).success();
    let second = project.await_web(|id| id != first);
    let path = format!("/containers/{second}/kill");
    journey.engine.must("POST", &path, None);
    let third = project.await_web(|id| id != second);
    // Nor does a supervisor that finds a replica alive.
    supervisor.kill();
    let mut supervisor = journey.up();
    assert_eq!(project.await_web(|_| true), third);
    assert!(supervisor.is_running());

    // The same container again is no update, and nobody but compose has touched it.
    project.compose(&["start", "db"]);
    eventually(
        "the database is healthy again",
        SOON,
        || journey.inspect(&db[0].id)["State"]["Health"]["Status"].clone(),
        |status| *status == "healthy",
    );
    assert_eq!(project.of_compose(), db);
    assert_eq!(project.await_web(|_| true), third);
    supervisor.end();
    journey.run(&["down"]).success();
    assert_eq!(project.of_compose(), db, "left as it is");
}

#[test]
fn a_recreated_database_replaces_its_dependent_once_when_it_is_healthy_and_no_request_is_lost() {
    let project = Project::with_db(HEALTHY);
    let journey = &project.journey;
    project.is_well(true);
    project.compose(&["up", "--detach", "db"]);
    let supervisor = journey.up();
    let first = project.await_web(|_| true);
    let label = "phoenixd.born-after";
    let born_after = |id: &str| {
        let labels = &journey.inspect(id)["Config"]["Labels"];
        labels[label].as_str().unwrap_or_default().to_owned()
    };
    let before = project.of_compose();
    assert_eq!(born_after(&first), format!("db=compose:{}", before[0].id));

    // The edge comes a moment after its replica.
    until("the port leads to it", SOON, || {
        let answer = journey.try_get("/healthz");
        answer.map(|answer| assert_eq!(answer.status, 200))
    });
    let load = Load::begin(journey.port, 2, 1);
    project.is_well(false);
    project.compose(&["up", "--detach", "--force-recreate", "db"]);
    let after = project.of_compose();
    assert_ne!(before, after);
    // The old one serves until the database is well, whoever is killed meanwhile.
    project.await_waiting("`db` (docker compose's) was recreated; it waits on `db`");
    assert_eq!(project.await_web(|_| true), first);
    project.is_well(true);
    let second = project.await_web(|id| id != first);
    load.end().assert_nothing_lost(50);
    assert_eq!(born_after(&second), format!("db=compose:{}", after[0].id));

    // Recreated while nobody looks, and the next one is killed in the middle of it.
    supervisor.kill();
    project.compose(&["up", "--detach", "--force-recreate", "db"]);
    let supervisor = journey.up();
    eventually(
        "a replacement",
        SOON,
        || journey.containers().len(),
        |count| *count == 2,
    );
    supervisor.kill();
    let supervisor = journey.up();
    let third = project.await_web(|id| id != second);
    // One more listing of every kind changes nothing.
    supervisor.kill();
    let _supervisor = journey.up();
    pause(Duration::from_secs(17));
    assert_eq!(project.await_web(|_| true), third);
    assert_eq!(project.of_compose().len(), 1);
}

#[test]
fn a_job_of_docker_compose_has_to_end_well_unless_it_is_not_required() {
    let job = |project: &Project| {
        let text = std::fs::read_to_string(project.journey.file()).expect("the file");
        let folder = project.journey.path("");
        let job = format!(
            "  migrate:
    image: {image}
    user: \"0\"
    entrypoint: [\"/phoenixd\", \"config\", \"--file\", \"/health/well.yaml\"]
    volumes: [\"{folder}:/health:ro\"]
",
            image = project.journey.image(),
            folder = folder.display(),
        );
        project.journey.write(&(text + &job));
    };
    let project = Project::of(
        "{ migrate: { condition: service_completed_successfully } }",
        "",
    );
    job(&project);
    let journey = &project.journey;
    let supervisor = journey.up();
    project.await_network();
    project.is_well(false);
    project.compose(&["up", "--detach", "migrate"]);
    project.await_waiting("`migrate` (docker compose's) to complete: it exited with code 1");
    project.is_well(true);
    project.compose(&["up", "--detach", "migrate"]);
    project.await_web(|_| true);
    supervisor.end();

    let project = Project::of(
        "{ migrate: { condition: service_completed_successfully, required: false } }",
        "",
    );
    job(&project);
    let journey = &project.journey;
    project.is_well(false);
    project.compose(&["up", "--detach", "migrate"]);
    eventually(
        "the job has ended",
        SOON,
        || project.of_compose(),
        |all| all.iter().all(|container| container.state == "exited"),
    );
    let _supervisor = journey.up_ready(1);
    let said = journey.run(&["events"]).success().stdout;
    let without =
        "without `migrate` (docker compose's), which is not required: it exited with code 1";
    assert!(said.contains(without), "{said}");
}

#[test]
fn one_phoenix_starts_after_another_follows_its_new_generation_and_leaves_before_it() {
    let journey = Journey::new();
    let file = |colour: &str| {
        let web = journey.web(
            1,
            "depends_on: { api: { condition: service_healthy, restart: true } }",
            "drain: 200ms",
        );
        let api = format!(
            "  api:
    image: {image}
    environment: {{ COLOUR: {colour} }}
    expose: [\"8080\"]
    stop_grace_period: 5s
    x-phoenix: {{ ttl: 1h, drain: 0s, probe: {{ http: /healthz, interval: 250ms }} }}
",
            image = journey.image()
        );
        journey.write(&(web + &api));
    };
    file("blue");
    let events = journey.engine.events(&journey.label());
    let mut supervisor = journey.up();
    supervisor.await_ready(2);
    let position = |what: &str, service: &str| {
        let name = format!("{}-{service}-", journey.project);
        let all = events.actions();
        let found = all
            .iter()
            .position(|(action, container)| action == what && container.starts_with(&name));
        found.unwrap_or_else(|| panic!("no {what} of {service}: {all:#?}"))
    };
    assert!(position("start", "api") < position("create", "web"));
    // The end of its life is no update.
    journey.run(&["recycle", "api"]).success();
    let names = || -> Vec<String> {
        let all = journey.containers();
        all.into_iter()
            .map(|one| one.name.replace(&format!("{}-", journey.project), ""))
            .collect()
    };
    assert_eq!(names(), ["api-2", "web-1"]);
    supervisor.end();

    file("green");
    let mut supervisor = journey.up();
    eventually("both are replaced", SOON, names, |names| {
        names == &["api-3", "web-2"]
    });
    supervisor.await_ready(2);

    let events = journey.engine.events(&journey.label());
    journey.run(&["down"]).success();
    let all = events.actions();
    let gone = |service: &str, what: &str| {
        let name = format!("{}-{service}-", journey.project);
        all.iter()
            .position(|(action, container)| action == what && container.starts_with(&name))
    };
    assert!(gone("web", "die") < gone("api", "kill"), "{all:#?}");
}

#[test]
fn of_two_networks_of_one_name_that_of_docker_compose_stays() {
    let project = Project::of("{ job: { condition: service_completed_successfully } }", "");
    let journey = &project.journey;
    let text = std::fs::read_to_string(journey.file()).expect("the file");
    journey.write(&format!("{text}  job: {{ image: {} }}\n", journey.image()));
    let _supervisor = journey.up();
    project.await_network();

    let name = format!("{}_default", journey.project);
    let label = format!("com.docker.compose.project={}", journey.project);
    let labels = serde_json::json!({
        "com.docker.compose.project": journey.project,
        "com.docker.compose.network": "default",
    });
    let body = serde_json::json!({ "Name": name, "Labels": labels });
    let made = journey.engine.call("POST", "/networks/create", Some(&body));
    // An engine that makes no second one says so.
    let is_doubled = made.expect("an answer").status != 409;
    if is_doubled {
        eventually(
            "phoenixd's own is gone",
            SOON,
            || journey.engine.networks(&journey.label()),
            Vec::is_empty,
        );
        let said = journey.run(&["events"]).success().stdout;
        assert!(
            said.contains("somebody else made one of the same name"),
            "{said}"
        );
    }
    assert_eq!(journey.engine.networks(&label), [name]);
}
