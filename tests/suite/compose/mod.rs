//! Compose files as data: each file of `valid/` becomes a project, each of `invalid/` all its problems, both as
//! snapshots; limits and promises that no single file shows are tests of their own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod fuzz;
mod hash;
mod limits;
mod others;
mod properties;
mod readable;
mod schema;
mod walls;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use phoenixd::compose::{Files, Input, ReadError, SourceFile, load};
use phoenixd::spec::{Diagnostic, Project, Service, Severity};

/// Where the fixtures believe to be.
const WORKING_DIR: &str = "/srv/shop";

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/suite/compose")
        .join(folder)
}

/// The host of the fixtures: `files/` lies in the working directory, and some paths are symlinks.
#[derive(Debug)]
struct Host;

impl Files for Host {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let Ok(inside) = path.strip_prefix(WORKING_DIR) else {
            return Err(ReadError::NotFound);
        };
        if inside == Path::new("secret.env") || inside == Path::new("others.key") {
            return Err(ReadError::Other("permission denied".to_owned()));
        }
        if inside == Path::new("keys") {
            return Err(ReadError::Other("it is a directory".to_owned()));
        }
        if inside == Path::new("huge.env") {
            return Ok(vec![b'#'; (1 << 20) + 1]);
        }
        std::fs::read(fixtures("files").join(inside)).map_err(|_| ReadError::NotFound)
    }

    fn exists(&self, path: &Path) -> bool {
        path == Path::new("/srv/engine/podman.sock")
    }

    fn engine_socket(&self) -> Option<PathBuf> {
        Some(PathBuf::from("/srv/relay/my.sock"))
    }

    fn canonicalize(&self, path: &Path) -> PathBuf {
        let links = [
            ("/srv/shop/config", "/etc"),
            ("/srv/shop/engine.link", "/run/docker.sock"),
            ("/srv/data", "/mnt/data"),
        ];
        for (link, target) in links {
            if path == Path::new(link) {
                return PathBuf::from(target);
            }
            if let Ok(rest) = path.strip_prefix(link) {
                return Path::new(target).join(rest);
            }
        }
        path.to_owned()
    }
}

fn environment() -> BTreeMap<String, String> {
    [
        ("HOME", "/home/me"),
        ("TAG", "1.29"),
        ("EMPTY", ""),
        ("WEB_PORT", "8080"),
        ("FROM_HOST", "seen on the host"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn input(name: &str, text: impl Into<Vec<u8>>) -> Input {
    Input {
        files: vec![SourceFile {
            path: PathBuf::from(name),
            text: text.into(),
        }],
        project_name: None,
        working_dir: PathBuf::from(WORKING_DIR),
        current_dir: PathBuf::from(WORKING_DIR),
        environment: environment(),
        profiles: Vec::new(),
    }
}

/// Loads a text as `compose.yaml`.
pub(crate) fn load_text(text: &str) -> (Option<Project>, Vec<Diagnostic>) {
    load(&input("compose.yaml", text), &Host)
}

/// The problems of a text.
fn problems(text: &str) -> String {
    rendered(&load_text(text).1)
}

/// The one service of a text without problems.
fn service(text: &str) -> Service {
    let (project, diagnostics) = load_text(text);
    let project = project.unwrap_or_else(|| panic!("{}", rendered(&diagnostics)));
    project.services.into_values().next().unwrap()
}

fn rendered(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for one in diagnostics {
        let severity = match one.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let place = one
            .place
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string);
        writeln!(text, "{place}: {severity}[{}]: {}", one.code, one.message).unwrap();
        writeln!(text, "  at: {}", one.path).unwrap();
        let hint = one.hint.as_deref().unwrap_or("NONE");
        writeln!(text, "  hint: {hint}").unwrap();
    }
    text
}

/// A project without what is empty, and with each place on a line.
fn shown(project: &Project) -> String {
    let mut bare = project.clone();
    for service in bare.services.values_mut() {
        service.places.clear();
    }
    for network in &mut bare.networks {
        network.place = None;
    }
    for volume in &mut bare.volumes {
        volume.place = None;
    }
    let mut text = compact(&format!("{bare:#?}"));
    for service in project.services.values() {
        for (key, place) in &service.places {
            writeln!(text, "{} at {place}", service.path(key)).unwrap();
        }
    }
    text
}

/// A pretty `Debug` text without empty fields, with what fits on a line on one.
fn compact(pretty: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in pretty.lines() {
        let field = line.trim_start();
        let is_empty = [": None,", ": {},", ": [],"]
            .iter()
            .any(|end| field.ends_with(end));
        // Variants of our own, and keys of maps, are no empty fields.
        let is_ours = field == "test: None," || field == "network: None,";
        if is_empty && !is_ours && !field.starts_with('"') {
            continue;
        }
        lines.push(line.to_owned());
        if field.starts_with([')', '}', ']']) {
            join_last(&mut lines);
        }
    }
    lines.join("\n") + "\n"
}

/// Puts the block that the last line closes on one line, when it is short.
fn join_last(lines: &mut Vec<String>) {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let last = lines.len() - 1;
    let own = indent(&lines[last]);
    let Some(open) = (0..last).rev().find(|&at| indent(&lines[at]) <= own) else {
        return;
    };
    let inside: Vec<&str> = lines[open + 1..last].iter().map(|l| l.trim()).collect();
    let inside = inside.join(" ");
    let joined = format!(
        "{}{}{}",
        lines[open],
        inside.trim_end_matches(','),
        lines[last].trim_start()
    );
    if joined.trim_start().len() <= 100 {
        lines.truncate(open);
        lines.push(joined);
    }
}

/// Every `.yaml` of a folder, by name.
fn each(folder: &str, mut check: impl FnMut(&str, Vec<u8>)) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(fixtures(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no fixtures in {folder}");
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        check(name, std::fs::read(&path).unwrap());
    }
}

#[test]
fn a_valid_file_becomes_the_project_that_it_describes() {
    each("valid", |name, text| {
        let file = format!("{name}.yaml");
        let (project, diagnostics) = load(&input(&file, text), &Host);
        let mut text = rendered(&diagnostics);
        match project {
            Some(project) => text.push_str(&shown(&project)),
            None => panic!("{name} has errors:\n{text}"),
        }
        insta::assert_snapshot!(format!("valid_{name}"), text);
    });
}

#[test]
fn an_invalid_file_is_answered_with_all_its_problems_their_places_and_remedies() {
    each("invalid", |name, text| {
        let file = format!("{name}.yaml");
        let (project, diagnostics) = load(&input(&file, text), &Host);
        assert_eq!(project, None, "{name}");
        assert!(diagnostics.iter().any(Diagnostic::is_error), "{name}");
        insta::assert_snapshot!(format!("invalid_{name}"), rendered(&diagnostics));
    });
}

#[test]
fn every_problem_has_a_hint_and_none_ends_with_a_full_stop() {
    each("invalid", |name, text| {
        let (_, diagnostics) = load(&input(name, text), &Host);
        for one in diagnostics {
            let hint = one.hint.unwrap_or_default();
            assert!(!hint.is_empty(), "{name}: {}", one.message);
            assert!(!one.message.ends_with('.'), "{name}: {}", one.message);
            assert!(!hint.ends_with('.'), "{name}: {hint}");
        }
    });
}
