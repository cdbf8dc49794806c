//! Variables of the process: `environment` over the files of `env_file`, in their order.

use std::path::PathBuf;
use std::sync::Arc;

use super::binder::{Binder, EnvFile};
use crate::compose::ReadError;
use crate::compose::bind::At;
use crate::compose::dotenv::{self, Dotenv, DotenvError};
use crate::compose::yaml::FILE_BYTES_MAX;
use crate::spec::{Diagnostic, Place};

impl Binder<'_, '_> {
    pub(super) fn environment(&mut self, at: &At<'_>) {
        let Some(pairs) = at.key_values(self.out) else {
            return;
        };
        for (name, (value, _)) in pairs {
            // A bare name is the environment's value; without one it stays a bare name, which unsets the image's.
            let value = value.or_else(|| self.cx.environment.get(&name).cloned());
            self.own_environment.insert(name, value);
        }
    }

    pub(super) fn env_file(&mut self, at: &At<'_>) {
        let items = match at.as_list() {
            Some(items) => items,
            None if at.as_map().is_some() => {
                at.wrong_type("a single value or a list", self.out);
                return;
            }
            None => vec![at.clone()],
        };
        for item in &items {
            self.one_env_file(item);
        }
    }

    fn one_env_file(&mut self, at: &At<'_>) {
        let mut file = EnvFile {
            path: PathBuf::new(),
            required: true,
            raw: false,
            place: at.node.place.clone(),
            path_in_file: at.path().to_string(),
        };
        if let Some(text) = at.as_text() {
            file.path = PathBuf::from(text);
        } else {
            let Some(pairs) = at.fields(&["path", "required", "format"], self.out) else {
                return;
            };
            for pair in pairs.iter().filter(|pair| !pair.value.is_null()) {
                match pair.key {
                    "path" => {
                        file.path = pair
                            .value
                            .some_text(self.out)
                            .map(PathBuf::from)
                            .unwrap_or_default();
                        file.place = pair.value.node.place.clone();
                    }
                    "required" => file.required = pair.value.boolean(self.out).unwrap_or(true),
                    _ => file.raw = pair.value.one_of(&["raw"], self.out).is_some(),
                }
            }
        }
        if file.path.as_os_str().is_empty() {
            at.invalid("this names no file", "write `env_file: path`", self.out);
        } else {
            self.env_files.push(file);
        }
    }

    /// Reads the files and puts the service's own variables on top.
    pub(super) fn finish_environment(&mut self) {
        for file in std::mem::take(&mut self.env_files) {
            match self.read_env_file(&file) {
                Ok(Some(found)) => {
                    for (name, line) in found.unset {
                        let problem = Diagnostic::warning(
                            "unset-variable",
                            Some(line_of(&file, line)),
                            file.path_in_file.as_str(),
                            format!(
                                "the variable `{name}` is not set; an empty text takes its place"
                            ),
                        );
                        self.out.push(problem.hint(
                            "set it in the environment, or put the value in single quotes to take `$` literally",
                        ));
                    }
                    let variables = found
                        .variables
                        .into_iter()
                        .map(|(name, value)| (name, Some(value)));
                    self.container.environment.extend(variables);
                }
                Ok(None) => {}
                Err(problem) => self.out.push(problem),
            }
        }
        let own = std::mem::take(&mut self.own_environment);
        self.container.environment.extend(own);
    }

    fn read_env_file(&self, file: &EnvFile) -> Result<Option<Dotenv>, Diagnostic> {
        let shown = file.path.display();
        let error = |message: String, hint: &str| {
            let place = Some(file.place.clone());
            Diagnostic::error("env-file", place, file.path_in_file.as_str(), message).hint(hint)
        };
        let path = self.cx.resolve(&file.path).map_err(|problem| {
            error(
                format!("`{shown}` cannot be resolved: {problem}"),
                "write the whole path",
            )
        })?;
        let bytes = match self.cx.files.read(&path) {
            Ok(bytes) => bytes,
            Err(ReadError::NotFound) if !file.required => return Ok(None),
            Err(problem) => {
                return Err(error(
                    format!("`{shown}` cannot be read: {problem}"),
                    "correct the path, or write `{ path: …, required: false }` if it may be missing",
                ));
            }
        };
        if bytes.len() > FILE_BYTES_MAX {
            let message = format!("`{shown}` is larger than {FILE_BYTES_MAX} bytes (1 MiB)");
            return Err(error(message, "is this the file that you mean?"));
        }
        let text = std::str::from_utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes))
            .map_err(|_| error(format!("`{shown}` is not UTF-8 text"), "save it as UTF-8"))?;
        let lookup = |name: &str| {
            let own = self.own_environment.get(name).cloned().flatten();
            let earlier = || self.container.environment.get(name).cloned().flatten();
            self.cx
                .environment
                .get(name)
                .cloned()
                .or(own)
                .or_else(earlier)
        };
        let parsed = if file.raw {
            dotenv::parse_raw(text)
        } else {
            dotenv::parse(text, &lookup)
        };
        parsed.map(Some).map_err(|problem| {
            let DotenvError {
                line,
                message,
                hint,
            } = problem;
            let place = Some(line_of(file, line));
            Diagnostic::error("env-file", place, file.path_in_file.as_str(), message).hint(hint)
        })
    }
}

fn line_of(file: &EnvFile, line: usize) -> Place {
    Place {
        file: Arc::new(file.path.clone()),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: 1,
    }
}
