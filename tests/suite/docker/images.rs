//! Where the image of a service comes from: what is pulled, what is built, and when neither is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use phoenixd::daemon::{Builds, Missing, resolve, to_build};
use phoenixd::docker::{Docker, ImageOf};
use phoenixd::spec::{
    Build, BuildContext, Diagnostic, ImageRef, Project, PullPolicy, Service, Severity,
};
use serde_json::json;

use super::fake::{Fake, answer, refusal, version};
use crate::compose::load_text;

/// What the engine has, and what was done.
#[derive(Clone, Default)]
struct Host {
    images: Arc<Mutex<BTreeSet<String>>>,
    done: Arc<Mutex<Vec<String>>>,
}

/// A way to images that notes what it is asked for.
struct Ways {
    host: Host,
    builds: Builds,
    /// The registry has it.
    pulls: bool,
    /// The build works.
    works: bool,
}

impl Ways {
    fn get(&self, what: &str, image: &ImageRef, is_had: bool) -> Result<(), String> {
        self.host
            .done
            .lock()
            .unwrap()
            .push(format!("{what} {image}"));
        if is_had {
            self.host.images.lock().unwrap().insert(image.to_string());
            Ok(())
        } else {
            Err(format!("no {what}"))
        }
    }
}

impl Missing for Ways {
    async fn refresh(&self, service: &Service) -> Result<(), String> {
        match service.pull {
            PullPolicy::Always => Self::get(self, "refresh", &service.container.image, self.pulls),
            PullPolicy::Missing
            | PullPolicy::Latest
            | PullPolicy::Never
            | PullPolicy::Build
            | PullPolicy::Refresh(_) => Ok(()),
        }
    }

    async fn get(&self, image: &ImageRef, _: Option<&str>) -> Result<(), String> {
        Self::get(self, "pull", image, self.pulls)
    }

    async fn build(&self, of: ImageOf<'_>, _: &Build) -> Result<(), String> {
        Self::get(self, "build", of.image, self.works)
    }

    fn builds(&self) -> Builds {
        self.builds
    }
}

impl Host {
    fn with(images: &[&str]) -> Self {
        let host = Self::default();
        let images = images.iter().map(|image| (*image).to_owned());
        host.images.lock().unwrap().extend(images);
        host
    }

    /// An engine that has what the host has.
    async fn engine(&self) -> (Fake, Docker) {
        let images = Arc::clone(&self.images);
        let fake = Fake::new(move |asked| match asked {
            "GET /version" => version("1.41", "1.12"),
            asked => {
                let name = asked.strip_prefix("GET /v1.41/images/").unwrap();
                let name = name.strip_suffix("/json").unwrap();
                if images.lock().unwrap().contains(name) {
                    answer(
                        200,
                        json!({"Id": "sha256:1", "Config": {"User": "1", "Cmd": ["x"]}}),
                    )
                } else {
                    refusal(404, "No such image")
                }
            }
        });
        let docker = fake.connect().await.unwrap();
        (fake, docker)
    }

    /// What was done for a project, and what was wrong.
    async fn resolve(&self, project: &Project, ways: Ways) -> (Vec<String>, Vec<Diagnostic>) {
        let (_fake, docker) = self.engine().await;
        let (resolved, mut problems) = resolve(&docker, project, &ways).await.unwrap();
        problems.retain(|problem| problem.severity == Severity::Error);
        assert_eq!(resolved.is_some(), problems.is_empty());
        (std::mem::take(&mut *self.done.lock().unwrap()), problems)
    }

    fn ways(&self, builds: Builds) -> Ways {
        Ways {
            host: self.clone(),
            builds,
            pulls: false,
            works: true,
        }
    }
}

/// A project of `web` with these further keys.
fn project(keys: &str) -> Project {
    let text = format!(
        "name: shop\nservices:\n  web:\n    user: '1'\n    x-phoenix: {{ probe: none }}\n{keys}"
    );
    load_text(&text).0.unwrap()
}

#[tokio::test]
async fn an_image_that_is_there_is_taken_as_it_is() {
    let host = Host::with(&["shop-web", "acme:1"]);
    for keys in [
        "    build: .\n",
        "    image: acme:1\n    build: .\n",
        "    image: acme:1\n",
    ] {
        let (done, problems) = host
            .resolve(&project(keys), host.ways(Builds::Missing))
            .await;
        assert_eq!((done, problems), (vec![], vec![]), "{keys}");
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_pulled_where_it_has_a_name_and_then_built() {
    for (keys, pulls, expected) in [
        ("    build: .\n", true, vec!["build shop-web"]),
        (
            "    image: acme:1\n    build: .\n",
            true,
            vec!["pull acme:1"],
        ),
        (
            "    image: acme:1\n    build: .\n",
            false,
            vec!["pull acme:1", "build acme:1"],
        ),
        ("    image: acme:1\n", true, vec!["pull acme:1"]),
        (
            "    image: acme:1\n    build: .\n    pull_policy: never\n",
            true,
            vec!["build acme:1"],
        ),
        (
            "    image: acme:1\n    build: .\n    pull_policy: always\n",
            false,
            vec!["refresh acme:1", "pull acme:1", "build acme:1"],
        ),
    ] {
        let host = Host::default();
        let ways = Ways {
            pulls,
            ..host.ways(Builds::Missing)
        };
        let (done, problems) = host.resolve(&project(keys), ways).await;
        assert_eq!(done, expected, "{keys}");
        assert_eq!(problems, vec![], "{keys}");
    }
}

#[tokio::test]
async fn what_is_to_be_built_anew_is_built_once_whatever_is_there() {
    let host = Host::with(&["shop-web", "acme:1", "other:1"]);
    let always = project("    build: .\n    pull_policy: build\n");
    let (done, _) = host.resolve(&always, host.ways(Builds::Missing)).await;
    assert_eq!(done, ["build shop-web"]);
    let (done, _) = host.resolve(&always, host.ways(Builds::Never)).await;
    assert_eq!(
        done, [""; 0],
        "a command that changes nothing takes what is there"
    );

    let two = "    image: acme:1\n    build: .\n  twin:\n    image: acme:1\n    build: .\n    user: '1'\n    x-phoenix: { probe: none }\n  other:\n    image: other:1\n    user: '1'\n    x-phoenix: { probe: none }\n";
    let (done, _) = host.resolve(&project(two), host.ways(Builds::All)).await;
    assert_eq!(
        done,
        ["build acme:1"],
        "only what has a `build`, and that once"
    );
}

#[tokio::test]
async fn what_cannot_be_built_is_told_with_its_place() {
    let host = Host::default();
    let told = |problems: &[Diagnostic]| {
        let lines = problems.iter().map(|one| {
            let place = one.place.as_ref().unwrap();
            format!(
                "{}:{} {}: {}",
                place.line, place.column, one.code, one.message
            )
        });
        lines.collect::<Vec<_>>()
    };
    let broken = Ways {
        works: false,
        ..host.ways(Builds::Missing)
    };
    let (_, problems) = host.resolve(&project("    build: .\n"), broken).await;
    assert_eq!(
        told(&problems),
        ["6:5 build-failed: image `shop-web` cannot be built: no build"]
    );
    let beyond = project("    build: { context: ., ssh: [default], privileged: true }\n");
    let (done, problems) = host.resolve(&beyond, host.ways(Builds::Missing)).await;
    assert_eq!(done, [""; 0]);
    assert_eq!(
        told(&problems),
        [
            "6:26 needs-buildkit: `build.ssh` of `web` needs BuildKit: the engine's build API cannot do it",
            "6:42 needs-buildkit: `build.privileged` of `web` needs BuildKit: the engine's build API cannot do it",
        ]
    );
    let (_, problems) = host
        .resolve(&project("    build: .\n"), host.ways(Builds::Never))
        .await;
    assert_eq!(
        told(&problems),
        [
            "6:5 no-image: image `shop-web` is not there: the engine does not have it, and this command does not build"
        ]
    );
    // The hint is true: what somebody else built is taken.
    host.images.lock().unwrap().insert("shop-web".to_owned());
    let (done, problems) = host.resolve(&beyond, host.ways(Builds::Missing)).await;
    assert_eq!((done, problems), (vec![], vec![]));
}

#[tokio::test]
async fn a_plan_knows_what_would_be_built() {
    let host = Host::with(&["acme:1"]);
    let (_fake, docker) = host.engine().await;
    let would = async |keys: &str| {
        let project = project(keys);
        let builds = to_build(&docker, &project).await.unwrap();
        let builds = builds.iter();
        builds
            .map(|one| (one.service.container.image.to_string(), one.is_missing))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        would("    build: .\n").await,
        [("shop-web".to_owned(), true)]
    );
    assert_eq!(would("    image: acme:1\n    build: .\n").await, []);
    assert_eq!(
        would("    image: acme:1\n    build: .\n    pull_policy: build\n").await,
        [("acme:1".to_owned(), false)]
    );
    assert_eq!(would("    image: other:1\n").await, [], "that is pulled");
    let context = project("    build: .\n")
        .services
        .into_values()
        .next()
        .unwrap();
    assert_eq!(
        context.build.map(|build| build.context),
        Some(BuildContext::Directory(PathBuf::from("/srv/shop")))
    );
}
