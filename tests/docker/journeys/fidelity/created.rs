//! Both containers of each service, made and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use super::super::support::Journey;
use super::cases::{CASES, Case, ELSEWHERE, FILES, REFUSED, TOP};
use super::compare::{Difference, comparable, differences};
use super::intended::{INTENDED, entry};
use crate::compose::{Said, compose};

/// A project that docker compose and phoenixd both know.
struct Both {
    journey: Journey,
    /// Minor version of the engine's API.
    api: u32,
}

impl Drop for Both {
    fn drop(&mut self) {
        // Containers of ours hold the networks.
        drop(self.journey.engine.remove_all(&self.journey.label()));
        drop(self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "0"]));
    }
}

impl Both {
    fn new() -> Self {
        // In a pod the names and static addresses are the pause's (journey `reach`).
        let journey = Journey::new().inside();
        for (name, text) in FILES {
            let path = journey.path(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("write a file");
        }
        let version = journey.engine.must("GET", "/version", None).json();
        let api = version["ApiVersion"].as_str().expect("a version");
        let api = api
            .strip_prefix("1.")
            .expect("1")
            .parse()
            .expect("a number");
        Self { journey, api }
    }

    fn compose(&self, arguments: &[&str]) -> Said {
        let folder = self.journey.file();
        let folder = folder.parent().expect("a folder");
        compose(folder, &self.journey.project, arguments)
    }

    /// Lets docker compose make all containers of the file.
    fn create(&self) {
        let said = self.compose(&["create", "--pull", "never"]);
        let lines: Vec<&str> = said.stderr.lines().collect();
        let end = lines.len().saturating_sub(5);
        assert_eq!(said.code, Some(0), "{:#?}", &lines[end..]);
    }

    /// Writes a file of these services.
    fn write<'c>(&self, cases: impl IntoIterator<Item = &'c Case>) {
        let mut text = "services:\n".to_owned();
        for case in cases {
            let image = self.journey.image();
            write!(text, "  {}:\n    image: {image}\n", case.name).expect("a string");
            for line in case.lines.lines() {
                let line = line.replace("IMAGE", image);
                writeln!(text, "    {line}").expect("a string");
            }
            let probe = if case.phoenix.contains("probe") {
                String::new()
            } else {
                "probe: none, ".to_owned()
            };
            writeln!(text, "    x-phoenix: {{ {probe}{} }}", case.phoenix).expect("a string");
        }
        let top = TOP.replace("KEPT", &format!("{}-kept", self.journey.project));
        self.journey.write(&(text + &top));
    }

    /// What phoenixd would send.
    fn plan(&self) -> Value {
        let plan = self.journey.run(&["plan", "--format", "json"]).success();
        serde_json::from_str(&plan.stdout).expect("JSON")
    }

    /// The container that docker compose made of a service: the first of them.
    fn of_compose(&self, service: &str) -> Value {
        let label = format!("com.docker.compose.service={service}");
        let all = self.journey.engine.containers(&label);
        let first = all
            .iter()
            .find(|made| made.name.starts_with(&self.journey.project) && made.name.ends_with("-1"));
        let first = first.unwrap_or_else(|| panic!("compose made no container of {service}"));
        self.journey.inspect(&first.id)
    }

    /// Makes the container that phoenixd would make.
    fn ours(&self, service: &str, plan: &Value) -> Result<Value, String> {
        let engine = &self.journey.engine;
        let path = format!(
            "/containers/create?name={}-{service}-ours",
            self.journey.project
        );
        let made = engine
            .call("POST", &path, Some(&plan["create"][service]))
            .expect("create");
        if made.status >= 400 {
            return Err(made.json()["message"]
                .as_str()
                .expect("a message")
                .to_owned());
        }
        let made = made.json();
        let id = made["Id"].as_str().expect("an id");
        for (network, endpoint) in plan["connect"][service].as_object().expect("networks") {
            let body = serde_json::json!({ "Container": id, "EndpointConfig": endpoint });
            engine.must("POST", &format!("/networks/{network}/connect"), Some(&body));
        }
        Ok(self.journey.inspect(id))
    }
}

#[test]
fn a_replica_is_the_container_of_docker_compose_but_for_what_is_intended() {
    let both = Both::new();
    let cases = || CASES.iter().filter(|case| case.api <= both.api);
    both.write(cases());
    both.create();
    let plan = both.plan();

    let mut unexplained: BTreeMap<&str, Vec<Difference>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for case in cases() {
        let compose = comparable(&both.of_compose(case.name));
        let ours = both.ours(case.name, &plan);
        let ours = comparable(&ours.unwrap_or_else(|why| panic!("{}: {why}", case.name)));
        for difference in differences(&compose, &ours) {
            match entry(&difference) {
                Some(index) => drop(seen.insert(index)),
                None => unexplained.entry(case.name).or_default().push(difference),
            }
        }
    }
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    let stale: Vec<&str> = (INTENDED.iter().enumerate())
        .filter(|(index, _)| !seen.contains(index))
        .map(|(_, one)| one.path)
        .collect();
    // An older engine does not take every case.
    assert!(
        stale.is_empty() || both.api < 49,
        "nothing differs there any more: {stale:?}"
    );
}

#[test]
fn as_many_replicas_are_made_as_docker_compose_makes() {
    let both = Both::new();
    let scaled = ["deploy", "scale", "plain"];
    both.write(CASES.iter().filter(|case| scaled.contains(&case.name)));
    both.create();
    let check = both.journey.run(&["check"]).success();
    for service in scaled {
        let label = format!("com.docker.compose.service={service}");
        let made = both.journey.engine.containers(&label);
        let made = made
            .iter()
            .filter(|made| made.name.starts_with(&both.journey.project));
        let lives = check.stdout.split(&format!("{service}: hardened\n")).nth(1);
        let lives = lives.and_then(|own| own.lines().find(|line| line.contains("life ")));
        let wanted = format!(", {} x {}", made.count(), both.journey.image());
        assert!(
            lives.is_some_and(|line| line.contains(&wanted)),
            "{service}: {check:#?}"
        );
    }
}

#[test]
fn what_an_engine_refuses_docker_compose_it_refuses_phoenixd_in_the_same_words() {
    let both = Both::new();
    both.write(REFUSED);
    let plan = both.plan();
    for case in REFUSED {
        let said = both.compose(&["create", "--pull", "never", case.name]);
        let why = both.ours(case.name, &plan).expect_err(case.name);
        assert_ne!(said.code, Some(0), "{}: {said:#?}", case.name);
        assert!(
            said.stderr.contains(&why),
            "{}: {why}\n{said:#?}",
            case.name
        );
    }
}

#[test]
fn what_an_older_engine_would_drop_is_refused_with_its_place() {
    let both = Both::new();
    for case in CASES.iter().filter(|case| case.api > both.api) {
        both.write([case]);
        let said = both.journey.run(&["plan"]);
        assert_eq!(said.code, Some(1), "{}: {said:#?}", case.name);
        let needs = format!("needs API 1.{}", case.api);
        assert!(said.stderr.contains(&needs), "{}: {said:#?}", case.name);
        assert!(
            said.stderr.contains("compose.yaml:"),
            "{}: {said:#?}",
            case.name
        );
    }
}

fn readme() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    std::fs::read_to_string(path).expect("the README")
}

/// What stands in backticks.
fn ticked(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_readme_says_of_every_intended_difference_why_it_is_there() {
    let readme = readme();
    let section = readme
        .split("\n### What a replica has that docker compose's container has not\n")
        .nth(1);
    let section = section
        .expect("a section")
        .split("\n##")
        .next()
        .expect("its text");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let named: BTreeSet<&str> = rows
        .flat_map(|row| ticked(row.split(" | ").next().unwrap_or(row)))
        .collect();
    let intended: BTreeSet<&str> = INTENDED.iter().map(|one| one.path).collect();
    assert_eq!(named, intended);
}

#[test]
fn every_honoured_key_is_compared() {
    let readme = readme();
    let row = readme
        .lines()
        .find(|line| line.starts_with("| service | honoured |"))
        .expect("a row");
    let honoured: BTreeSet<&str> = ticked(row).collect();
    assert!(honoured.len() > 50, "{honoured:?}");
    let elsewhere = ELSEWHERE.iter().map(|(key, _)| *key);
    let compared = CASES
        .iter()
        .chain(REFUSED)
        .flat_map(|case| case.keys.iter().copied());
    let held: BTreeSet<&str> = compared.chain(elsewhere).collect();
    let missing: Vec<&&str> = honoured.difference(&held).collect();
    assert!(missing.is_empty(), "no service is about {missing:?}");
}
