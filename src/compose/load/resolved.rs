//! The whole of loading: what comes of the files, and which part of it is whose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::session::{Scope, Session, Source};
use super::{consistency, name, normal, variables};
use crate::compose::problems::Problems;
use crate::compose::tree::Node;
use crate::compose::{Files, Input, SourceFile, yaml};
use crate::spec::ProjectName;

/// A project as docker compose understands it, in long form.
#[derive(Debug)]
pub(in crate::compose) struct Resolved {
    /// The whole file, all services included.
    pub(in crate::compose) root: Arc<Node>,
    /// Its name.
    pub(in crate::compose) name: ProjectName,
    /// The caller's variables, and those that Compose adds.
    pub(in crate::compose) environment: BTreeMap<String, String>,
    /// The services that docker compose takes with the active profiles.
    pub(in crate::compose) enabled: BTreeSet<String>,
}

/// Resolves a project. What was read on the way goes to `texts`, also after errors.
pub(in crate::compose) fn resolve(
    input: &Input,
    files: &dyn Files,
    texts: &mut Vec<SourceFile>,
    out: &mut Problems,
) -> Option<Resolved> {
    let mut sources = Vec::new();
    for file in &input.files {
        let source = Source {
            path: input.current_dir.join(&file.path),
            shown: Arc::new(file.path.clone()),
            documents: yaml::read(&Arc::new(file.path.clone()), &file.text, out)?,
        };
        sources.push(source);
    }
    let name = name::of(input, &sources, out)?;
    let mut environment = input.environment.clone();
    // Compose sets it, so that a file may use it.
    environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.to_string());
    let scope = Scope {
        dir: input.working_dir.clone(),
        shown: input.shown_dir(),
        environment: &environment,
        included: Vec::new(),
    };
    let mut session = Session::new(files, texts, out);
    let root = session.model(&scope, &sources)?;
    let root = normal::normalize(&root, name.as_str(), &environment);
    let enabled = enabled(&root, &input.profiles);
    let base = scope.base();
    let root = variables::resolve(&root, &enabled, &environment, base, files, out);
    consistency::check(&root, &enabled, out);
    Some(Resolved {
        root,
        name,
        environment,
        enabled,
    })
}

/// The project's name alone, where the files can be read and say a valid one; nothing else in them has to be right.
pub fn project_name(input: &Input) -> Option<ProjectName> {
    let mut problems = Problems::default();
    let mut sources = Vec::new();
    for file in &input.files {
        sources.push(Source {
            path: input.current_dir.join(&file.path),
            shown: Arc::new(file.path.clone()),
            documents: yaml::read(&Arc::new(file.path.clone()), &file.text, &mut problems)?,
        });
    }
    let name = name::of(input, &sources, &mut problems);
    name.filter(|_| problems.errors() == 0)
}

/// The services without profiles, and those with an active one (`*` activates all).
fn enabled(root: &Node, active: &[String]) -> BTreeSet<String> {
    let is_active = |service: &Node| {
        let profiles = service
            .some("profiles")
            .map_or(&[][..], |list| list.items());
        profiles.is_empty()
            || active.iter().any(|one| one == "*")
            || profiles
                .iter()
                .filter_map(|profile| profile.printed())
                // Without any, the reference takes the empty one for active.
                .any(|profile| {
                    active.iter().any(|one| *one == profile)
                        || (active.is_empty() && profile.is_empty())
                })
    };
    root.some("services")
        .map_or(&[][..], |services| services.entries())
        .iter()
        .filter(|entry| is_active(&entry.value))
        .map(|entry| entry.key.clone())
        .collect()
}

impl Resolved {
    /// Whether phoenixd has anything to run.
    pub(in crate::compose) fn has_phoenixes(&self) -> bool {
        let services = self.root.some("services");
        services.is_some_and(|all| (all.entries().iter()).any(|entry| is_phoenix(&entry.value)))
    }

    /// The tree with the services that somebody takes, and what these use.
    pub(in crate::compose) fn shown(&self) -> Arc<Node> {
        let mut root = Arc::clone(&self.root);
        root.change("services", |all| {
            let taken = (all.entries().iter())
                .filter(|entry| self.enabled.contains(&entry.key) || is_phoenix(&entry.value));
            Some(all.with_entries(taken.cloned().collect()))
        });
        for (section, used) in used(&root) {
            root.change(section, |all| {
                let kept = (all.entries().iter()).filter(|entry| used.contains(&entry.key));
                Some(all.with_entries(kept.cloned().collect()))
            });
        }
        root.set("name", Node::text(&root.place.clone(), self.name.as_str()));
        root
    }
}

fn is_phoenix(service: &Node) -> bool {
    service.entry("x-phoenix").is_some()
}

/// What of the top level the services use.
fn used(root: &Node) -> [(&'static str, BTreeSet<String>); 5] {
    let mut networks = BTreeSet::new();
    let mut volumes = BTreeSet::new();
    let mut secrets = BTreeSet::new();
    let mut configs = BTreeSet::new();
    let mut models = BTreeSet::new();
    let keys = |node: &Node, key: &str| -> Vec<String> {
        let all = node.some(key).map_or(&[][..], |all| all.entries());
        all.iter().map(|entry| entry.key.clone()).collect()
    };
    let sources = |node: Option<&Arc<Node>>, is_used: &dyn Fn(&Node) -> bool| -> Vec<String> {
        let items = node.map_or(&[][..], |list| list.items());
        (items.iter().filter(|item| is_used(item)))
            .filter_map(|item| item.some("source")?.as_text().map(str::to_owned))
            .collect()
    };
    let is_volume =
        |item: &Node| item.some("type").and_then(|kind| kind.as_text()) == Some("volume");
    for entry in root.some("services").map_or(&[][..], |all| all.entries()) {
        let service = &entry.value;
        networks.extend(keys(service, "networks"));
        models.extend(keys(service, "models"));
        volumes.extend(sources(service.some("volumes"), &is_volume));
        secrets.extend(sources(service.some("secrets"), &|_| true));
        configs.extend(sources(service.some("configs"), &|_| true));
        let build = service
            .some("build")
            .and_then(|build| build.some("secrets"));
        secrets.extend(sources(build, &|_| true));
    }
    [
        ("networks", networks),
        ("volumes", volumes),
        ("secrets", secrets),
        ("configs", configs),
        ("models", models),
    ]
}

impl Input {
    /// The directory of the first file, as the user named it.
    fn shown_dir(&self) -> PathBuf {
        self.files
            .first()
            .and_then(|file| file.path.parent())
            .map(PathBuf::from)
            .unwrap_or_default()
    }
}
