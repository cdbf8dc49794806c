//! The variables and labels of each service: `environment` over the files of `env_file`, `labels` over those of
//! `label_file`, in their order.
//!
//! As compose-go 2.9.1 has it (`types/project.go`). Only services that are taken by somebody: a file that is missing
//! for a service whose profile is not active is no error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::paths::Base;
use crate::compose::bind::At;
use crate::compose::dotenv::{self, Dotenv, DotenvError};
use crate::compose::problems::Problems;
use crate::compose::tree::{Entry, Node};
use crate::compose::yaml::FILE_BYTES_MAX;
use crate::compose::{Files, ReadError};
use crate::spec::{Diagnostic, Place};

/// The tree with all files of variables read, and their keys gone.
pub(super) fn resolve(
    root: &Arc<Node>,
    enabled: &BTreeSet<String>,
    environment: &BTreeMap<String, String>,
    base: Base<'_>,
    files: &dyn Files,
    out: &mut Problems,
) -> Arc<Node> {
    let mut root = Arc::clone(root);
    root.change("services", |services| {
        Some(services.map_values(|entry| {
            let service = &entry.value;
            let is_taken = enabled.contains(&entry.key) || service.entry("x-phoenix").is_some();
            if !is_taken || !service.is_map() {
                return Arc::clone(service);
            }
            let mut reader = Reader {
                service: At::new(service, format!("services.{}", entry.key)),
                environment,
                base,
                files,
                out,
            };
            let mut service = Arc::clone(service);
            reader.environment_of(&mut service);
            reader.labels_of(&mut service);
            service
        }))
    });
    root
}

/// Reads the files of one service.
struct Reader<'a, 'n> {
    service: At<'n>,
    environment: &'a BTreeMap<String, String>,
    base: Base<'a>,
    files: &'a dyn Files,
    out: &'a mut Problems,
}

/// One file of `env_file` or `label_file`.
struct File {
    /// For messages: from the project's directory where it lies below.
    shown: String,
    path: PathBuf,
    required: bool,
    raw: bool,
    place: Place,
    keys: String,
}

/// Names and values, with where they are written.
type Found = BTreeMap<String, Arc<Node>>;

impl<'n> Reader<'_, 'n> {
    fn environment_of(&mut self, service: &mut Arc<Node>) {
        let mut own = BTreeMap::new();
        if let Some(at) = self.service.get("environment") {
            for (name, (value, at)) in at.key_values(self.out).unwrap_or_default() {
                let place = &at.node.place;
                let value = match value {
                    Some(value) => Node::text(place, value),
                    None => Node::null(place),
                };
                own.insert(name, value);
            }
        }
        let mut variables = Found::new();
        for file in self.env_files() {
            let lookup = |name: &str| {
                let text = |node: &Arc<Node>| node.as_text().map(str::to_owned);
                self.environment
                    .get(name)
                    .cloned()
                    .or_else(|| own.get(name).and_then(text))
                    .or_else(|| variables.get(name).and_then(text))
            };
            match self.read(&file, &lookup) {
                Ok(Some(found)) => self.add(&file, found, &mut variables),
                Ok(None) => {}
                Err(problem) => self.out.push(problem),
            }
        }
        service.remove("env_file");
        variables.extend(own);
        replace(service, "environment", variables);
    }

    fn labels_of(&mut self, service: &mut Arc<Node>) {
        let mut labels = Found::new();
        for (path, at) in self.list("label_file") {
            let file = File {
                shown: shown(Path::new(&path), self.base.dir),
                path: PathBuf::from(path),
                required: true,
                raw: false,
                place: at.node.place.clone(),
                keys: at.path().to_string(),
            };
            let known = labels.clone();
            let lookup =
                |name: &str| (known.get(name)).and_then(|node| node.as_text().map(str::to_owned));
            match self.read(&file, &lookup) {
                Ok(Some(found)) => self.add(&file, found, &mut labels),
                Ok(None) => {}
                Err(problem) => self.out.push(problem),
            }
        }
        if labels.is_empty() {
            service.remove("label_file");
            return;
        }
        if let Some(at) = self.service.get("labels") {
            for (name, (value, at)) in at.key_values(self.out).unwrap_or_default() {
                let value = Node::text(&at.node.place, value.unwrap_or_default());
                labels.insert(name, value);
            }
        }
        service.remove("label_file");
        replace(service, "labels", labels);
    }

    fn list(&mut self, key: &str) -> Vec<(String, At<'n>)> {
        let Some(at) = self.service.get(key) else {
            return Vec::new();
        };
        let texts = at.text_or_texts(self.out).unwrap_or_default();
        texts
            .into_iter()
            .map(|(text, at)| (text.to_owned(), at))
            .collect()
    }

    fn env_files(&mut self) -> Vec<File> {
        let Some(at) = self.service.get("env_file") else {
            return Vec::new();
        };
        let mut files = Vec::new();
        for item in at.as_list().unwrap_or_default() {
            let mut file = File {
                shown: String::new(),
                path: PathBuf::new(),
                required: true,
                raw: false,
                place: item.node.place.clone(),
                keys: item.path().to_string(),
            };
            let pairs = item.fields(&["path", "required", "format"], self.out);
            for pair in pairs.iter().flatten().filter(|pair| !pair.value.is_null()) {
                match pair.key {
                    "path" => {
                        let path = pair.value.some_text(self.out).unwrap_or_default();
                        file.path = PathBuf::from(path);
                        file.place = pair.value.node.place.clone();
                    }
                    "required" => file.required = pair.value.boolean(self.out).unwrap_or(true),
                    _ => file.raw = pair.value.one_of(&["raw"], self.out).is_some(),
                }
            }
            if file.path.as_os_str().is_empty() {
                item.invalid("this names no file", "write `env_file: path`", self.out);
                continue;
            }
            file.shown = shown(&file.path, self.base.dir);
            files.push(file);
        }
        files
    }

    fn add(&mut self, file: &File, found: Dotenv, variables: &mut Found) {
        for (name, line) in found.unset {
            let message =
                format!("the variable `{name}` is not set; an empty text takes its place");
            let hint = "set it in the environment, or put the value in single quotes to take `$` literally";
            let (place, path) = (line_of(file, line), file.keys.as_str());
            self.out
                .warning_at(&place, path, "unset-variable", message, hint);
        }
        for (name, value) in found.variables {
            variables.insert(name, Node::text(&file.place, value));
        }
    }

    fn read(
        &self,
        file: &File,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Dotenv>, Diagnostic> {
        let shown = &file.shown;
        let error = |message: String, hint: &str| {
            let place = Some(file.place.clone());
            Diagnostic::error("env-file", place, file.keys.as_str(), message).hint(hint)
        };
        let bytes = match self.files.read(&file.path) {
            Ok(bytes) => bytes,
            Err(ReadError::NotFound) if !file.required => return Ok(None),
            Err(problem) => {
                let hint = if file.keys.contains(".label_file") {
                    "correct the path"
                } else {
                    "correct the path, or write `{ path: …, required: false }` if it may be missing"
                };
                let message = format!("`{shown}` cannot be read: {problem}");
                return Err(error(message, hint));
            }
        };
        if bytes.len() > FILE_BYTES_MAX {
            let message = format!("`{shown}` is larger than {FILE_BYTES_MAX} bytes (1 MiB)");
            return Err(error(message, "is this the file that you mean?"));
        }
        let text = std::str::from_utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes))
            .map_err(|_| error(format!("`{shown}` is not UTF-8 text"), "save it as UTF-8"))?;
        let parsed = if file.raw {
            dotenv::parse_raw(text)
        } else {
            dotenv::parse(text, lookup)
        };
        parsed.map(Some).map_err(|problem| {
            let DotenvError {
                line,
                message,
                hint,
            } = problem;
            let place = Some(line_of(file, line));
            Diagnostic::error("env-file", place, file.keys.as_str(), message).hint(hint)
        })
    }
}

/// Puts a mapping under a key; none where there is nothing to put and there was none.
fn replace(service: &mut Arc<Node>, key: &str, found: Found) {
    if found.is_empty() && service.some(key).is_none() {
        return;
    }
    let entries = found
        .into_iter()
        .map(|(key, value)| Entry::made(key, value))
        .collect();
    let node = Node::map(&service.place, entries);
    service.set(key, node);
}

/// A path for messages: from the project's directory where it lies below.
fn shown(path: &Path, dir: &Path) -> String {
    path.strip_prefix(dir).unwrap_or(path).display().to_string()
}

fn line_of(file: &File, line: usize) -> Place {
    Place {
        file: Arc::new(PathBuf::from(&file.shown)),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: 1,
    }
}
