//! Labels mode: containers that docker compose made are replaced by hardened equals, under their names.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Journey, Made, Random, Supervisor, pause, until};
use crate::compose::{Said, compose};

const SOON: Duration = Duration::from_mins(1);

/// A project of docker compose; what compose made is removed at the end.
struct Project {
    journey: Journey,
    /// Volumes without a name of containers that are gone by the end.
    anonymous: RefCell<Vec<String>>,
}

impl Project {
    /// `services` are services in YAML, `rest` the top level; `IMAGE`, `PORT` and `FOLDER` stand for the journey's own.
    fn of(services: &str, rest: &str) -> Self {
        let journey = Journey::new();
        let text = format!("services:\n{services}\n{rest}\n")
            .replace("IMAGE", journey.image())
            .replace("PORT", &journey.port.to_string())
            .replace("FOLDER", &journey.path("").to_string_lossy());
        journey.write(&text);
        Self {
            journey,
            anonymous: RefCell::default(),
        }
    }

    /// The same, and compose has made it.
    fn up(services: &str, rest: &str) -> Self {
        let project = Self::of(services, rest);
        project.compose(&["up", "--detach"]).without_complaint();
        let engine = &project.journey.engine;
        let seen = project
            .all()
            .into_iter()
            .filter_map(|made| engine.inspect(&made.id));
        let names = seen.flat_map(|seen| volumes(&seen)).map(|(_, name)| name);
        project
            .anonymous
            .borrow_mut()
            .extend(names.filter(|name| name.len() == 64));
        project
    }

    fn compose(&self, arguments: &[&str]) -> Said {
        compose(&self.journey.path(""), &self.journey.project, arguments)
    }

    fn label(&self) -> String {
        format!("com.docker.compose.project={}", self.journey.project)
    }

    /// All containers of the project, whoever made them.
    fn all(&self) -> Vec<Made> {
        self.journey.engine.containers(&self.label())
    }

    fn name(&self, rest: &str) -> String {
        format!("{}-{rest}", self.journey.project)
    }

    /// The container that bears this name.
    #[track_caller]
    fn named(&self, rest: &str) -> Value {
        self.journey.inspect(&self.name(rest))
    }

    /// Waits until the name is borne by a replica that phoenixd serves with, and nothing else is there.
    #[track_caller]
    fn adopted(&self, supervisor: &mut Supervisor<'_>, names: &[&str]) -> Vec<Value> {
        until("each name is borne by a replica", SOON, || {
            assert!(supervisor.is_running(), "it ended: {}", self.journey.log());
            let all = self.all();
            let right = names.iter().all(|rest| {
                let name = self.name(rest);
                let seen = self.journey.engine.inspect(&name);
                seen.is_some_and(|seen| is_replica(&seen) && seen["State"]["Status"] == "running")
            });
            if right && all.len() == names.len() {
                Ok(())
            } else {
                Err(all)
            }
        });
        names.iter().map(|rest| self.named(rest)).collect()
    }

    /// docker compose takes what is there for its own, and changes nothing.
    #[track_caller]
    fn is_up_to_date(&self) {
        let before = self.all();
        self.compose(&["up", "--detach"]).without_complaint();
        assert_eq!(self.all(), before, "compose made something anew");
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // An anonymous volume that was carried over by its name is removed with no container.
        let engine = &self.journey.engine;
        let seen = self
            .all()
            .into_iter()
            .filter_map(|made| engine.inspect(&made.id));
        let carried: Vec<String> = seen
            .flat_map(|seen| volumes(&seen))
            .map(|(_, name)| name)
            .filter(|name| name.len() == 64)
            .chain(self.anonymous.borrow_mut().drain(..))
            .collect();
        let left = engine.remove_all(&self.label());
        for name in carried {
            drop(engine.call("DELETE", &format!("/volumes/{name}"), None));
        }
        if !left.is_empty() {
            println!("left of compose: {left:#?}");
        }
    }
}

/// Waits until it holds.
#[track_caller]
fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, SOON, || if holds() { Ok(()) } else { Err("not yet") });
}

fn is_replica(inspect: &Value) -> bool {
    inspect["Config"]["Labels"]["phoenixd.serial"].is_string()
}

fn id(inspect: &Value) -> String {
    inspect["Id"].as_str().unwrap_or_default().to_owned()
}

/// The names of volumes by where they are mounted.
fn volumes(inspect: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mounts = inspect["Mounts"].as_array().expect("mounts");
    let mut volumes: Vec<(String, String)> = mounts
        .iter()
        .map(|mount| (text(&mount["Destination"]), text(&mount["Name"])))
        .collect();
    volumes.sort();
    volumes
}

/// The labels of docker compose.
fn compose_labels(inspect: &Value) -> Vec<(String, Value)> {
    let labels = inspect["Config"]["Labels"].as_object().expect("labels");
    labels
        .iter()
        .filter(|(key, _)| key.starts_with("com.docker.compose."))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

const WEB: &str = "  web:
    image: IMAGE
    ports: [\"127.0.0.1:PORT:8080\"]
    environment: { GREETING: hello, SECRET: hush-hush }
    labels:
      phoenixd.ttl: 1h
      phoenixd.drain: 100ms
      phoenixd.probe.http: /healthz
      mine: kept
    hostname: phoenix
    stop_grace_period: 5s
    init: true
    networks:
      front: { aliases: [shop, www] }
      back: {}
    volumes: [\"data:/data\", \"./site:/site:ro\", \"/anonymous\"]
    tmpfs: [\"/cache:size=8m\"]";
const TOP: &str = "networks: { front: {}, back: {} }\nvolumes: { data: {} }";

#[test]
#[expect(clippy::too_many_lines, reason = "one journey, told in its order")]
fn what_docker_compose_made_is_replaced_by_its_hardened_equal_under_its_name() {
    let project = Project::up(WEB, TOP);
    let journey = &project.journey;
    let original = project.named("web-1");
    let events = journey.engine.events(&project.label());
    let mut supervisor = journey.adopt(&[]);

    // Until its TTL it is as it was, and holds its port.
    soon("the original is ready", || {
        let output = journey.run(&["ps", "--format", "json"]);
        output.stdout.contains("\"replica\": \"web-0\"")
            && output.stdout.contains("\"ready\": true")
    });
    assert_eq!(id(&project.named("web-1")), id(&original));
    journey.get("/healthz");

    journey.run(&["recycle", "web"]).success();
    let replica = project.adopted(&mut supervisor, &["web-1"]).remove(0);
    assert_eq!(replica["Config"]["Hostname"], "phoenix");
    assert_eq!(replica["Config"]["Labels"]["mine"], "kept");
    let env = replica["Config"]["Env"].to_string();
    assert!(
        env.contains("GREETING=hello") && env.contains("SECRET=hush-hush"),
        "{env}"
    );
    assert_eq!(
        volumes(&replica),
        volumes(&original),
        "data is kept, the anonymous volume's too"
    );
    assert_eq!(compose_labels(&replica), compose_labels(&original));
    for network in ["front", "back"] {
        let of = |inspect: &Value| {
            let networks = &inspect["NetworkSettings"]["Networks"];
            networks[format!("{}_{network}", journey.project)]["Aliases"].to_string()
        };
        for alias in ["web", if network == "front" { "shop" } else { "web" }] {
            assert!(
                of(&replica).contains(&format!("\"{alias}\"")),
                "{}",
                of(&replica)
            );
        }
    }
    assert_eq!(replica["HostConfig"]["ReadonlyRootfs"], true);
    assert_eq!(replica["HostConfig"]["CapDrop"], json!(["ALL"]));
    assert_eq!(replica["HostConfig"]["RestartPolicy"]["Name"], "no");
    // The edge has its port now.
    soon("the port is taken over", || {
        journey.try_get("/healthz").is_ok()
    });
    // The new one was there before the old one was touched.
    let actions = events.actions();
    let first = |action: &str| actions.iter().position(|(what, _)| what == action);
    assert!(first("start") < first("kill"), "{actions:#?}");
    project.is_up_to_date();
    let shown = project.compose(&["ps"]).without_complaint().stdout;
    assert!(shown.contains(&project.name("web-1")), "{shown}");

    // Nothing of it is lost when the supervisor is killed, now that the original is gone.
    supervisor.kill();
    let mut supervisor = journey.adopt(&[]);
    soon("it serves again", || journey.try_get("/healthz").is_ok());
    assert_eq!(
        id(&project.named("web-1")),
        id(&replica),
        "taken over as it is"
    );
    journey.run(&["recycle", "web"]).success();
    let next = project.adopted(&mut supervisor, &["web-1"]).remove(0);
    assert_ne!(id(&next), id(&replica));
    assert_eq!(next["Config"]["Labels"]["phoenixd.generation"], "1");
    assert_eq!(volumes(&next), volumes(&original));
    project.is_up_to_date();

    let said = journey.run(&["events"]).success().stdout;
    assert!(
        said.contains("\"kind\":\"compared\"") && said.contains("HostConfig.Memory"),
        "{said}"
    );
    assert!(
        !said.contains("hush-hush"),
        "a variable's value is in the journal"
    );
    drop(supervisor);
    journey.run(&["down"]).success();
    assert_eq!(project.all(), []);
}

#[test]
fn an_original_gives_way_on_its_ttl() {
    let web = WEB
        .replace("phoenixd.ttl: 1h", "phoenixd.ttl: 15s")
        .replace("mine:", "phoenixd.jitter: 0%\n      mine:");
    let project = Project::up(&web, TOP);
    let original = project.named("web-1");
    let mut supervisor = project.journey.adopt(&["web"]);
    let replica = project.adopted(&mut supervisor, &["web-1"]).remove(0);
    assert_ne!(id(&replica), id(&original));
    project.is_up_to_date();
}

#[test]
fn a_static_address_is_kept_by_stopping_the_old_one_first() {
    let project = Project::up(
        "  web:
    image: IMAGE
    init: true
    labels: { phoenixd.ttl: 1h, phoenixd.drain: 100ms }
    networks: { front: { ipv4_address: 10.213.47.10 } }",
        "networks: { front: { ipam: { config: [ { subnet: 10.213.47.0/24 } ] } } }",
    );
    let journey = &project.journey;
    let said = journey.run(&["adopt", "--dry-run"]).success().stdout;
    assert!(
        said.contains("stop-first: it has the static address 10.213.47.10"),
        "{said}"
    );
    let mut supervisor = journey.adopt(&[]);
    for _ in 0..2 {
        soon("the supervisor answers", || {
            journey.run(&["ps"]).code == Some(0)
        });
        soon("it is recycled", || {
            journey.run(&["recycle"]).code == Some(0)
        });
        let replica = project.adopted(&mut supervisor, &["web-1"]).remove(0);
        let network = &replica["NetworkSettings"]["Networks"][format!("{}_front", journey.project)];
        assert_eq!(network["IPAMConfig"]["IPv4Address"], "10.213.47.10");
        assert_eq!(network["IPAddress"], "10.213.47.10");
    }
    project.is_up_to_date();
}

#[test]
fn every_container_of_a_service_hands_on_its_own_name_and_number() {
    let project = Project::up(
        "  web:
    image: IMAGE
    init: true
    labels: { phoenixd.ttl: 1h, phoenixd.drain: 100ms }
    volumes: [/anonymous]
    deploy: { replicas: 2 }",
        "",
    );
    let journey = &project.journey;
    let originals = ["web-1", "web-2"].map(|name| project.named(name));
    let mut supervisor = journey.adopt(&[]);
    soon("both are recycled", || {
        journey.run(&["recycle", "web"]).code == Some(0)
    });
    let replicas = project.adopted(&mut supervisor, &["web-1", "web-2"]);
    for ((original, replica), number) in originals.iter().zip(&replicas).zip(["1", "2"]) {
        assert_eq!(
            replica["Config"]["Labels"]["com.docker.compose.container-number"],
            number
        );
        assert_eq!(volumes(replica), volumes(original));
    }
    project.is_up_to_date();
}

#[test]
fn what_a_phoenix_may_not_have_is_left_as_it_is_with_its_reason() {
    let project = Project::up(
        "  web:
    image: IMAGE
    init: true
    labels: { phoenixd.ttl: 1h }
  root:
    image: IMAGE
    init: true
    privileged: true
    labels: { phoenixd.ttl: 1h }
  copied:
    image: IMAGE
    init: true
    configs: [ { source: greeting, target: /greeting } ]
    labels: { phoenixd.ttl: 1h }
  other:
    image: IMAGE
    init: true",
        "configs: { greeting: { content: hello } }",
    );
    let journey = &project.journey;
    let before = project.all();
    let said = journey.run(&["adopt", "--dry-run"]).success().stdout;
    assert!(
        said.contains("it is privileged: that is root on the host"),
        "{said}"
    );
    assert!(
        said.contains("its own root file system differs from its image (/greeting)"),
        "{said}"
    );
    assert!(!said.contains("other"), "{said}");
    assert_eq!(project.all(), before, "a dry run changes nothing");
    journey
        .run(&["adopt", "root", "copied"])
        .unmet(&["nothing of project", "it is privileged"]);

    let supervisor = journey.adopt(&[]);
    soon("it is recycled", || {
        journey.run(&["recycle"]).code == Some(0)
    });
    let tells_the_reasons = || {
        let rows = journey.ps();
        let reason = |service: &str| {
            let row = rows
                .iter()
                .find(|row| row["service"] == service)
                .expect("a row");
            assert_eq!(row["stage"], "refused", "{row}");
            row["waiting_on"].to_string()
        };
        assert!(reason("root").contains("privileged"));
        assert!(reason("copied").contains("/greeting"));
        rows
    };
    tells_the_reasons();
    drop(supervisor);
    // Docker is the state: what was adopted is known without anybody who runs.
    let rows = tells_the_reasons();
    let web = rows.iter().find(|row| row["service"] == "web");
    let web = web.expect("the adopted one");
    assert_eq!(web["waiting_on"], "a supervisor: `phoenixd adopt`");
    assert!(web["ttl_remaining_seconds"].is_number(), "{web}");
    journey.run(&["down"]).success();
    let left: Vec<String> = project.all().into_iter().map(|made| made.name).collect();
    let expected = ["copied-1", "other-1", "root-1"].map(|rest| project.name(rest));
    assert_eq!(left, expected, "what phoenixd did not make stays");
    for made in project.all() {
        assert_eq!(made.state, "running", "{made:?}");
    }
}

#[test]
fn a_difference_that_nobody_can_explain_stops_the_adoption() {
    let project = Project::up(
        "  web:
    image: IMAGE
    init: true
    labels: { phoenixd.ttl: 1h, phoenixd.drain: 100ms }",
        "",
    );
    let journey = &project.journey;
    let original = id(&project.named("web-1"));
    let supervisor = journey.adopt(&[]);
    soon("the original is ready", || {
        journey
            .run(&["ps", "--format", "json"])
            .stdout
            .contains("\"ready\": true")
    });
    // Somebody changes the original after it was looked at.
    let path = format!("/containers/{original}/update");
    journey
        .engine
        .must("POST", &path, Some(&json!({ "CpuShares": 77 })));
    journey
        .run(&["recycle", "web"])
        .unmet(&["HostConfig.CpuShares (77 -> 0)"]);
    soon("only the original is there", || {
        project
            .all()
            .iter()
            .all(|made| made.id == original && made.state == "running")
    });
    let rows = journey.ps();
    assert!(
        rows[0]["waiting_on"]
            .to_string()
            .contains("adoption stopped"),
        "{rows:#?}"
    );
    let said = journey.run(&["events"]).success().stdout;
    assert!(said.contains("unexplained"), "{said}");

    // The next supervisor takes it as it is now.
    supervisor.kill();
    let mut supervisor = journey.adopt(&[]);
    soon("it is recycled", || {
        journey.run(&["recycle"]).code == Some(0)
    });
    let replica = project.adopted(&mut supervisor, &["web-1"]).remove(0);
    assert_eq!(replica["HostConfig"]["CpuShares"], 77);
}

#[test]
fn a_supervisor_killed_at_any_moment_of_an_adoption_leaves_one_that_the_next_one_finishes() {
    let mut random = Random::seeded("kill -9 of adopt");
    let project = Project::up(
        "  web:
    image: IMAGE
    init: true
    labels: { phoenixd.ttl: 1h, phoenixd.drain: 100ms, phoenixd.probe.http: /healthz }
    networks: { front: { aliases: [shop] } }
    volumes: [\"data:/data\", /anonymous]",
        "networks: { front: {} }\nvolumes: { data: {} }",
    );
    let journey = &project.journey;
    let kept = volumes(&project.named("web-1"));
    for round in 0..5 {
        // compose makes it anew, from whatever bears its labels now, with the same volumes.
        let said = project.compose(&["up", "--detach", "--force-recreate"]);
        assert_eq!(said.code, Some(0), "{said:#?}");
        let original = project.named("web-1");
        assert!(!is_replica(&original), "{original:#?}");
        assert_eq!(volumes(&original), kept);

        let supervisor = journey.adopt(&[]);
        soon("the supervisor answers", || {
            !journey.run(&["ps"]).stderr.contains("no supervisor")
        });
        let delay = Duration::from_millis(random.below(2500));
        let recycle = journey.begin(&["recycle"]);
        pause(delay);
        supervisor.kill();
        recycle.end();
        println!(
            "round {round}: killed after {delay:?}, and left {:#?}",
            project.all()
        );

        let mut supervisor = journey.adopt(&[]);
        soon("it is recycled", || {
            journey.run(&["recycle"]).code == Some(0)
        });
        let replica = project.adopted(&mut supervisor, &["web-1"]).remove(0);
        assert_eq!(volumes(&replica), kept);
        project.is_up_to_date();
        supervisor.kill();
    }
    journey.run(&["events"]).success();
}

#[test]
fn a_supervisor_that_ends_in_the_middle_leaves_docker_compose_one_container_to_replace() {
    let project = Project::up(
        "  web:
    image: IMAGE
    init: true
    environment: { GREETING: \"${GREETING:-hello}\" }
    labels: { phoenixd.ttl: 1h, phoenixd.probe.http: /never, phoenixd.probe.port: 8080 }",
        "",
    );
    let journey = &project.journey;
    let supervisor = journey.adopt(&[]);
    soon("the supervisor answers", || {
        !journey.run(&["ps"]).stderr.contains("no supervisor")
    });
    let recycle = journey.begin(&["recycle"]);
    soon("the replacement runs", || {
        let running = |made: &Made| made.state == "running";
        project.all().iter().filter(|made| running(made)).count() == 2
    });
    supervisor.end();
    recycle.end();
    let left: Vec<String> = project.all().into_iter().map(|made| made.name).collect();
    assert_eq!(left, [project.name("web-1")]);

    // As README says it: end `adopt`, and let docker compose make it from another definition.
    let folder = journey.path("");
    std::fs::write(folder.join(".env"), "GREETING=bye\n").expect("write");
    let said = project.compose(&["up", "--detach"]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    let web = project.named("web-1");
    assert!(web["Config"]["Env"].to_string().contains("GREETING=bye"));
    assert_eq!(project.all().len(), 1);
}
