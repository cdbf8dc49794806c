//! `build:` of a phoenix, by the engine's build API.

use serde_json::{Value, json};

use super::support::{Journey, STRANGER, eventually};

/// More layers than any build here has.
const LAYERS: usize = 20;

/// A project whose `web` is built from the journey's folder; what is built is removed at the end.
struct Built {
    journey: Journey,
}

impl Built {
    fn new(dockerfile: &str) -> Self {
        let journey = Journey::new();
        let web = journey.web(2, "", "drain: 200ms");
        let image = format!("    image: {}\n", journey.image());
        let section = "    build: { context: ., args: { GREETING: hello } }\n";
        assert!(web.contains(&image));
        journey.write(&web.replace(&image, section));
        let built = Self { journey };
        built.write("Dockerfile", dockerfile);
        built
    }

    /// Writes a file; `BASE` in it stands for an image of the journey's own.
    fn write(&self, name: &str, content: &str) {
        let journey = &self.journey;
        let base = format!("{}\nLABEL {STRANGER}={}", journey.image(), journey.project);
        let content = content.replace("BASE", &base);
        std::fs::write(journey.path(name), content).expect("write a file");
    }

    fn name(&self) -> String {
        format!("{}-web", self.journey.project)
    }

    /// What `docker image inspect` shows.
    fn image(&self) -> Option<Value> {
        let path = format!("/images/{}/json", self.name());
        let answer = self.journey.engine.call("GET", &path, None);
        let answer = answer.expect("inspect");
        (answer.status == 200).then(|| answer.json())
    }

    /// Whether a path is in the image of a container. To copy it out of the container itself would be a touch.
    fn has(&self, container: &str, path: &str) -> bool {
        let engine = &self.journey.engine;
        let image = &self.journey.inspect(container)["Image"];
        let body = json!({ "Image": image, "Labels": { STRANGER: self.journey.project } });
        let made = engine
            .must("POST", "/containers/create", Some(&body))
            .json();
        let other = made["Id"].as_str().expect("an id");
        let path = format!("/containers/{other}/archive?path={path}");
        let answer = engine.call("GET", &path, None);
        engine.must("DELETE", &format!("/containers/{other}"), None);
        answer.expect("ask").status == 200
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        let engine = &self.journey.engine;
        // Its containers hold it.
        drop(engine.remove_all(&self.journey.label()));
        drop(engine.call("DELETE", &format!("/images/{}?force=1", self.name()), None));
        // What a failed build leaves as a cache; an image goes only after those that were made from it.
        let label = format!("{STRANGER}={}", self.journey.project);
        let filters = format!("%7B%22label%22%3A%5B%22{label}%22%5D%7D");
        for _ in 0..LAYERS {
            let path = format!("/images/json?all=1&filters={filters}");
            let Ok(answer) = engine.call("GET", &path, None) else {
                return;
            };
            for image in answer.json().as_array().into_iter().flatten() {
                let id = image["Id"].as_str().unwrap_or_default();
                drop(engine.call("DELETE", &format!("/images/{id}?force=1"), None));
            }
        }
    }
}

const GOOD: &str = "FROM BASE\nARG GREETING\nLABEL greeting=$GREETING\nCOPY . /ctx/\nRUN [\"/phoenixd\", \"--version\"]\n";

#[test]
fn an_image_that_is_missing_is_built_and_a_changed_one_is_a_new_generation() {
    let built = Built::new(GOOD);
    let journey = &built.journey;
    built.write("page", "one");
    built.write("secret", "no");
    built.write(".dockerignore", "**\n!page\n");

    let plan = journey.run(&["plan"]).success().stdout;
    assert!(
        plan.contains(&format!("web: would build image {}", built.name())),
        "{plan}"
    );
    journey
        .run(&["check"])
        .unmet(&["is not there", "docker compose build web"]);
    assert_eq!(built.image(), None, "neither of them builds");

    let supervisor = journey.up_ready(2);
    let image = built.image().expect("the image");
    let labels = &image["Config"]["Labels"];
    assert_eq!(labels["greeting"], "hello");
    assert_eq!(labels["com.docker.compose.project"], journey.project);
    assert_eq!(labels["com.docker.compose.service"], "web");
    for id in journey.running_ids() {
        assert_eq!(journey.inspect(&id)["Image"], image["Id"]);
        assert!(built.has(&id, "/ctx/page"));
        for left_out in ["/ctx/secret", "/ctx/Dockerfile", "/ctx/.dockerignore"] {
            assert!(!built.has(&id, left_out), "{left_out}");
        }
    }
    let log = journey.log();
    assert!(
        log.contains("Step 1/") && log.contains("RUN [\"/phoenixd\", \"--version\"]"),
        "{log}"
    );
    supervisor.end();

    // What is there is taken as it is, whatever has changed beside it.
    built.write("page", "two");
    let replicas = journey.running_ids();
    journey.up_ready(2).end();
    assert_eq!(journey.running_ids(), replicas);
    assert_eq!(
        built.image().map(|now| now["Id"].clone()),
        Some(image["Id"].clone())
    );

    let _supervisor = journey.up_with(&["--build"]);
    eventually(
        "both are of the new image",
        std::time::Duration::from_mins(1),
        || (journey.containers(), journey.ps(), built.image()),
        |(containers, rows, now)| {
            let now = now.as_ref().map_or(&Value::Null, |now| &now["Id"]);
            containers.len() == 2
                && *now != image["Id"]
                && rows.len() == 2
                && rows
                    .iter()
                    .all(|row| row["generation"] == 2 && row["ready"] == true)
                && (containers.iter()).all(|made| {
                    journey
                        .engine
                        .inspect(&made.id)
                        .is_some_and(|it| it["Image"] == *now)
                })
        },
    );
}

#[test]
fn a_build_that_fails_starts_nothing_and_says_what_failed_where() {
    let built =
        Built::new("FROM BASE\nCOPY page /page\nRUN [\"/phoenixd\", \"no-such-command\"]\n");
    let journey = &built.journey;
    built.write("page", "one");
    journey.run(&["up"]).unmet(&[
        "build-failed",
        "compose.yaml:3:5",
        "services.web.build",
        "RUN [\"/phoenixd\", \"no-such-command\"]",
        "it ended with exit code 1",
        "no-such-command'",
        "docker compose build web",
    ]);
    assert_eq!(built.image(), None);
    assert_eq!(journey.containers(), []);
    assert_eq!(journey.engine.networks(&journey.label()), [""; 0]);

    // What only BuildKit can do.
    built.write(
        "Dockerfile",
        "FROM BASE\nRUN --mount=type=cache,target=/x [\"/phoenixd\"]\n",
    );
    journey
        .run(&["up"])
        .unmet(&["requires BuildKit", "docker compose build web"]);
    // Docker 28 would run an empty step, and say that all is well.
    built.write(
        "Dockerfile",
        "FROM BASE\nRUN <<EOT\n/phoenixd no-such-command\nEOT\n",
    );
    journey
        .run(&["up"])
        .unmet(&["Dockerfile:3: a here-document needs BuildKit"]);
    assert_eq!(built.image(), None);
    assert_eq!(journey.containers(), []);
}
