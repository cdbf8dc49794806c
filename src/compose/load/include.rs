//! `include`: whole files with directories and variables of their own, whose services, networks, volumes, secrets,
//! configs and models are added to those of the file.
//!
//! As compose-go 2.9.1 has it (`loader/include.go`). What both have and say differently is an error.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::{DotenvFile, add_dotenv};
use super::session::{Named, Scope, Session};
use crate::compose::bind::At;
use crate::compose::tree::{Mapping, Node};

/// What is taken from an included file.
const SECTIONS: [&str; 6] = [
    "services", "volumes", "networks", "secrets", "configs", "models",
];

impl Session<'_> {
    /// The document with everything that it includes; `None` where something cannot be, which is reported.
    pub(super) fn include_all(
        &mut self,
        scope: &Scope<'_>,
        mut document: Arc<Node>,
    ) -> Option<Arc<Node>> {
        let Some(include) = document.remove("include") else {
            return Some(document);
        };
        if include.value.is_null() {
            return Some(document);
        }
        let at = At::new(&include.value, "include");
        let mut is_whole = true;
        for item in at.list(self.out)? {
            let path = item.path().to_string();
            let by = Named {
                node: item.node,
                path: &path,
            };
            match self.included(scope, by) {
                Some(model) => self.import(&model, &mut document, by),
                None => is_whole = false,
            }
        }
        is_whole.then_some(document)
    }

    /// The project of one entry.
    fn included(&mut self, scope: &Scope<'_>, by: Named<'_>) -> Option<Arc<Node>> {
        let at = At::new(by.node, by.path);
        let names: Vec<(String, At<'_>)> = if by.node.is_map() {
            at.fields(&["path", "project_directory", "env_file"], self.out)?;
            let Some(path) = at.get("path") else {
                let hint = "write `- path: other.yaml`";
                self.complain(by, "missing-key", "this `include` names no `path`", hint);
                return None;
            };
            texts(&path, self)?
        } else {
            texts(&at, self)?
        };
        let mut sources = Vec::new();
        for (name, at) in &names {
            let by = Named {
                node: at.node,
                path: by.path,
            };
            let source = self.open(scope, name, by)?;
            if scope.included.contains(&source.path) {
                let way: Vec<String> = (scope.included.iter())
                    .chain([&source.path])
                    .map(|path| path.display().to_string())
                    .collect();
                let message = format!("`include` goes in a circle: {}", way.join(" -> "));
                self.complain(by, "cycle", message, "take one `include` out");
                return None;
            }
            sources.push(source);
        }
        let first = sources.first()?;
        let directory = at.get("project_directory");
        let directory = directory.and_then(|at| at.as_text().map(str::to_owned));
        let (dir, shown) = match &directory {
            Some(name) => (
                PathBuf::from(scope.base().path(name)),
                super::session::shown(&scope.shown, name),
            ),
            None => (parent(&first.path), parent(&first.shown)),
        };
        let mut environment = scope.environment.clone();
        self.included_environment(scope, &at, &dir, &mut environment)?;
        let inner = Scope {
            dir,
            shown,
            environment: &environment,
            included: scope.included.clone(),
        };
        let model = self.model(&inner, &sources);
        // What was extended with these variables is of no use with others.
        self.extended.clear();
        model
    }

    /// The variables of `env_file`, or of `.env` beside the file, below those that there are.
    fn included_environment(
        &mut self,
        scope: &Scope<'_>,
        at: &At<'_>,
        dir: &Path,
        environment: &mut std::collections::BTreeMap<String, String>,
    ) -> Option<()> {
        let mut files = Vec::new();
        if let Some(list) = at.get("env_file") {
            for (name, at) in texts(&list, self)? {
                let path = PathBuf::from(scope.base().path(&name));
                let by = Named {
                    node: at.node,
                    path: "include",
                };
                let text = self.read(&path, &name, by)?;
                files.push(DotenvFile {
                    path: super::session::shown(&scope.shown, &name),
                    text,
                });
            }
        } else {
            let path = dir.join(".env");
            if let Ok(text) = self.files.read(&path) {
                files.push(DotenvFile { path, text });
            }
        }
        add_dotenv(environment, &files, &mut |problem| self.out.push(problem));
        Some(())
    }

    fn import(&mut self, model: &Node, document: &mut Arc<Node>, by: Named<'_>) {
        for section in SECTIONS {
            let Some(from) = model.some(section) else {
                continue;
            };
            let mut all =
                (document.some(section)).map_or_else(Mapping::default, |all| Mapping::of(all));
            for entry in from.entries() {
                match all.get(&entry.key) {
                    None => all.put(entry.clone()),
                    Some(own) if own.same(&entry.value) => {}
                    Some(own) => {
                        let message = format!(
                            "`{section}.{}` stands in the included file as well, and says something else",
                            entry.key
                        );
                        let hint = format!(
                            "rename one of them, or list an override file under `path:`; the other one is at {}:{}",
                            own.place.file.display(),
                            own.place.line
                        );
                        self.complain(by, "conflict", message, &hint);
                    }
                }
            }
            document.set(section, all.node(&from.place));
        }
    }
}

/// A text or a list of them.
fn texts<'n>(at: &At<'n>, session: &mut Session<'_>) -> Option<Vec<(String, At<'n>)>> {
    let texts = at.text_or_texts(session.out)?;
    Some(
        texts
            .into_iter()
            .map(|(text, at)| (text.to_owned(), at))
            .collect(),
    )
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map(PathBuf::from).unwrap_or_default()
}
