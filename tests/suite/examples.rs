//! Every example is parsed, joined with what its images would be, hardened and planned; so is every Compose file that
//! the README shows. No image is pulled: what is known of each stands here.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use phoenixd::compose::{Files, Input, ReadError, SourceFile, load};
use phoenixd::daemon::ResolvedProject;
use phoenixd::reconcile::{Event, Limits, Listing, Time, World};
use phoenixd::spec::{self, ImageFacts, ImageId, Project};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files beside an example.
struct Beside;

impl Files for Beside {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        // The README's own.
        if path == Path::new("/srv/shop/db_password.txt") {
            return Ok(b"correct horse".to_vec());
        }
        fs::read(path).map_err(|_| ReadError::NotFound)
    }

    fn canonicalize(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn engine_socket(&self) -> Option<std::path::PathBuf> {
        None
    }
}

/// What the engine would say of an image that an example names.
fn facts(image: &str) -> ImageFacts {
    // name, USER, EXPOSE, has a HEALTHCHECK
    let known = [
        (
            "nginxinc/nginx-unprivileged:1.29-alpine",
            "101",
            8080,
            false,
        ),
        ("phoenixd-test", "65534:65534", 8080, false),
    ];
    let (name, user, port, has_healthcheck) = known
        .into_iter()
        .find(|(name, ..)| *name == image)
        .unwrap_or_else(|| panic!("say in `facts` what image `{image}` is"));
    ImageFacts {
        id: ImageId::new(format!("sha256:{name}")),
        user: user.to_owned(),
        exposed_tcp: BTreeSet::from([port]),
        has_healthcheck,
        has_command: true,
        volumes: Vec::new(),
    }
}

/// Parses without any complaint, warnings included.
fn parse(name: &str, text: &str, working_dir: &Path) -> Project {
    let input = Input {
        files: vec![SourceFile {
            path: PathBuf::from(name),
            text: text.as_bytes().to_vec(),
        }],
        project_name: None,
        working_dir: working_dir.to_owned(),
        current_dir: working_dir.to_owned(),
        environment: BTreeMap::new(),
        profiles: Vec::new(),
    };
    let (project, diagnostics) = load(&input, &Beside);
    assert!(diagnostics.is_empty(), "{name}: {diagnostics:#?}");
    project.unwrap()
}

fn resolved(name: &str, project: Project) -> ResolvedProject {
    let mut services = BTreeMap::new();
    for service in project.services.values() {
        let (resolved, diagnostics) =
            spec::resolve(service, &facts(service.container.image.as_str()));
        assert!(diagnostics.is_empty(), "{name}: {diagnostics:#?}");
        services.insert(service.name.clone(), resolved.unwrap());
    }
    ResolvedProject::of(project, services)
}

/// What is begun on an engine that has nothing of the project.
fn first_actions(resolved: &ResolvedProject) -> Vec<String> {
    let now = Time::BOOT;
    let mut world = World::new(resolved.project.name.clone(), Limits::of_cpus(2));
    world.apply(now, Event::Wanted(resolved.wanted()));
    let listing = Listing::default();
    world.apply(
        now,
        Event::Listed {
            asked_at: now,
            listing,
        },
    );
    let actions = world.plan(now).actions;
    actions
        .iter()
        .map(|planned| planned.action.name().to_owned())
        .collect()
}

/// Holds one file; returns what is hardened without an exception.
fn check(name: &str, text: &str, working_dir: &Path) -> ResolvedProject {
    let resolved = resolved(name, parse(name, text, working_dir));
    let actions = first_actions(&resolved);
    let expected: &[&str] = &["create-network", "create-volume", "create"];
    assert!(
        !actions.is_empty()
            && actions
                .iter()
                .all(|action| expected.contains(&action.as_str())),
        "{name}: {actions:?}"
    );
    resolved
}

/// The blocks of a document that are marked as a language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = document.split(&fence).skip(1);
    blocks
        .filter_map(|rest| Some(rest.split("```").next()?.to_owned()))
        .collect()
}

#[test]
fn every_example_can_be_run_as_it_stands() {
    let folder = root().join("compose-examples");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let dir = entry.unwrap().path();
        let text = fs::read_to_string(dir.join("compose.yaml")).unwrap();
        assert!(
            dir.join("README.md").is_file(),
            "{} needs a README.md",
            dir.display()
        );
        check(&dir.display().to_string(), &text, &dir);
        seen += 1;
    }
    assert!(seen >= 3);
}

#[test]
fn every_compose_file_of_the_readme_can_be_run_as_it_stands() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = blocks(&readme, "yaml");
    assert!(!blocks.is_empty());
    for (number, block) in blocks.iter().enumerate() {
        check(
            &format!("README.md, block {number}"),
            block,
            Path::new("/srv/shop"),
        );
    }
}

#[test]
fn the_first_compose_file_of_the_readme_is_the_first_example() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let example = fs::read_to_string(root().join("compose-examples/web/compose.yaml")).unwrap();
    assert_eq!(blocks(&readme, "yaml").first(), Some(&example));
}

#[test]
fn the_web_example_is_hardened_without_an_exception_and_leaves_the_database_alone() {
    let dir = root().join("compose-examples/web");
    let text = fs::read_to_string(dir.join("compose.yaml")).unwrap();
    let resolved = check("web", &text, &dir);
    let web = resolved.services.values().next().unwrap();
    assert_eq!(web.policy, spec::Policy::STRICT);
    assert_eq!(web.probe.to_string(), "http / on port 8080");
    let foreign: Vec<&str> = resolved
        .project
        .foreign
        .iter()
        .map(spec::ServiceName::as_str)
        .collect();
    assert_eq!(foreign, ["db"]);
    // The database's volume is none of phoenixd's business.
    assert!(resolved.project.volumes.is_empty());
}

#[test]
fn an_example_that_is_wrong_is_found() {
    let bad =
        "services:\n  web:\n    image: phoenixd-test\n    privileged: true\n    x-phoenix: {}\n";
    let outcome = std::panic::catch_unwind(|| check("bad", bad, Path::new("/srv/shop")));
    assert!(outcome.is_err());
    let good = bad.replace("    privileged: true\n", "");
    let resolved = check("good", &good, Path::new("/srv/shop"));
    let world = first_actions(&resolved);
    assert_eq!(world, ["create-network"]);
}
